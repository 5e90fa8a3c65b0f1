//! One topic as the broker holds it: its configuration, what follows from it, and what passed through.

use crate::attributes::DEDUPLICATION_WINDOW;
use common::names;
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
    takes: Option<MessageType>,
    /// Milliseconds; 0: never. `None`: as the broker's settings say.
    deduplication: Option<i64>,
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
            takes: takes(&config, system),
            deduplication: window(&config, system),
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

    /// The only kind of message that the topic is for; `None` when it is for all.
    pub fn takes(&self) -> Option<MessageType> {
        self.takes
    }

    /// Milliseconds in which a message that is sent again is not stored again, `default` where the topic does not say;
    /// `None` where it always is.
    pub fn deduplication_window(&self, default: i64) -> Option<i64> {
        let window = self.deduplication.unwrap_or(default);
        (window > 0).then_some(window)
    }

    /// Tells topics of the same name apart of which one was deleted before the other was made.
    pub fn identity(&self) -> u64 {
        self.counters.identity
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

/// What `message.type` says. A topic without it is for normal messages, as with the reference; only what the broker and
/// the redeliveries of groups need is never restricted.
fn takes(config: &TopicConfig, system: bool) -> Option<MessageType> {
    if system || names::is_retry_or_dlq(&config.topic_name) {
        return None;
    }
    let Some(named) = config.attributes.get("message.type") else {
        return Some(MessageType::Normal);
    };
    let mut kinds = MessageType::ALL.into_iter();
    kinds.find(|kind| kind.as_str().eq_ignore_ascii_case(named))
}

/// What `deduplication.window.ms` says. Redeliveries are the same message every time.
fn window(config: &TopicConfig, system: bool) -> Option<i64> {
    if system || names::is_retry_or_dlq(&config.topic_name) {
        return Some(0);
    }
    config.attributes.get(DEDUPLICATION_WINDOW)?.parse().ok()
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
    /// With a priority.
    Priority,
    /// For a light queue.
    Lite,
}

impl MessageType {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Normal,
        Self::Fifo,
        Self::Delay,
        Self::Transaction,
        Self::Priority,
        Self::Lite,
    ];

    /// The label of the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Fifo => "fifo",
            Self::Delay => "delay",
            Self::Transaction => "transaction",
            Self::Priority => "priority",
            Self::Lite => "lite",
        }
    }
}

/// Messages and bytes of one kind.
#[derive(Debug, Default)]
pub struct Traffic {
    messages: AtomicU64,
    bytes: AtomicU64,
    sampled: AtomicU64,
    /// Messages per second when last sampled, as the bits of a float.
    rate: AtomicU64,
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

    /// Messages per second when last sampled.
    pub fn rate(&self) -> f64 {
        f64::from_bits(self.rate.load(Relaxed))
    }

    /// Takes the rate, as the mean of the `seconds` since it was last taken.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate is shown with few digits"
    )]
    pub fn sample_rate(&self, seconds: f64) {
        let messages = self.messages();
        let before = self.sampled.swap(messages, Relaxed);
        let rate = messages.saturating_sub(before) as f64 / seconds;
        self.rate.store(rate.to_bits(), Relaxed);
    }
}

/// What was stored in a topic since the broker started.
#[derive(Debug)]
pub struct TopicCounters {
    identity: u64,
    stored: [Traffic; MessageType::ALL.len()],
}

impl Default for TopicCounters {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            identity: NEXT.fetch_add(1, Relaxed),
            stored: Default::default(),
        }
    }
}

impl TopicCounters {
    /// Counts stored messages of one kind: two additions.
    pub fn stored(&self, kind: MessageType, messages: u64, bytes: u64) {
        self.stored[kind as usize].add(messages, bytes);
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
        self.stored.iter().map(Traffic::rate).sum()
    }

    pub(super) fn sample_rate(&self, seconds: f64) {
        self.stored
            .iter()
            .for_each(|kind| kind.sample_rate(seconds));
    }

    /// What was stored of one kind.
    pub fn of(&self, kind: MessageType) -> &Traffic {
        &self.stored[kind as usize]
    }
}
