//! Figures for Prometheus.

use std::sync::Arc;

use common::wire::Command;
use common::wire::request::WireError;
use common::wire::request::namesrv::parse;
use hashbrown::HashMap;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::routes::Routes;

/// Codes looked at when the counters are made: all that are served lie below.
const CODES_BELOW: i32 = 1024;

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
        let is_served = |code: &i32| {
            !matches!(
                parse(&Command::request(*code)),
                Err(WireError::UnsupportedCode { .. })
            )
        };
        let served = (0..CODES_BELOW).filter(is_served);
        Ok(Self {
            served: served
                .map(|code| (code, counters.with_label_values(&[&code.to_string()])))
                .collect(),
            others: counters.with_label_values(&["other"]),
        })
    }

    /// Counts one.
    pub fn count(&self, code: i32) {
        self.served.get(&code).unwrap_or(&self.others).inc();
    }
}

/// Sizes of the route table, taken when somebody asks.
pub struct RouteFigures {
    routes: Arc<Routes>,
    connections: Box<dyn Fn() -> usize + Send + Sync>,
    gauges: [IntGauge; 5],
}

impl RouteFigures {
    /// Figures of `routes` and of the number of open `connections`.
    ///
    /// # Errors
    /// A name is no metric name; ours are.
    pub fn new(
        routes: Arc<Routes>,
        connections: impl Fn() -> usize + Send + Sync + 'static,
    ) -> prometheus::Result<Self> {
        let gauges = [
            IntGauge::new("rocketmq_namesrv_topics", "Topics with a route.")?,
            IntGauge::new(
                "rocketmq_namesrv_clusters",
                "Clusters with a living broker.",
            )?,
            IntGauge::new(
                "rocketmq_namesrv_broker_groups",
                "Broker names with a living broker.",
            )?,
            IntGauge::new(
                "rocketmq_namesrv_live_brokers",
                "Living brokers, masters and slaves.",
            )?,
            IntGauge::new("rocketmq_namesrv_connections", "Open remoting connections.")?,
        ];
        Ok(Self {
            routes,
            connections: Box::new(connections),
            gauges,
        })
    }
}

impl Collector for RouteFigures {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let table = self.routes.read();
        let values = [
            table.topic_count(),
            table.cluster_count(),
            table.broker_count(),
            table.live_brokers().count(),
            (self.connections)(),
        ];
        drop(table);
        for (gauge, value) in self.gauges.iter().zip(values) {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        self.gauges.iter().flat_map(Collector::collect).collect()
    }
}
