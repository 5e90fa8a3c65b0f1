//! The log from a position on, for those who keep elsewhere what it says.

use common::message::record::RecordView;

use crate::commit_log::recover::{Step, step};
use crate::error::StoreError;
use crate::read::StoreReader;

impl StoreReader {
    /// Shows every record from `from` to the end of the log as it is now, in order, also those that are in the log only. The
    /// position must be one at which a record began or the log ended; one that retention has deleted counts as the log's
    /// beginning, one behind the end as the end. Meant for the start: it may have to wait for the disk.
    ///
    /// Returns the end.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]: the log cannot be read on to its end.
    pub fn replay(
        &self,
        from: u64,
        visit: &mut dyn FnMut(&RecordView<'_>),
    ) -> Result<u64, StoreError> {
        let (segments, end) = (&self.0.log.segments, self.0.log.end());
        let mut at = from.max(segments.min_offset()).min(end);
        while at < end {
            let segment_end = at - at % segments.bytes + segments.bytes;
            let readable = usize::try_from(end.min(segment_end) - at).unwrap_or(usize::MAX);
            let bytes = segments.view(at, readable);
            let mut rest = bytes.as_deref().unwrap_or_default();
            loop {
                match step(rest, at) {
                    Step::Record(record) => {
                        visit(&record);
                        rest = &rest[usize::try_from(record.total_size).unwrap_or(0)..];
                        at += u64::from(record.total_size);
                    }
                    Step::Blank => at = segment_end,
                    Step::End => {
                        return Err(StoreError::Corrupt {
                            path: segments.path_of(at),
                            problem: format!("there is no record at position {at} of the log"),
                        });
                    }
                }
                if rest.is_empty() || at == segment_end {
                    break;
                }
            }
        }
        Ok(end)
    }
}
