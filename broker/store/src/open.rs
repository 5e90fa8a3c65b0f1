//! Opening a store: recovery, then the threads.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use common::clock::Clock;
use common::thread::spawn_critical;
use parking_lot::Mutex;

use crate::checkpoint::{Checkpoint, CheckpointFile};
use crate::clean::Clean;
use crate::commit_log::CommitLog;
use crate::commit_log::cut::{Cut, cut};
use crate::commit_log::recover::{Found, start_segment, walk};
use crate::commit_log::segments::Segments;
use crate::config::StoreConfig;
use crate::consume_queue::QueueTable;
use crate::error::StoreError;
use crate::files::{FileSystem, Files};
use crate::flush::{Flush, IndexFlush};
use crate::index::{Found as FoundIndex, IndexTable};
use crate::planted::{Fault, planted};
use crate::read::StoreReader;
use crate::reput::{Arrivals, Mark, Reput};
use crate::write::StoreWriter;

/// Opens the store of `config`, recovering whatever its last owner left.
///
/// # Errors
/// [`StoreError::Locked`] when another process has it open, [`StoreError::Corrupt`] when its files
/// are not what they have to be, [`StoreError::Config`], [`StoreError::Io`] and
/// [`StoreError::DiskFull`].
pub fn open(
    config: StoreConfig,
    files: Arc<dyn Files>,
    clock: Arc<dyn Clock>,
    arrivals: Arc<dyn Arrivals>,
) -> Result<(StoreWriter, StoreReader, StoreTasks), StoreError> {
    let (writer, reader, mut tasks) = open_stepped(config, files, clock, arrivals)?;
    tasks.threads = start_threads(&tasks.parts)?;
    Ok((writer, reader, tasks))
}

/// As [`open()`], but without the threads: their work is done where somebody asks for it.
pub(crate) fn open_stepped(
    config: StoreConfig,
    files: Arc<dyn Files>,
    clock: Arc<dyn Clock>,
    arrivals: Arc<dyn Arrivals>,
) -> Result<(StoreWriter, StoreReader, StoreTasks), StoreError> {
    config.check()?;
    let root = config.root.clone();
    let files = FileSystem::new(files);
    let lock = take_lock(&files, &root)?;
    let abort = root.join("abort");
    let clean = mark_in_use(&files, &abort)?;
    let (checkpoint_file, checkpoint) = CheckpointFile::open(&files, root.join("checkpoint"))?;
    let segments = Segments::open(files.clone(), &config.commit_log, config.segment_bytes)?;
    let segments = Arc::new(segments);
    config.progress.begin("opening the ConsumeQueues");
    let queues = Arc::new(QueueTable::open(&files, &config, clean)?);
    config.progress.begin("checking the CommitLog");
    let recovered = recover(&config, &segments, &queues, checkpoint, clean)?;

    let found = FoundIndex {
        mark: checkpoint.index.filter(|_| recovered.trusted),
        clean,
        full_timestamp: checkpoint.index_timestamp,
        log: segments.min_offset()..recovered.end,
    };
    let index = IndexTable::open(&config, &files, &clock, &segments, &found)?;
    let Recovered {
        end,
        mark,
        cut,
        trusted,
    } = recovered;
    config.progress.begin("filling the ConsumeQueues");
    let log = CommitLog::new(Arc::clone(&segments), end, Arc::clone(&clock));
    let log = Arc::new(log);
    let reput = Reput::new(Arc::clone(&log), Arc::clone(&queues), index, arrivals, mark);
    let reput = Arc::new(reput);
    fill(&reput, &queues, end);
    let flush = Arc::new(Flush::new(
        &config,
        Arc::clone(&log),
        Arc::clone(&reput),
        Arc::clone(&clock),
        end,
    ));
    let index = Arc::new(IndexFlush::new(
        &config,
        Arc::clone(&queues),
        Arc::clone(&reput),
        Arc::clone(&flush),
        checkpoint_file,
        // What was wiped must be synced, even if nothing is dispatched.
        (trusted && clean).then_some((mark, checkpoint.index)),
    ));
    if !trusted {
        // What the checkpoint says may be more than the log has now. If it is our own it is less,
        // and stays true until the next sync.
        index.sync_now()?;
    }
    let cleaning = Clean::new(
        &config,
        Arc::clone(&log),
        Arc::clone(&queues),
        Arc::clone(&index),
        clock,
    );
    // A disk that is too full takes nothing from the first moment on.
    cleaning.look(false);
    let parts = Arc::new(Parts {
        log,
        queues,
        reput,
        flush,
        index,
        clean: cleaning,
        recovery: Recovery { clean, end, cut },
        config,
    });
    let writer = StoreWriter(Arc::clone(&parts));
    let reader = StoreReader(Arc::clone(&parts));
    let tasks = StoreTasks {
        parts,
        threads: Vec::new(),
        files,
        abort,
        lock,
    };
    Ok((writer, reader, tasks))
}

