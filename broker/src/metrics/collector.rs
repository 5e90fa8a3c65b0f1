//! The figures Prometheus asks for, under the names and labels of RocketMQ 5.

use super::Metrics;
use crate::lag::{QueueLag, queue_lags};
use crate::offset::ConsumerOffsets;
use crate::subscription::SubscriptionGroupTable;
use crate::topic::{MessageType, TopicTable};
use common::clock::Clock;
use common::names;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use std::collections::HashMap;
use std::sync::Arc;
use store::StoreReader;

/// The figures, taken when somebody asks.
pub struct BrokerFigures {
    metrics: Metrics,
    topics: TopicTable,
    groups: SubscriptionGroupTable,
    offsets: ConsumerOffsets,
    store: StoreReader,
    clock: Arc<dyn Clock>,
    permission: i64,
}

/// The families of one answer.
struct Families {
    messages_in: IntCounterVec,
    throughput_in: IntCounterVec,
    messages_out: IntCounterVec,
    throughput_out: IntCounterVec,
    lag_messages: IntGaugeVec,
    lag_latency: IntGaugeVec,
    inflight: IntGaugeVec,
    ready: IntGaugeVec,
    broker_permission: IntGauge,
    topic_number: IntGauge,
    group_number: IntGauge,
    storage: [IntGaugeVec; 4],
    syncs: IntCounter,
    sync_seconds: Counter,
}

impl BrokerFigures {
    /// Figures of these parts; `permission` is `brokerPermission`.
    pub fn new(
        metrics: Metrics,
        tables: (TopicTable, SubscriptionGroupTable, ConsumerOffsets),
        store: StoreReader,
        clock: Arc<dyn Clock>,
        permission: u32,
    ) -> Self {
        let (topics, groups, offsets) = tables;
        Self {
            metrics,
            topics,
            groups,
            offsets,
            store,
            clock,
            permission: permission.into(),
        }
    }

    /// A registry with the figures, under the labels every figure of this broker has.
    ///
    /// # Errors
    /// A name is no metric name; ours are.
    pub fn into_registry(self) -> prometheus::Result<Registry> {
        let rules = self.topics.rules();
        let labels = [
            ("cluster", &*rules.cluster_name),
            ("node_type", "broker"),
            ("node_id", &rules.broker_name),
        ];
        let labels: HashMap<_, _> = labels
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let registry = Registry::new_custom(None, Some(labels))?;
        registry.register(Box::new(self))?;
        Ok(registry)
    }

    fn fill(&self, families: &Families) {
        self.fill_topics(families);
        for delivered in self.metrics.deliveries() {
            let (group, topic) = (&*delivered.key.group, &*delivered.key.topic);
            let labels = [topic, group, self.is_system(group, topic), is_retry(topic)];
            families
                .messages_out
                .with_label_values(&labels)
                .inc_by(delivered.traffic.messages());
            families
                .throughput_out
                .with_label_values(&labels)
                .inc_by(delivered.traffic.bytes());
        }
        self.fill_lags(families);
        families.broker_permission.set(self.permission);
        families
            .topic_number
            .set(i64::try_from(self.topics.len()).unwrap_or(i64::MAX));
        families
            .group_number
            .set(i64::try_from(self.groups.len()).unwrap_or(i64::MAX));
        let status = self.store.status();
        let reserved = self
            .store
            .earliest_store_time_of_all()
            .map_or(0, |oldest| self.clock.now().0 - oldest);
        let [size, flush_behind, dispatch_behind, reserve_time] = &families.storage;
        let gauge = |family: &IntGaugeVec, value: u64| {
            family
                .with_label_values(&["local", "disk"])
                .set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        gauge(size, status.max_physical - status.min_physical);
        gauge(
            flush_behind,
            status.max_physical.saturating_sub(status.flushed),
        );
        gauge(
            dispatch_behind,
            status.max_physical.saturating_sub(status.dispatched),
        );
        gauge(reserve_time, u64::try_from(reserved).unwrap_or(0));
        families.syncs.inc_by(status.syncs.count);
        families
            .sync_seconds
            .inc_by(status.syncs.time.as_secs_f64());
    }

    /// Copies of messages, in retry and dead letter topics, are not counted again.
    fn fill_topics(&self, families: &Families) {
        for (name, topic) in self.topics.all() {
            if names::is_retry_or_dlq(&name) {
                continue;
            }
            for kind in MessageType::ALL {
                let traffic = topic.counters().of(kind);
                if traffic.messages() == 0 {
                    continue;
                }
                let labels = [&*name, kind.as_str(), flag(topic.is_system())];
                families
                    .messages_in
                    .with_label_values(&labels)
                    .inc_by(traffic.messages());
                families
                    .throughput_in
                    .with_label_values(&labels)
                    .inc_by(traffic.bytes());
            }
        }
    }

    fn fill_lags(&self, families: &Families) {
        for (group, topic) in self.offsets.pairs() {
            if !self.groups.contains(&group) || !self.topics.contains(&topic) {
                continue;
            }
            let queues = queue_lags(&self.offsets, &self.store, &group, &topic);
            let labels = [
                &*group,
                &*topic,
                is_retry(&topic),
                self.is_system(&group, &topic),
            ];
            let set = |family: &IntGaugeVec, of_queue: fn(&QueueLag) -> u64| {
                let value: u64 = queues.iter().map(of_queue).sum();
                family
                    .with_label_values(&labels)
                    .set(i64::try_from(value).unwrap_or(i64::MAX));
            };
            set(&families.lag_messages, QueueLag::messages);
            set(&families.inflight, QueueLag::inflight);
            set(&families.ready, QueueLag::ready);
            let oldest = queues.iter().filter_map(|queue| queue.waiting_since).min();
            let waited = oldest.map_or(0, |stored| self.clock.now().0 - stored);
            families.lag_latency.with_label_values(&labels).set(waited);
        }
    }

    fn is_system(&self, group: &str, topic: &str) -> &'static str {
        flag(names::is_system_group(group) || self.topics.rules().is_system_topic(topic))
    }
}

