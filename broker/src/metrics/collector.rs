//! The figures Prometheus asks for, under the names and labels of RocketMQ 5.

use crate::group_topic::GroupTopic;
use crate::lag::{QueueLag, queue_lags};
use crate::state::State;
use crate::timer::{SOON_S, TimerFigures, Timers, TopicCount};
use crate::topic::{MessageType, Traffic};
use crate::transaction::{TopicFigures, Transactions};
use common::names;
use common::server::{Families, Figure, register};
use prometheus::Registry;

/// The figures, taken when somebody asks.
#[derive(Clone)]
pub struct BrokerFigures {
    /// Settings, tables and the store.
    pub state: State,
    /// Transactions.
    pub transactions: Transactions,
    /// Messages with a time.
    pub timers: Timers,
}

const OF_DELIVERY: [&str; 4] = ["topic", "consumer_group", "is_system", "is_retry"];
const OF_LAG: [&str; 4] = ["consumer_group", "topic", "is_retry", "is_system"];
const OF_MESSAGE: [&str; 3] = ["topic", "message_type", "is_system"];
const OF_STORAGE: [&str; 2] = ["storage_type", "storage_medium"];

/// A figure's name, what it says, and how it comes from a row.
type Column<F> = (&'static str, &'static str, F);
type OfQueues<'a> = &'a dyn Fn(&[QueueLag]) -> i64;
type OfTopic = fn(&TopicFigures) -> u64;

