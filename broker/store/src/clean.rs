//! Acting on what [`crate::retention`] decides: old segments go, queues and indexes follow, sends are
//! refused while a disk is too full.
//!
//! A segment leaves the list before its file goes: whoever holds slices of it keeps its mapping, and
//! nobody finds it any more. Files go one by one, oldest first, each safely before the next, and only
//! once the checkpoint no longer needs them. So a crash at any point leaves a log without holes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::clock::{Clock, Millis, local_hour};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::commit_log::segments::Segment;
use crate::commit_log::{CommitLog, Level};
use crate::config::{RetentionConfig, StoreConfig};
use crate::consume_queue::QueueTable;
use crate::error::StoreError;
use crate::files::Files;
use crate::flush::IndexFlush;
use crate::planted::{Fault, planted};
use crate::retention::{Decision, Disk, Found, decide};

/// What the thread `store-clean` works on.
pub(crate) struct Clean {
    config: RetentionConfig,
    log_directory: PathBuf,
    root: PathBuf,
    parts: CleanParts,
    work: Mutex<Work>,
    asked: Mutex<Asked>,
    wake: Condvar,
}

/// The parts of the store it acts on.
pub(crate) struct CleanParts {
    pub(crate) log: Arc<CommitLog>,
    pub(crate) queues: Arc<QueueTable>,
    pub(crate) index: Arc<IndexFlush>,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) clock: Arc<dyn Clock>,
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

#[derive(Default)]
struct Asked {
    delete: bool,
    stop: bool,
}

impl Clean {
    pub(crate) fn new(config: &StoreConfig, parts: CleanParts) -> Self {
        Self {
            config: config.retention.clone(),
            log_directory: config.commit_log.clone(),
            root: config.root.clone(),
            parts,
            work: Mutex::new(Work {
                leaving: None,
                followed: 0,
                outdated: true,
            }),
            asked: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    /// The thread: looks once per interval, and when asked.
    pub(crate) fn run(&self) {
        let mut asked = self.asked.lock();
        while !asked.stop {
            if !asked.delete {
                self.wake.wait_for(&mut asked, self.config.interval);
            }
            if !asked.stop {
                MutexGuard::unlocked(&mut asked, || self.step());
            }
        }
    }

    /// Asks for a deletion of all that has expired, now.
    pub(crate) fn ask(&self) {
        self.asked.lock().delete = true;
        self.wake.notify_one();
    }

    pub(crate) fn stop(&self) {
        self.asked.lock().stop = true;
        self.wake.notify_one();
    }

    /// One look and what follows from it. What fails is told and tried again by the next one.
    pub(crate) fn step(&self) {
        let mut work = self.work.lock();
        let requested = std::mem::take(&mut self.asked.lock().delete);
        let decision = self.look(requested);
        let removed = self.remove(&mut work, decision);
        if decision.refuse.is_some() && decision.delete > 0 {
            // Perhaps there is room again.
            self.look(false);
        }
        if requested && decision.delete == self.config.batch && removed.is_ok() {
            self.asked.lock().delete = true;
        }
        let outcome = removed.and(self.follow(&mut work));
        if let Err(error) = outcome {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, cause, "old files cannot be deleted; trying again");
        }
    }

    /// Decides, and opens or closes the log for appends.
    pub(crate) fn look(&self, requested: bool) -> Decision {
        let CleanParts {
            log, files, clock, ..
        } = &self.parts;
        let now = clock.now();
        let written: Vec<Millis> = log
            .segments
            .all()
            .iter()
            // One that does not say when it was written is kept.
            .map(|segment| files.modified(&segment.path).unwrap_or(now))
            .collect();
        let decision = decide(
            &self.config,
            &Found {
                now,
                hour: local_hour(now),
                written: &written,
                segment_bytes: log.segments.bytes,
                log_disk: files.space(&self.log_directory).ok(),
                queue_disk: files.space(&self.root).ok(),
                requested,
            },
        );
        log.set_level(decision.refuse.map(|full| Level {
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
        let CleanParts { log, index, .. } = &self.parts;
        for removed in 0..decision.delete {
            if removed > 0 && self.pause(self.config.segment_pause) {
                return Ok(());
            }
            let end = log.segments.min_offset() + log.segments.bytes;
            // Recovery starts at the checkpoint: what lies behind it has to be there.
            if !planted(Fault::CleanedBeforeCheckpoint) && !index.cover(end)? {
                return Ok(());
            }
            if planted(Fault::CleanedNewestFirst)
                && removed + 1 < decision.delete
                && let Some(next) = log.segments.all().get(1)
            {
                let _ = self.parts.files.delete(&next.path);
            }
            work.leaving = log.segments.take_first();
            if let Some(segment) = &work.leaving {
                let path = segment.path.display();
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
        match self.parts.files.delete(&segment.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            deleted => deleted.map_err(StoreError::io("delete", &segment.path))?,
        }
        work.leaving = None;
        Ok(())
    }

    /// Queues begin where the log begins.
    fn follow(&self, work: &mut Work) -> Result<(), StoreError> {
        let CleanParts {
            log, queues, index, ..
        } = &self.parts;
        let start = log.segments.min_offset();
        if start != work.followed {
            queues.advance_min(start)?;
            (work.followed, work.outdated) = (start, true);
        }
        // A segment that cannot be deleted is back after a restart, and needs its units then.
        if !work.outdated || work.leaving.is_some() {
            return Ok(());
        }
        let mut failed = index.delete_index_before(start).err();
        work.outdated = failed.is_some();
        for queue in queues.all().iter().filter(|queue| queue.is_outdated()) {
            match queues.delete_outdated(queue) {
                Ok(0) => {}
                Ok(deleted) => {
                    tracing::info!(?queue, deleted, "deleted expired ConsumeQueue files");
                    if self.pause(self.config.queue_pause) {
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
        let CleanParts {
            log,
            queues,
            index,
            files,
            clock,
        } = &self.parts;
        let store = StoreConfig {
            retention: config,
            commit_log: self.log_directory.clone(),
            ..StoreConfig::new(&self.root)
        };
        let parts = CleanParts {
            log: Arc::clone(log),
            queues: Arc::clone(queues),
            index: Arc::clone(index),
            files: Arc::clone(files),
            clock: Arc::clone(clock),
        };
        Self::new(&store, parts)
    }

    /// Keeps the disk free for others for a while. True when the thread is to end.
    fn pause(&self, pause: Duration) -> bool {
        let mut asked = self.asked.lock();
        if !asked.stop && !pause.is_zero() {
            self.wake.wait_for(&mut asked, pause);
        }
        asked.stop
    }
}
