//! Writing: append, and what producers wait for.

use std::sync::Arc;

use tokio::sync::watch;

use crate::batch::{Appended, RecordBatch};
use crate::clean::Clean;
use crate::commit_log::CommitLog;
use crate::config::FlushMode;
use crate::consume_queue::{Queue, QueueTable};
use crate::error::StoreError;
use crate::flush::{Flush, IndexFlush};
use crate::planted::{Fault, planted};
use crate::reput::{Fresh, Reput};

/// Appends to the store; clones are cheap.
#[derive(Clone)]
pub struct StoreWriter {
    pub(crate) log: Arc<CommitLog>,
    pub(crate) queues: Arc<QueueTable>,
    pub(crate) reput: Arc<Reput>,
    pub(crate) flush: Arc<Flush>,
    pub(crate) index: Arc<IndexFlush>,
    pub(crate) clean: Arc<Clean>,
    pub(crate) mode: FlushMode,
    pub(crate) property_crc: bool,
}

impl StoreWriter {
    /// The handle of a queue, made if it is not there.
    pub fn queue(&self, topic: &str, queue_id: u32) -> Arc<Queue> {
        self.queues.get_or_create(topic, queue_id)
    }

    /// An empty batch for messages of this store.
    pub fn batch(&self) -> RecordBatch {
        RecordBatch::new(self.property_crc)
    }

    /// Appends the batch under one lock. What was stored is in `appended`, in order, also on an
    /// error; `appended` is not cleared. With [`FlushMode::Async`] the messages are visible to
    /// consumers when this returns, or will be as soon as the thread that dispatches gets there.
    ///
    /// # Errors
    /// The rest was not stored: [`StoreError::DiskFull`], [`StoreError::Fenced`],
    /// [`StoreError::RecordTooLarge`], [`StoreError::ShuttingDown`] or [`StoreError::Io`].
    pub fn append_batch(
        &self,
        batch: &mut RecordBatch,
        appended: &mut Vec<Appended>,
    ) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        for entry in &mut batch.entries {
            if entry.queue.is_deleted() {
                entry.queue = self
                    .queues
                    .get_or_create(entry.queue.topic(), entry.queue.id());
            }
        }
        let before = appended.len();
        let outcome = self.log.append(batch, appended);
        match self.mode {
            FlushMode::Async => {
                let start = outcome.as_ref().ok();
                let appended = appended.get(before..).unwrap_or_default();
                let fresh = start.map(|start| Fresh {
                    start: *start,
                    batch,
                    appended,
                });
                self.reput.follow(|| self.log.end(), fresh);
            }
            FlushMode::Sync => {}
        }
        outcome.map(|_| ())
    }

    /// With [`FlushMode::Sync`]: has what was appended so far brought to the disk at once, and not with the next interval.
    /// Whoever has more to append in the same moment asks after that, for one sync takes it all.
    pub fn ask_for_flush(&self) {
        self.flush.ask();
    }

    /// The position up to which the log is on disk, and word of its growth. The channel closes
    /// when a sync has failed: what waits then was not made durable and never will be.
    pub fn flushed(&self) -> watch::Receiver<u64> {
        self.flush.flushed()
    }

    /// When a message counts as stored.
    pub fn flush_mode(&self) -> FlushMode {
        self.mode
    }

    /// Brings all that was appended so far to the disk. Blocks as long as that takes.
    ///
    /// # Errors
    /// The disk refuses; the log takes nothing more then.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.flush.flush()
    }

    /// Has everything that has expired deleted soon, at whatever hour.
    pub fn delete_expired(&self) {
        self.clean.ask();
    }

    /// Forgets a topic's queues; a topic of the same name begins at 0 again. Its messages stay in
    /// the log. Blocks for some syncs.
    ///
    /// # Errors
    /// Its files cannot be deleted, or what is left cannot be synced.
    pub fn delete_topic(&self, topic: &str) -> Result<(), StoreError> {
        // What was sent before the deletion must not be dispatched after it.
        if !planted(Fault::DeletedBeforeFlush) {
            self.flush.flush()?;
        }
        self.log.with_appends_held(|| self.queues.remove(topic));
        self.index.delete_files(topic)
    }
}