impl BrokerFigures {
    /// A registry with the figures, under the labels every figure of this broker has.
    ///
    /// # Errors
    /// A name is no metric name; ours are.
    pub fn into_registry(self) -> prometheus::Result<Registry> {
        let settings = self.state.settings.get();
        let labels = [
            ("cluster", &*settings.broker_cluster_name),
            ("node_type", "broker"),
            ("node_id", &settings.broker_name),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let registry = Registry::new_custom(None, Some(labels.into()))?;
        for waits in [self.timers.delays(), self.transactions.waits()] {
            registry.register(Box::new(waits.collector()))?;
        }
        register(&registry, move |families| {
            self.fill_topics(families);
            self.fill_deliveries(families);
            self.fill_lags(families);
            self.fill_store(families);
            self.fill_transactions(families);
            self.fill_deduplication(families);
            fill_timers(families, &self.timers.figures());
        })?;
        Ok(registry)
    }

    /// Copies of messages, in retry and dead letter topics, are not counted again.
    fn fill_topics(&self, families: &mut Families) {
        let allowed = self.state.settings.now().broker_permission;
        let (topics, groups) = (self.state.topics.all(), self.state.groups.len());
        #[rustfmt::skip]
        let totals: [Column<&dyn Figure>; 3] = [
            ("rocketmq_broker_permission", "What the broker allows: 4 reads, 2 writes.", &allowed),
            ("rocketmq_topic_number", "Topics.", &topics.len()),
            ("rocketmq_consumer_group_number", "Consumer groups.", &groups),
        ];
        for (name, help, value) in totals {
            families.gauge(name, help, value.value());
        }
        let counted = topics
            .iter()
            .filter(|(name, _)| !names::is_retry_or_dlq(name));
        let rows: Vec<_> = counted
            .flat_map(|(name, topic)| {
                MessageType::ALL.iter().map(move |kind| {
                    let labels = [&**name, kind.as_str(), flag(topic.is_system())];
                    (labels, topic.counters().of(*kind))
                })
            })
            .filter(|(_, traffic)| traffic.messages() > 0)
            .collect();
        let names = [
            ("rocketmq_messages_in_total", "Messages stored."),
            ("rocketmq_throughput_in_total", "Bytes stored."),
        ];
        add_traffic(families, names, OF_MESSAGE, &rows);
    }

    fn fill_deliveries(&self, families: &mut Families) {
        let delivered = self.state.metrics.deliveries();
        let rows: Vec<_> = delivered
            .iter()
            .map(|(GroupTopic { group, topic }, traffic)| {
                let system = self.is_system(group, topic);
                ([&**topic, &**group, system, is_retry(topic)], &**traffic)
            })
            .collect();
        let names = [
            ("rocketmq_messages_out_total", "Messages delivered."),
            ("rocketmq_throughput_out_total", "Bytes delivered."),
        ];
        add_traffic(families, names, OF_DELIVERY, &rows);
        let deaths = self.state.metrics.deaths();
        let deaths = deaths.iter().map(|((group, topic), messages)| {
            let system = self.is_system(group, topic);
            ([&**group, &**topic, system], *messages)
        });
        let name = "rocketmq_send_to_dlq_messages_total";
        let labels = ["consumer_group", "topic", "is_system"];
        families.counters(name, "Messages gone to dead letters.", labels, deaths);
    }

    fn fill_lags(&self, families: &mut Families) {
        // Of light queues there may be any number.
        let is_shown = |(group, topic): &(String, String)| {
            let known = self.state.groups.contains(group) && self.state.topics.contains(topic);
            known && !names::is_light_queue(topic)
        };
        let mut pairs = self.state.offsets.pairs();
        pairs.retain(is_shown);
        let rows = pairs.iter().map(|(group, topic)| {
            let system = self.is_system(group, topic);
            let lags = queue_lags(&self.state.offsets, &self.state.reader, group, topic);
            ([&**group, &**topic, is_retry(topic), system], lags)
        });
        let rows: Vec<([&str; 4], Vec<QueueLag>)> = rows.collect();
        let now = self.state.clock.now().0;
        let sum =
            |queues: &[QueueLag], of: fn(&QueueLag) -> u64| signed(queues.iter().map(of).sum());
        let oldest = |queues: &[QueueLag]| {
            let stored = queues.iter().filter_map(|queue| queue.waiting_since).min();
            stored.map_or(0, |stored| now - stored)
        };
        #[rustfmt::skip]
        let lags: [Column<OfQueues<'_>>; 4] = [
            ("rocketmq_consumer_lag_messages", "Messages not yet consumed.", &|queues| sum(queues, QueueLag::messages)),
            ("rocketmq_consumer_inflight_messages", "Messages pulled and not yet consumed.", &|queues| sum(queues, QueueLag::inflight)),
            ("rocketmq_consumer_ready_messages", "Messages not yet pulled.", &|queues| sum(queues, QueueLag::ready)),
            ("rocketmq_consumer_lag_latency", "Age of the oldest message not yet consumed, in milliseconds.", &oldest),
        ];
        for (name, help, of) in lags {
            let rows = rows.iter().map(|(labels, queues)| (*labels, of(queues)));
            families.gauges(name, help, OF_LAG, rows);
        }
    }

    fn fill_store(&self, families: &mut Families) {
        let status = self.state.reader.status();
        let oldest = self.state.reader.earliest_store_time_of_all();
        let age = oldest.map_or(0, |oldest| self.state.clock.now().0 - oldest);
        let behind = |offset| status.max_physical.saturating_sub(offset);
        #[rustfmt::skip]
        let gauges = [
            ("rocketmq_storage_size", "Bytes of the CommitLog.", behind(status.min_physical)),
            ("rocketmq_storage_flush_behind_bytes", "Bytes stored and not yet on the disk.", behind(status.flushed)),
            ("rocketmq_storage_dispatch_behind_bytes", "Bytes stored and not yet to be consumed.", behind(status.dispatched)),
            ("rocketmq_storage_message_reserve_time", "Age of the oldest message, in milliseconds.", u64::try_from(age).unwrap_or(0)),
        ];
        for (name, help, value) in gauges {
            families.gauges(name, help, OF_STORAGE, [(["local", "disk"], value)]);
        }
        let (name, count) = ("arugula_commit_log_syncs_total", status.syncs.count);
        families.counter(name, "Syncs of the CommitLog.", count);
        let (name, time) = ("arugula_commit_log_sync_seconds_total", status.syncs.time);
        let help = "Time the syncs of the CommitLog took.";
        families.counter(name, help, time.as_secs_f64());
    }

    fn fill_deduplication(&self, families: &mut Families) {
        let (kept, forgotten) = {
            let recent = self.state.deduplication.lock();
            (recent.len(), recent.forgotten())
        };
        let repeats = self.state.deduplication.repeats();
        let help = "Messages that were sent again and not stored again.";
        families.counter("arugula_deduplicated_messages_total", help, repeats);
        let help = "Messages that would be recognized if they were sent again.";
        families.gauge("arugula_deduplication_messages", help, kept);
        let help = "Messages forgotten before their window was over.";
        families.counter("arugula_deduplication_forgotten_total", help, forgotten);
    }

    fn fill_transactions(&self, families: &mut Families) {
        let figures = self.transactions.figures();
        let help = "Age of the oldest of them, in milliseconds.";
        families.gauge(
            "arugula_transaction_oldest_half_age",
            help,
            figures.oldest_ms,
        );
        let open = figures.topics.iter().map(|of| ([&*of.topic], of.open));
        let help = "Half messages nobody has decided about.";
        families.gauges("rocketmq_half_messages", help, ["topic"], open);
        #[rustfmt::skip]
        let counts: [Column<OfTopic>; 4] = [
            ("rocketmq_commit_messages_total", "Transactions committed.", |of| of.committed),
            ("rocketmq_rollback_messages_total", "Transactions rolled back.", |of| of.rolled_back),
            ("arugula_transaction_discarded_total", "Half messages moved to TRANS_CHECK_MAX_TIME_TOPIC.", |of| of.discarded),
            ("arugula_transaction_checks_total", "Questions how a transaction ended.", |of| of.checks),
        ];
        for (name, help, count) in counts {
            let rows = figures.topics.iter().map(|of| ([&*of.topic], count(of)));
            families.counters(name, help, ["topic"], rows);
        }
    }

    fn is_system(&self, group: &str, topic: &str) -> &'static str {
        flag(names::is_system_group(group) || self.state.settings.now().is_system_topic(topic))
    }
}

