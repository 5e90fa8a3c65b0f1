//! How far a file of the log is used, without reading all of it.

use std::ops::ControlFlow;

use super::reader::RecordReader;
use super::walk::{Checks, Item, Judged, Progress, next_valid, walk};
use super::window::{PIECE_BYTES, Window};
use super::{OfflineStore, Segment};
use crate::error::StoreError;

/// A first guess where the last records of a full file are.
const TAIL_BYTES: u64 = 64 << 10;

/// What a file of the log holds, at a glance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// Position of the log behind its last record; its start when there is none.
    pub end: u64,
    /// Store time of the first and of the last record, in milliseconds.
    pub times: Option<(i64, i64)>,
}

impl OfflineStore {
    /// Store time of the record a file of the log begins with, in milliseconds; `None` when it
    /// begins with none.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it cannot be read.
    pub fn first_stored(&self, segment: &Segment) -> Result<Option<i64>, StoreError> {
        match RecordReader::new(self).read(segment.base)? {
            Judged::Record(record) => Ok(Some(record.store_timestamp)),
            _ => Ok(None),
        }
    }

    /// Looks at a file of the log. `newest` is the position of the newest record any queue knows.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it cannot be read.
    pub fn look(&self, segment: &Segment, newest: Option<u64>) -> Result<Look, StoreError> {
        let mut window = Window::open(&segment.path, segment.bytes, PIECE_BYTES)?;
        let mut look = Look {
            end: segment.base,
            times: None,
        };
        let Some(first) = self.first_stored(segment)? else {
            return Ok(look);
        };
        let mut from = match newest {
            Some(newest) if newest >= segment.end() => {
                let mut tail = TAIL_BYTES;
                loop {
                    let begin = segment.bytes.saturating_sub(tail);
                    // A blank alone does not tell where the last record is.
                    let found = next_valid(&mut window, segment, begin)?;
                    let found = found.filter(|at| segment.end() - at >= tail / 2);
                    if begin == 0 || found.is_some() {
                        break found.unwrap_or(segment.base);
                    }
                    tail *= 4;
                }
            }
            Some(newest) if newest >= segment.base => newest,
            _ => segment.base,
        };
        loop {
            let checks = Checks {
                crc: false,
                live: false,
            };
            let _ = walk(segment, from, checks, &Progress::default(), |item| {
                if let Item::Record(at, record) = item {
                    look.end = at + u64::from(record.total_size);
                    look.times = Some((first, record.store_timestamp));
                }
                ControlFlow::Continue(())
            })?;
            // The queues may know a record that is none.
            if look.times.is_some() || from == segment.base {
                return Ok(look);
            }
            from = segment.base;
        }
    }
}
