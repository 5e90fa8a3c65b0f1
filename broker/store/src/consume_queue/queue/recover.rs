//! Finding a queue's end in its files, and cutting off what the log has not.

use std::sync::atomic::Ordering;

use super::{Home, Queue, QueueKind, Unit, units_in};
use crate::error::StoreError;
use crate::files::NamedFile;
use crate::planted::{Fault, planted};

/// Units read at first when looking for the end of a queue; most queues are short. After a crash the
/// last units are kept until recovery is through: most queues are read only once.
const SCAN_UNITS: u64 = 200;
/// Units read at a time of longer queues.
const PIECE_UNITS: u64 = SCAN_UNITS * 256;

/// The valid part of a file.
struct Scanned {
    /// Number of units.
    count: u64,
    /// The last of them, as they stand in the file.
    last: Vec<u8>,
}

impl Queue {
    /// The unit with this index; `None` where there is none. During recovery.
    fn unit(&self, index: u64) -> Result<Option<Unit>, StoreError> {
        let mut one = Vec::with_capacity(1);
        self.read_units(index, 1, &mut one)?;
        Ok(one.first().copied().filter(|unit| !unit.is_blank()))
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
        let found = scan(&file, &self.home, clean)?;
        let littered = !clean
            && (bases.last() != Some(&last)
                || file
                    .first_data(found.count * self.home.unit_bytes(), self.home.file_bytes)?
                    .is_some());

        let min = first / self.home.unit_bytes();
        let end = last / self.home.unit_bytes() + found.count;
        let kept = units_in(&found.last, self.home.kind) as u64;
        {
            // Those that were read are looked at once more by `cut`.
            let mut tail = self.tail.lock();
            (tail.first, tail.filed) = (end - kept, end);
            tail.units = found.last;
        }
        let oldest = match self.home.kind {
            QueueKind::Simple if end - min != kept => None,
            _ => self.unit(min)?,
        };
        self.set_min(min, oldest.map_or(0, |unit| self.offset(min, &unit)));
        let newest = match self.home.kind {
            QueueKind::Simple => None,
            QueueKind::Batch => self.last_unit(end)?,
        };
        self.oldest.store(
            oldest.map_or(0, |unit| unit.physical_offset),
            Ordering::Relaxed,
        );
        let kept = std::mem::take(&mut *self.tail.lock());
        self.set_end(end, newest);
        if !clean {
            *self.tail.lock() = kept;
        }
        self.tail.lock().littered = littered;
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
            let file = self.home.open(self, pair[0])?;
            let mut unit = vec![0; self.home.kind.unit_bytes()];
            file.read_at(&mut unit, self.home.file_bytes - self.home.unit_bytes())?;
            if self.home.kind.decode(&unit, 0).is_none() {
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
        let mut bases = Vec::with_capacity(listed.len());
        for (name, bytes) in listed {
            let path = directory.join(&name);
            let corrupt = |problem| StoreError::Corrupt {
                path: path.clone(),
                problem,
            };
            let base: u64 = name
                .parse()
                .map_err(|_| corrupt("not a ConsumeQueue file: its name is no position".into()))?;
            if bytes != *file_bytes {
                let key = match self.home.kind {
                    QueueKind::Simple => "mappedFileSizeConsumeQueue",
                    QueueKind::Batch => "mapperFileSizeBatchConsumeQueue",
                };
                return Err(corrupt(format!(
                    "{bytes} bytes long, {key} says {file_bytes}"
                )));
            }
            if !base.is_multiple_of(*file_bytes) {
                return Err(corrupt(format!(
                    "no file of {bytes} bytes starts at {base}"
                )));
            }
            bases.push(base);
        }
        Ok(bases)
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
        while end > self.min_index() {
            match self.unit(end - 1)? {
                Some(unit) if unit.physical_offset < limit => break,
                _ => end -= 1,
            }
        }
        if end < before || wipe && self.tail.lock().littered {
            self.wipe_from(end)?;
            let last = self.last_unit(end)?;
            self.set_end(end, last);
        }
        self.tail.lock().open = None;
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

/// Finds the first unit of a file that is none. Of a store that was left in order only zeros follow
/// it, so that it can be searched for; otherwise every unit is looked at.
fn scan(file: &NamedFile, home: &Home, clean: bool) -> Result<Scanned, StoreError> {
    let (kind, unit_bytes) = (home.kind, home.unit_bytes());
    let units = home.file_bytes / unit_bytes;
    let mut piece = Vec::new();
    let mut read = |from: u64, count: u64| {
        piece.resize(usize::try_from(count * unit_bytes).unwrap_or(0), 0);
        file.read_at(&mut piece, from * unit_bytes)?;
        let valid = kind.units(&piece, 0).take_while(Option::is_some).count();
        let kept = valid - valid.min(usize::try_from(SCAN_UNITS).unwrap_or(0));
        let last = piece[kept * kind.unit_bytes()..valid * kind.unit_bytes()].to_vec();
        Ok::<_, StoreError>((valid as u64, last))
    };
    let start = SCAN_UNITS.min(units);
    let (mut count, mut last) = read(0, start)?;
    if count < start {
        return Ok(Scanned { count, last });
    }
    if clean {
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
        let some = SCAN_UNITS.min(low);
        (_, last) = read(low - some, some)?;
        count = low;
        return Ok(Scanned { count, last });
    }
    while count < units {
        let some = PIECE_UNITS.min(units - count);
        let (more, end) = read(count, some)?;
        if more > 0 {
            last = end;
        }
        count += more;
        if more < some {
            break;
        }
    }
    Ok(Scanned { count, last })
}