/// Dispatches what recovery found in the log and nobody had dispatched.
fn fill(reput: &Reput, queues: &QueueTable, end: u64) {
    reput.follow(|| end, None);
    if let Some(index) = &reput.index {
        index.catch_up(reput);
    }
    queues.end_recovery();
}

/// The store belongs to this process as long as what is returned is held.
pub(crate) fn take_lock(
    files: &FileSystem,
    root: &Path,
) -> Result<Box<dyn Send + Sync>, StoreError> {
    files.create_directories(root, true)?;
    let taken = files.raw().lock(&root.join("lock"));
    taken.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => StoreError::Locked {
            path: root.to_owned(),
        },
        _ => StoreError::io("lock", root, error),
    })
}

/// Leaves the file `abort` for the time the store is open. True when it was not there: the last
/// owner has left the store in order.
pub(crate) fn mark_in_use(files: &FileSystem, abort: &Path) -> Result<bool, StoreError> {
    if files.open_if_there(abort.to_owned())?.is_some() {
        // Its maker may have been killed before its name was safe.
        files.sync_directory(abort.parent().unwrap_or(abort))?;
        return Ok(planted(Fault::AbortIgnored));
    }
    let process = std::process::id().to_string();
    let (bytes, safe) = (process.len() as u64, !planted(Fault::AbortNameNotSynced));
    let file = files.create(abort.to_owned(), bytes, safe)?;
    file.write_at(process.as_bytes(), 0)?;
    Ok(true)
}

/// What recovery found.
struct Recovered {
    /// End of the valid log.
    end: u64,
    /// Records from here on have no unit yet.
    mark: Mark,
    cut: Option<Cut>,
    /// What the checkpoint says of our own can be relied on.
    trusted: bool,
}

/// What an open store consists of.
pub(crate) struct Parts {
    pub(crate) log: Arc<CommitLog>,
    pub(crate) queues: Arc<QueueTable>,
    pub(crate) reput: Arc<Reput>,
    pub(crate) flush: Arc<Flush>,
    pub(crate) index: Arc<IndexFlush>,
    pub(crate) clean: Clean,
    pub(crate) recovery: Recovery,
    pub(crate) config: StoreConfig,
}

/// What was found when the store was opened.
#[derive(Debug)]
pub struct Recovery {
    /// Its last owner had left it in order.
    pub clean: bool,
    /// Where the log ended.
    pub end: u64,
    /// What stood behind that end and was no part of the log any more.
    pub cut: Option<Cut>,
}

/// How far opening a store is, for others to look at meanwhile.
#[derive(Debug, Default)]
pub struct RecoveryProgress {
    step: Mutex<&'static str>,
    done: AtomicU64,
    total: AtomicU64,
}

impl RecoveryProgress {
    fn begin(&self, step: &'static str) {
        tracing::debug!(step, "recovering");
        *self.step.lock() = step;
        self.advance(0, 0);
    }

    /// `done` of `total` bytes of the current step are done; of 0 nobody knows how much it is.
    pub(crate) fn advance(&self, done: u64, total: u64) {
        self.total.store(total, Ordering::Relaxed);
        self.done.store(done.min(total), Ordering::Relaxed);
    }

    /// As in "checking the CommitLog: 43 %".
    pub fn text(&self) -> String {
        let (step, total) = (*self.step.lock(), self.total.load(Ordering::Relaxed));
        let step = if step.is_empty() {
            "opening the store"
        } else {
            step
        };
        match (self.done.load(Ordering::Relaxed) * 100).checked_div(total) {
            Some(percent) => format!("{step}: {percent} %"),
            None => step.to_owned(),
        }
    }
}

