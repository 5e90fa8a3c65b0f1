//! Appending: offsets and time are stamped, the batch is written, the tail moves.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::clock::Clock;
use common::ids::{PhysicalOffset, QueueOffset};
use common::message::property_crc;
use common::message::record::{BLANK_MAGIC, PHYSICAL_OFFSET_AT, QUEUE_OFFSET_AT};
use parking_lot::Mutex;

use super::place::{BLANK_BYTES, Placement, place};
use super::prepare::Prepare;
use super::segments::{Segment, Segments};
use crate::batch::{Appended, RecordBatch};
use crate::error::{DiskLevel, StoreError};
use crate::planted::{Fault, planted};

/// Time between two attempts to reserve a segment on a full disk: each takes all the space there
/// is before it fails.
const FULL_PAUSE: Duration = Duration::from_millis(500);

/// The log and its tail.
pub(crate) struct CommitLog {
    pub(crate) segments: Arc<Segments>,
    pub(crate) prepare: Arc<Prepare>,
    tail: Mutex<Tail>,
    /// End of what readers may see of the log, published when the write has returned.
    written: AtomicU64,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Tail {
    offset: u64,
    segment: Option<Arc<Segment>>,
    fenced: Option<Fenced>,
    /// The last segment that was asked for ahead.
    ahead: Option<u64>,
    /// The disk had no room; it is not asked again before this time.
    full: Option<(PathBuf, Duration)>,
    /// A disk is fuller than it may be.
    level: Option<DiskLevel>,
    closed: bool,
}

/// What failed, and why.
type Fenced = (PathBuf, String);

impl CommitLog {
    /// The log whose valid part ends at `end`.
    pub(crate) fn new(segments: Arc<Segments>, end: u64, clock: Arc<dyn Clock>) -> Self {
        let segment = segments.holding(end);
        let prepare = Arc::new(Prepare::default());
        if segment.is_none() {
            prepare.want(end);
        }
        let tail = Tail {
            offset: end,
            segment,
            fenced: None,
            ahead: None,
            full: None,
            level: None,
            closed: false,
        };
        Self {
            segments,
            prepare,
            tail: Mutex::new(tail),
            written: AtomicU64::new(end),
            clock,
        }
    }

    /// End of the log as readers may see it.
    pub(crate) fn end(&self) -> u64 {
        self.written.load(Ordering::SeqCst)
    }

    /// Runs `work` while nobody appends.
    pub(crate) fn with_appends_held<R>(&self, work: impl FnOnce() -> R) -> R {
        let _tail = self.tail.lock();
        work()
    }

    /// Takes no more appends: after this error what was written may not be on disk.
    pub(crate) fn fence(&self, error: &StoreError) {
        self.tail.lock().fence(error);
    }

    /// Takes no more appends: the store is being shut down.
    pub(crate) fn close(&self) {
        self.tail.lock().closed = true;
    }

    /// Takes no more appends while a disk is too full, which is told again and again.
    pub(crate) fn set_level(&self, level: Option<DiskLevel>) {
        let before = std::mem::replace(&mut self.tail.lock().level, level.clone());
        match (before, level) {
            (None, Some(level)) => tracing::error!("{level}: messages are refused"),
            (Some(_), None) => tracing::info!("the disk has room again: messages are taken"),
            _ => {}
        }
    }

    /// Why appends are refused at the moment, if they are.
    pub(crate) fn refusal(&self) -> Option<StoreError> {
        let tail = self.tail.lock();
        tail.refusal().or_else(|| {
            let (path, _) = tail.full.as_ref()?;
            Some(StoreError::DiskFull {
                path: path.clone(),
                bytes: self.segments.bytes,
            })
        })
    }

    /// Appends the batch; returns where it begins. What was stored is in `appended`, in order,
    /// also on an error.
    pub(crate) fn append(
        &self,
        batch: &mut RecordBatch,
        appended: &mut Vec<Appended>,
    ) -> Result<u64, StoreError> {
        let mut tail = self.tail.lock();
        let (start, before) = (tail.offset, appended.len());
        let outcome = self.append_locked(&mut tail, batch, appended);
        if outcome.is_err() {
            batch.unsettle(appended.len() - before);
        }
        self.written.store(tail.offset, Ordering::SeqCst);
        self.prepare_ahead(&mut tail);
        drop(tail);
        outcome.map(|()| start)
    }

    fn append_locked(
        &self,
        tail: &mut Tail,
        batch: &mut RecordBatch,
        appended: &mut Vec<Appended>,
    ) -> Result<(), StoreError> {
        if let Some(refusal) = tail.refusal() {
            return Err(refusal);
        }
        let store_timestamp = self.clock.now().0;
        // Records `run` fit the segment behind each other and are written with one operation.
        let mut run = 0..0;
        let mut run_end = tail.offset;
        while run.end < batch.entries.len() {
            let (group, bytes) = match self.next_group(batch, run.end) {
                Ok(group) => group,
                Err(error) => {
                    write_run(tail, batch, run, store_timestamp, appended)?;
                    return Err(error);
                }
            };
            match place(PhysicalOffset(run_end), bytes, self.segments.bytes) {
                Placement::Here { at } => {
                    if tail.segment.is_none() {
                        tail.segment = Some(self.obtain(tail, at.0)?);
                    }
                    run.end = group.end;
                    run_end += bytes;
                }
                Placement::Roll { blank_bytes, at } => {
                    write_run(tail, batch, run, store_timestamp, appended)?;
                    self.roll(tail, blank_bytes)?;
                    run = group.start..group.start;
                    run_end = at.0;
                }
            }
        }
        write_run(tail, batch, run, store_timestamp, appended)
    }

