//! A store seen from outside: opened without its lock and not written to, whoever wrote it and
//! whether or not a broker has it open. Only [`Locked`] takes the lock and writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::checkpoint::Checkpoint;
use crate::consume_queue::QueueKind;
use crate::error::StoreError;
use crate::files::{DiskFiles, FileSystem, MAX_POSITION, if_there};

mod index;
mod look;
mod queues;
mod reader;
mod rebuild;
mod verify;
mod walk;
mod window;

pub use crate::late::stored as light_queues;
pub use index::IndexFile;
pub use look::Look;
pub use queues::{Ends, OfflineQueue, OpenQueue};
pub use reader::RecordReader;
pub use rebuild::{DERIVED, Locked, Rebuilt};
pub use verify::{Finding, Findings, LogEnd, Options, Part, Report, SegmentReport, verify};
pub use walk::{Checks, Item, Judged, Problem, Progress, walk};

/// A file of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Position of its first byte in the log.
    pub base: u64,
    /// Its size.
    pub bytes: u64,
    /// Where it is.
    pub path: PathBuf,
}

impl Segment {
    /// Position behind its last byte.
    pub fn end(&self) -> u64 {
        self.base + self.bytes
    }
}

/// How the store was left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// A process holds the lock.
    pub live: bool,
    /// That process, if the system says which.
    pub holder: Option<u32>,
    /// The file `abort` is there and names this process: it was not shut down, or is open.
    pub abort: Option<String>,
}

impl State {
    /// Nobody has it open, and the last who had closed it in order.
    pub fn is_clean(&self) -> bool {
        !self.live && self.abort.is_none()
    }
}

/// A store as it was when it was opened; a living one moves on.
#[derive(Debug)]
pub struct OfflineStore {
    /// Directory of everything but the log.
    pub root: PathBuf,
    /// Directories of the log.
    pub commit_logs: Vec<PathBuf>,
    /// Files of the log, in order.
    pub segments: Vec<Segment>,
    /// Every queue with a directory, by topic and number.
    pub queues: Vec<OfflineQueue>,
    /// Files of the key index, oldest first.
    pub indexes: Vec<IndexFile>,
    /// How it was left.
    pub state: State,
    /// What the file `checkpoint` says; `None` without one.
    pub checkpoint: Option<Checkpoint>,
    /// What is wrong with names and sizes of files.
    pub findings: Vec<Finding>,
    /// What is there and cannot be read here.
    pub unread: Vec<String>,
}

impl OfflineStore {
    /// Opens the store below `root`; its log is in `commit_logs`, or in the usual place when there
    /// are none. Taking the store's lock away is impossible: but a process that has the store open
    /// itself must not call this, for closing the lock file gives its lock back.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when there is no store, [`StoreError::Io`] when it cannot be read.
    pub fn open(root: &Path, commit_logs: &[PathBuf]) -> Result<Self, StoreError> {
        let state = if root.is_dir() {
            state(root)?
        } else {
            State::default()
        };
        Self::open_in(root, commit_logs, state)
    }

    fn open_in(root: &Path, commit_logs: &[PathBuf], state: State) -> Result<Self, StoreError> {
        let not_a_store = |problem: String| StoreError::Corrupt {
            path: root.to_owned(),
            problem,
        };
        if !root.is_dir() {
            let problem = "no directory; name the one of storePathRootDir";
            return Err(not_a_store(problem.to_owned()));
        }
        let commit_logs = match commit_logs {
            [] => vec![root.join("commitlog")],
            given => given.to_vec(),
        };
        if let Some(missing) = commit_logs.iter().find(|directory| !directory.is_dir()) {
            let inside = numbered_files(root).is_ok_and(|(files, _)| !files.is_empty());
            return Err(not_a_store(if inside {
                "these are the files of a log; name the directory above it".to_owned()
            } else {
                let log = missing.display();
                format!("no store: there is no directory {log}; if the log is elsewhere, name it")
            }));
        }
        let mut store = Self {
            state,
            // Before the log is looked at, so that what it says is there by then.
            checkpoint: read_if_there(&root.join("checkpoint"))?
                .map(|bytes| Checkpoint::read(&bytes)),
            root: root.to_owned(),
            commit_logs,
            segments: Vec::new(),
            queues: Vec::new(),
            indexes: index::list(&root.join("index"))?,
            findings: Vec::new(),
            unread: Vec::new(),
        };
        store.open_queues()?;
        store.list_segments()?;
        Ok(store)
    }

    /// Everything is checked, and waited for when a broker may be writing it.
    pub fn checks(&self) -> Checks {
        Checks {
            crc: true,
            live: self.state.live,
        }
    }

    /// Position of the log's oldest byte; 0 without any.
    pub fn log_start(&self) -> u64 {
        self.segments.first().map_or(0, |first| first.base)
    }

