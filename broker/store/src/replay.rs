//! The log from a position on, for those who keep elsewhere what it says.

use std::ops::ControlFlow;

use common::message::record::RecordView;

use crate::commit_log::recover::{Step, steps};
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
        let from = from.max(segments.min_offset()).min(end);
        let at = steps(segments, from, end, |_, found| {
            match found {
                Step::Record(record) => visit(record),
                Step::Blank => {}
                Step::End | Step::Missing => return ControlFlow::Break(()),
            }
            ControlFlow::Continue(())
        });
        if at < end {
            return Err(StoreError::Corrupt {
                path: segments.path_of(at),
                problem: format!("there is no record at position {at} of the log"),
            });
        }
        Ok(end)
    }
}
