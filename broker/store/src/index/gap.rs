//! Whether index files follow each other.
//!
//! Another broker may have lost keys between two of its files: after a crash the reference goes on with the records
//! its ConsumeQueues lack, which may lie far behind those of its newest file.

use std::ops::ControlFlow;

use super::keys::{Keys, is_indexed};
use super::layout::Header;
use crate::commit_log::recover::{Step, steps};
use crate::commit_log::segments::Segments;

/// How many of `files` follow each other from the log's beginning on: no record between them has a key.
pub(super) fn without_gap(files: &[(u64, Header)], segments: &Segments, log_start: u64) -> usize {
    let mut behind = None;
    for (index, (_, header)) in files.iter().enumerate() {
        if any_key(segments, behind, log_start, header.begin_offset) {
            return index;
        }
        behind = Some(header.end_offset);
    }
    files.len()
}

/// Whether a record has a key that starts behind the record at `behind`, or else from `log_start` on, and before `to`.
/// A tag alone is no key: older versions of the reference do not index it.
fn any_key(segments: &Segments, behind: Option<u64>, log_start: u64, to: u64) -> bool {
    let from = behind.unwrap_or(0).max(log_start);
    let came_to = steps(segments, from, to, |at, found| match found {
        Step::Record(record)
            if is_indexed(record.sys_flag)
                && behind != Some(at)
                && Keys::of(&record.properties_text()).has_plain() =>
        {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    came_to < to
}
