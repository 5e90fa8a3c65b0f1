//! Queues whose units lead to ext units.

use super::{Home, Queue, UNIT_BYTES, Unit};
use crate::consume_queue::ext::is_address;
use crate::error::StoreError;

/// Units looked at together on the way back from the end of a queue.
const STEP_UNITS: u64 = 300;

impl Queue {
    pub(super) fn writes_ext(&self) -> bool {
        self.ext.as_ref().is_some_and(|ext| ext.writes)
    }

    /// Writes ext units for `units`, which begin at `from`, and leaves their addresses there.
    pub(super) fn extend(
        &self,
        home: &Home,
        from: u64,
        units: &mut [u8],
        times: &[i64],
    ) -> Result<(), StoreError> {
        match &self.ext {
            Some(ext) if ext.writes => {
                ext.append(&*home.files, units, times, || self.last_address(home, from))
            }
            _ => Ok(()),
        }
    }

    /// The address in the newest unit before `end` that has one.
    fn last_address(&self, home: &Home, mut end: u64) -> Result<Option<i64>, StoreError> {
        let mut raw = Vec::new();
        while end > self.min_offset() {
            let place = home.place(end - 1);
            let first = (place.base / UNIT_BYTES as u64)
                .max(end.saturating_sub(STEP_UNITS))
                .max(self.min_offset());
            let file = home.open(self, place.base)?;
            raw.resize(super::units_len(end - first), 0);
            let failed = |source| StoreError::io("read", &home.path(self, place.base))(source);
            file.read_at(&mut raw, home.place(first).at)
                .map_err(failed)?;
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
    pub(super) fn check_ext(&self, home: &Home) -> Result<(), StoreError> {
        match &self.ext {
            Some(ext) => ext.files_there(&*home.files).map(drop),
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
    pub(super) fn delete_outdated_ext(&self, home: &Home) -> Result<(), StoreError> {
        let Some(ext) = &self.ext else { return Ok(()) };
        let min = self.min_offset();
        // The oldest unit in a file: those in memory have their tags codes.
        if min >= self.tail.lock().first {
            return Ok(());
        }
        let place = home.place(min);
        let file = home.open(self, place.base)?;
        let mut raw = [0; UNIT_BYTES];
        let failed = |source| StoreError::io("read", &home.path(self, place.base))(source);
        file.read_at(&mut raw, place.at).map_err(failed)?;
        match Unit::decode(&raw) {
            Some(unit) => ext.delete_below(&*home.files, unit.tags_code),
            None => Ok(()),
        }
    }
}
