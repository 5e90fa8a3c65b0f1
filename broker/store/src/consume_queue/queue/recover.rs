//! Finding a queue's end in its files, and cutting off what the log has not.

use std::iter;
use std::sync::atomic::Ordering;

use super::find::Probe;
use super::{Home, KEPT_UNITS, NO_RECORD, Queue, QueueKind, Tail, Unit, units_in};
use crate::error::StoreError;
use crate::files::{FileKind, NamedFile};
use crate::planted::{Fault, planted};

/// Units read at first when looking for the end of a queue; most queues are short. After a crash the
/// last units are kept until recovery is through: most queues are read only once.
const SCAN_UNITS: u64 = 200;
/// Units read at a time of longer queues.
const PIECE_UNITS: u64 = SCAN_UNITS * 256;

impl Queue {
    /// The unit with this index; `None` where there is none.
    fn unit(&self, index: u64) -> Result<Option<Unit>, StoreError> {
        let unit = Probe::new(self).unit(index)?;
        Ok(unit.filter(|unit| !unit.is_blank()))
    }

    /// Finds the end of the queue in its files. Unless the store was left in order (`clean`), there
    /// may be holes: nothing behind the first one found counts. Where its oldest message is,
    /// [`Self::advance_min`] finds.
    pub(in crate::consume_queue) fn load(&self, clean: bool) -> Result<(), StoreError> {
        self.check_ext()?;
        self.load_files(&self.files_there()?, clean)
    }

    /// As [`Self::load`], of files at these positions.
    pub(crate) fn load_files(&self, bases: &[u64], clean: bool) -> Result<(), StoreError> {
        let Some(first) = bases.first().copied() else {
            return Ok(());
        };
        let last = self.last_file(bases, clean)?;
        let file = self.home.open(self, last)?;
        let (count, units) = scan(&file, &self.home, clean)?;
        let (kind, unit_bytes) = (self.home.kind, self.home.unit_bytes());
        let littered = !clean
            && (bases.last() != Some(&last)
                || file
                    .first_data(count * unit_bytes, self.home.file_bytes)?
                    .is_some());
        let (min, end) = (first / unit_bytes, last / unit_bytes + count);
        let in_memory = end - units_in(&units, kind) as u64;
        // What was read is looked at once more by `cut`.
        *self.tail.lock() = Tail {
            first: in_memory,
            filed: end,
            units,
            littered,
            ..Tail::default()
        };
        let oldest = match kind {
            QueueKind::Simple if in_memory != min => None,
            _ => self.unit(min)?,
        };
        self.set_min(min, oldest.map_or(0, |unit| self.offset(min, &unit)));
        self.oldest.store(
            oldest.map_or(0, |unit| unit.physical_offset),
            Ordering::Relaxed,
        );
        self.set_end(end)?;
        if clean {
            self.tail.lock().trim(kind, 0);
        }
        Ok(())
    }