/// Two families of counters over the same rows: messages, and their bytes.
fn add_traffic<const N: usize>(
    families: &mut Families,
    [(messages, of_messages), (bytes, of_bytes)]: [(&str, &str); 2],
    labels: [&str; N],
    rows: &[([&str; N], &Traffic)],
) {
    let counted = rows.iter().map(|(row, traffic)| (*row, traffic.messages()));
    families.counters(messages, of_messages, labels, counted);
    let counted = rows.iter().map(|(row, traffic)| (*row, traffic.bytes()));
    families.counters(bytes, of_bytes, labels, counted);
}

fn fill_timers(families: &mut Families, figures: &TimerFigures) {
    let behind = signed(figures.behind);
    #[rustfmt::skip]
    let gauges = [
        ("rocketmq_timer_enqueue_lag", "Timed messages stored and not yet filed.", behind),
        ("rocketmq_timer_enqueue_latency", "Age of the oldest timed message not yet filed, in milliseconds.", figures.filing_late_ms),
        ("rocketmq_timer_dequeue_lag", "Timed messages in memory, while more are due than one delivery takes.", figures.overdue),
        ("rocketmq_timer_dequeue_latency", "How late the timed messages delivered last were, in milliseconds.", figures.late_ms),
    ];
    for (name, help, value) in gauges {
        families.gauges(name, help, OF_STORAGE, [(["local", "disk"], value)]);
    }
    let bounds = SOON_S.map(|seconds| seconds.to_string());
    let soon = bounds.iter().zip(figures.soon);
    let soon = soon.map(|(bound, count)| ([&**bound, "local", "disk"], count));
    let help =
        "Timed messages that are due within so many seconds, and not within the bound before.";
    let labels = ["timer_bound_s", "storage_type", "storage_medium"];
    families.gauges("rocketmq_timer_message_snapshot", help, labels, soon);
    let rows = |count: fn(&TopicCount) -> i64| {
        let topics = figures.topics.iter();
        topics.map(move |(topic, counted)| ([&**topic, "local", "disk"], count(counted)))
    };
    let labels = ["topic", "storage_type", "storage_medium"];
    let (name, waiting) = ("rocketmq_timing_messages", rows(|count| count.waiting));
    families.gauges(name, "Timed messages that wait.", labels, waiting);
    let (name, filed) = (
        "rocketmq_timer_enqueue_total",
        rows(|count| signed(count.filed)),
    );
    families.counters(name, "Timed messages filed.", labels, filed);
    let delivered = rows(|count| signed(count.delivered));
    let name = "rocketmq_timer_dequeue_total";
    families.counters(name, "Timed messages delivered.", labels, delivered);
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn flag(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn is_retry(topic: &str) -> &'static str {
    flag(names::is_retry_topic(topic))
}

#[cfg(test)]
mod tests;
