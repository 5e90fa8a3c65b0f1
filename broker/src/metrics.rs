//! What passed through the broker. Counting costs a few additions; rates and sums are made when somebody asks.

mod collector;
mod rates;

pub use collector::BrokerFigures;
pub use rates::Rates;

use crate::group_topic::{GroupTopic, GroupTopicRef};
use crate::topic::{TopicTable, Traffic};
use common::clock::{Clock, Millis};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use rates::{Sample, Samples};
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

/// What was delivered to a group from a topic.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// The group and the topic.
    pub key: GroupTopic,
    /// How much.
    pub traffic: Arc<Traffic>,
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
                found: AtomicU64::new(0),
                missed: AtomicU64::new(0),
            }),
        }
    }

    /// Counts an answer with messages of `bytes` in all.
    pub fn delivered(&self, group: &str, topic: &str, messages: u64, bytes: u64) {
        self.shared.found.fetch_add(1, Relaxed);
        let key = GroupTopicRef { group, topic };
        if let Some(traffic) = self.shared.delivered.read().get(&key) {
            return traffic.add(messages, bytes);
        }
        let mut delivered = self.shared.delivered.write();
        delivered.entry_ref(&key).or_default().add(messages, bytes);
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
            .values()
            .map(|traffic| traffic.messages())
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
    pub fn deliveries(&self) -> Vec<Delivered> {
        let delivered = self.shared.delivered.read();
        delivered
            .iter()
            .map(|(key, traffic)| Delivered {
                key: key.clone(),
                traffic: Arc::clone(traffic),
            })
            .collect()
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
                self.shared.topics.sample_rates(elapsed.as_secs_f64());
                last_rates = sample.at;
                self.forget_deleted_topics();
            }
        }
    }
}
