//! A queue follows the beginning of the log: its oldest message, and files that hold none any more.

use std::sync::atomic::Ordering;

use super::{NO_RECORD, Queue, QueueKind, Unit};
use crate::error::StoreError;

impl Queue {
    /// Lets the queue begin with its first message at or behind `log_start`, or at its end if there
    /// is none. Costs nothing if its oldest message lies there already.
    pub(in crate::consume_queue) fn advance_min(&self, log_start: u64) -> Result<(), StoreError> {
        if self.oldest.load(Ordering::Relaxed) >= log_start {
            return Ok(());
        }
        loop {
            let end = self.end();
            let found = self.first_message(self.min_index()..end, log_start)?;
            if self.begin_with(found, end) {
                return Ok(());
            }
        }
    }

    /// Lets the queue begin with the message that was found before index `end`, or there. False when none was found, but
    /// some have come since.
    pub(crate) fn begin_with(&self, found: Option<(u64, Unit)>, end: u64) -> bool {
        let tail = self.tail.lock();
        let (min, offset, oldest) = match found {
            Some((index, unit)) => (index, self.offset(index, &unit), unit.physical_offset),
            None if tail.end(self.home.kind) > end => return false,
            None => (end, self.max_offset(), NO_RECORD),
        };
        if self.keep_from(self.min_index()) < self.keep_from(min) {
            self.outdated.store(true, Ordering::Relaxed);
        }
        self.set_min(min, offset);
        self.oldest.store(oldest, Ordering::Relaxed);
        true
    }

    /// Position of the file that has to stay, with all behind it, of a queue that begins at an index.
    /// A unit that says which messages it stands for is needed even when it is the last before those:
    /// it says where the queue goes on should a crash take them.
    fn keep_from(&self, min: u64) -> u64 {
        let index = match self.home.kind {
            QueueKind::Simple => min,
            QueueKind::Batch => min.saturating_sub(1),
        };
        self.home.place(index).base
    }

    /// Whether [`Self::delete_outdated`] may find something.
    pub(crate) fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Relaxed)
    }

    /// Deletes the files that hold nothing but units before the oldest message, oldest first and
    /// never the last one, for it says where the queue goes on. Returns how many.
    pub(crate) fn delete_outdated(&self) -> Result<usize, StoreError> {
        if self.homeless || self.is_deleted() {
            return Ok(0);
        }
        let keep_from = self.keep_from(self.min_index());
        let mut old = self.home.bases(self)?;
        let last = old.pop();
        old.retain(|base| *base < keep_from);
        for base in &old {
            // A topic may be deleted meanwhile.
            self.home
                .files
                .delete_if_there(&self.home.path(self, *base))?;
        }
        self.delete_outdated_ext()?;
        // A last file that is full becomes superfluous with the next message.
        let again = last.is_some_and(|last| last < keep_from);
        self.outdated.store(again, Ordering::Relaxed);
        self.tail.lock().open.take_if(|open| open.base < keep_from);
        Ok(old.len())
    }
}
