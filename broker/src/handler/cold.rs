//! Records that may have to come from the disk.

use bytes::Bytes;
use std::hint::black_box;

/// Messages are fetched from the disk in steps of this size: one memory page.
const PAGE_BYTES: usize = 4096;

/// Looks at every page of the records, so that they are in memory when they are written to a socket.
pub(super) fn fetch(records: &[Bytes]) {
    for record in records {
        for at in (0..record.len()).step_by(PAGE_BYTES) {
            black_box(record[at]);
        }
        if let Some(last) = record.last() {
            black_box(*last);
        }
    }
}
