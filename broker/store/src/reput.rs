//! Following the log: each record becomes a unit of its queue.
//!
//! Whoever moves the frontier up to which consumers may see calls [`Reput::follow`]. One thread at
//! a time does the work; one that comes meanwhile leaves, and the first looks again before it goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};

use common::message::record::RecordView;
use common::message::{sys_flag, tags_code};
use parking_lot::Mutex;

use crate::batch::{Appended, RecordBatch};
use crate::commit_log::CommitLog;
use crate::commit_log::recover::{Step, step};
use crate::consume_queue::{Queue, QueueTable, Unit};
use crate::error::StoreError;
use crate::index::IndexTable;
use crate::index::keys::{Keys, TopicHash, is_indexed};
use crate::late;
use crate::planted::{Fault, planted};
use crate::schedule::DelayLevel;

/// Told about messages in watched queues, by the thread that dispatches. Must not block.
pub trait Arrivals: Send + Sync + 'static {
    /// `queue` now ends at `max_offset`; its newest message has these tags and this store time.
    fn arrived(&self, queue: &Arc<Queue>, max_offset: u64, tags_code: i64, store_timestamp: i64);
}

/// The dispatch position and what it feeds.
pub(crate) struct Reput {
    pub(crate) log: Arc<CommitLog>,
    queues: Arc<QueueTable>,
    /// `None` when keys are not indexed.
    pub(crate) index: Option<Arc<IndexTable>>,
    arrivals: Arc<dyn Arrivals>,
    working: Mutex<()>,
    /// Everything below has its unit.
    dispatched: AtomicU64,
    /// Start and store time of the last record dispatched.
    last_start: AtomicU64,
    last_timestamp: AtomicI64,
}

/// Records of the batch that was just appended from `start` on.
#[derive(Clone, Copy)]
pub(crate) struct Fresh<'a> {
    pub(crate) start: u64,
    pub(crate) batch: &'a RecordBatch,
    pub(crate) appended: &'a [Appended],
}

/// How far dispatch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// All records below have their unit.
    pub(crate) dispatched: u64,
    /// Start of the last of them; 0 before the first.
    pub(crate) last_start: u64,
    /// Its store time.
    pub(crate) last_timestamp: i64,
}

impl Reput {
    pub(crate) fn new(
        log: Arc<CommitLog>,
        queues: Arc<QueueTable>,
        index: Option<Arc<IndexTable>>,
        arrivals: Arc<dyn Arrivals>,
        mark: Mark,
    ) -> Self {
        Self {
            log,
            queues,
            index,
            arrivals,
            working: Mutex::new(()),
            dispatched: AtomicU64::new(mark.dispatched),
            last_start: AtomicU64::new(mark.last_start),
            last_timestamp: AtomicI64::new(mark.last_timestamp),
        }
    }

    /// Everything below has its unit.
    pub(crate) fn dispatched(&self) -> u64 {
        self.dispatched.load(Ordering::Acquire)
    }

    /// How far dispatch has come.
    pub(crate) fn mark(&self) -> Mark {
        loop {
            let last_start = self.last_start.load(Ordering::Acquire);
            let last_timestamp = self.last_timestamp.load(Ordering::Acquire);
            let dispatched = self.dispatched();
            // The last record is noted before its end: between the two it does not count yet.
            if last_start < dispatched || dispatched == 0 {
                return Mark {
                    dispatched,
                    last_start,
                    last_timestamp,
                };
            }
            std::hint::spin_loop();
        }
    }

    /// A wrong mark: of records that are not dispatched.
    pub(crate) fn mark_at_end(&self) -> Mark {
        Mark {
            dispatched: self.log.end(),
            ..self.mark()
        }
    }

    /// Dispatches up to `limit`, which may move meanwhile, unless another thread is at it. `fresh`
    /// need not be read back from the log if nobody was faster.
    pub(crate) fn follow(&self, limit: impl Fn() -> u64, mut fresh: Option<Fresh<'_>>) {
        loop {
            // The frontier was moved before this and is looked at after it, by everybody: of a
            // thread that finds the lock taken and one that gives it back, one sees the other.
            fence(Ordering::SeqCst);
            if self.dispatched() >= limit() {
                return;
            }
            let Some(_working) = self.working.try_lock() else {
                return;
            };
            if let Some(fresh) = fresh.take()
                && self.dispatched() == fresh.start
            {
                self.take_fresh(fresh);
            }
            if !self.catch_up(limit()) {
                return;
            }
        }
    }

    /// Dispatches up to `limit`; it is done when this returns, by whichever thread.
    pub(crate) fn complete(&self, limit: impl Fn() -> u64) {
        let working = self.working.lock();
        self.catch_up(limit());
        drop(working);
        // Whoever found the lock taken relies on this.
        self.follow(limit, None);
    }

