//! Writing: append, and what producers wait for.

use std::sync::Arc;

use common::message::properties::{self, MAX_PROPERTIES_BYTES};
use common::message::property_crc;
use common::message::record::{self, RecordError, RecordParts};
use common::names;
use tokio::sync::watch;

use crate::batch::{Appended, RecordBatch};
use crate::commit_log::place::BLANK_BYTES;
use crate::config::{FlushMode, RetentionConfig};
use crate::consume_queue::Queue;
use crate::error::StoreError;
use crate::open::Parts;
use crate::planted::{Fault, planted};
use crate::reput::Fresh;

/// Appends to the store; clones are cheap.
#[derive(Clone)]
pub struct StoreWriter(pub(crate) Arc<Parts>);

impl StoreWriter {
    /// The handle of a queue, made if it is not there.
    pub fn queue(&self, topic: &str, queue_id: u32) -> Arc<Queue> {
        self.0.queues.get_or_create(topic, queue_id)
    }

    /// Whether a message that names these light queues, separated by commas, would add one, and how many there are.
    pub fn light_queues(&self, named: &str) -> (bool, usize) {
        let is_new =
            |name: &str| names::is_light_queue(name) && self.0.queues.get(name, 0).is_none();
        (named.split(',').any(is_new), self.0.queues.count_light())
    }

    /// An empty batch for messages of this store.
    pub fn batch(&self) -> RecordBatch {
        let light = self.0.queues.light.then(|| Arc::clone(&self.0.queues));
        RecordBatch::new(self.0.config.property_crc.write, light)
    }

    /// Whether a record of these parts can be stored.
    ///
    /// # Errors
    /// [`StoreError::Record`] or [`StoreError::RecordTooLarge`]: it can never be.
    pub fn check(&self, parts: &RecordParts<'_>) -> Result<(), StoreError> {
        let room = if self.0.config.property_crc.write {
            property_crc::PROPERTY_BYTES
        } else {
            0
        };
        let mut bytes = u64::from(record::check(parts)?) + room as u64;
        if parts.properties.contains(properties::INNER_MULTI_DISPATCH) {
            // Such a record grows by offsets.
            let mut trial = self.batch();
            trial.push(&self.queue(parts.topic, parts.queue_id), parts)?;
            bytes = trial.bytes() as u64;
        }
        let limit = self.0.log.segments.bytes - BLANK_BYTES;
        if bytes > limit {
            return Err(StoreError::RecordTooLarge { bytes, limit });
        }
        let properties = parts.properties.len() + room;
        if properties > MAX_PROPERTIES_BYTES {
            return Err(RecordError::PropertiesTooLong { bytes: properties }.into());
        }
        Ok(())
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
        batch.renew(&self.0.queues);
        let before = appended.len();
        let outcome = self.0.log.append(batch, appended);
        match self.0.config.flush_mode {
            FlushMode::Async => {
                let start = outcome.as_ref().ok();
                let appended = appended.get(before..).unwrap_or_default();
                let fresh = start.map(|start| Fresh {
                    start: *start,
                    batch,
                    appended,
                });
                self.0.reput.follow(|| self.0.log.end(), fresh);
            }
            FlushMode::Sync => {}
        }
        outcome.map(|_| ())
    }

    /// With [`FlushMode::Sync`]: has what was appended so far brought to the disk at once, and not with the next interval.
    /// Whoever has more to append in the same moment asks after that, for one sync takes it all.
    pub fn ask_for_flush(&self) {
        self.0.flush.ask();
    }

    /// The position up to which the log is on disk, and word of its growth. The channel closes
    /// when a sync has failed: what waits then was not made durable and never will be.
    pub fn flushed(&self) -> watch::Receiver<u64> {
        self.0.flush.flushed()
    }

    /// When a message counts as stored.
    pub fn flush_mode(&self) -> FlushMode {
        self.0.config.flush_mode
    }

    /// Brings all that was appended so far to the disk. Blocks as long as that takes.
    ///
    /// # Errors
    /// The disk refuses; the log takes nothing more then.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.0.flush.flush()
    }

    /// Deletes old files by these settings from now on.
    pub fn set_retention(&self, retention: RetentionConfig) {
        self.0.clean.apply(retention);
    }

    /// Has everything that has expired deleted soon, at whatever hour.
    pub fn delete_expired(&self) {
        self.0.clean.ask();
    }

    /// Forgets a topic's queues; a topic of the same name begins at 0 again. Its messages stay in
    /// the log. Blocks for some syncs.
    ///
    /// # Errors
    /// Its files cannot be deleted, or what is left cannot be synced.
    pub fn delete_topic(&self, topic: &str) -> Result<(), StoreError> {
        // What was sent before the deletion must not be dispatched after it.
        if !planted(Fault::DeletedBeforeFlush) {
            self.0.flush.flush()?;
        }
        self.0.log.with_appends_held(|| self.0.queues.remove(topic));
        self.0.index.delete_files(topic)
    }
}
