//! Whether index files follow each other.
//!
//! Another broker may have lost keys between two of its files: after a crash the reference goes on with the records
//! its ConsumeQueues lack, which may lie far behind those of its newest file.

use super::keys::{Keys, is_indexed};
use super::layout::Header;
use crate::commit_log::recover::{Step, step};
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
    let mut at = behind.unwrap_or(0).max(log_start);
    while at < to {
        let segment_end = at - at % segments.bytes + segments.bytes;
        let readable = usize::try_from(to.min(segment_end) - at).unwrap_or(usize::MAX);
        let Some(bytes) = segments.view(at, readable) else {
            at = segment_end;
            continue;
        };
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let Step::Record(record) = step(rest, at) else {
                at = segment_end;
                break;
            };
            let keys = Keys::of(&record.properties_text()).has_plain();
            if keys && is_indexed(record.sys_flag) && behind != Some(at) {
                return true;
            }
            rest = &rest[usize::try_from(record.total_size).unwrap_or(0)..];
            at += u64::from(record.total_size);
        }
    }
    false
}
