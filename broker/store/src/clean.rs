//! Acting on what [`crate::retention`] decides: old segments go, queues and indexes follow, sends are
//! refused while a disk is too full.
//!
//! A segment leaves the list before its file goes: whoever holds slices of it keeps its mapping, and
//! nobody finds it any more. Files go one by one, oldest first, each safely before the next, and only
//! once the checkpoint no longer needs them. So a crash at any point leaves a log without holes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use common::clock::{Clock, Millis, local_hour};
use common::thread::Bell;
use parking_lot::Mutex;

use crate::commit_log::CommitLog;
use crate::commit_log::segments::Segment;
use crate::config::{RetentionConfig, StoreConfig};
use crate::consume_queue::QueueTable;
use crate::error::{DiskLevel, StoreError};
use crate::flush::IndexFlush;
use crate::planted::{Fault, planted};
use crate::retention::{Decision, Disk, Found, decide};

/// Time between two looks for a request that came before it is known what still waits.
const UNTIL_KNOWN: Duration = Duration::from_millis(500);

/// What the thread `store-clean` works on.
pub(crate) struct Clean {
    config: Mutex<RetentionConfig>,
    needed_from: Arc<AtomicU64>,
    log_directory: PathBuf,
    root: PathBuf,
    log: Arc<CommitLog>,
    queues: Arc<QueueTable>,
    index: Arc<IndexFlush>,
    clock: Arc<dyn Clock>,
    work: Mutex<Work>,
    /// Somebody has asked for a deletion.
    asked: AtomicBool,
    bell: Bell,
}

/// State of the one run there is at a time.
struct Work {
    /// It has left the list, but its file could not be deleted yet.
    leaving: Option<Arc<Segment>>,
    /// All queues begin at or behind this position.
    followed: u64,
    /// Queues may have files to delete.
    outdated: bool,
}

