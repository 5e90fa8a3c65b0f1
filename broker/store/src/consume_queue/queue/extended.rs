//! Queues whose units lead to ext units.

use super::Queue;
use super::find::Probe;
use crate::consume_queue::ext::is_address;
use crate::error::StoreError;

/// Units looked at together on the way back from the end of a queue.
const STEP_UNITS: u64 = 300;

impl Queue {
    pub(super) fn writes_ext(&self) -> bool {
        self.ext().is_some_and(|ext| ext.writes)
    }

    /// Writes ext units for `units`, which begin at `from`, and leaves their addresses there.
    pub(super) fn extend(
        &self,
        from: u64,
        units: &mut [u8],
        times: &[i64],
    ) -> Result<(), StoreError> {
        match self.ext() {
            Some(ext) if ext.writes => {
                ext.append(&self.home.files, units, times, || self.last_address(from))
            }
            _ => Ok(()),
        }
    }

    /// The address in the newest unit before `end` that has one.
    fn last_address(&self, mut end: u64) -> Result<Option<i64>, StoreError> {
        let mut raw = Vec::new();
        while end > self.min_index() {
            let place = self.home.place(end - 1);
            let first = (place.base / self.home.unit_bytes())
                .max(end.saturating_sub(STEP_UNITS))
                .max(self.min_index());
            let file = self.home.open(self, place.base)?;
            raw.resize(self.units_len(end - first), 0);
            file.read_at(&mut raw, self.home.place(first).at)?;
            let units = self.home.kind.units(&raw, first).rev().flatten();
            let mut codes = units.map(|unit| unit.tags_code);
            if let Some(address) = codes.find(|code| is_address(*code)) {
                return Ok(Some(address));
            }
            end = first;
        }
        Ok(None)
    }

    /// Checks the ext files there are.
    pub(super) fn check_ext(&self) -> Result<(), StoreError> {
        match self.ext() {
            Some(ext) => ext.files_there(&self.home.files).map(drop),
            None => Ok(()),
        }
    }

    /// Deletes the ext files that no message of the queue needs any more.
    pub(super) fn delete_outdated_ext(&self) -> Result<(), StoreError> {
        let Some(ext) = self.ext() else { return Ok(()) };
        let min = self.min_index();
        // The oldest unit in a file: those in memory have their tags codes.
        if min >= self.tail.lock().first {
            return Ok(());
        }
        match Probe::new(self).unit(min)? {
            Some(unit) => ext.delete_below(&self.home.files, unit.tags_code),
            None => Ok(()),
        }
    }
}
