//! Single records of the log, by position.

use super::walk::{Judged, judge};
use super::window::Window;
use super::{OfflineStore, Segment};
use crate::error::StoreError;
use crate::files::if_there;

/// Read around a record: messages of a queue often stand near each other.
const PIECE_BYTES: usize = 64 << 10;

/// Reads records; keeps the file it read last open.
#[derive(Debug)]
pub struct RecordReader<'s> {
    store: &'s OfflineStore,
    check_crc: bool,
    open: Option<(&'s Segment, Window)>,
}

impl<'s> RecordReader<'s> {
    /// A reader of `store`.
    pub fn new(store: &'s OfflineStore) -> Self {
        Self {
            store,
            check_crc: true,
            open: None,
        }
    }

    /// A reader that believes checksums.
    pub(super) fn without_crc(store: &'s OfflineStore) -> Self {
        Self {
            check_crc: false,
            ..Self::new(store)
        }
    }

    /// What stands at a position of the log.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the file cannot be read.
    pub fn read(&mut self, offset: u64) -> Result<Judged<'_>, StoreError> {
        let Some(segment) = self.store.segment_of(offset) else {
            return Ok(Judged::Outside);
        };
        let is_open = |(open, _): &(&Segment, _)| open.base == segment.base;
        if !self.open.as_ref().is_some_and(is_open) {
            // A living broker may have just deleted it.
            let opened = Window::open(&segment.path, segment.bytes, PIECE_BYTES);
            let Some(window) = if_there(opened)? else {
                return Ok(Judged::Outside);
            };
            self.open = Some((segment, window));
        }
        match &mut self.open {
            Some((_, window)) => judge(window, segment, offset, self.check_crc),
            None => Ok(Judged::Outside),
        }
    }
}
