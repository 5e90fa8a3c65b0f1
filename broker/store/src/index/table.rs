//! All index files, the tail before them, and queries over both.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::clock::{Clock, local_digits};
use common::thread::Bell;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use super::file::{IndexFile, Scratch, Walk, Walked, Wanted, file_name};
use super::layout::{Header, Key, Shape};
use super::tail::{Intake, Resume, Tail};
use crate::error::StoreError;
use crate::files::FileSystem;

/// Keys for which an idle index keeps memory.
const KEPT_KEYS: usize = 4096;
/// Time after which a file that could not be written is tried again: making its slots again takes a while.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// The key index. The tail has a lock of its own, so that dispatch never waits for the disk.
pub(crate) struct IndexTable {
    pub(super) files: FileSystem,
    pub(super) directory: PathBuf,
    pub(super) shape: Shape,
    clock: Arc<dyn Clock>,
    pub(super) tail: Mutex<Tail>,
    /// Rung when the tail is long.
    bell: Arc<Bell>,
    pub(super) state: RwLock<State>,
}

/// What is in files, or on its way there.
#[derive(Debug)]
pub(super) struct State {
    /// Oldest first.
    pub(super) list: Vec<IndexFile>,
    /// Keys taken out of the tail, in no file yet.
    pub(super) batch: Vec<Key>,
    pub(super) mark: IndexMark,
    pub(super) retry_at: Option<Duration>,
    scratch: Scratch,
}

/// How far the index has come. What it names stays as it is: entries are only added behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexMark {
    /// All keys of records below are in the files.
    pub(crate) resume: Resume,
    /// Name of the newest file and what its header says; `None` before the first.
    pub(crate) newest: Option<(u64, Header)>,
    /// Number of files. There may be more of older records, which are about to be deleted, but not fewer.
    pub(crate) files: usize,
    /// Store time of the newest entry in full files, 0 without any.
    pub(crate) full_timestamp: i64,
}

impl IndexTable {
    pub(super) fn new(
        files: FileSystem,
        directory: PathBuf,
        shape: Shape,
        clock: Arc<dyn Clock>,
        list: Vec<IndexFile>,
        resume: Resume,
    ) -> Self {
        let state = State {
            mark: IndexMark::of(&list, resume),
            list,
            batch: Vec::new(),
            retry_at: None,
            scratch: Scratch::default(),
        };
        Self {
            files,
            directory,
            shape,
            clock,
            tail: Mutex::new(Tail {
                keys: Vec::new(),
                behind: Some(resume),
            }),
            bell: Arc::default(),
            state: RwLock::new(state),
        }
    }

