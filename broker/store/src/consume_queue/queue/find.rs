//! Searching the units of a queue, in memory and in its files.

use std::ops::Range;

use super::{OpenFile, Queue, Unit};
use crate::error::StoreError;

/// Reads single units here and there, as they stand, without keeping a file open for others.
pub(super) struct Probe<'a> {
    queue: &'a Queue,
    open: Option<OpenFile>,
}

impl<'a> Probe<'a> {
    pub(super) fn new(queue: &'a Queue) -> Self {
        Self { queue, open: None }
    }

    pub(super) fn unit(&mut self, index: u64) -> Result<Option<Unit>, StoreError> {
        let queue = self.queue;
        if let Some(unit) = queue.tail.lock().unit(queue.home.kind, index) {
            return Ok(Some(unit));
        }
        let place = queue.home.place(index);
        let file = match &self.open {
            Some(open) if open.base == place.base => &open.file,
            _ => {
                let file = queue.home.open(queue, place.base)?;
                let base = place.base;
                &self.open.insert(OpenFile { base, file }).file
            }
        };
        let mut raw = vec![0; queue.home.kind.unit_bytes()];
        file.read_at(&mut raw, place.at)?;
        Ok(queue.home.kind.decode(&raw, index))
    }
}

impl Queue {
    /// Index of the unit with message `offset`, or of the next one; the queue's end without any.
    pub(super) fn index_of(&self, offset: u64) -> Result<u64, StoreError> {
        let within = {
            let tail = self.tail.lock();
            let in_memory = tail.unit(self.home.kind, tail.first);
            if in_memory.is_some_and(|first| first.base <= offset) {
                tail.first..tail.end(self.home.kind)
            } else {
                self.min_index().min(tail.first)..tail.first
            }
        };
        let end = within.end;
        let found = self.first(within, |unit| unit.next() > offset)?;
        Ok(found.map_or(end, |(index, _)| index))
    }

    /// Whether there is a unit with this index in the files.
    pub(crate) fn has_unit(&self, index: u64) -> Result<bool, StoreError> {
        Ok(Probe::new(self).unit(index)?.is_some())
    }

    /// The oldest message in a log that starts at `log_start`.
    pub(crate) fn oldest_in(&self, log_start: u64) -> Result<Option<Unit>, StoreError> {
        let found = self.first_message(self.min_index()..self.end(), log_start)?;
        Ok(found.map(|(_, unit)| unit))
    }

    /// The first message whose record starts at or behind `log_start`, and the index of its unit.
    pub(super) fn first_message(
        &self,
        within: Range<u64>,
        log_start: u64,
    ) -> Result<Option<(u64, Unit)>, StoreError> {
        self.first(within, |unit| unit.physical_offset >= log_start)
    }

    /// The first unit that `wanted` wants, which it does of all behind it, too.
    fn first(
        &self,
        within: Range<u64>,
        wanted: impl Fn(&Unit) -> bool,
    ) -> Result<Option<(u64, Unit)>, StoreError> {
        let mut probe = Probe::new(self);
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
                Some(unit) if !wanted(&unit) => low = at + 1,
                Some(unit) => {
                    found = Some((at, unit));
                    high = middle;
                }
                None => high = middle,
            }
        }
        Ok(found)
    }
}
