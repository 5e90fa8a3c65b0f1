//! Bringing things to the disk: the log continuously or by a timer, indexes and checkpoint by a
//! timer.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::clock::Clock;
use common::thread::Bell;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::checkpoint::{Checkpoint, CheckpointFile};
use crate::commit_log::CommitLog;
use crate::config::{FlushMode, StoreConfig};
use crate::consume_queue::QueueTable;
use crate::error::StoreError;
use crate::index::IndexMark;
use crate::planted::{Fault, planted};
use crate::reput::{Mark, Reput};

/// Time between two syncs of the indexes. What is dispatched in between is dispatched again after
/// a crash; the longer it is, the fewer syncs compete with those of the log.
const INDEX_SYNC_INTERVAL: Duration = Duration::from_secs(10);

/// Bytes of the log after which the indexes are synced sooner: recovery reads about as much.
const INDEX_SYNC_BYTES: u64 = 1 << 30;

/// The log's way to the disk.
pub(crate) struct Flush {
    log: Arc<CommitLog>,
    reput: Arc<Reput>,
    mode: FlushMode,
    interval: Duration,
    clock: Arc<dyn Clock>,
    /// Everything below is on disk. Gone when a sync has failed: it will not move again.
    flushed: Mutex<Option<watch::Sender<u64>>>,
    receiver: watch::Receiver<u64>,
    /// As `flushed`, but moved before messages are dispatched; `flushed` is moved after it, so that
    /// a message whose sender has waited for the disk can be consumed.
    durable: AtomicU64,
    /// One sync at a time: the next one covers all that came meanwhile.
    syncing: Mutex<()>,
    syncs: Mutex<Syncs>,
    bell: Bell,
}

/// Syncs of the log so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Syncs {
    /// How many.
    pub count: u64,
    /// How long they took, all together.
    pub time: Duration,
}

impl Flush {
    pub(crate) fn new(
        config: &StoreConfig,
        log: Arc<CommitLog>,
        reput: Arc<Reput>,
        clock: Arc<dyn Clock>,
        flushed: u64,
    ) -> Self {
        let (sender, receiver) = watch::channel(flushed);
        Self {
            log,
            reput,
            mode: config.flush_mode,
            interval: config.flush_interval,
            clock,
            flushed: Mutex::new(Some(sender)),
            receiver,
            durable: AtomicU64::new(flushed),
            syncing: Mutex::default(),
            syncs: Mutex::default(),
            bell: Bell::default(),
        }
    }

    /// What is on disk, and word of its growth; closed once it cannot grow any more.
    pub(crate) fn flushed(&self) -> watch::Receiver<u64> {
        self.receiver.clone()
    }

    /// How far consumers may see.
    pub(crate) fn visible_limit(&self) -> u64 {
        match self.mode {
            FlushMode::Async => self.log.end(),
            FlushMode::Sync if planted(Fault::VisibleBeforeSync) => self.log.end(),
            FlushMode::Sync => self.durable.load(Ordering::SeqCst),
        }
    }

    /// Something was appended that waits for the disk.
    pub(crate) fn ask(&self) {
        self.bell.ring();
    }

    /// The flush thread: without a pause while something waits, else once per interval. Intervals
    /// are counted from the start of one sync to that of the next: what a crash can take is as old
    /// as an interval and the sync after it, however long the disk takes.
    pub(crate) fn run(&self) {
        let mut next = self.clock.monotonic() + self.interval;
        while self.bell.wait(next.saturating_sub(self.clock.monotonic())) {
            next = self.clock.monotonic() + self.interval;
            // A failure has fenced the log and is told to everybody who appends or waits.
            let _ = self.flush();
        }
    }