    /// The file that holds position `offset` of the log.
    pub fn segment_of(&self, offset: u64) -> Option<&Segment> {
        let at = self
            .segments
            .partition_point(|segment| segment.end() <= offset);
        self.segments
            .get(at)
            .filter(|segment| segment.base <= offset)
    }

    fn list_segments(&mut self) -> Result<(), StoreError> {
        for directory in &self.commit_logs {
            let (files, strays) = numbered_files(directory)?;
            self.findings.extend(strays);
            self.segments.extend(files);
        }
        self.segments.sort_by_key(|segment| segment.base);
        self.findings.extend(check_sizes(&self.segments));
        self.segments.retain(|segment| segment.bytes > 0);
        Ok(())
    }

    fn open_queues(&mut self) -> Result<(), StoreError> {
        let simple = self.root.join(QueueKind::Simple.directory());
        if simple.join("CURRENT").is_file() {
            self.unread
                .push("ConsumeQueues in RocksDB (consumequeue)".to_owned());
        }
        for other in ["consumequeue_rocksdb", "compaction/compactionLog"] {
            // Brokers make these whether or not they use them.
            if has_files(&self.root.join(other))? {
                self.unread.push(other.to_owned());
            }
        }
        for kind in QueueKind::ALL {
            let directory = self.root.join(kind.directory());
            for topic in disk().directories(&directory)? {
                for name in disk().directories(&directory.join(&topic))? {
                    let Ok(id) = name.parse() else { continue };
                    let (queue, findings) =
                        OfflineQueue::find(&self.root, kind, topic.clone(), id)?;
                    self.findings.extend(findings);
                    self.queues.push(queue);
                }
            }
        }
        self.queues
            .sort_by(|a, b| (&a.topic, a.id).cmp(&(&b.topic, b.id)));
        Ok(())
    }
}

/// Who has the store open, and whether it was left in order.
fn state(root: &Path) -> Result<State, StoreError> {
    let path = root.join("lock");
    let failed = |op, error| StoreError::io(op, &path, error);
    let held = match if_there(fs::File::open(&path).map_err(|error| failed("open", error)))? {
        None => None,
        Some(file) => {
            let wanted = rustix::process::FlockType::WriteLock.into();
            rustix::process::fcntl_getlk(&file, &wanted)
                .map_err(|errno| failed("ask for the lock of", errno.into()))?
        }
    };
    let process = held.as_ref().and_then(|lock| lock.pid);
    Ok(State {
        live: held.is_some(),
        holder: process.and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok()),
        abort: abort(root)?,
    })
}

/// What the file `abort` says, if it is there.
fn abort(root: &Path) -> Result<Option<String>, StoreError> {
    let bytes = read_if_there(&root.join("abort"))?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    if_there(fs::read(path).map_err(|error| StoreError::io("read", path, error)))
}

fn disk() -> FileSystem {
    FileSystem::read_only(Arc::new(DiskFiles))
}

/// Whether there is any file below `directory`.
fn has_files(directory: &Path) -> Result<bool, StoreError> {
    let mut found = !disk().list(directory)?.is_empty();
    for name in disk().directories(directory)? {
        found = found || has_files(&directory.join(name))?;
    }
    Ok(found)
}

/// The files of a directory whose names are positions, by position; and what has another name.
fn numbered_files(directory: &Path) -> Result<(Vec<Segment>, Vec<Finding>), StoreError> {
    let (mut files, mut strays) = (Vec::new(), Vec::new());
    for (name, bytes) in disk().list(directory)? {
        let path = directory.join(&name);
        match name.parse() {
            Ok(base) if name.len() == 20 && base <= MAX_POSITION => {
                files.push(Segment { base, bytes, path });
            }
            _ => strays.push(Finding::file(
                path,
                "its name is no position of 20 digits".into(),
            )),
        }
    }
    Ok((files, strays))
}

/// All files of one kind have one size and stand behind each other.
fn check_sizes(files: &[Segment]) -> Vec<Finding> {
    let (mut findings, mut expected) = (Vec::new(), None);
    let mut common = None;
    for (at, Segment { base, bytes, path }) in files.iter().enumerate() {
        let (base, bytes) = (*base, *bytes);
        // A crash between creating and sizing a file leaves an empty one at the end.
        if bytes == 0 && at + 1 == files.len() {
            continue;
        }
        let size = *common.get_or_insert(bytes);
        let mut say = |problem| findings.push(Finding::file(path.clone(), problem));
        if bytes != size {
            say(format!(
                "{bytes} bytes long, the files before it have {size}"
            ));
        }
        match expected {
            Some(expected) if base != expected => {
                say(format!("the file {expected:020} is missing before it"));
            }
            None if bytes > 0 && !base.is_multiple_of(bytes) => {
                say(format!("no file of {bytes} bytes starts at {base}"));
            }
            _ => {}
        }
        expected = Some(base + bytes);
    }
    findings
}