    /// Rung when [`Self::apply`] should be called before its time.
    pub(crate) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }

    /// Takes keys as long as it is held.
    pub(crate) fn intake(&self) -> Intake<'_> {
        Intake {
            tail: self.tail.lock(),
            bell: &self.bell,
        }
    }

    /// Writes all keys of records below `dispatched` to the files; they are not synced. Returns what was `dispatched`
    /// and how far the index has come. What cannot be written waits; it is said in the log.
    pub(crate) fn apply<M>(&self, dispatched: impl FnOnce() -> (u64, M)) -> (M, IndexMark) {
        let mut state = self.state.write();
        // Looked at under the lock: no entry is written of a record that a mark taken later does not cover.
        let (limit, mark) = dispatched();
        self.try_apply(&mut state, limit);
        (mark, state.mark)
    }

    pub(super) fn try_apply(&self, state: &mut State, limit: u64) -> bool {
        let now = self.clock.monotonic();
        if state.retry_at.is_some_and(|at| now < at) {
            return false;
        }
        let applied = self.apply_below(state, limit);
        state.retry_at = applied.as_ref().err().map(|_| now + RETRY_PAUSE);
        if let Err(error) = &applied {
            let path = self.directory.display();
            tracing::warn!(%path, %error, "the key index cannot be written; trying again");
        }
        applied.is_ok()
    }

    fn apply_below(&self, state: &mut State, limit: u64) -> Result<(), StoreError> {
        loop {
            self.write_batch(state)?;
            let mut tail = self.tail.lock();
            let due = tail.keys.partition_point(|key| key.offset < limit);
            if due == 0 {
                let resume = tail.behind.unwrap_or(Resume::at(limit));
                state.mark = IndexMark::of(&state.list, resume);
                return Ok(());
            }
            if due == tail.keys.len() {
                std::mem::swap(&mut tail.keys, &mut state.batch);
            } else {
                state.batch.extend(tail.keys.drain(..due));
            }
        }
    }

    /// Writes the batch. What could not be written stays in it.
    pub(super) fn write_batch(&self, state: &mut State) -> Result<(), StoreError> {
        self.repair(state)?;
        let are_few = state.batch.len() < KEPT_KEYS;
        while !state.batch.is_empty() {
            if state.list.last().is_none_or(IndexFile::is_full) {
                self.add_file(&mut state.list)?;
            }
            let Some(file) = state.list.last_mut() else {
                break;
            };
            let written = file.append(&self.files, &state.batch, &mut state.scratch)?;
            state.batch.drain(..written);
        }
        if are_few {
            state.batch.shrink_to(KEPT_KEYS);
            state.scratch.shrink_to(KEPT_KEYS);
        }
        Ok(())
    }

    fn add_file(&self, list: &mut Vec<IndexFile>) -> Result<(), StoreError> {
        let now = local_digits(self.clock.now());
        let (name, header) = match list.last() {
            // Clocks go back, at the end of summer by an hour.
            Some(full) => (now.max(full.name + 1), Header::after(&full.header)),
            None => (now, Header::EMPTY),
        };
        let path = self.directory.join(file_name(name));
        self.files.create_directories(&self.directory, true)?;
        let bytes = self.shape.file_bytes();
        let file = self.files.create(path.clone(), bytes, false)?;
        if let Some(full) = list.last_mut() {
            full.open = None;
        }
        list.push(IndexFile {
            name,
            path,
            header,
            shape: self.shape,
            open: Some(Arc::new(file)),
            torn: false,
        });
        Ok(())
    }

    /// Visits the offsets of records that have a wanted key below `dispatched`, newest first. A record with several keys
    /// of one hash is visited several times in a row, one whose key has the same hash as well. Returns the header of the
    /// newest file.
    pub(crate) fn query(
        &self,
        wanted: &Wanted,
        dispatched: impl FnOnce() -> u64,
        visit: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Header, StoreError> {
        self.apply(|| (dispatched(), ()));
        let mut state = self.state.read();
        let newest = state
            .list
            .last()
            .map_or(Header::EMPTY, |newest| newest.header);
        for offset in self.waiting(&state, wanted) {
            if visit(offset).is_break() {
                return Ok(newest);
            }
        }
        let names: Vec<_> = state.list.iter().rev().map(|file| file.name).collect();
        for name in names {
            let mut walk = Walk::default();
            // It may be deleted on the way.
            while let Some(file) = state.list.iter().find(|file| file.name == name) {
                let walked = if file.overlaps(&wanted.times) {
                    file.find(&self.files, wanted, &mut walk, visit)?
                } else {
                    Walked::End
                };
                let is_last = file.header.begin_timestamp < *wanted.times.start();
                match walked {
                    Walked::Enough => return Ok(newest),
                    Walked::End if is_last => return Ok(newest),
                    Walked::End => break,
                    // Whoever waits to write need not wait for the end of a long chain.
                    Walked::More => RwLockReadGuard::bump(&mut state),
                }
            }
        }
        Ok(newest)
    }

    /// Offsets of wanted keys that are in no file: what came in the last moment, or could not be written.
    fn waiting(&self, state: &State, wanted: &Wanted) -> Vec<u64> {
        let tail = self.tail.lock();
        let keys = tail.keys.iter().rev();
        keys.chain(state.batch.iter().rev())
            .filter(|key| key.hash == wanted.hash && wanted.times.contains(&key.store_timestamp))
            .map(|key| key.offset)
            .collect()
    }

    /// Forgets the files, never the newest, all of whose records lie below `min_physical`, where the log begins. They
    /// are to be deleted once a checkpoint says that they are no longer needed.
    pub(crate) fn forget_before(&self, min_physical: u64) -> Vec<PathBuf> {
        let mut state = self.state.write();
        let newest = state.list.len().saturating_sub(1);
        let outdated = state.list[..newest]
            .iter()
            .take_while(|file| file.header.end_offset < min_physical)
            .count();
        let paths = state.list.drain(..outdated).map(|file| file.path).collect();
        state.mark.files = state.list.len();
        paths
    }
}

#[cfg(test)]
impl IndexTable {
    /// As if the tail had no room for messages from `offset` on.
    pub(crate) fn fall_behind(&self, offset: u64) {
        self.tail.lock().behind = Some(Resume::at(offset));
    }
}

impl IndexMark {
    pub(super) fn of(list: &[IndexFile], resume: Resume) -> Self {
        let full = list.iter().rev().find(|file| file.is_full());
        Self {
            resume,
            newest: list.last().map(|newest| (newest.name, newest.header)),
            files: list.len(),
            full_timestamp: full.map_or(0, |full| full.header.end_timestamp),
        }
    }
}