    /// Syncs all that was appended before the call, and dispatches it.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        let _syncing = self.syncing.lock();
        let (from, target) = (self.durable.load(Ordering::SeqCst), self.log.end());
        if planted(Fault::AcknowledgeBeforeSync)
            && let Some(flushed) = &*self.flushed.lock()
        {
            flushed.send_replace(target);
        }
        if from < target {
            self.sync(from, target)?;
        }
        let target = if planted(Fault::FlushedReadAfterSync) {
            self.log.end()
        } else {
            target
        };
        self.reput.complete(|| self.visible_limit());
        if let Some(flushed) = &*self.flushed.lock() {
            flushed.send_if_modified(|published| std::mem::replace(published, target) != target);
        }
        Ok(())
    }

    /// How the disk did so far.
    pub(crate) fn syncs(&self) -> Syncs {
        *self.syncs.lock()
    }

    fn sync(&self, from: u64, target: u64) -> Result<(), StoreError> {
        if self.flushed.lock().is_none() {
            return Err(self.log.refusal().unwrap_or(StoreError::ShuttingDown));
        }
        let segments = &self.log.segments;
        for segment in segments.all() {
            if segment.base >= target || segment.base + segments.bytes <= from {
                continue;
            }
            if planted(Fault::FlushSkipsSync)
                || (planted(Fault::FlushSkipsOlderSegments)
                    && segment.base + segments.bytes < target)
            {
                continue;
            }
            let began = self.clock.monotonic();
            let synced = segment.file.sync();
            let mut syncs = self.syncs.lock();
            syncs.count += 1;
            syncs.time += self.clock.monotonic().saturating_sub(began);
            drop(syncs);
            if synced.is_err() && planted(Fault::FailedSyncTriedAgain) {
                return Err(StoreError::ShuttingDown);
            }
            if let Err(error) = synced {
                // Nobody knows what is on disk now, and a second sync would only hide it: the
                // system has forgotten which pages could not be written.
                self.log.fence(&error);
                *self.flushed.lock() = None;
                return Err(error);
            }
        }
        self.durable.store(target, Ordering::SeqCst);
        Ok(())
    }

    pub(crate) fn stop(&self) {
        self.bell.stop();
    }
}

/// `ConsumeQueue`s and checkpoint on their way to the disk.
pub(crate) struct IndexFlush {
    queues: Arc<QueueTable>,
    reput: Arc<Reput>,
    flush: Arc<Flush>,
    clock: Arc<dyn Clock>,
    root: PathBuf,
    interval: Duration,
    progress: Mutex<Progress>,
    bell: Arc<Bell>,
}

/// How far `ConsumeQueue`s and key index are on disk.
pub(crate) type Written = (Mark, Option<IndexMark>);

struct Progress {
    checkpoint: CheckpointFile,
    /// What it says.
    written: Option<Written>,
    synced_at: Duration,
    /// Dispatch position of the last sync.
    synced_to: u64,
    written_at: Duration,
    /// Why a sync has failed: what is on disk is not known since then.
    failed: Option<String>,
    /// No queue had a file when the mark was taken.
    no_queues: bool,
}

impl IndexFlush {
    /// `written` is what the checkpoint says, if it can be trusted.
    pub(crate) fn new(
        config: &StoreConfig,
        queues: Arc<QueueTable>,
        reput: Arc<Reput>,
        flush: Arc<Flush>,
        checkpoint: CheckpointFile,
        written: Option<Written>,
    ) -> Self {
        let clock = Arc::clone(&flush.clock);
        let now = clock.monotonic();
        let bell = reput.index.as_ref().map(|index| index.bell());
        let synced_to = reput.dispatched();
        Self {
            queues,
            reput,
            flush,
            clock,
            root: config.root.clone(),
            interval: config.index_interval,
            progress: Mutex::new(Progress {
                checkpoint,
                written,
                synced_at: now,
                synced_to,
                written_at: now,
                failed: None,
                no_queues: false,
            }),
            bell: bell.unwrap_or_default(),
        }
    }

    /// The index thread: once per interval, and when many keys wait.
    pub(crate) fn run(&self) {
        while self.bell.wait(self.interval) {
            if let Err(error) = self.tick() {
                // Nothing is lost: units stay in memory, recovery starts where the checkpoint says.
                tracing::warn!(%error, "ConsumeQueues cannot be written; trying again");
            }
        }
    }

    fn tick(&self) -> Result<(), StoreError> {
        self.reput.follow(|| self.flush.visible_limit(), None);
        if let Some(index) = &self.reput.index {
            index.apply(|| (self.reput.dispatched(), ()));
            index.catch_up(&self.reput);
            self.reput.follow(|| self.flush.visible_limit(), None);
        }
        let mut progress = self.progress.lock();
        let now = self.clock.monotonic();
        let unsynced = self.reput.dispatched() - progress.synced_to;
        if now >= progress.synced_at + INDEX_SYNC_INTERVAL || unsynced >= INDEX_SYNC_BYTES {
            return self.sync(&mut progress);
        }
        if now >= progress.written_at + self.interval {
            progress.written_at = now;
            self.queues.write_out()?;
        }
        Ok(())
    }

    /// Brings all units there are to the disk, and says so in the checkpoint.
    pub(crate) fn sync_now(&self) -> Result<(), StoreError> {
        self.sync(&mut self.progress.lock())
    }

