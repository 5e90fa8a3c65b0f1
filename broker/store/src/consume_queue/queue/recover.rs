//! Finding a queue's end in its files, and cutting off what the log has not.

use std::io;
use std::sync::atomic::Ordering;

use super::{Home, Queue, UNIT_BYTES, Unit, units_in};
use crate::error::StoreError;
use crate::files::StoreFile;
use crate::planted::{Fault, planted};

/// Bytes read at first when looking for the end of a queue; most queues are short. After a crash the
/// last units are kept until recovery is through: most queues are read only once.
const SCAN_BYTES: u64 = 200 * UNIT_BYTES as u64;
/// Bytes read at a time of longer queues.
const PIECE_BYTES: u64 = SCAN_BYTES * 256;

/// The valid part of a file.
struct Scanned {
    /// Number of units.
    count: u64,
    /// The last of them, as they stand in the file.
    last: Vec<u8>,
}

impl Queue {
    /// The unit of message `offset`; `None` where there is none. During recovery.
    fn unit(&self, home: &Home, offset: u64) -> Result<Option<Unit>, StoreError> {
        let mut one = Vec::with_capacity(1);
        self.read(home, offset, 1, &mut one)?;
        Ok(one.first().copied().filter(|unit| !unit.is_blank()))
    }

    /// Finds the end of the queue in its files. Unless the store was left in order (`clean`), there
    /// may be holes: nothing behind the first one found counts. Where its oldest message is,
    /// [`Self::advance_min`] finds.
    pub(in crate::consume_queue) fn load(
        &self,
        home: &Home,
        clean: bool,
    ) -> Result<(), StoreError> {
        self.check_ext(home)?;
        let bases = self.files_there(home)?;
        let Some(first) = bases.first().copied() else {
            return Ok(());
        };
        let last = self.last_file(home, &bases, clean)?;
        let file = home.open(self, last)?;
        let failed = |error| StoreError::io("read", &home.path(self, last))(error);
        let found = scan(&*file, home.file_bytes, clean).map_err(failed)?;
        let littered = !clean
            && (bases.last() != Some(&last)
                || has_data(&*file, found.count * UNIT_BYTES as u64, home.file_bytes)
                    .map_err(failed)?);
        self.littered.store(littered, Ordering::Relaxed);

        let min = first / UNIT_BYTES as u64;
        let end = last / UNIT_BYTES as u64 + found.count;
        let oldest = match found.last.first_chunk() {
            Some(unit) if end - min == units_in_memory(&found.last) => Unit::decode(unit),
            _ => None,
        };
        let oldest = oldest.filter(|unit| !unit.is_blank());
        self.min.store(min, Ordering::Release);
        self.oldest.store(
            oldest.map_or(0, |unit| unit.physical_offset),
            Ordering::Relaxed,
        );
        self.set_end(end);
        if !clean {
            // To be looked at once more, by `cut`.
            let mut tail = self.tail.lock();
            tail.first = end - units_in_memory(&found.last);
            tail.units = found.last;
        }
        Ok(())
    }

    /// The file in which the queue ends: the first that is not full.
    fn last_file(&self, home: &Home, bases: &[u64], clean: bool) -> Result<u64, StoreError> {
        for pair in bases.windows(2) {
            if pair[1] != pair[0] + home.file_bytes {
                return Ok(pair[0]);
            }
            if clean {
                continue;
            }
            let file = home.open(self, pair[0])?;
            let mut unit = [0; UNIT_BYTES];
            let failed = |source| StoreError::io("read", &home.path(self, pair[0]))(source);
            file.read_at(&mut unit, home.file_bytes - UNIT_BYTES as u64)
                .map_err(failed)?;
            if Unit::decode(&unit).is_none() {
                return Ok(pair[0]);
            }
        }
        Ok(bases.last().copied().unwrap_or(0))
    }

