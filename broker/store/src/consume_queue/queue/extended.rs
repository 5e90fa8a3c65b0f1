//! Queues whose units lead to ext units.

use super::{Queue, UNIT_BYTES, Unit};
use crate::consume_queue::ext::is_address;
use crate::error::StoreError;
use crate::files::Files;

/// Units looked at together on the way back from the end of a queue.
const STEP_UNITS: u64 = 300;

impl Queue {
    pub(super) fn writes_ext(&self) -> bool {
        self.ext.as_ref().is_some_and(|ext| ext.writes)
    }

    /// Writes ext units for `units`, which begin at `from`, and leaves their addresses there.
    pub(super) fn extend(
        &self,
        files: &dyn Files,
        from: u64,
        units: &mut [u8],
        times: &[i64],
    ) -> Result<(), StoreError> {
        match &self.ext {
            Some(ext) if ext.writes => {
                ext.append(files, units, times, || self.last_address(files, from))
            }
            _ => Ok(()),
        }
    }

    /// The address in the newest unit before `end` that has one.
    fn last_address(&self, files: &dyn Files, mut end: u64) -> Result<Option<i64>, StoreError> {
        let mut raw = Vec::new();
        while end > self.min_offset() {
            let place = self.place(end - 1);
            let first = (place.base / UNIT_BYTES as u64)
                .max(end.saturating_sub(STEP_UNITS))
                .max(self.min_offset());
            let path = self.path(place.base);
            let file = files.open(&path).map_err(StoreError::io("open", &path))?;
            raw.resize(super::units_len(end - first), 0);
            file.read_at(&mut raw, self.place(first).at)
                .map_err(StoreError::io("read", &path))?;
            let units = raw.as_chunks().0.iter().rev().filter_map(Unit::decode);
            let mut codes = units.map(|unit| unit.tags_code);
            if let Some(address) = codes.find(|code| is_address(*code)) {
                return Ok(Some(address));
            }
            end = first;
        }
        Ok(None)
    }

    /// Checks the ext files there are.
    pub(super) fn check_ext(&self, files: &dyn Files) -> Result<(), StoreError> {
        match &self.ext {
            Some(ext) => ext.files_there(files).map(drop),
            None => Ok(()),
        }
    }

    /// Gives back what reading ext units keeps open.
    pub(super) fn rest_ext(&self) {
        if let Some(ext) = &self.ext {
            ext.rest();
        }
    }

    /// Deletes the ext files that no message of the queue needs any more.
    pub(super) fn delete_outdated_ext(&self, files: &dyn Files) -> Result<(), StoreError> {
        let Some(ext) = &self.ext else { return Ok(()) };
        let min = self.min_offset();
        // The oldest unit in a file: those in memory have their tags codes.
        if min >= self.tail.lock().first {
            return Ok(());
        }
        let place = self.place(min);
        let path = self.path(place.base);
        let file = files.open(&path).map_err(StoreError::io("open", &path))?;
        let mut raw = [0; UNIT_BYTES];
        file.read_at(&mut raw, place.at)
            .map_err(StoreError::io("read", &path))?;
        match Unit::decode(&raw) {
            Some(unit) => ext.delete_below(files, unit.tags_code),
            None => Ok(()),
        }
    }
}
