//! What passed through the broker. Counting costs a few additions; rates and sums are made when somebody asks.

mod collector;
mod rates;

pub use collector::BrokerFigures;
pub use rates::Rates;

use crate::group_topic::{GroupTopic, GroupTopicRef};
use crate::topic::{TopicTable, Traffic};
use common::clock::{Clock, Millis};
use common::names::SCHEDULE_GROUP;
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use rates::{Sample, Samples};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Time between two samples.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// Samples between two rates of the topics.
const TOPIC_RATE_SAMPLES: u32 = 10;

/// What passed through the broker. Clones are handles of the same figures.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    topics: TopicTable,
    clock: Arc<dyn Clock>,
    started: Millis,
    delivered: RwLock<HashMap<GroupTopic, Arc<Traffic>>>,
    /// Messages gone to dead letters.
    died: Mutex<BTreeMap<(String, String), u64>>,
    found: AtomicU64,
    missed: AtomicU64,
    samples: Mutex<Samples>,
}

/// Sums since the broker started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages stored.
    pub put: u64,
    /// Bytes of the bodies stored.
    pub put_bytes: u64,
    /// Pulls that found messages.
    pub found: u64,
    /// Pulls that found none.
    pub missed: u64,
    /// Messages delivered.
    pub delivered: u64,
}

impl Metrics {
    /// Figures of a broker that starts now.
    pub fn new(topics: TopicTable, clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Arc::new(Shared {
                topics,
                started: clock.now(),
                samples: Mutex::new(Samples::new(clock.now())),
                clock,
                delivered: RwLock::default(),
                died: Mutex::default(),
                found: AtomicU64::new(0),
                missed: AtomicU64::new(0),
            }),
        }
    }

    /// Counts an answer with messages of `bytes` in all.
    pub fn delivered(&self, group: &str, topic: &str, messages: u64, bytes: u64) {
        self.shared.found.fetch_add(1, Relaxed);
        self.passed_on(group, topic, messages, bytes);
    }

    /// Counts messages that the broker has taken from a topic itself.
    pub fn passed_on(&self, group: &str, topic: &str, messages: u64, bytes: u64) {
        let key = GroupTopicRef { group, topic };
        if let Some(traffic) = self.shared.delivered.read().get(&key) {
            return traffic.add(messages, bytes);
        }
        let mut delivered = self.shared.delivered.write();
        delivered.entry_ref(&key).or_default().add(messages, bytes);
    }

    /// Counts a message of a topic that has gone to the dead letters of a group.
    pub fn died(&self, group: &str, topic: &str) {
        let key = (group.to_owned(), topic.to_owned());
        *self.shared.died.lock().entry(key).or_default() += 1;
    }

    /// Messages that have gone to dead letters, by group and topic.
    pub fn deaths(&self) -> BTreeMap<(String, String), u64> {
        self.shared.died.lock().clone()
    }

    /// Counts an answer without messages.
    pub fn missed(&self) {
        self.shared.missed.fetch_add(1, Relaxed);
    }

    /// Forgets what was delivered from topics that are gone.
    fn forget_deleted_topics(&self) {
        let topics = &self.shared.topics;
        self.shared
            .delivered
            .write()
            .retain(|key, _| topics.contains(&key.topic));
        self.shared
            .died
            .lock()
            .retain(|(_, topic), _| topics.contains(topic));
    }

    /// When the broker started.
    pub fn started(&self) -> Millis {
        self.shared.started
    }

    /// Sums since the broker started.
    pub fn totals(&self) -> Totals {
        let (put, put_bytes) = self.shared.topics.stored();
        let delivered = self
            .shared
            .delivered
            .read()
            .iter()
            // The broker is no consumer.
            .filter(|(key, _)| *key.group != *SCHEDULE_GROUP)
            .map(|(_, traffic)| traffic.messages())
            .sum();
        Totals {
            put,
            put_bytes,
            found: self.shared.found.load(Relaxed),
            missed: self.shared.missed.load(Relaxed),
            delivered,
        }
    }

    /// Everything delivered since the broker started.
    pub fn deliveries(&self) -> HashMap<GroupTopic, Arc<Traffic>> {
        self.shared.delivered.read().clone()
    }

    /// Messages of a topic that a group was given per second, lately.
    pub fn delivery_rate(&self, group: &str, topic: &str) -> f64 {
        let delivered = self.shared.delivered.read();
        let traffic = delivered.get(&GroupTopicRef { group, topic });
        traffic.map_or(0.0, |traffic| traffic.rate())
    }

    /// Rates over the last 10 seconds, minute and 10 minutes, and sums of the days.
    pub fn rates(&self) -> Rates {
        let now = self.sample();
        self.shared.samples.lock().rates(now)
    }

    fn sample(&self) -> Sample {
        Sample {
            at: self.shared.clock.monotonic(),
            totals: self.totals(),
        }
    }

    /// Takes a sample every second, for as long as the task lives.
    pub async fn run(self) {
        let mut ticks = tokio::time::interval(SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last_rates = self.shared.clock.monotonic();
        for count in 0_u32.. {
            ticks.tick().await;
            let sample = self.sample();
            self.shared
                .samples
                .lock()
                .push(sample, self.shared.clock.now());
            let elapsed = sample.at.saturating_sub(last_rates);
            if count.is_multiple_of(TOPIC_RATE_SAMPLES) && !elapsed.is_zero() {
                let seconds = elapsed.as_secs_f64();
                self.shared.topics.sample_rates(seconds);
                for traffic in self.shared.delivered.read().values() {
                    traffic.sample_rate(seconds);
                }
                last_rates = sample.at;
                self.forget_deleted_topics();
            }
        }
    }
}
