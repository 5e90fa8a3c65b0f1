//! One topic as the broker holds it: its configuration, what follows from it, and what passed through.

use common::wire::body::{TopicConfig, TopicFilterType};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A topic. Its configuration is what it derefs to; a changed configuration is another `Topic` with the same counters.
#[derive(Debug)]
pub struct Topic {
    config: TopicConfig,
    compacted: bool,
    batch_queue: bool,
    system: bool,
    /// Counter of the table's version that this configuration came with.
    pub(super) since: i64,
    counters: Arc<TopicCounters>,
}

impl Topic {
    pub(super) fn new(
        config: TopicConfig,
        system: bool,
        since: i64,
        counters: Arc<TopicCounters>,
    ) -> Self {
        let has = |key: &str, value: &str| config.attributes.get(key).is_some_and(|is| is == value);
        Self {
            compacted: has("cleanup.policy", "COMPACTION"),
            batch_queue: has("queue.type", "BatchCQ"),
            system,
            since,
            counters,
            config,
        }
    }

    /// True when only the last message of each key is kept, so that every message needs one.
    pub fn is_compacted(&self) -> bool {
        self.compacted
    }

    /// True when a batch is stored as one record.
    pub fn is_batch_queue(&self) -> bool {
        self.batch_queue
    }

    /// True when a message may have several tags.
    pub fn has_multi_tags(&self) -> bool {
        self.config.topic_filter_type == TopicFilterType::MultiTag
    }

    /// True for the broker's own topics.
    pub fn is_system(&self) -> bool {
        self.system
    }

    /// What was stored in the topic.
    pub fn counters(&self) -> &TopicCounters {
        &self.counters
    }

    pub(super) fn shared_counters(&self) -> Arc<TopicCounters> {
        Arc::clone(&self.counters)
    }
}

impl Deref for Topic {
    type Target = TopicConfig;

    fn deref(&self) -> &TopicConfig {
        &self.config
    }
}

/// What a message is, as the metrics tell it. Named as the values of the attribute `message.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType {
    /// Nothing special.
    Normal,
    /// Ordered by a sharding key.
    Fifo,
    /// Delivered later.
    Delay,
    /// Part of a transaction.
    Transaction,
}

impl MessageType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Normal, Self::Fifo, Self::Delay, Self::Transaction];

    /// The label of the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Fifo => "fifo",
            Self::Delay => "delay",
            Self::Transaction => "transaction",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Normal => 0,
            Self::Fifo => 1,
            Self::Delay => 2,
            Self::Transaction => 3,
        }
    }
}

/// Messages and bytes of one kind.
#[derive(Debug, Default)]
pub struct Traffic {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Traffic {
    /// Counts messages of `bytes` in all.
    pub fn add(&self, messages: u64, bytes: u64) {
        self.messages.fetch_add(messages, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Messages counted.
    pub fn messages(&self) -> u64 {
        self.messages.load(Relaxed)
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

/// What was stored in a topic since the broker started.
#[derive(Debug, Default)]
pub struct TopicCounters {
    stored: [Traffic; 4],
    sampled: AtomicU64,
    /// Messages per second when last sampled, as the bits of a float.
    rate: AtomicU64,
}

impl TopicCounters {
    /// Counts stored messages of one kind: two additions.
    pub fn stored(&self, kind: MessageType, messages: u64, bytes: u64) {
        self.stored[kind.index()].add(messages, bytes);
    }

    /// Messages and bytes of all kinds.
    pub fn total(&self) -> (u64, u64) {
        let each = self
            .stored
            .iter()
            .map(|kind| (kind.messages(), kind.bytes()));
        each.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Messages stored per second when last sampled.
    pub fn rate(&self) -> f64 {
        f64::from_bits(self.rate.load(Relaxed))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate is shown with few digits"
    )]
    pub(super) fn sample_rate(&self, seconds: f64) {
        let messages = self.total().0;
        let before = self.sampled.swap(messages, Relaxed);
        let rate = messages.saturating_sub(before) as f64 / seconds;
        self.rate.store(rate.to_bits(), Relaxed);
    }

    /// What was stored of one kind.
    pub fn of(&self, kind: MessageType) -> &Traffic {
        &self.stored[kind.index()]
    }
}