impl Collector for BrokerFigures {
    /// Families are made anew for every answer, so that what is gone is gone from the answer.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        match Families::new() {
            Ok(families) => {
                self.fill(&families);
                families.collect()
            }
            Err(error) => {
                tracing::error!("metrics: {error}");
                Vec::new()
            }
        }
    }
}

impl Families {
    fn new() -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(name, help), labels)
        };
        let of_message = ["topic", "message_type", "is_system"];
        let of_delivery = ["topic", "consumer_group", "is_system", "is_retry"];
        let of_lag = ["consumer_group", "topic", "is_retry", "is_system"];
        let of_storage = ["storage_type", "storage_medium"];
        Ok(Self {
            messages_in: counter(
                "rocketmq_messages_in_total",
                "Messages stored.",
                &of_message,
            )?,
            throughput_in: counter("rocketmq_throughput_in_total", "Bytes stored.", &of_message)?,
            messages_out: counter(
                "rocketmq_messages_out_total",
                "Messages delivered.",
                &of_delivery,
            )?,
            throughput_out: counter(
                "rocketmq_throughput_out_total",
                "Bytes delivered.",
                &of_delivery,
            )?,
            lag_messages: gauge(
                "rocketmq_consumer_lag_messages",
                "Messages not yet consumed.",
                &of_lag,
            )?,
            lag_latency: gauge(
                "rocketmq_consumer_lag_latency",
                "Age of the oldest message not yet consumed, in milliseconds.",
                &of_lag,
            )?,
            inflight: gauge(
                "rocketmq_consumer_inflight_messages",
                "Messages pulled and not yet consumed.",
                &of_lag,
            )?,
            ready: gauge(
                "rocketmq_consumer_ready_messages",
                "Messages not yet pulled.",
                &of_lag,
            )?,
            broker_permission: IntGauge::new(
                "rocketmq_broker_permission",
                "What the broker allows: 4 reads, 2 writes.",
            )?,
            topic_number: IntGauge::new("rocketmq_topic_number", "Topics.")?,
            group_number: IntGauge::new("rocketmq_consumer_group_number", "Consumer groups.")?,
            storage: [
                gauge(
                    "rocketmq_storage_size",
                    "Bytes of the CommitLog.",
                    &of_storage,
                )?,
                gauge(
                    "rocketmq_storage_flush_behind_bytes",
                    "Bytes stored and not yet on the disk.",
                    &of_storage,
                )?,
                gauge(
                    "rocketmq_storage_dispatch_behind_bytes",
                    "Bytes stored and not yet to be consumed.",
                    &of_storage,
                )?,
                gauge(
                    "rocketmq_storage_message_reserve_time",
                    "Age of the oldest message, in milliseconds.",
                    &of_storage,
                )?,
            ],
            syncs: IntCounter::new("arugula_commit_log_syncs_total", "Syncs of the CommitLog.")?,
            sync_seconds: Counter::new(
                "arugula_commit_log_sync_seconds_total",
                "Time the syncs of the CommitLog took.",
            )?,
        })
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let counters = [
            &self.messages_in,
            &self.throughput_in,
            &self.messages_out,
            &self.throughput_out,
        ];
        let lags = [
            &self.lag_messages,
            &self.lag_latency,
            &self.inflight,
            &self.ready,
        ];
        let single = [
            &self.broker_permission,
            &self.topic_number,
            &self.group_number,
        ];
        let counters = counters.into_iter().flat_map(Collector::collect);
        let gauges = lags
            .into_iter()
            .chain(&self.storage)
            .flat_map(Collector::collect);
        let families = counters
            .chain(gauges)
            .chain(single.into_iter().flat_map(Collector::collect))
            .chain(self.syncs.collect())
            .chain(self.sync_seconds.collect());
        // A family without a value is an error in the text format.
        families
            .filter(|family| !family.get_metric().is_empty())
            .collect()
    }
}

fn flag(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn is_retry(topic: &str) -> &'static str {
    flag(names::is_retry_topic(topic))
}

#[cfg(test)]
mod tests;