impl Clean {
    pub(crate) fn new(
        config: &StoreConfig,
        log: Arc<CommitLog>,
        queues: Arc<QueueTable>,
        index: Arc<IndexFlush>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            config: Mutex::new(config.retention.clone()),
            needed_from: Arc::clone(&config.needed_from),
            log_directory: config.commit_log.clone(),
            root: config.root.clone(),
            log,
            queues,
            index,
            clock,
            work: Mutex::new(Work {
                leaving: None,
                followed: 0,
                outdated: true,
            }),
            asked: AtomicBool::default(),
            bell: Bell::default(),
        }
    }

    /// The thread: looks once per interval, and when asked.
    pub(crate) fn run(&self) {
        loop {
            let interval = match (self.asked.load(Relaxed), self.knows_what_waits()) {
                (false, _) => self.settings().interval,
                (true, false) => UNTIL_KNOWN,
                (true, true) => Duration::ZERO,
            };
            if self.pause(interval) {
                return;
            }
            self.step();
        }
    }

    /// Goes on with other settings, from the next look on.
    pub(crate) fn apply(&self, config: RetentionConfig) {
        *self.config.lock() = config;
        self.bell.ring();
    }

    /// Nobody has said so in the first moment after a start: nothing expires then, and a request has to wait.
    fn knows_what_waits(&self) -> bool {
        self.needed_from.load(Relaxed) > 0
    }

    fn settings(&self) -> RetentionConfig {
        self.config.lock().clone()
    }

    /// Asks for a deletion of all that has expired, now.
    pub(crate) fn ask(&self) {
        self.asked.store(true, Relaxed);
        self.bell.ring();
    }

    pub(crate) fn stop(&self) {
        self.bell.stop();
    }

    /// One look and what follows from it. What fails is told and tried again by the next one.
    pub(crate) fn step(&self) {
        let mut work = self.work.lock();
        let requested = self.asked.swap(false, Relaxed);
        let decision = self.look(requested);
        let removed = self.remove(&mut work, decision);
        if decision.refuse.is_some() && decision.delete > 0 {
            // Perhaps there is room again.
            self.look(false);
        }
        let is_more = decision.delete == self.settings().batch && removed.is_ok();
        if requested && (is_more || !self.knows_what_waits()) {
            self.asked.store(true, Relaxed);
        }
        let outcome = removed.and(self.follow(&mut work));
        if let Err(error) = outcome {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, cause, "old files cannot be deleted; trying again");
        }
    }

    /// Decides, and opens or closes the log for appends.
    pub(crate) fn look(&self, requested: bool) -> Decision {
        let (log, files) = (&self.log, self.queues.files().raw());
        let now = self.clock.now();
        let segments = log.segments.all();
        let needed_from = self.needed_from.load(Relaxed).saturating_sub(1);
        let unneeded = segments
            .iter()
            .take_while(|segment| segment.base + log.segments.bytes <= needed_from)
            .count();
        let written: Vec<Millis> = segments
            .iter()
            // One that does not say when it was written is kept.
            .map(|segment| files.modified(segment.path()).unwrap_or(now))
            .collect();
        let decision = decide(
            &self.settings(),
            &Found {
                now,
                hour: local_hour(now),
                written: &written,
                unneeded,
                segment_bytes: log.segments.bytes,
                log_disk: files.space(&self.log_directory).ok(),
                queue_disk: files.space(&self.root).ok(),
                requested,
            },
        );
        log.set_level(decision.refuse.map(|full| DiskLevel {
            path: match full.disk {
                Disk::Log => self.log_directory.clone(),
                Disk::Queues => self.root.clone(),
            },
            used_percent: full.used_percent,
            limit_percent: full.limit_percent,
        }));
        decision
    }

    fn remove(&self, work: &mut Work, decision: Decision) -> Result<(), StoreError> {
        self.finish(work)?;
        let log = &self.log;
        for removed in 0..decision.delete {
            if removed > 0 && self.pause(self.settings().segment_pause) {
                return Ok(());
            }
            let end = log.segments.min_offset() + log.segments.bytes;
            // Recovery starts at the checkpoint: what lies behind it has to be there.
            if !planted(Fault::CleanedBeforeCheckpoint) && !self.index.cover(end)? {
                return Ok(());
            }
            if planted(Fault::CleanedNewestFirst)
                && removed + 1 < decision.delete
                && let Some(next) = log.segments.all().get(1)
            {
                let _ = self.queues.files().delete(next.path());
            }
            work.leaving = log.segments.take_first();
            if let Some(segment) = &work.leaving {
                let path = segment.path().display();
                if decision.forced {
                    tracing::warn!(%path, "deleting a CommitLog file before its time: the disk is too full");
                } else {
                    tracing::info!(%path, "deleting an expired CommitLog file");
                }
            }
            self.finish(work)?;
        }
        Ok(())
    }

    /// Deletes the file of the segment that has left the list.
    fn finish(&self, work: &mut Work) -> Result<(), StoreError> {
        let Some(segment) = &work.leaving else {
            return Ok(());
        };
        self.queues.files().delete_if_there(segment.path())?;
        work.leaving = None;
        Ok(())
    }

    /// Queues begin where the log begins.
    fn follow(&self, work: &mut Work) -> Result<(), StoreError> {
        let start = self.log.segments.min_offset();
        if start != work.followed {
            self.queues.advance_min(start)?;
            (work.followed, work.outdated) = (start, true);
        }
        // A segment that cannot be deleted is back after a restart, and needs its units then.
        if !work.outdated || work.leaving.is_some() {
            return Ok(());
        }
        let mut failed = self.index.delete_index_before(start).err();
        work.outdated = failed.is_some();
        for queue in self.queues.all().iter().filter(|queue| queue.is_outdated()) {
            match queue.delete_outdated() {
                Ok(0) => {}
                Ok(deleted) => {
                    tracing::info!(?queue, deleted, "deleted expired ConsumeQueue files");
                    if self.pause(self.settings().queue_pause) {
                        break;
                    }
                }
                Err(error) => failed = Some(error),
            }
            work.outdated |= queue.is_outdated();
        }
        failed.map_or(Ok(()), Err)
    }

    /// The same work with other settings.
    #[cfg(test)]
    pub(crate) fn with(&self, config: RetentionConfig) -> Self {
        let store = StoreConfig {
            retention: config,
            commit_log: self.log_directory.clone(),
            ..StoreConfig::new(&self.root)
        };
        let (log, queues) = (Arc::clone(&self.log), Arc::clone(&self.queues));
        let (index, clock) = (Arc::clone(&self.index), Arc::clone(&self.clock));
        Self::new(&store, log, queues, index, clock)
    }

    /// Keeps the disk free for others for a while. True when the thread is to end.
    fn pause(&self, pause: Duration) -> bool {
        !self.bell.wait(pause)
    }
}