    /// The queue ends with the unit before index `end`.
    fn set_end(&self, end: u64) -> Result<(), StoreError> {
        let offset = match self.home.kind {
            QueueKind::Simple => end,
            QueueKind::Batch if planted(Fault::BatchesCountedAsMessages) => end,
            QueueKind::Batch => self.last_unit(end)?.map_or(0, |last| last.next()),
        };
        self.visible.store(offset, Ordering::SeqCst);
        self.next.store(offset, Ordering::Relaxed);
        if end <= self.min_index() {
            self.set_min(end, offset);
            self.oldest.store(NO_RECORD, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The file in which the queue ends: the first that is not full.
    fn last_file(&self, bases: &[u64], clean: bool) -> Result<u64, StoreError> {
        for pair in bases.windows(2) {
            if pair[1] != pair[0] + self.home.file_bytes {
                return Ok(pair[0]);
            }
            if clean {
                continue;
            }
            let full = pair[1] / self.home.unit_bytes();
            if Probe::new(self).unit(full - 1)?.is_none() {
                return Ok(pair[0]);
            }
        }
        Ok(bases.last().copied().unwrap_or(0))
    }

    /// Start positions of the files, checked.
    fn files_there(&self) -> Result<Vec<u64>, StoreError> {
        if self.homeless {
            return Ok(Vec::new());
        }
        let Home {
            files, file_bytes, ..
        } = &*self.home;
        let directory = self.home.directory(self);
        let mut listed = files.list(&directory)?;
        // A crash leaves empty what was created but not synced. Files behind such a one are no older;
        // recovery makes their units again.
        let empty = listed.iter().position(|(_, bytes)| *bytes == 0);
        for (name, _) in listed.drain(empty.unwrap_or(listed.len())..).rev() {
            files.delete(&directory.join(name))?;
        }
        let kind = FileKind {
            name: "ConsumeQueue",
            size_key: match self.home.kind {
                QueueKind::Simple => "mappedFileSizeConsumeQueue",
                QueueKind::Batch => "mapperFileSizeBatchConsumeQueue",
            },
            bytes: *file_bytes,
        };
        kind.positions(&directory, &listed)
    }

    /// Cuts all units of records that start at or behind `limit`. With `wipe`, what the files
    /// hold behind the end becomes zeros even if nothing is cut: after a power cut there may be
    /// units behind a hole. Returns how many were cut. During recovery, with nothing in memory.
    pub(in crate::consume_queue) fn cut(&self, limit: u64, wipe: bool) -> Result<u64, StoreError> {
        let before = self.end();
        if planted(Fault::UnitsNotCut) {
            return Ok(0);
        }
        let limit = limit + u64::from(planted(Fault::UnitsCutOffByOne));
        // Units stand in the order of their records, but for blanks, which say nothing; so the
        // search only brings near what the loop then finds.
        let near = self.first_message(self.min_index()..before, limit)?;
        let mut end = near.map_or(before, |(index, _)| index);
        let mut probe = Probe::new(self);
        while end > self.min_index() {
            match probe.unit(end - 1)? {
                Some(unit) if !unit.is_blank() && unit.physical_offset < limit => break,
                _ => end -= 1,
            }
        }
        if end < before || wipe && self.tail.lock().littered {
            self.wipe_from(end)?;
            self.set_end(end)?;
            *self.tail.lock() = Tail {
                first: end,
                filed: end,
                ..Tail::default()
            };
        }
        Ok(before - end)
    }

    fn wipe_from(&self, end: u64) -> Result<(), StoreError> {
        let place = self.home.place(end);
        for base in self.files_there()? {
            if base == place.base {
                let file = self.home.open(self, base)?;
                file.zero(place.at, self.home.file_bytes, false)?;
            } else if base > place.base {
                self.home.files.delete(&self.home.path(self, base))?;
            }
        }
        Ok(())
    }

    /// Position behind the newest record that has a unit; 0 without any.
    pub(in crate::consume_queue) fn indexed(&self) -> Result<u64, StoreError> {
        let last = self.last_unit(self.end())?;
        Ok(last.map_or(0, |unit| unit.end()))
    }

    /// The unit before index `end`, if the queue does not begin there.
    fn last_unit(&self, end: u64) -> Result<Option<Unit>, StoreError> {
        match end.checked_sub(1).filter(|last| *last >= self.min_index()) {
            Some(last) => self.unit(last),
            None => Ok(None),
        }
    }
}

/// The number of units of a file before the first that is none, and the last of them. Of a store that was left in order only
/// zeros follow, so that they can be searched for; otherwise every unit is looked at.
fn scan(file: &NamedFile, home: &Home, clean: bool) -> Result<(u64, Vec<u8>), StoreError> {
    let (kind, unit_bytes) = (home.kind, home.unit_bytes());
    let units = home.file_bytes / unit_bytes;
    let (mut count, mut last, mut piece) = (0, Vec::new(), Vec::new());
    for some in iter::once(SCAN_UNITS).chain(iter::repeat(PIECE_UNITS)) {
        let some = some.min(units - count);
        piece.resize(usize::try_from(some * unit_bytes).unwrap_or(0), 0);
        file.read_at(&mut piece, count * unit_bytes)?;
        let valid = kind.units(&piece, 0).take_while(Option::is_some).count();
        if valid > 0 {
            let before = valid.saturating_sub(KEPT_UNITS);
            last = piece[before * kind.unit_bytes()..valid * kind.unit_bytes()].to_vec();
        }
        count += valid as u64;
        if (valid as u64) < some || count == units {
            return Ok((count, last));
        }
        if clean {
            break;
        }
    }
    let (mut low, mut high) = (count, units);
    let mut raw = vec![0; kind.unit_bytes()];
    while low < high {
        let middle = low + (high - low) / 2;
        file.read_at(&mut raw, middle * unit_bytes)?;
        match kind.decode(&raw, 0) {
            Some(_) => low = middle + 1,
            None => high = middle,
        }
    }
    Ok((low, Vec::new()))
}