    /// Runs `work` while nothing is dispatched. [`Self::follow`] has to be called afterwards.
    pub(crate) fn hold(&self, work: impl FnOnce()) {
        let _working = self.working.lock();
        work();
    }

    fn take_fresh(
        &self,
        Fresh {
            batch, appended, ..
        }: Fresh<'_>,
    ) {
        if let Some(index) = &self.index {
            let mut intake = index.intake();
            for ((_, hashes), stored) in batch.records().zip(appended) {
                intake.push(
                    stored.physical_offset.0,
                    stored.store_timestamp,
                    hashes.iter().copied(),
                );
            }
        }
        for (entry, stored) in batch.entries.iter().zip(appended) {
            if entry.messages > 0 {
                let unit = Unit {
                    physical_offset: stored.physical_offset.0,
                    bytes: stored.bytes,
                    tags_code: entry.delay_level.map_or(entry.tags_code, |level| {
                        self.queues.delays.due(level, stored.store_timestamp)
                    }),
                    base: stored.queue_offset.0,
                    messages: entry.messages,
                    store_timestamp: stored.store_timestamp,
                };
                self.add(&entry.queue, unit);
                for (queue, base) in entry.late.iter().flat_map(|late| late.dispatched()) {
                    self.add(queue, unit.as_message(*base));
                }
            }
        }
        if let Some(last) = appended.last() {
            self.passed(last.physical_offset.0, last.store_timestamp, last.end());
        }
    }

    fn passed(&self, start: u64, store_timestamp: i64, end: u64) {
        self.last_start.store(start, Ordering::Release);
        self.last_timestamp
            .store(store_timestamp, Ordering::Release);
        self.dispatched.store(end, Ordering::Release);
    }

    /// True when it came as far as `limit`.
    fn catch_up(&self, limit: u64) -> bool {
        let segment_bytes = self.log.segments.bytes;
        let mut at = self.dispatched();
        while at < limit {
            let segment_end = at - at % segment_bytes + segment_bytes;
            let readable = usize::try_from(limit.min(segment_end) - at).unwrap_or(usize::MAX);
            let Some(bytes) = self.log.segments.view(at, readable) else {
                return false;
            };
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                match step(rest, at) {
                    Step::Record(record) => {
                        self.dispatch(at, &record);
                        let end = at + u64::from(record.total_size);
                        self.passed(at, record.store_timestamp, end);
                        rest = &rest[usize::try_from(record.total_size).unwrap_or(0)..];
                        at = end;
                    }
                    Step::Blank => {
                        at = segment_end;
                        self.dispatched.store(at, Ordering::Release);
                        break;
                    }
                    Step::End | Step::Missing => {
                        // Only what this process wrote, or recovery has checked, is below the
                        // limit: somebody else has changed the file.
                        let source = std::io::Error::other(format!("no record at position {at}"));
                        let path = self.log.segments.path_of(at);
                        let op = "dispatch";
                        self.log.fence(&StoreError::Io { op, path, source });
                        return false;
                    }
                }
            }
        }
        true
    }

    fn dispatch(&self, at: u64, record: &RecordView<'_>) {
        let properties = record.properties_text();
        let (topic, keys) = (record.topic_text(), Keys::of(&properties));
        if let Some(index) = &self.index
            && is_indexed(record.sys_flag)
        {
            let (hashes, mut intake) = (keys.hashes(TopicHash::of(&topic)), index.intake());
            intake.push(at, record.store_timestamp, hashes);
        }
        if !sys_flag::is_queued(record.sys_flag) {
            return;
        }
        let (Ok(queue_id), Ok(offset)) = (
            u32::try_from(record.queue_id),
            u64::try_from(record.queue_offset),
        ) else {
            tracing::error!(
                at,
                "a record names a negative queue or offset; no consumer sees it"
            );
            return;
        };
        let queue = self.queues.get_or_create(&topic, queue_id);
        let unit = Unit {
            tags_code: match DelayLevel::of(record.topic, record.properties) {
                Some(level) => self.queues.delays.due(level, record.store_timestamp),
                None => keys.tags.map_or(0, tags_code),
            },
            ..Unit::of(queue.kind(), at, record, offset)
        };
        self.add(&queue, unit);
        if self.queues.light && !planted(Fault::LightNotDispatchedAgain) {
            for (name, base) in late::stored(&topic, &properties) {
                self.add(&self.queues.get_or_create(name, 0), unit.as_message(base));
            }
        }
    }

    fn add(&self, queue: &Arc<Queue>, unit: Unit) {
        if !queue.push(unit) {
            return;
        }
        self.queues.note_dirty(queue);
        if queue.is_watched() {
            let (tags_code, time) = (unit.tags_code, unit.store_timestamp);
            self.arrivals.arrived(queue, unit.next(), tags_code, time);
        }
    }
}