    /// Start positions of the files, checked.
    fn files_there(&self, home: &Home) -> Result<Vec<u64>, StoreError> {
        if self.homeless {
            return Ok(Vec::new());
        }
        let Home {
            files, file_bytes, ..
        } = home;
        let directory = home.directory(self);
        let mut listed = files
            .list(&directory)
            .map_err(StoreError::io("list", &directory))?;
        // A crash leaves empty what was created but not synced. Files behind such a one are no older;
        // recovery makes their units again.
        let empty = listed.iter().position(|(_, bytes)| *bytes == 0);
        for (name, _) in listed.drain(empty.unwrap_or(listed.len())..).rev() {
            let path = directory.join(name);
            files
                .delete(&path)
                .map_err(StoreError::io("delete", &path))?;
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
                return Err(corrupt(format!(
                    "{bytes} bytes long, mappedFileSizeConsumeQueue says {file_bytes}"
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
    pub(in crate::consume_queue) fn cut(
        &self,
        home: &Home,
        limit: u64,
        wipe: bool,
    ) -> Result<u64, StoreError> {
        let before = self.max_offset();
        if planted(Fault::UnitsNotCut) {
            return Ok(0);
        }
        let limit = limit + u64::from(planted(Fault::UnitsCutOffByOne));
        // Units stand in the order of their records, but for blanks, which say nothing; so the
        // search only brings near what the loop then finds.
        let (mut low, mut high) = (self.min_offset(), before);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.unit(home, middle)? {
                Some(unit) if unit.physical_offset >= limit => high = middle,
                _ => low = middle + 1,
            }
        }
        let mut end = low.max(self.min_offset());
        while end > self.min_offset() {
            match self.unit(home, end - 1)? {
                Some(unit) if unit.physical_offset < limit => break,
                _ => end -= 1,
            }
        }
        if end < before || wipe && self.littered.load(Ordering::Relaxed) {
            self.wipe_from(home, end)?;
            self.set_end(end);
        }
        self.tail.lock().open = None;
        Ok(before - end)
    }

    fn wipe_from(&self, home: &Home, end: u64) -> Result<(), StoreError> {
        let place = home.place(end);
        for base in self.files_there(home)? {
            let path = home.path(self, base);
            if base == place.base {
                let file = home.open(self, base)?;
                let wiped = file.zero(place.at, home.file_bytes, false);
                wiped.map_err(StoreError::io("zero", &path))?;
            } else if base > place.base {
                home.files
                    .delete(&path)
                    .map_err(StoreError::io("delete", &path))?;
            }
        }
        Ok(())
    }

    /// Position behind the newest record that has a unit; 0 without any.
    pub(in crate::consume_queue) fn indexed(&self, home: &Home) -> Result<u64, StoreError> {
        let last = self
            .max_offset()
            .checked_sub(1)
            .filter(|last| *last >= self.min_offset());
        let Some(last) = last else { return Ok(0) };
        Ok(self.unit(home, last)?.map_or(0, |unit| unit.end()))
    }
}

/// Finds the first unit of a file that is none. Of a store that was left in order only zeros follow
/// it, so that it can be searched for; otherwise every unit is looked at.
fn scan(file: &dyn StoreFile, file_bytes: u64, clean: bool) -> io::Result<Scanned> {
    let mut piece = Vec::new();
    let mut read = |at: u64, bytes: u64| {
        piece.resize(usize::try_from(bytes).unwrap_or(0), 0);
        file.read_at(&mut piece, at)?;
        let valid = |raw: &&[u8; UNIT_BYTES]| Unit::decode(raw).is_some();
        let valid = piece.as_chunks().0.iter().take_while(valid).count();
        let bytes = valid * UNIT_BYTES;
        let kept = bytes - bytes.min(usize::try_from(SCAN_BYTES).unwrap_or(0));
        Ok::<_, io::Error>((valid as u64, piece[kept..bytes].to_vec()))
    };
    let start = SCAN_BYTES.min(file_bytes);
    let (mut count, mut last) = read(0, start)?;
    if count * (UNIT_BYTES as u64) < start {
        return Ok(Scanned { count, last });
    }
    let units = file_bytes / UNIT_BYTES as u64;
    if clean {
        let (mut low, mut high) = (count, units);
        let mut raw = [0; UNIT_BYTES];
        while low < high {
            let middle = low + (high - low) / 2;
            file.read_at(&mut raw, middle * UNIT_BYTES as u64)?;
            match Unit::decode(&raw) {
                Some(_) => low = middle + 1,
                None => high = middle,
            }
        }
        let bytes = SCAN_BYTES.min(low * UNIT_BYTES as u64);
        (_, last) = read(low * UNIT_BYTES as u64 - bytes, bytes)?;
        count = low;
        return Ok(Scanned { count, last });
    }
    while count < units {
        let at = count * UNIT_BYTES as u64;
        let bytes = PIECE_BYTES.min(file_bytes - at);
        let (more, end) = read(at, bytes)?;
        if more > 0 {
            last = end;
        }
        count += more;
        if more * (UNIT_BYTES as u64) < bytes {
            break;
        }
    }
    Ok(Scanned { count, last })
}

/// Whether a file holds anything but zeros from `at` on.
fn has_data(file: &dyn StoreFile, mut at: u64, file_bytes: u64) -> io::Result<bool> {
    let mut piece = Vec::new();
    while at < file_bytes {
        let Some(data) = file.data_after(at)? else {
            return Ok(false);
        };
        let bytes = (data.end.min(file_bytes) - data.start).min(PIECE_BYTES);
        piece.resize(usize::try_from(bytes).unwrap_or(0), 0);
        file.read_at(&mut piece, data.start)?;
        if piece.iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
        at = data.start + bytes;
    }
    Ok(false)
}

fn units_in_memory(units: &[u8]) -> u64 {
    units_in(units.len() as u64) as u64
}
