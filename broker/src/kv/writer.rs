//! The thread `kv-write`: takes all changes that came while it was busy, and brings them to the disk with one sync. It reads,
//! too: a page shows what was changed before it was asked for, and nothing else has to be kept in step.

use super::database::Database;
use super::{Change, Family, KvError, Row};
use crate::thread::spawn_critical;
use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long changes that nobody waits for may stay in memory, so that many of them share a sync.
const UNHURRIED: Duration = Duration::from_millis(100);
/// Pause between two attempts to write after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// Callers that wait for the disk at a time; further ones are told [`KvError::Busy`].
const MAX_WAITING: usize = 100_000;

/// What a caller that waits is told.
pub type Written = Result<(), Arc<KvError>>;
/// What a caller that reads is given.
pub type Page = Result<Vec<Row>, Arc<KvError>>;
/// A row of any table.
type RowKey = (Family, Box<[u8]>);
type Done = Box<dyn FnOnce(Written) + Send>;
type Read = (Range, Box<dyn FnOnce(Page) + Send>);

/// Rows of a table that is not in memory, in the order of their keys.
#[derive(Debug, Clone)]
pub struct Range {
    /// The table.
    pub family: Family,
    /// The first key.
    pub from: Box<[u8]>,
    /// The first key behind them; `None`: up to the last.
    pub to: Option<Box<[u8]>>,
    /// Most rows wanted.
    pub limit: usize,
}

/// Where changes go.
pub(super) trait Disk: Send {
    /// All of them or none, on the disk when it returns.
    ///
    /// # Errors
    /// [`KvError::Write`]; what is on the disk then shows when it is opened again.
    fn write(&mut self, changes: &[Change]) -> Result<(), KvError>;

    /// The rows of a range.
    ///
    /// # Errors
    /// [`KvError::Read`].
    fn read(&self, range: &Range) -> Result<Vec<Row>, KvError>;
}

/// Opens the disk, at the start and again after a failure.
type Opener = Box<dyn FnMut() -> Result<Box<dyn Disk>, KvError> + Send>;

/// Handle of the writer. Clones are handles of the same one; it stops with [`Kv::shutdown`] or the last of them.
#[derive(Clone)]
pub struct Kv {
    shared: Arc<Shared>,
    thread: Arc<Thread>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    /// The newest change of each row that is not on the disk: never more than there are rows, however long the disk takes.
    changes: HashMap<RowKey, Option<Box<[u8]>>>,
    waiting: Vec<Done>,
    reads: Vec<Read>,
    /// Why what is in memory is not on the disk.
    failure: Option<Arc<KvError>>,
    stopping: bool,
}

impl Queue {
    /// Somebody waits.
    fn is_urgent(&self) -> bool {
        !self.waiting.is_empty() || !self.reads.is_empty() || self.stopping
    }

    /// Why nobody may wait now.
    fn refusal(&self) -> Option<Arc<KvError>> {
        if self.stopping {
            Some(Arc::new(KvError::Stopping))
        } else if self.waiting.len() + self.reads.len() >= MAX_WAITING {
            Some(Arc::new(KvError::Busy))
        } else {
            self.failure.clone()
        }
    }
}

