//! Finding a queue's end in its files, and cutting off what the log has not.

use std::sync::atomic::Ordering;

use super::{Queue, UNIT_BYTES, Unit};
use crate::error::StoreError;
use crate::files::Files;

/// Bytes read at first when looking for the end of a queue; most queues are short.
const SCAN_BYTES: u64 = 200 * UNIT_BYTES as u64;

impl Queue {
    /// The unit of message `offset`; `None` where there is none. During recovery.
    fn unit(&self, files: &dyn Files, offset: u64) -> Result<Option<Unit>, StoreError> {
        let mut one = Vec::with_capacity(1);
        self.read(files, offset, 1, &mut one)?;
        Ok(one.first().copied().filter(|unit| !unit.is_blank()))
    }

    /// Finds the end of the queue in its files. After a crash there may be holes: nothing behind the
    /// first one found counts. Where its oldest message is, [`Self::advance_min`] finds.
    pub(in crate::consume_queue) fn load(&self, files: &dyn Files) -> Result<(), StoreError> {
        self.check_ext(files)?;
        let bases = self.files_there(files)?;
        let Some(first) = bases.first().copied() else {
            return Ok(());
        };
        let last = self.last_file(files, &bases)?;
        let min = first / UNIT_BYTES as u64;
        let (mut end, mut oldest) = (last / UNIT_BYTES as u64, 0);
        self.scan(files, last, |offset, unit| {
            end = offset + 1;
            if offset == min && !unit.is_blank() {
                oldest = unit.physical_offset;
            }
        })?;
        self.min.store(min, Ordering::Release);
        self.oldest.store(oldest, Ordering::Relaxed);
        self.set_end(end);
        Ok(())
    }

    /// The file in which the queue ends: the first that is not full.
    fn last_file(&self, files: &dyn Files, bases: &[u64]) -> Result<u64, StoreError> {
        for pair in bases.windows(2) {
            let path = self.path(pair[0]);
            let file = files.open(&path).map_err(StoreError::io("open", &path))?;
            let mut unit = [0; UNIT_BYTES];
            let at = self.file_bytes - UNIT_BYTES as u64;
            file.read_at(&mut unit, at)
                .map_err(StoreError::io("read", &path))?;
            if Unit::decode(&unit).is_none() || pair[1] != pair[0] + self.file_bytes {
                return Ok(pair[0]);
            }
        }
        Ok(bases.last().copied().unwrap_or(0))
    }

    /// Start positions of the files, checked.
    fn files_there(&self, files: &dyn Files) -> Result<Vec<u64>, StoreError> {
        let Some(directory) = &self.directory else {
            return Ok(Vec::new());
        };
        let mut listed = files
            .list(directory)
            .map_err(StoreError::io("list", directory))?;
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
            if bytes != self.file_bytes {
                return Err(corrupt(format!(
                    "{bytes} bytes long, mappedFileSizeConsumeQueue says {}",
                    self.file_bytes
                )));
            }
            if !base.is_multiple_of(self.file_bytes) {
                return Err(corrupt(format!(
                    "no file of {bytes} bytes starts at {base}"
                )));
            }
            bases.push(base);
        }
        Ok(bases)
    }

    /// Visits the units of a file up to the first that is none.
    fn scan(
        &self,
        files: &dyn Files,
        base: u64,
        mut visit: impl FnMut(u64, Unit),
    ) -> Result<(), StoreError> {
        let path = self.path(base);
        let file = files.open(&path).map_err(StoreError::io("open", &path))?;
        let mut piece = Vec::new();
        let (mut at, mut piece_bytes) = (0, SCAN_BYTES);
        while at < self.file_bytes {
            let bytes = piece_bytes.min(self.file_bytes - at);
            piece.resize(usize::try_from(bytes).unwrap_or(0), 0);
            file.read_at(&mut piece, at)
                .map_err(StoreError::io("read", &path))?;
            for (offset, raw) in ((base + at) / UNIT_BYTES as u64..).zip(piece.as_chunks().0) {
                let Some(unit) = Unit::decode(raw) else {
                    return Ok(());
                };
                visit(offset, unit);
            }
            at += bytes;
            piece_bytes = SCAN_BYTES * 256;
        }
        Ok(())
    }

    /// Cuts all units of records that start at or behind `limit`. With `wipe`, what the files
    /// hold behind the end becomes zeros even if nothing is cut: after a power cut there may be
    /// units behind a hole. Returns how many were cut. During recovery, with nothing in memory.
    pub(crate) fn cut(&self, files: &dyn Files, limit: u64, wipe: bool) -> Result<u64, StoreError> {
        let before = self.max_offset();
        // Units stand in the order of their records, but for blanks, which say nothing; so the
        // search only brings near what the loop then finds.
        let (mut low, mut high) = (self.min_offset(), before);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.unit(files, middle)? {
                Some(unit) if unit.physical_offset >= limit => high = middle,
                _ => low = middle + 1,
            }
        }
        let mut end = low.max(self.min_offset());
        while end > self.min_offset() {
            match self.unit(files, end - 1)? {
                Some(unit) if unit.physical_offset < limit => break,
                _ => end -= 1,
            }
        }
        if end < before || wipe {
            self.wipe_from(files, end)?;
            self.set_end(end);
        }
        self.tail.lock().open = None;
        Ok(before - end)
    }

    fn wipe_from(&self, files: &dyn Files, end: u64) -> Result<(), StoreError> {
        let place = self.place(end);
        for base in self.files_there(files)? {
            let path = self.path(base);
            if base == place.base {
                let file = files.open(&path).map_err(StoreError::io("open", &path))?;
                let wiped = file.zero(place.at, self.file_bytes, false);
                wiped.map_err(StoreError::io("zero", &path))?;
            } else if base > place.base {
                files
                    .delete(&path)
                    .map_err(StoreError::io("delete", &path))?;
            }
        }
        Ok(())
    }

    /// Position behind the newest record that has a unit; 0 without any.
    pub(crate) fn indexed(&self, files: &dyn Files) -> Result<u64, StoreError> {
        let last = self
            .max_offset()
            .checked_sub(1)
            .filter(|last| *last >= self.min_offset());
        let Some(last) = last else { return Ok(0) };
        Ok(self.unit(files, last)?.map_or(0, |unit| unit.end()))
    }
}