    /// Hands all units there are to the file system.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn write_out_now(&self) -> Result<(), StoreError> {
        self.reput.follow(|| self.flush.visible_limit(), None);
        let _progress = self.progress.lock();
        self.queues.write_out()
    }

    /// Sees to it that recovery needs nothing of the log below `end`. False when it would: that part
    /// is not dispatched yet.
    pub(crate) fn cover(&self, end: u64) -> Result<bool, StoreError> {
        let mut progress = self.progress.lock();
        let covers = |progress: &Progress| {
            progress
                .written
                .is_some_and(|(mark, _)| mark.dispatched >= end)
        };
        if !covers(&progress) {
            self.sync(&mut progress)?;
        }
        Ok(covers(&progress))
    }

    /// Deletes the index files, never the newest, all of whose records lie below `min_physical`,
    /// where the log begins. Returns how many. What an error leaves is tried again after a restart.
    pub(crate) fn delete_index_before(&self, min_physical: u64) -> Result<usize, StoreError> {
        let Some(index) = &self.reput.index else {
            return Ok(0);
        };
        let outdated = index.forget_before(min_physical);
        if outdated.is_empty() {
            return Ok(0);
        }
        self.sync_now()?;
        // Oldest first: what a crash leaves has no hole.
        for path in &outdated {
            self.queues.files().delete(path)?;
        }
        Ok(outdated.len())
    }

    /// Deletes the files of a topic's queues, which the table has forgotten.
    pub(crate) fn delete_files(&self, topic: &str) -> Result<(), StoreError> {
        // While this is held nobody writes a queue, which would make its directory again.
        let mut progress = self.progress.lock();
        // From here on recovery begins behind the deleted messages: they do not come back. And a start
        // that finds no queue makes all of them anew, also those of topics deleted long ago; so before
        // these files go the others are on the disk, or the checkpoint says that there are none.
        if !planted(Fault::DeletionNotNoted) {
            progress.written = None;
            self.sync(&mut progress)?;
        }
        self.queues.delete_files(topic)
    }

    fn sync(&self, progress: &mut Progress) -> Result<(), StoreError> {
        progress.synced_at = self.clock.monotonic();
        progress.written_at = progress.synced_at;
        let marked = || {
            let mark = self.reput.mark();
            (mark.dispatched, mark)
        };
        let (mark, index) = match &self.reput.index {
            Some(index) => {
                let (mark, index) = index.apply(marked);
                (mark, Some(index))
            }
            None => (marked().1, None),
        };
        progress.synced_to = mark.dispatched;
        self.queues.write_out()?;
        // What is dispatched from now on counts as little here as for the mark.
        progress.no_queues = self.queues.has_no_files();
        let mark = match () {
            () if planted(Fault::MarkReadLate) => self.reput.mark(),
            () if planted(Fault::MarkIsEndOfLog) => self.reput.mark_at_end(),
            () => mark,
        };
        if progress.written == Some((mark, index)) {
            return Ok(());
        }
        // A unit on disk whose record is not would make recovery look for it in vain.
        self.flush.flush()?;
        if planted(Fault::CheckpointBeforeQueues) {
            Self::note(progress, mark, index)?;
        }
        self.sync_files(progress)?;
        Self::note(progress, mark, index)
    }

    fn sync_files(&self, progress: &mut Progress) -> Result<(), StoreError> {
        let failed = |source| StoreError::io("sync", &self.root, source);
        if let Some(reason) = &progress.failed {
            return Err(failed(io::Error::other(reason.clone())));
        }
        if planted(Fault::QueuesNotSynced) {
            return Ok(());
        }
        let synced = self.queues.files().raw().sync_below(&self.root);
        synced.map_err(|source| {
            // Units may be lost that no later sync brings to the disk. The checkpoint must not pass
            // them any more; the next start makes them again.
            if !planted(Fault::FailedQueueSyncTriedAgain) {
                progress.failed = Some(source.to_string());
            }
            failed(source)
        })
    }

    fn note(
        progress: &mut Progress,
        mark: Mark,
        index: Option<IndexMark>,
    ) -> Result<(), StoreError> {
        let checkpoint = Checkpoint {
            physic_timestamp: mark.last_timestamp,
            logics_timestamp: mark.last_timestamp,
            logics_physical_offset: mark.last_start,
            indexed: Some(mark.dispatched),
            no_queues: progress.no_queues,
            index,
            ..Checkpoint::default()
        };
        progress.checkpoint.write(&checkpoint)?;
        progress.written = Some((mark, index));
        Ok(())
    }

    pub(crate) fn stop(&self) {
        self.bell.stop();
    }
}
