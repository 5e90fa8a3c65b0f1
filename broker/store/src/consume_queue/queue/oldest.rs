//! A queue follows the beginning of the log: its oldest message, and files that hold none any more.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{NO_RECORD, Queue, UNIT_BYTES, Unit};
use crate::error::StoreError;
use crate::files::{Files, StoreFile};

/// Reads single units here and there, without keeping a file open for others.
struct Probe<'a> {
    queue: &'a Queue,
    files: &'a dyn Files,
    open: Option<(u64, Arc<dyn StoreFile>)>,
}

impl Queue {
    /// Lets the queue begin with its first message at or behind `log_start`, or at its end if there
    /// is none. Costs nothing if its oldest message lies there already.
    pub(in crate::consume_queue) fn advance_min(
        &self,
        files: &dyn Files,
        log_start: u64,
    ) -> Result<(), StoreError> {
        if self.oldest.load(Ordering::Relaxed) >= log_start {
            return Ok(());
        }
        let before = self.min_offset();
        let end = self.max_offset();
        let found = self.first_message(files, before..end, log_start)?;
        let tail = self.tail.lock();
        let (min, oldest) = match found {
            Some((offset, physical_offset)) => (offset, physical_offset),
            None if tail.end() > end => (end, log_start),
            None => (end, NO_RECORD),
        };
        self.min.store(min, Ordering::Release);
        self.oldest.store(oldest, Ordering::Relaxed);
        if self.place(before).base < self.place(min).base {
            self.outdated.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Offset and position of the first message whose record starts at or behind `log_start`.
    fn first_message(
        &self,
        files: &dyn Files,
        within: Range<u64>,
        log_start: u64,
    ) -> Result<Option<(u64, u64)>, StoreError> {
        let mut probe = Probe {
            queue: self,
            files,
            open: None,
        };
        let (mut low, mut high, mut found) = (within.start, within.end, None);
        while low < high {
            let middle = low + (high - low) / 2;
            // Blanks say nothing: the next message speaks for them.
            let mut at = middle;
            let unit = loop {
                match probe.unit(at)? {
                    Some(unit) if unit.is_blank() && at + 1 < high => at += 1,
                    unit => break unit.filter(|unit| !unit.is_blank()),
                }
            };
            match unit {
                Some(unit) if unit.physical_offset < log_start => low = at + 1,
                Some(unit) => {
                    found = Some((at, unit.physical_offset));
                    high = middle;
                }
                None => high = middle,
            }
        }
        Ok(found)
    }

    /// Whether [`Self::delete_outdated`] may find something.
    pub(crate) fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Relaxed)
    }

    /// Deletes the files that hold nothing but units before the oldest message, oldest first and
    /// never the last one, for it says where the queue goes on. Returns how many.
    pub(crate) fn delete_outdated(&self, files: &dyn Files) -> Result<usize, StoreError> {
        let Some(directory) = self.directory.as_ref().filter(|_| !self.is_deleted()) else {
            return Ok(0);
        };
        let keep_from = self.place(self.min_offset()).base;
        let listed = files
            .list(directory)
            .map_err(StoreError::io("list", directory))?;
        let mut old: Vec<u64> = listed
            .iter()
            .filter_map(|(name, _)| name.parse().ok())
            .collect();
        let last = old.pop();
        old.retain(|base| *base < keep_from);
        for base in &old {
            let path = self.path(*base);
            match files.delete(&path) {
                // A topic was deleted meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                deleted => deleted.map_err(StoreError::io("delete", &path))?,
            }
        }
        self.delete_outdated_ext(files)?;
        // A last file that is full becomes superfluous with the next message.
        let again = last.is_some_and(|last| last < keep_from);
        self.outdated.store(again, Ordering::Relaxed);
        self.tail.lock().open.take_if(|(base, _)| *base < keep_from);
        Ok(old.len())
    }
}

impl Probe<'_> {
    fn unit(&mut self, offset: u64) -> Result<Option<Unit>, StoreError> {
        if let Some(unit) = self.queue.tail.lock().unit(offset) {
            return Ok(Some(unit));
        }
        let place = self.queue.place(offset);
        let path = || self.queue.path(place.base);
        let file = match &self.open {
            Some((base, file)) if *base == place.base => file,
            _ => {
                let file = self.files.open(&path());
                let file = file.map_err(|error| StoreError::io("open", &path())(error))?;
                &self.open.insert((place.base, file)).1
            }
        };
        let mut raw = [0; UNIT_BYTES];
        file.read_at(&mut raw, place.at)
            .map_err(|error| StoreError::io("read", &path())(error))?;
        Ok(Unit::decode(&raw))
    }
}
