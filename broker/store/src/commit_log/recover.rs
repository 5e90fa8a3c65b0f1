//! Where the log ends: record by record from a known start to the first bytes that are none.

use std::ops::ControlFlow;

use common::message::property_crc;
use common::message::record::{BLANK_MAGIC, RecordView};

use super::segments::{Segment, Segments};
use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::planted::{Fault, planted};

/// Bytes checked before progress is told again.
const PROGRESS_BYTES: u64 = 16 << 20;

/// What the bytes at a position of the log are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// A record.
    Record(RecordView<'a>),
    /// The rest of the segment is blank.
    Blank,
    /// The valid log ends here.
    End,
    /// There is no file, or it cannot be read; that has been told.
    Missing,
}

/// Judges the bytes at `offset` of the log, given up to the end of their segment. A record counts
/// only if it says itself that it belongs there: what an earlier life of the log left behind does
/// not come back.
pub(crate) fn step(bytes: &[u8], offset: u64) -> Step<'_> {
    let Some(magic) = bytes.get(4..8) else {
        return Step::End;
    };
    if magic == BLANK_MAGIC.to_be_bytes() {
        return Step::Blank;
    }
    if planted(Fault::ZerosAreBlank) && magic == [0; 4] {
        return Step::Blank;
    }
    match RecordView::parse(bytes) {
        Ok(record) if u64::try_from(record.physical_offset) == Ok(offset) => Step::Record(record),
        _ => Step::End,
    }
}

/// Shows what stands in the log between two positions of a walk, step by step, as long as `visit` wants to go on. Behind
/// what is no record the next segment follows. Returns where it came to: `to` or a position behind it unless `visit`
/// stopped there.
pub(crate) fn steps(
    segments: &Segments,
    from: u64,
    to: u64,
    mut visit: impl FnMut(u64, &Step<'_>) -> ControlFlow<()>,
) -> u64 {
    let mut at = from;
    while at < to {
        let segment_end = segments.end_of(at);
        let until = to.min(segment_end);
        let bytes = segments.view(at, usize::try_from(until - at).unwrap_or(usize::MAX));
        let mut rest = bytes.as_deref().unwrap_or_default();
        while at < until {
            let found = match bytes {
                Some(_) => step(rest, at),
                None => Step::Missing,
            };
            let mut next = segment_end;
            if let Step::Record(record) = &found {
                rest = &rest[usize::try_from(record.total_size).unwrap_or(0)..];
                next = at + u64::from(record.total_size);
            }
            if visit(at, &found).is_break() {
                return at;
            }
            at = next;
        }
    }
    at
}

/// As [`step`], for bytes a crash may have left, which begin `at` in their file: a record of which
/// anything is lost ends the log.
fn step_after_crash<'a>(bytes: &'a [u8], offset: u64, at: u64, config: &StoreConfig) -> Step<'a> {
    let found = step(bytes, offset);
    let (Step::Record(record), Ok(at)) = (&found, usize::try_from(at)) else {
        return found;
    };
    let whole = &bytes[..usize::try_from(record.total_size).unwrap_or(0)];
    let intact = match (config.check_crc, config.property_crc.force) {
        (false, _) => true,
        (true, true) => property_crc::is_intact(whole),
        (true, false) => record.body_is_intact(),
    };
    let torn = record.is_torn(whole, at) && !planted(Fault::TornAccepted);
    if torn || (!intact && !planted(Fault::NoCrc)) {
        return Step::End;
    }
    found
}

/// The valid part of the log, as far as it was looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Position behind the last record.
    pub(crate) end: u64,
    /// Whether a record starts, or the log ends, at the position that was asked for.
    pub(crate) hit: bool,
}

/// Walks from `start`, where a record must start, to the end of the valid log, and notices
/// whether `wanted` is the start of a record on the way.
pub(crate) fn walk(
    segments: &Segments,
    start: u64,
    wanted: u64,
    config: &StoreConfig,
) -> Result<Found, StoreError> {
    let (mut at, mut hit) = (start, start == wanted);
    let total = segments
        .all()
        .last()
        .map_or(0, |last| last.base + segments.bytes - start);
    let (mut told, mut last) = (start, start);
    'segments: while let Some(segment) = segments.holding(at) {
        tracing::info!(at, "checking the CommitLog");
        let bytes = rest_of(segments, &segment, at)?;
        let mut rest = &bytes[..];
        loop {
            match step_after_crash(rest, at, at - segment.base, config) {
                Step::Record(record) => {
                    last = at;
                    rest = &rest[usize::try_from(record.total_size).unwrap_or(0)..];
                    at += u64::from(record.total_size);
                }
                Step::Blank => at = segment.base + segments.bytes,
                Step::End | Step::Missing => break 'segments,
            }
            hit |= at == wanted;
            if at - told >= PROGRESS_BYTES {
                told = at;
                config.progress.advance(at - start, total);
            }
            if at == segment.base + segments.bytes {
                break;
            }
        }
    }
    if planted(Fault::EndOneRecordEarly) {
        at = last.min(at);
    }
    if planted(Fault::EndOneByteLate) {
        at += 1;
    }
    Ok(Found { end: at, hit })
}

/// Newest segment that begins with a record for which `fits` says yes, given the position and the
/// store time of that record; the oldest segment when there is none.
pub(crate) fn start_segment(
    segments: &Segments,
    fits: impl Fn(u64, i64) -> bool,
) -> Result<u64, StoreError> {
    for segment in segments.all().iter().rev() {
        let bytes = rest_of(segments, segment, segment.base)?;
        if let Step::Record(first) = step(&bytes, segment.base)
            && first.store_timestamp != 0
            && fits(segment.base, first.store_timestamp)
        {
            return Ok(segment.base);
        }
    }
    Ok(segments.min_offset())
}

fn rest_of(segments: &Segments, segment: &Segment, at: u64) -> Result<bytes::Bytes, StoreError> {
    let from = at - segment.base;
    let left = usize::try_from(segments.bytes - from).unwrap_or(usize::MAX);
    segment.file.view(from, left)
}
