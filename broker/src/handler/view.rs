//! Looking at stored messages and at the broker itself.

mod runtime;

use crate::config::BrokerConfig;
use crate::metrics::Metrics;
use common::clock::Clock;
use common::config::to_text;
use common::ids::PhysicalOffset;
use common::wire::body::{DataVersion, KvTable};
use common::wire::header::ViewMessageRequestHeader;
use common::wire::{Reply, response_code};
use std::sync::Arc;
use store::StoreReader;

/// Serves `VIEW_MESSAGE_BY_ID`, `GET_BROKER_RUNTIME_INFO` and `GET_BROKER_CONFIG`.
pub struct ViewHandler {
    config: Arc<BrokerConfig>,
    metrics: Metrics,
    store: StoreReader,
    clock: Arc<dyn Clock>,
}

impl ViewHandler {
    /// A handler over the store and the figures.
    pub fn new(
        config: Arc<BrokerConfig>,
        metrics: Metrics,
        store: StoreReader,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            config,
            metrics,
            store,
            clock,
        }
    }

    /// `VIEW_MESSAGE_BY_ID`: the record at an offset of the log.
    pub fn message(&self, header: &ViewMessageRequestHeader) -> Reply {
        let record = PhysicalOffset::from_wire(header.offset)
            .and_then(|offset| self.store.record_at(offset));
        let Some(record) = record else {
            let text = format!("can not find message by the offset, {}", header.offset);
            return Reply::error(response_code::SYSTEM_ERROR, text);
        };
        Reply::ok().with_body(record)
    }

    /// `GET_BROKER_RUNTIME_INFO`.
    pub fn runtime_info(&self) -> Reply {
        let table = runtime::figures(&runtime::Sources {
            config: &self.config,
            status: self.store.status(),
            earliest: self.store.earliest_store_time_of_all(),
            rates: self.metrics.rates(),
            started: self.metrics.started(),
            now: self.clock.now(),
        });
        Reply::ok().with_body(KvTable { table }.encode())
    }

    /// `GET_BROKER_CONFIG`: every setting as it is now.
    pub fn config(&self) -> Reply {
        let mut reply = Reply::ok().with_body(to_text(&*self.config));
        let version = DataVersion::new(self.metrics.started().0).encode();
        reply
            .fields
            .set("version", String::from_utf8_lossy(&version));
        reply
    }
}