struct Thread {
    shared: Arc<Shared>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl Kv {
    /// Opens the database in `path`, and gives what is in it.
    ///
    /// # Errors
    /// [`KvError::Open`], [`KvError::Read`], [`KvError::Thread`].
    pub fn open(path: &Path) -> Result<KvAtStart, KvError> {
        let database = Database::open(path)?;
        let mut rows = HashMap::new();
        for family in Family::ALL.into_iter().filter(|each| each.is_in_memory()) {
            let all = Range {
                family,
                from: Box::default(),
                to: None,
                limit: usize::MAX,
            };
            rows.insert(family, database.read(&all)?);
        }
        let path = path.to_owned();
        let reopen = {
            let path = path.clone();
            move || Ok(Box::new(Database::open(&path)?) as Box<dyn Disk>)
        };
        let kv = Self::start(Box::new(database), Box::new(reopen))?;
        Ok(KvAtStart { kv, path, rows })
    }

    fn start(disk: Box<dyn Disk>, reopen: Opener) -> Result<Self, KvError> {
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        let handle = spawn_critical("kv-write", move || writer.run(disk, reopen))?;
        let thread = Arc::new(Thread {
            shared: Arc::clone(&shared),
            handle: Mutex::new(Some(handle)),
        });
        Ok(Self { shared, thread })
    }

    /// Takes changes that nobody waits for. They are on the disk a tenth of a second later, or as soon as it can be written.
    pub fn submit(&self, changes: impl IntoIterator<Item = Change>) {
        self.take(changes, None);
    }

    /// Takes changes and calls `done` when they are on the disk, or when that has failed. Then they are tried again until they
    /// are, unless another change of the same row comes first.
    pub fn submit_then(
        &self,
        changes: impl IntoIterator<Item = Change>,
        done: impl FnOnce(Written) + Send + 'static,
    ) {
        self.take(changes, Some(Box::new(done)));
    }

    /// As [`Self::submit_then`], but waits. Blocks for the disk.
    ///
    /// # Errors
    /// Why the changes are not on the disk.
    pub fn store(&self, changes: impl IntoIterator<Item = Change>) -> Written {
        wait(|done| self.submit_then(changes, done))
    }

    /// Calls `done` with the rows of a range, once all changes that were taken before are on the disk.
    pub fn read_then(&self, range: Range, done: impl FnOnce(Page) + Send + 'static) {
        let mut queue = self.shared.queue.lock();
        if let Some(why) = queue.refusal() {
            drop(queue);
            return done(Err(why));
        }
        queue.reads.push((range, Box::new(done)));
        drop(queue);
        self.shared.wake.notify_one();
    }

    /// As [`Self::read_then`], but waits. Blocks for the disk.
    ///
    /// # Errors
    /// Changes that came before are not on the disk, or it cannot be read.
    pub fn read(&self, range: Range) -> Page {
        wait(|done| self.read_then(range, done))
    }

    /// Why what is in memory is not on the disk at the moment.
    pub fn failure(&self) -> Option<Arc<KvError>> {
        self.shared.queue.lock().failure.clone()
    }

    /// Writes what is left, closes the database and ends the thread. Later changes are refused.
    ///
    /// # Errors
    /// Why not everything is on the disk.
    pub fn shutdown(&self) -> Written {
        self.thread.stop();
        self.failure().map_or(Ok(()), Err)
    }

    fn take(&self, changes: impl IntoIterator<Item = Change>, done: Option<Done>) {
        let mut queue = self.shared.queue.lock();
        let idle = queue.changes.is_empty() && queue.waiting.is_empty();
        for change in changes {
            queue
                .changes
                .insert((change.family, change.key), change.value);
        }
        match (done, queue.refusal()) {
            (Some(done), Some(why)) => {
                drop(queue);
                done(Err(why));
            }
            (Some(done), None) => {
                queue.waiting.push(done);
                if queue.waiting.len() == 1 {
                    drop(queue);
                    self.shared.wake.notify_one();
                }
            }
            (None, _) if idle => {
                drop(queue);
                self.shared.wake.notify_one();
            }
            (None, _) => {}
        }
    }
}

/// Has something done, and waits until what it has come to is told.
fn wait<T: Send + 'static>(
    start: impl FnOnce(Box<dyn FnOnce(Result<T, Arc<KvError>>) + Send>),
) -> Result<T, Arc<KvError>> {
    let (done, outcome) = mpsc::sync_channel(1);
    start(Box::new(move |told| {
        // The receiver waits below.
        let _ = done.send(told);
    }));
    outcome
        .recv()
        .unwrap_or_else(|_| Err(Arc::new(KvError::Stopping)))
}

/// What one sync brings to the disk.
struct Round {
    changes: Vec<Change>,
    waiting: Vec<Done>,
    reads: Vec<Read>,
    last: bool,
}

impl Shared {
    fn run(&self, disk: Box<dyn Disk>, mut reopen: Opener) {
        let mut disk = Some(disk);
        loop {
            let round = self.next_round();
            let written = write(&mut disk, &mut reopen, &round.changes).map_err(Arc::new);
            self.note(&written, round.changes);
            for done in round.waiting {
                done(written.clone());
            }
            for (range, done) in round.reads {
                let page = written.clone().and_then(|()| {
                    let open = opened(&mut disk, &mut reopen);
                    open.and_then(|disk| disk.read(&range)).map_err(Arc::new)
                });
                done(page);
            }
            if round.last {
                return;
            }
        }
    }

