//! Messages that producers send again, because they did not hear that the first one was stored.
//!
//! In topics that ask for it (`deduplication.window.ms`, or `deduplicationWindowMs` for all), a message with the unique key
//! and the body of one stored within the window is answered as that one was, and not stored again. The table is derived: it
//! holds what the log says of the window, and is read from there at the start. It is bounded: with too many messages the
//! oldest are forgotten before their window is over, which is counted.

mod rebuild;
mod table;

pub use table::{Fingerprint, First, Recent};

use crate::config::BrokerConfig;
use crate::topic::Topic;
use common::clock::Clock;
use parking_lot::{Mutex, MutexGuard};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The messages that would be recognized, in all topics. Clones are handles of the same table.
#[derive(Clone)]
pub struct Deduplication {
    recent: Arc<Mutex<Recent>>,
    hashing: RandomState,
    /// The window of topics that do not say it themselves, as it was at the start.
    default_window: i64,
    broker_name: String,
    clock: Arc<dyn Clock>,
    repeats: Arc<AtomicU64>,
    /// Messages forgotten too early that the last warning was about, and those before.
    told: Arc<AtomicU64>,
}

impl Deduplication {
    /// An empty table.
    pub fn new(config: &BrokerConfig, clock: Arc<dyn Clock>) -> Self {
        let limit = usize::try_from(config.deduplication_max_messages).unwrap_or(usize::MAX);
        Self {
            recent: Arc::new(Mutex::new(Recent::new(limit))),
            hashing: RandomState::new(),
            default_window: config.deduplication_window_ms.into(),
            broker_name: config.broker_name.clone(),
            clock,
            repeats: Arc::default(),
            told: Arc::default(),
        }
    }

    /// What a message's topic and unique key contribute to its [`Fingerprint`]. A topic that was deleted and made again is
    /// another one.
    pub fn hash(&self, topic: &Topic, unique_key: &str) -> u64 {
        self.hashing.hash_one((topic.identity(), unique_key))
    }

    /// The table, for a look at it and the append that follows: whoever holds it is the only one to append to topics with a
    /// window.
    pub fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock()
    }

    /// Counts messages that were not stored again.
    pub fn count(&self, repeats: usize) {
        self.repeats.fetch_add(repeats as u64, Relaxed);
    }

    /// Messages that were not stored again.
    pub fn repeats(&self) -> u64 {
        self.repeats.load(Relaxed)
    }

    /// Forgets messages whose window is over.
    pub fn sweep(&self) {
        let now = self.clock.now().0;
        let (held, forgotten) = {
            let mut recent = self.recent.lock();
            recent.expire(now);
            recent.give_back_memory();
            (recent.len(), recent.forgotten())
        };
        let forgotten = forgotten - self.told.swap(forgotten, Relaxed);
        if forgotten > 0 {
            tracing::warn!(
                forgotten,
                held,
                "messages were forgotten before their window was over: resends of them are stored again; deduplicationMaxMessages may be raised"
            );
        }
    }
}
