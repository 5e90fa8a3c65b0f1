//! A store seen from outside: opened without its lock and not written to, whoever wrote it and
//! whether or not a broker has it open. Only [`Locked`] takes the lock and writes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::checkpoint::Checkpoint;
use crate::error::StoreError;

mod ext;
mod index;
mod look;
mod queues;
mod reader;
mod rebuild;
mod verify;
mod walk;
mod window;

use ext::Ext;
pub use index::IndexFile;
pub use look::Look;
pub use queues::{Ends, OfflineQueue};
pub use reader::RecordReader;
pub use rebuild::{DERIVED, Locked, Rebuilt};
pub use verify::{Finding, LogEnd, Options, Part, Report, SegmentReport, verify};
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
        let not_a_store = |path: &Path, problem: String| StoreError::Corrupt {
            path: path.to_owned(),
            problem,
        };
        if !root.is_dir() {
            let problem = "no directory; name the one of storePathRootDir".to_owned();
            return Err(not_a_store(root, problem));
        }
        let commit_logs = match commit_logs {
            [] => vec![root.join("commitlog")],
            given => given.to_vec(),
        };
        for directory in &commit_logs {
            if directory.is_dir() {
                continue;
            }
            let inside = numbered_files(root).is_ok_and(|(files, _)| !files.is_empty());
            let problem = if inside {
                "these are the files of a log; name the directory above it".to_owned()
            } else {
                let log = directory.display();
                format!("no store: there is no directory {log}; if the log is elsewhere, name it")
            };
            return Err(not_a_store(root, problem));
        }
        let mut store = Self {
            state,
            // Before the log is looked at, so that what it says is there by then.
            checkpoint: read_checkpoint(root)?,
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

    /// The queue `id` of `topic`.
    pub fn queue(&self, topic: &str, id: u32) -> Option<&OfflineQueue> {
        let key = (topic, id);
        let at = self
            .queues
            .binary_search_by(|queue| (&*queue.topic, queue.id).cmp(&key))
            .ok()?;
        self.queues.get(at)
    }

    fn list_segments(&mut self) -> Result<(), StoreError> {
        for directory in &self.commit_logs {
            let (files, strays) =
                numbered_files(directory).map_err(StoreError::io("list", directory))?;
            self.findings.extend(strays);
            self.segments.extend(files);
        }
        self.segments.sort_by_key(|segment| segment.base);
        self.findings.extend(check_sizes(&self.segments));
        self.segments.retain(|segment| segment.bytes > 0);
        Ok(())
    }

    fn open_queues(&mut self) -> Result<(), StoreError> {
        let directory = self.root.join("consumequeue");
        if directory.join("CURRENT").is_file() {
            self.unread
                .push("ConsumeQueues in RocksDB (consumequeue)".to_owned());
        }
        for other in [
            "batchconsumequeue",
            "consumequeue_rocksdb",
            "compaction/compactionLog",
        ] {
            // Brokers make these whether or not they use them.
            if has_files(&self.root.join(other))? {
                self.unread.push(other.to_owned());
            }
        }
        for topic in directories(&directory)? {
            let path = directory.join(&topic);
            for name in directories(&path)? {
                let Ok(id) = name.parse() else { continue };
                let ext = self.root.join("consumequeue_ext").join(&topic).join(&name);
                let (mut queue, findings) =
                    OfflineQueue::open(topic.clone(), id, path.join(&name))?;
                queue.ext = Ext::open(ext)?;
                self.findings.extend(findings);
                self.queues.push(queue);
            }
        }
        self.queues
            .sort_by(|a, b| (&a.topic, a.id).cmp(&(&b.topic, b.id)));
        Ok(())
    }
}

/// Who has the store open, and whether it was left in order.
fn state(root: &Path) -> Result<State, StoreError> {
    let mut state = State::default();
    let path = root.join("lock");
    match fs::File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(StoreError::io("open", &path)(error)),
        Ok(file) => {
            let wanted = rustix::process::FlockType::WriteLock.into();
            let held = rustix::process::fcntl_getlk(&file, &wanted)
                .map_err(|errno| StoreError::io("ask for the lock of", &path)(errno.into()))?;
            state.live = held.is_some();
            state.holder = held
                .and_then(|lock| lock.pid)
                .and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
        }
    }
    state.abort = abort(root)?;
    Ok(state)
}

/// What the file `abort` says, if it is there.
fn abort(root: &Path) -> Result<Option<String>, StoreError> {
    let path = root.join("abort");
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => {
            let bytes = read.map_err(StoreError::io("read", &path))?;
            Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
        }
    }
}

fn read_checkpoint(root: &Path) -> Result<Option<Checkpoint>, StoreError> {
    let path = root.join("checkpoint");
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", &path)(error)),
        Ok(bytes) => Ok(Some(Checkpoint::read(&bytes))),
    }
}

/// Names of the directories in `directory`, sorted; none when it is not there.
fn directories(directory: &Path) -> Result<Vec<String>, StoreError> {
    let io = |error| StoreError::io("list", directory)(error);
    let mut names = Vec::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
        entries => entries.map_err(io)?,
    };
    for entry in entries {
        let entry = entry.map_err(io)?;
        if entry.file_type().map_err(io)?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Whether there is any file below `directory`.
fn has_files(directory: &Path) -> Result<bool, StoreError> {
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(StoreError::io("list", &directory))?,
        };
        for entry in entries {
            let path = entry.map_err(StoreError::io("list", &directory))?.path();
            if !path.is_dir() {
                return Ok(true);
            }
            open.push(path);
        }
    }
    Ok(false)
}

/// The files of a directory whose names are positions, by position; and what has another name.
fn numbered_files(directory: &Path) -> io::Result<(Vec<Segment>, Vec<Finding>)> {
    let (mut files, mut strays) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let meta = match entry.metadata() {
            // A living broker has just deleted it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            meta => meta?,
        };
        if !meta.is_file() {
            continue;
        }
        let path = entry.path();
        let name = entry.file_name();
        match name
            .to_str()
            .filter(|name| name.len() == 20)
            .and_then(|name| name.parse().ok())
        {
            Some(base) => files.push(Segment {
                base,
                bytes: meta.len(),
                path,
            }),
            None => strays.push(Finding::file(
                path,
                "its name is no position of 20 digits".into(),
            )),
        }
    }
    files.sort_by_key(|file: &Segment| file.base);
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
