//! A queue follows the beginning of the log: its oldest message, and files that hold none any more.

use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;

use super::{Home, NO_RECORD, OpenFile, Queue, UNIT_BYTES, Unit};
use crate::error::StoreError;

/// Reads single units here and there, without keeping a file open for others.
struct Probe<'a> {
    queue: &'a Queue,
    home: &'a Home,
    open: Option<OpenFile>,
}

impl Queue {
    /// Lets the queue begin with its first message at or behind `log_start`, or at its end if there
    /// is none. Costs nothing if its oldest message lies there already.
    pub(in crate::consume_queue) fn advance_min(
        &self,
        home: &Home,
        log_start: u64,
    ) -> Result<(), StoreError> {
        if self.oldest.load(Ordering::Relaxed) >= log_start {
            return Ok(());
        }
        let before = self.min_offset();
        let end = self.max_offset();
        let found = self.first_message(home, before..end, log_start)?;
        let tail = self.tail.lock();
        let (min, oldest) = match found {
            Some((offset, physical_offset)) => (offset, physical_offset),
            None if tail.end() > end => (end, log_start),
            None => (end, NO_RECORD),
        };
        self.min.store(min, Ordering::Release);
        self.oldest.store(oldest, Ordering::Relaxed);
        if home.place(before).base < home.place(min).base {
            self.outdated.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Offset and position of the first message whose record starts at or behind `log_start`.
    fn first_message(
        &self,
        home: &Home,
        within: Range<u64>,
        log_start: u64,
    ) -> Result<Option<(u64, u64)>, StoreError> {
        let mut probe = Probe {
            queue: self,
            home,
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
    pub(in crate::consume_queue) fn delete_outdated(
        &self,
        home: &Home,
    ) -> Result<usize, StoreError> {
        if self.homeless || self.is_deleted() {
            return Ok(0);
        }
        let keep_from = home.place(self.min_offset()).base;
        let directory = home.directory(self);
        let listed = home
            .files
            .list(&directory)
            .map_err(StoreError::io("list", &directory))?;
        let mut old: Vec<u64> = listed
            .iter()
            .filter_map(|(name, _)| name.parse().ok())
            .collect();
        let last = old.pop();
        old.retain(|base| *base < keep_from);
        for base in &old {
            let path = home.path(self, *base);
            match home.files.delete(&path) {
                // A topic was deleted meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                deleted => deleted.map_err(StoreError::io("delete", &path))?,
            }
        }
        self.delete_outdated_ext(home)?;
        // A last file that is full becomes superfluous with the next message.
        let again = last.is_some_and(|last| last < keep_from);
        self.outdated.store(again, Ordering::Relaxed);
        self.tail.lock().open.take_if(|open| open.base < keep_from);
        Ok(old.len())
    }
}

impl Probe<'_> {
    fn unit(&mut self, offset: u64) -> Result<Option<Unit>, StoreError> {
        if let Some(unit) = self.queue.tail.lock().unit(offset) {
            return Ok(Some(unit));
        }
        let place = self.home.place(offset);
        let file = match &self.open {
            Some(open) if open.base == place.base => &open.file,
            _ => {
                let file = self.home.open(self.queue, place.base)?;
                let base = place.base;
                &self.open.insert(OpenFile { base, file }).file
            }
        };
        let mut raw = [0; UNIT_BYTES];
        let path = || self.home.path(self.queue, place.base);
        file.read_at(&mut raw, place.at)
            .map_err(|error| StoreError::io("read", &path())(error))?;
        Ok(Unit::decode(&raw))
    }
}
