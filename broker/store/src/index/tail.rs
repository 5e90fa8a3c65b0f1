//! Keys that are in no file yet.

use common::thread::Bell;
use parking_lot::MutexGuard;

use super::layout::Key;

/// Keys from which on the index thread is woken before its time.
const WAKE_KEYS: usize = 100_000;
/// Keys that may wait; 24 bytes each. Those of further messages are read back from the log later.
const MAX_KEYS: usize = 1_000_000;

/// The tail, and where it does not reach.
#[derive(Debug)]
pub(super) struct Tail {
    /// Those of older records first.
    pub(super) keys: Vec<Key>,
    /// Keys from here on are not taken but wait in the log.
    pub(super) behind: Option<Resume>,
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resume {
    /// Start of a record, or an end of the log.
    pub(crate) offset: u64,
    /// Keys of that record which are in the index already.
    pub(crate) skip: u32,
}

impl Resume {
    /// From a record of which no key is in the index.
    pub(crate) fn at(offset: u64) -> Self {
        Self { offset, skip: 0 }
    }
}

/// Takes the keys of records in the order of the log. Held for a short time by the thread that dispatches.
pub(crate) struct Intake<'a> {
    pub(super) tail: MutexGuard<'a, Tail>,
    pub(super) bell: &'a Bell,
}

impl Intake<'_> {
    /// The keys of the record at `offset`.
    pub(crate) fn push(
        &mut self,
        offset: u64,
        store_timestamp: i64,
        hashes: impl Iterator<Item = i32>,
    ) {
        let tail = &mut *self.tail;
        if tail.behind.is_some() {
            return;
        }
        if tail.keys.len() >= MAX_KEYS {
            tracing::warn!(
                offset,
                "the key index falls behind; it reads further messages back from the log"
            );
            tail.behind = Some(Resume::at(offset));
            return;
        }
        tail.keys.extend(hashes.map(|hash| Key {
            hash,
            offset,
            store_timestamp,
        }));
    }
}

impl Drop for Intake<'_> {
    fn drop(&mut self) {
        if self.tail.keys.len() >= WAKE_KEYS {
            self.bell.ring();
        }
    }
}