    /// Waits until there is something to do.
    fn next_round(&self) -> Round {
        let mut queue = self.queue.lock();
        self.wake.wait_while(&mut queue, |queue| {
            queue.changes.is_empty() && !queue.is_urgent()
        });
        if queue.failure.is_some() {
            // Who comes meanwhile is refused at once.
            let pause = |queue: &mut Queue| !queue.stopping;
            self.wake.wait_while_for(&mut queue, pause, RETRY);
        } else {
            let pause = |queue: &mut Queue| !queue.is_urgent();
            self.wake.wait_while_for(&mut queue, pause, UNHURRIED);
        }
        let changes = queue.changes.drain();
        let changes = changes.map(|((family, key), value)| Change { family, key, value });
        Round {
            changes: changes.collect(),
            waiting: std::mem::take(&mut queue.waiting),
            reads: std::mem::take(&mut queue.reads),
            last: queue.stopping,
        }
    }

    /// Keeps what is not on the disk for the next attempt.
    fn note(&self, written: &Written, changes: Vec<Change>) {
        let mut queue = self.queue.lock();
        match written {
            Ok(()) if changes.is_empty() => {}
            Ok(()) => {
                if queue.failure.take().is_some() {
                    tracing::info!("what was waiting for <store>/kv is on the disk again");
                }
            }
            Err(error) => {
                if queue.failure.is_none() {
                    tracing::error!(
                        %error,
                        "consumer offsets and tables are not durable; trying again every second"
                    );
                }
                for change in changes {
                    queue
                        .changes
                        .entry((change.family, change.key))
                        .or_insert(change.value);
                }
                queue.failure = Some(Arc::clone(error));
            }
        }
    }
}

/// Writes to the disk. After a failure nothing is known about what a database holds in memory, so it is opened again.
fn write(
    disk: &mut Option<Box<dyn Disk>>,
    reopen: &mut Opener,
    changes: &[Change],
) -> Result<(), KvError> {
    if changes.is_empty() {
        return Ok(());
    }
    let written = opened(disk, reopen)?.write(changes);
    if written.is_err() {
        *disk = None;
    }
    written
}

fn opened<'a>(
    disk: &'a mut Option<Box<dyn Disk>>,
    reopen: &mut Opener,
) -> Result<&'a mut Box<dyn Disk>, KvError> {
    Ok(match disk.take() {
        Some(open) => disk.insert(open),
        None => disk.insert(reopen()?),
    })
}

impl Thread {
    fn stop(&self) {
        self.shared.queue.lock().stopping = true;
        self.shared.wake.notify_one();
        if let Some(handle) = self.handle.lock().take() {
            // A panic there has ended the process.
            let _ = handle.join();
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The database when the broker starts: tables take their rows out of it.
pub struct KvAtStart {
    kv: Kv,
    path: PathBuf,
    rows: HashMap<Family, Vec<Row>>,
}

impl KvAtStart {
    /// The writer.
    pub fn kv(&self) -> &Kv {
        &self.kv
    }

    /// Directory of the database.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The rows of a table, once.
    pub(super) fn take(&mut self, family: Family) -> Vec<Row> {
        self.rows.remove(&family).unwrap_or_default()
    }

    /// The number in a row.
    ///
    /// # Errors
    /// [`KvError::Row`]: it is none.
    pub fn number(&self, family: Family, key: &[u8]) -> Result<Option<u64>, KvError> {
        self.read(family, key, |row| {
            let bytes = row.try_into();
            let bytes = bytes.map_err(|_| format!("its value has {} bytes, not 8", row.len()))?;
            Ok(u64::from_be_bytes(bytes))
        })
    }

    /// The JSON in a row.
    ///
    /// # Errors
    /// [`KvError::Row`]: it is none of this type.
    pub fn json<T: DeserializeOwned>(
        &self,
        family: Family,
        key: &[u8],
    ) -> Result<Option<T>, KvError> {
        self.read(family, key, |row| {
            serde_json::from_slice(row).map_err(|error| error.to_string())
        })
    }

    fn read<T>(
        &self,
        family: Family,
        key: &[u8],
        value: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<Option<T>, KvError> {
        let mut rows = self.rows.get(&family).into_iter().flatten();
        let Some((_, row)) = rows.find(|(name, _)| **name == *key) else {
            return Ok(None);
        };
        value(row).map(Some).map_err(|reason| KvError::Row {
            path: self.path.clone(),
            family: family.name(),
            key: String::from_utf8_lossy(key).into_owned(),
            reason,
        })
    }
}

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
