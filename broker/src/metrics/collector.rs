//! The figures Prometheus asks for, under the names and labels of RocketMQ 5.

use crate::group_topic::GroupTopic;
use crate::lag::{QueueLag, queue_lags};
use crate::state::State;
use crate::timer::{SOON_S, TimerFigures, Timers, TopicCount};
use crate::topic::{MessageType, Traffic};
use crate::transaction::{TopicFigures, Transactions};
use common::names;
use common::server::{Families, register};
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
        let (name, help) = (
            "rocketmq_broker_permission",
            "What the broker allows: 4 reads, 2 writes.",
        );
        families.gauge(name, help, self.state.settings.now().broker_permission);
        families.gauge("rocketmq_topic_number", "Topics.", self.state.topics.len());
        families.gauge(
            "rocketmq_consumer_group_number",
            "Consumer groups.",
            self.state.groups.len(),
        );
        let topics = self.state.topics.all();
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
            (
                [&**group, &**topic, self.is_system(group, topic)],
                *messages,
            )
        });
        let (name, help) = (
            "rocketmq_send_to_dlq_messages_total",
            "Messages gone to dead letters.",
        );
        families.counters(name, help, ["consumer_group", "topic", "is_system"], deaths);
    }

    fn fill_lags(&self, families: &mut Families) {
        // Of light queues there may be any number.
        let is_shown = |(group, topic): &(String, String)| {
            let known = self.state.groups.contains(group) && self.state.topics.contains(topic);
            known && !names::is_light_queue(topic)
        };
        let mut pairs = self.state.offsets.pairs();
        pairs.retain(is_shown);
        let rows: Vec<_> = pairs
            .iter()
            .map(|(group, topic)| {
                let labels = [
                    &**group,
                    topic,
                    is_retry(topic),
                    self.is_system(group, topic),
                ];
                (
                    labels,
                    queue_lags(&self.state.offsets, &self.state.reader, group, topic),
                )
            })
            .collect();
        let now = self.state.clock.now().0;
        let oldest =
            |queues: &[QueueLag]| queues.iter().filter_map(|queue| queue.waiting_since).min();
        let mut add = |name, help, of: &dyn Fn(&[QueueLag]) -> i64| {
            families.gauges(
                name,
                help,
                OF_LAG,
                rows.iter().map(|(labels, queues)| (*labels, of(queues))),
            );
        };
        let count = |of: fn(&QueueLag) -> u64| {
            move |queues: &[QueueLag]| signed(queues.iter().map(of).sum())
        };
        add(
            "rocketmq_consumer_lag_messages",
            "Messages not yet consumed.",
            &count(QueueLag::messages),
        );
        add(
            "rocketmq_consumer_inflight_messages",
            "Messages pulled and not yet consumed.",
            &count(QueueLag::inflight),
        );
        add(
            "rocketmq_consumer_ready_messages",
            "Messages not yet pulled.",
            &count(QueueLag::ready),
        );
        add(
            "rocketmq_consumer_lag_latency",
            "Age of the oldest message not yet consumed, in milliseconds.",
            &|queues| oldest(queues).map_or(0, |stored| now - stored),
        );
    }

    fn fill_store(&self, families: &mut Families) {
        let status = self.state.reader.status();
        let oldest = self.state.reader.earliest_store_time_of_all();
        let reserved = oldest.map_or(0, |oldest| self.state.clock.now().0 - oldest);
        for (name, help, value) in [
            (
                "rocketmq_storage_size",
                "Bytes of the CommitLog.",
                status.max_physical - status.min_physical,
            ),
            (
                "rocketmq_storage_flush_behind_bytes",
                "Bytes stored and not yet on the disk.",
                status.max_physical.saturating_sub(status.flushed),
            ),
            (
                "rocketmq_storage_dispatch_behind_bytes",
                "Bytes stored and not yet to be consumed.",
                status.max_physical.saturating_sub(status.dispatched),
            ),
            (
                "rocketmq_storage_message_reserve_time",
                "Age of the oldest message, in milliseconds.",
                u64::try_from(reserved).unwrap_or(0),
            ),
        ] {
            families.gauges(name, help, OF_STORAGE, [(["local", "disk"], value)]);
        }
        families.counter(
            "arugula_commit_log_syncs_total",
            "Syncs of the CommitLog.",
            status.syncs.count,
        );
        let (name, help) = (
            "arugula_commit_log_sync_seconds_total",
            "Time the syncs of the CommitLog took.",
        );
        families.counter(name, help, status.syncs.time.as_secs_f64());
    }

    fn fill_deduplication(&self, families: &mut Families) {
        let (kept, forgotten) = {
            let recent = self.state.deduplication.lock();
            (recent.len(), recent.forgotten())
        };
        let (name, help) = (
            "arugula_deduplicated_messages_total",
            "Messages that were sent again and not stored again.",
        );
        families.counter(name, help, self.state.deduplication.repeats());
        let (name, help) = (
            "arugula_deduplication_messages",
            "Messages that would be recognized if they were sent again.",
        );
        families.gauge(name, help, kept);
        let (name, help) = (
            "arugula_deduplication_forgotten_total",
            "Messages forgotten before their window was over.",
        );
        families.counter(name, help, forgotten);
    }

    fn fill_transactions(&self, families: &mut Families) {
        let figures = self.transactions.figures();
        let (name, help) = (
            "arugula_transaction_oldest_half_age",
            "Age of the oldest of them, in milliseconds.",
        );
        families.gauge(name, help, figures.oldest_ms);
        let open = figures.topics.iter().map(|of| ([&*of.topic], of.open));
        families.gauges(
            "rocketmq_half_messages",
            "Half messages nobody has decided about.",
            ["topic"],
            open,
        );
        let mut add = |name, help, count: fn(&TopicFigures) -> u64| {
            let rows = figures.topics.iter().map(|of| ([&*of.topic], count(of)));
            families.counters(name, help, ["topic"], rows);
        };
        add(
            "rocketmq_commit_messages_total",
            "Transactions committed.",
            |of| of.committed,
        );
        add(
            "rocketmq_rollback_messages_total",
            "Transactions rolled back.",
            |of| of.rolled_back,
        );
        add(
            "arugula_transaction_discarded_total",
            "Half messages moved to TRANS_CHECK_MAX_TIME_TOPIC.",
            |of| of.discarded,
        );
        add(
            "arugula_transaction_checks_total",
            "Questions how a transaction ended.",
            |of| of.checks,
        );
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
    for (name, help, value) in [
        (
            "rocketmq_timer_enqueue_lag",
            "Timed messages stored and not yet filed.",
            i64::try_from(figures.behind).unwrap_or(i64::MAX),
        ),
        (
            "rocketmq_timer_enqueue_latency",
            "Age of the oldest timed message not yet filed, in milliseconds.",
            figures.filing_late_ms,
        ),
        (
            "rocketmq_timer_dequeue_lag",
            "Timed messages in memory, while more are due than one delivery takes.",
            figures.overdue,
        ),
        (
            "rocketmq_timer_dequeue_latency",
            "How late the timed messages delivered last were, in milliseconds.",
            figures.late_ms,
        ),
    ] {
        families.gauges(name, help, OF_STORAGE, [(["local", "disk"], value)]);
    }
    let bounds = SOON_S.map(|seconds| seconds.to_string());
    let soon = bounds.iter().zip(figures.soon);
    let (name, help) = (
        "rocketmq_timer_message_snapshot",
        "Timed messages that are due within so many seconds, and not within the bound before.",
    );
    let labels = ["timer_bound_s", "storage_type", "storage_medium"];
    let soon = soon.map(|(bound, count)| ([&**bound, "local", "disk"], count));
    families.gauges(name, help, labels, soon);
    let rows = |count: fn(&TopicCount) -> i64| {
        let topics = figures.topics.iter();
        topics.map(move |(topic, counted)| ([&**topic, "local", "disk"], count(counted)))
    };
    let labels = ["topic", "storage_type", "storage_medium"];
    let (name, help) = ("rocketmq_timing_messages", "Timed messages that wait.");
    families.gauges(name, help, labels, rows(|count| count.waiting));
    let mut add = |name, help, count| families.counters(name, help, labels, rows(count));
    add(
        "rocketmq_timer_enqueue_total",
        "Timed messages filed.",
        |count| signed(count.filed),
    );
    add(
        "rocketmq_timer_dequeue_total",
        "Timed messages delivered.",
        |count| signed(count.delivered),
    );
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
