//! Figures for Prometheus.

use common::server::Families;
use common::wire::request::namesrv::CODES;
use hashbrown::HashMap;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use crate::routes::Routes;

/// Requests by code; those nobody serves share one counter.
pub struct RequestCounts {
    served: HashMap<i32, IntCounter>,
    others: IntCounter,
}

impl RequestCounts {
    /// Counters in `registry`.
    ///
    /// # Errors
    /// The registry has them already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let opts = Opts::new(
            "rocketmq_namesrv_requests_total",
            "Requests received, by request code.",
        );
        let counters = IntCounterVec::new(opts, &["code"])?;
        registry.register(Box::new(counters.clone()))?;
        let served = CODES.iter();
        Ok(Self {
            served: served
                .map(|code| (*code, counters.with_label_values(&[&code.to_string()])))
                .collect(),
            others: counters.with_label_values(&["other"]),
        })
    }

    /// Counts one.
    pub fn count(&self, code: i32) {
        self.served.get(&code).unwrap_or(&self.others).inc();
    }
}

/// Sizes of the route table, and the number of open `connections`.
pub fn figures(families: &mut Families, routes: &Routes, connections: usize) {
    let table = routes.read();
    for (name, help, value) in [
        (
            "rocketmq_namesrv_topics",
            "Topics with a route.",
            table.topics.len(),
        ),
        (
            "rocketmq_namesrv_clusters",
            "Clusters with a living broker.",
            table.clusters.len(),
        ),
        (
            "rocketmq_namesrv_broker_groups",
            "Broker names with a living broker.",
            table.brokers.len(),
        ),
        (
            "rocketmq_namesrv_live_brokers",
            "Living brokers, masters and slaves.",
            table.live.len(),
        ),
        (
            "rocketmq_namesrv_connections",
            "Open remoting connections.",
            connections,
        ),
    ] {
        families.gauge(name, help, value);
    }
}
