//! The key-value configuration.

use std::sync::Arc;

use common::wire::header::{
    DeleteKvConfigRequestHeader, GetKvConfigRequestHeader, GetKvConfigResponseHeader,
    GetKvListByNamespaceRequestHeader, PutKvConfigRequestHeader,
};
use common::wire::{FieldError, Reply, response_code};

use super::{Answer, Handler, system_error};

impl Handler {
    /// `PUT_KV_CONFIG`
    pub fn put_kv(&self, header: PutKvConfigRequestHeader) -> Answer {
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
    pub fn delete_kv(&self, header: DeleteKvConfigRequestHeader) -> Answer {
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
    pub fn get_kv(&self, header: &GetKvConfigRequestHeader) -> Reply {
        let GetKvConfigRequestHeader { namespace, key } = header;
        match self.kv.get(namespace, key) {
            Some(value) => {
                Reply::ok().with_header(&GetKvConfigResponseHeader { value: Some(value) })
            }
            None => not_found(format!("No config item, Namespace: {namespace} Key: {key}")),
        }
    }

    /// `GET_KVLIST_BY_NAMESPACE`
    pub fn list_kv(&self, header: &GetKvListByNamespaceRequestHeader) -> Reply {
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