fn recover(
    config: &StoreConfig,
    segments: &Segments,
    queues: &QueueTable,
    checkpoint: Checkpoint,
    clean: bool,
) -> Result<Recovered, StoreError> {
    let no_queues = queues.count() == 0;
    let start = segments.min_offset();
    let ours = checkpoint.indexed.filter(|indexed| {
        let there = segments.holding(*indexed).is_some()
            || segments.holding(indexed.saturating_sub(1)).is_some();
        // Somebody who deletes the queues' directory wants them rebuilt; but when all topics were
        // deleted there is nothing to be rebuilt.
        *indexed == start || (there && *indexed > start && (!no_queues || checkpoint.no_queues))
    });
    let (scan_from, dispatch_from) = match ours {
        Some(indexed) => (indexed, indexed),
        None if clean => {
            let indexed = queues.indexed()?;
            let scan_from = start_segment(segments, |base, _| base <= indexed)?;
            (scan_from, indexed.max(scan_from))
        }
        None if no_queues => (start, start),
        None => {
            let fits = |base, store_timestamp| match checkpoint.logics_physical_offset {
                0 => store_timestamp <= checkpoint.logics_timestamp,
                known => base <= known,
            };
            let scan_from = start_segment(segments, fits)?;
            (scan_from, scan_from)
        }
    };
    let Found { end, hit } = walk(segments, scan_from, dispatch_from, config)?;
    let dispatch_from = if hit { dispatch_from } else { scan_from };
    let dispatch_from = if planted(Fault::NothingDispatchedAgain) {
        end
    } else {
        dispatch_from
    };
    let changed = !clean || ours.is_none();
    let mut cut = None;
    if changed || dispatch_from < end {
        cut = make_end_safe(segments, scan_from, end)?;
    }
    let mut units = 0;
    if changed {
        units = queues.cut(dispatch_from, !clean)?;
    }
    queues.advance_min(start)?;
    if let Some(Cut { at, bytes, kept_in }) = &cut {
        let kept_in = kept_in.display();
        tracing::warn!(
            "the CommitLog ends at {at}; {bytes} bytes behind it are damaged or follow damage, and were moved to {kept_in}"
        );
    }
    tracing::info!(
        clean,
        scan_from,
        dispatch_from,
        end,
        units_dropped = units,
        "store recovered"
    );
    let last = ours.map(|_| {
        (
            checkpoint.logics_physical_offset,
            checkpoint.logics_timestamp,
        )
    });
    let (last_start, last_timestamp) = last.unwrap_or_default();
    let mark = Mark {
        dispatched: dispatch_from,
        last_start,
        last_timestamp,
    };
    Ok(Recovered {
        end,
        mark,
        cut,
        trusted: ours.is_some(),
    })
}

/// Nothing behind the end may be taken for a record after a later crash, and everything before it
/// is on disk from now on.
fn make_end_safe(segments: &Segments, from: u64, end: u64) -> Result<Option<Cut>, StoreError> {
    let found = cut(segments, end)?;
    for segment in segments.all() {
        if segment.base + segments.bytes > from && !planted(Fault::EndNotSynced) {
            segment.file.sync()?;
        }
    }
    Ok(found)
}

fn start_threads(parts: &Arc<Parts>) -> Result<Vec<JoinHandle<()>>, StoreError> {
    let spawn = |(name, work): (&'static str, fn(&Parts))| {
        let parts = Arc::clone(parts);
        let spawned = spawn_critical(name, move || work(&parts));
        spawned.map_err(|error| StoreError::io("start the thread", name.as_ref(), error))
    };
    let threads: [(_, fn(&Parts)); 4] = [
        ("store-prepare", |parts| {
            parts.log.prepare.run(&parts.log.segments);
        }),
        ("store-flush", |parts| parts.flush.run()),
        ("store-index", |parts| parts.index.run()),
        ("store-clean", |parts| parts.clean.run()),
    ];
    threads.into_iter().map(spawn).collect()
}

/// The store's threads; whoever holds them can end them. Dropping it leaves them running.
pub struct StoreTasks {
    pub(crate) parts: Arc<Parts>,
    threads: Vec<JoinHandle<()>>,
    files: FileSystem,
    abort: PathBuf,
    lock: Box<dyn Send + Sync>,
}

impl StoreTasks {
    /// True when the store was left in order by its last owner; or else what others derived from its messages may be ahead of
    /// them now.
    pub fn was_left_in_order(&self) -> bool {
        self.parts.recovery.clean
    }

    /// Refuses further appends, brings everything to the disk, ends the threads and notes that the
    /// store was left in order.
    ///
    /// # Errors
    /// Something could not be written: then the next start recovers as after a crash.
    pub fn shutdown(self) -> Result<(), StoreError> {
        let Parts {
            log, flush, index, ..
        } = &*self.parts;
        log.close();
        let unused = log.prepare.stop(&log.segments);
        self.stop_threads();
        for thread in self.threads {
            // A panic of one of them has ended the process.
            let _ = thread.join();
        }
        if planted(Fault::AbortDeletedEarly) {
            let _ = self.files.delete(&self.abort);
        }
        flush.flush()?;
        index.sync_now()?;
        unused?;
        if planted(Fault::AbortDeletedEarly) {
            return Ok(());
        }
        self.files.delete(&self.abort)?;
        drop(self.lock);
        Ok(())
    }

    /// Ends the threads and leaves everything as it is.
    #[cfg(test)]
    pub(crate) fn abandon(&self) {
        self.parts.log.prepare.abandon();
        self.stop_threads();
    }

    fn stop_threads(&self) {
        self.parts.flush.stop();
        self.parts.index.stop();
        self.parts.clean.stop();
    }
}
