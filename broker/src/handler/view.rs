//! Looking at the broker itself.

mod runtime;

use crate::config::BrokerConfig;
use crate::metrics::Metrics;
use common::clock::Clock;
use common::config::to_text;
use common::wire::Reply;
use common::wire::body::{DataVersion, KvTable};
use std::sync::Arc;
use store::StoreReader;

/// Serves `GET_BROKER_RUNTIME_INFO` and `GET_BROKER_CONFIG`.
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