    /// The records that have to stay together, and their bytes.
    fn next_group(
        &self,
        batch: &mut RecordBatch,
        start: usize,
    ) -> Result<(Range<usize>, u64), StoreError> {
        let group = batch.entries[start].group;
        let members = batch.entries[start..]
            .iter()
            .take_while(|other| group.is_some() && other.group == group);
        let count = members.count().max(1);
        batch.settle(start + count);
        let entry = &batch.entries[start];
        let alone = u64::from(entry.encoded.bytes);
        let limit = self.segments.bytes - BLANK_BYTES;
        if alone > limit {
            return Err(StoreError::RecordTooLarge {
                bytes: alone,
                limit,
            });
        }
        let members = batch.entries[start..start + count].iter();
        let bytes = members.map(|member| u64::from(member.encoded.bytes)).sum();
        if bytes > limit {
            return Ok((start..start + 1, alone));
        }
        Ok((start..start + count, bytes))
    }

    /// Closes the segment and enters the next.
    fn roll(&self, tail: &mut Tail, blank_bytes: u64) -> Result<(), StoreError> {
        // The next segment first: without it the blank would end the log for good.
        let next = self.obtain(tail, tail.offset + blank_bytes)?;
        if let Some(segment) = tail.segment.clone()
            && !planted(Fault::NoBlank)
        {
            let mut blank = [0; 8];
            let size = u32::try_from(blank_bytes).unwrap_or(u32::MAX);
            blank[..4].copy_from_slice(&size.to_be_bytes());
            blank[4..].copy_from_slice(&BLANK_MAGIC.to_be_bytes());
            let written = segment.file.write_at(&blank, tail.offset - segment.base);
            written.map_err(|error| tail.write_failed(error))?;
        }
        tail.offset += blank_bytes;
        tail.segment = Some(next);
        Ok(())
    }

    /// The segment that starts at `base`, made if it is not there.
    fn obtain(&self, tail: &mut Tail, base: u64) -> Result<Arc<Segment>, StoreError> {
        if let Some(segment) = self.segments.holding(base) {
            return Ok(segment);
        }
        let now = self.clock.monotonic();
        if let Some((path, until)) = &tail.full
            && now < *until
        {
            return Err(StoreError::DiskFull {
                path: path.clone(),
                bytes: self.segments.bytes,
            });
        }
        let made = self.prepare.take(&self.segments, base);
        tail.full = match &made {
            Err(StoreError::DiskFull { path, .. }) => Some((path.clone(), now + FULL_PAUSE)),
            _ => None,
        };
        let segment = made?;
        self.segments.add(Arc::clone(&segment));
        Ok(segment)
    }

    /// Once half a segment is written the next one is worth reserving.
    fn prepare_ahead(&self, tail: &mut Tail) {
        let Some(segment) = &tail.segment else { return };
        let next = segment.base + self.segments.bytes;
        if tail.offset - segment.base > self.segments.bytes / 2 && tail.ahead != Some(next) {
            tail.ahead = Some(next);
            self.prepare.want(next);
        }
    }
}

/// Stamps the records of `run` and writes them with one operation; on an error none of them
/// happened.
fn write_run(
    tail: &mut Tail,
    batch: &mut RecordBatch,
    run: Range<usize>,
    store_timestamp: i64,
    appended: &mut Vec<Appended>,
) -> Result<(), StoreError> {
    let (Some(first), Some(segment)) = (batch.entries[run.clone()].first(), &tail.segment) else {
        return Ok(());
    };
    let (from, before) = (first.start, appended.len());
    let mut to = from;
    let mut at = tail.offset;
    for entry in &batch.entries[run] {
        if entry.start != to {
            // The record before it did not need all its room.
            batch
                .bytes
                .copy_within(entry.start..entry.start + entry.len(), to);
        }
        let queue_offset = entry.queue_offset;
        let record = &mut batch.bytes[to..];
        put(record, QUEUE_OFFSET_AT, queue_offset.to_be_bytes());
        put(record, PHYSICAL_OFFSET_AT, at.to_be_bytes());
        let time_at = usize::try_from(entry.encoded.store_timestamp_at).unwrap_or(usize::MAX);
        put(record, time_at, store_timestamp.to_be_bytes());
        if batch.property_crc {
            property_crc::seal(&mut record[..entry.len()]);
        }
        appended.push(Appended {
            physical_offset: PhysicalOffset(at),
            queue_offset: QueueOffset(queue_offset),
            store_timestamp,
            bytes: entry.encoded.bytes,
        });
        at += u64::from(entry.encoded.bytes);
        to += entry.len();
    }
    let (bytes, start) = (&batch.bytes[from..to], tail.offset - segment.base);
    if let Err(error) = segment.file.write_at(bytes, start) {
        appended.truncate(before);
        return Err(tail.write_failed(error));
    }
    tail.offset = at;
    Ok(())
}

fn put(record: &mut [u8], at: usize, value: [u8; 8]) {
    record[at..at + 8].copy_from_slice(&value);
}

impl Tail {
    fn fence(&mut self, error: &StoreError) {
        let StoreError::Io { op, path, source } = error else {
            return;
        };
        tracing::error!(path = %path.display(), op, %source, "the store is read-only from now on");
        self.fenced = Some((path.clone(), format!("{op}: {source}")));
    }

    /// A full disk may have room again; after any other failure nobody knows what the file holds.
    fn write_failed(&mut self, error: StoreError) -> StoreError {
        self.fence(&error);
        error
    }

    fn refusal(&self) -> Option<StoreError> {
        if self.closed {
            return Some(StoreError::ShuttingDown);
        }
        if let Some((path, reason)) = self.fenced.clone() {
            return Some(StoreError::Fenced { path, reason });
        }
        self.level.clone().map(StoreError::DiskLevel)
    }
}
