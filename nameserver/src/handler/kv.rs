//! The key-value configuration.

use std::sync::Arc;

use common::wire::header::{
    DeleteKvConfigRequestHeader, GetKvConfigRequestHeader, GetKvConfigResponseHeader,
    GetKvListByNamespaceRequestHeader, PutKvConfigRequestHeader,
};
use common::wire::{FieldError, Reply, response_code};

use super::{Answer, system_error};
use crate::kv::KvConfig;

/// Serves the key-value requests.
#[derive(Debug, Clone)]
pub struct KvHandler {
    kv: Arc<KvConfig>,
}

impl KvHandler {
    /// A handler of `kv`.
    pub fn new(kv: Arc<KvConfig>) -> Self {
        Self { kv }
    }

    /// `PUT_KV_CONFIG`
    pub fn put(&self, header: PutKvConfigRequestHeader) -> Answer {
        let (Some(namespace), Some(key)) = (header.namespace, header.key) else {
            return no_key().into();
        };
        let Some(value) = header.value else {
            return Reply::from(FieldError::Missing { field: "value" }).into();
        };
        let kv = Arc::clone(&self.kv);
        Answer::AfterDisk(Box::new(move || {
            kv.put(namespace, key, value)
                .map_or_else(system_error, |()| Reply::ok())
        }))
    }

    /// `DELETE_KV_CONFIG`
    pub fn delete(&self, header: DeleteKvConfigRequestHeader) -> Answer {
        let (Some(namespace), Some(key)) = (header.namespace, header.key) else {
            return no_key().into();
        };
        let kv = Arc::clone(&self.kv);
        Answer::AfterDisk(Box::new(move || {
            kv.delete(&namespace, &key)
                .map_or_else(system_error, |()| Reply::ok())
        }))
    }

    /// `GET_KV_CONFIG`
    pub fn get(&self, header: &GetKvConfigRequestHeader) -> Reply {
        let GetKvConfigRequestHeader { namespace, key } = header;
        match self.kv.get(namespace, key) {
            Some(value) => {
                Reply::ok().with_header(&GetKvConfigResponseHeader { value: Some(value) })
            }
            None => not_found(format!("No config item, Namespace: {namespace} Key: {key}")),
        }
    }

    /// `GET_KVLIST_BY_NAMESPACE`
    pub fn list(&self, header: &GetKvListByNamespaceRequestHeader) -> Reply {
        match self.kv.namespace(&header.namespace) {
            Some(table) => Reply::ok().with_body(table.encode()),
            None => not_found(format!("No config item, Namespace: {}", header.namespace)),
        }
    }
}

fn no_key() -> Reply {
    system_error("namespace or key is null")
}

fn not_found(remark: String) -> Reply {
    Reply::error(response_code::QUERY_NOT_FOUND, remark)
}
