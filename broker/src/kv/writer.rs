//! The thread `kv-write`: takes all changes that came while it was busy, and brings them to the disk with one sync.

use super::database::Database;
use super::{Change, Family, KvError, Row};
use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex};
use std::panic::{AssertUnwindSafe, catch_unwind};
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
/// A row of any table.
type RowKey = (Family, Box<[u8]>);
type Done = Box<dyn FnOnce(Written) + Send>;

/// Where changes go.
pub(super) trait Disk: Send {
    /// All of them or none, on the disk when it returns.
    ///
    /// # Errors
    /// [`KvError::Write`]; what is on the disk then shows when it is opened again.
    fn write(&mut self, changes: &[Change]) -> Result<(), KvError>;
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
    /// Why what is in memory is not on the disk.
    failure: Option<Arc<KvError>>,
    stopping: bool,
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
        for family in Family::ALL {
            rows.insert(family, database.rows(family)?);
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
        let work = move || {
            if catch_unwind(AssertUnwindSafe(|| writer.run(disk, reopen))).is_err() {
                tracing::error!("the thread kv-write panicked; ending the process");
                std::process::abort();
            }
        };
        let handle = std::thread::Builder::new()
            .name("kv-write".to_owned())
            .spawn(work)?;
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
        let (done, outcome) = mpsc::sync_channel(1);
        self.submit_then(changes, move |written| {
            // The receiver waits below.
            let _ = done.send(written);
        });
        outcome
            .recv()
            .unwrap_or_else(|_| Err(Arc::new(KvError::Stopping)))
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
        let refused = if queue.stopping {
            Some(Arc::new(KvError::Stopping))
        } else if queue.waiting.len() >= MAX_WAITING {
            Some(Arc::new(KvError::Busy))
        } else {
            queue.failure.clone()
        };
        match (done, refused) {
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

/// What one sync brings to the disk.
struct Round {
    changes: Vec<Change>,
    waiting: Vec<Done>,
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
            if round.last {
                return;
            }
        }
    }

    /// Waits until there is something to do.
    fn next_round(&self) -> Round {
        let mut queue = self.queue.lock();
        self.wake.wait_while(&mut queue, |queue| {
            queue.changes.is_empty() && queue.waiting.is_empty() && !queue.stopping
        });
        if queue.failure.is_some() {
            // Who comes meanwhile is refused at once.
            let pause = |queue: &mut Queue| !queue.stopping;
            self.wake.wait_while_for(&mut queue, pause, RETRY);
        } else {
            let pause = |queue: &mut Queue| queue.waiting.is_empty() && !queue.stopping;
            self.wake.wait_while_for(&mut queue, pause, UNHURRIED);
        }
        let changes = queue.changes.drain();
        let changes = changes.map(|((family, key), value)| Change { family, key, value });
        Round {
            changes: changes.collect(),
            waiting: std::mem::take(&mut queue.waiting),
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
    let open = match disk.take() {
        Some(open) => disk.insert(open),
        None => disk.insert(reopen()?),
    };
    let written = open.write(changes);
    if written.is_err() {
        *disk = None;
    }
    written
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

    /// One row.
    pub(super) fn row(&self, family: Family, key: &[u8]) -> Option<&[u8]> {
        let rows = self.rows.get(&family)?;
        let row = rows.iter().find(|(name, _)| **name == *key)?;
        Some(&row.1)
    }
}

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
