//! Reading: from a queue's units to slices of the log.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use common::ids::PhysicalOffset;
use common::message::record::{RecordFormatError, RecordView, iter};

use crate::commit_log::recover::{Step, step};
use crate::consume_queue::ext::is_address;
use crate::consume_queue::{Queue, QueueKind, Unit};
use crate::error::StoreError;
use crate::flush::Syncs;
use crate::open::{Parts, Recovery};

/// What a consumer asks for.
#[derive(Clone, Copy)]
pub struct GetRequest<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Queue within the topic.
    pub queue_id: u32,
    /// Offset of the first message; negative ones lie before every queue.
    pub offset: i64,
    /// Messages wanted at most.
    pub max_messages: u32,
    /// Whether a message with this hash of its tags is wanted.
    pub filter: &'a dyn Fn(i64) -> bool,
}

/// How a read went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GetStatus {
    /// At least one message.
    Found,
    /// Messages, but none that is wanted.
    NoMatchedMessage,
    /// The messages have just been deleted.
    MessageWasRemoving,
    /// The queue has no unit where it should.
    OffsetFoundNull,
    /// Beyond the end by more than one.
    OffsetOverflowBadly,
    /// At the end: the next message has this offset.
    OffsetOverflowOne,
    /// Before the oldest message.
    OffsetTooSmall,
    /// No such queue.
    NoMatchedLogicQueue,
    /// The queue never had a message.
    NoMessageInQueue,
}

/// What a read found.
#[derive(Debug)]
pub struct GetResult {
    /// How it went.
    pub status: GetStatus,
    /// Where the next read should begin.
    pub next_begin: i64,
    /// Oldest offset of the queue.
    pub min: u64,
    /// End of the queue.
    pub max: u64,
    /// The records, byte for byte as in the log. Records that stand one behind the other there
    /// share one slice; see [`GetResult::messages`].
    pub records: Vec<Bytes>,
    /// Number of messages: a record may be a whole batch.
    pub count: usize,
    /// Bytes of all records.
    pub bytes: usize,
    /// Some of the records may have to come from the disk: touching them can block.
    pub cold: bool,
    /// The reader is so far behind that it had better read from a slave.
    pub far_behind: bool,
}

impl GetResult {
    /// The records one by one.
    pub fn messages(&self) -> impl Iterator<Item = Result<RecordView<'_>, RecordFormatError>> {
        self.records.iter().flat_map(|slice| iter(slice))
    }
}

/// Which of several messages of one time is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// The first at or after the time.
    Lower,
    /// The last at or before the time.
    Upper,
}

/// Reads the store; clones are cheap.
#[derive(Clone)]
pub struct StoreReader(pub(crate) Arc<Parts>);

/// A read on its way: slices that are not cut yet.
struct Scan {
    result: GetResult,
    next: u64,
    /// The slice that is growing.
    open: Option<OpenSlice>,
    last_physical: u64,
}

/// Records that stand one behind the other in one segment.
#[derive(Clone, Copy)]
struct OpenSlice {
    /// Positions of the log.
    start: u64,
    end: u64,
    messages: usize,
}

impl StoreReader {
    /// A queue that exists.
    pub fn queue(&self, topic: &str, queue_id: u32) -> Option<Arc<Queue>> {
        self.0.queues.get(topic, queue_id)
    }

    /// Every queue that exists, in no order.
    pub fn queues(&self) -> Vec<Arc<Queue>> {
        self.0.queues.all()
    }

    /// Oldest offset of a queue, 0 when there is no queue.
    pub fn min_offset(&self, topic: &str, queue_id: u32) -> u64 {
        self.queue(topic, queue_id)
            .map_or(0, |queue| queue.min_offset())
    }

    /// End of a queue as consumers see it, 0 when there is no queue.
    pub fn max_offset(&self, topic: &str, queue_id: u32) -> u64 {
        self.queue(topic, queue_id)
            .map_or(0, |queue| queue.max_offset())
    }

    /// Whether the message at this offset is recent enough to be in memory.
    pub fn is_in_memory(&self, topic: &str, queue_id: u32, offset: u64) -> bool {
        let unit = self
            .queue(topic, queue_id)
            .and_then(|queue| self.unit(&queue, offset));
        unit.is_some_and(|unit| self.is_hot(unit.physical_offset))
    }

    /// Whether a position of the log is so near its end that it is in memory.
    pub fn is_hot(&self, physical_offset: u64) -> bool {
        self.0.log.end().saturating_sub(physical_offset) <= self.0.config.hot_bytes
    }

    /// Messages of a queue from an offset on. Touches no page of the log.
    pub fn get(&self, request: GetRequest<'_>) -> GetResult {
        let Some(queue) = self.queue(request.topic, request.queue_id) else {
            return empty(GetStatus::NoMatchedLogicQueue, 0, 0, 0);
        };
        let (min, max) = (queue.min_offset(), queue.max_offset());
        if max == 0 {
            return empty(GetStatus::NoMessageInQueue, 0, min, max);
        }
        let offset = match u64::try_from(request.offset) {
            Ok(offset) if offset >= min => offset,
            _ => return empty(GetStatus::OffsetTooSmall, min, min, max),
        };
        if offset == max {
            return empty(GetStatus::OffsetOverflowOne, offset, min, max);
        }
        if offset > max {
            return empty(GetStatus::OffsetOverflowBadly, max, min, max);
        }
        let nothing = empty(GetStatus::NoMatchedMessage, offset, min, max);
        let result = self.scan(&request, &queue, offset, nothing);
        let min = queue.min_offset();
        if result.count == 0 && offset < min {
            // The messages were deleted since the first look, and maybe their units too.
            return empty(GetStatus::OffsetTooSmall, min, min, max);
        }
        result
    }

    fn scan(
        &self,
        request: &GetRequest<'_>,
        queue: &Arc<Queue>,
        offset: u64,
        result: GetResult,
    ) -> GetResult {
        let max_messages = usize::try_from(request.max_messages)
            .unwrap_or(usize::MAX)
            .max(1);
        let filter_units = (self.0.config.read_filter_bytes / queue.kind().unit_bytes()).max(1);
        let mut left = filter_units.max(max_messages);
        // One read rarely needs more units than messages; a filter that takes few needs more.
        let mut round = max_messages.min(self.0.config.read_messages.0).max(1);
        let mut scan = Scan {
            result,
            next: offset,
            open: None,
            last_physical: 0,
        };
        let mut units = Vec::with_capacity(round);
        'rounds: while left > 0 {
            if let Err(error) = self
                .0
                .queues
                .read(queue, scan.next, round.min(left), &mut units)
            {
                tracing::warn!(?queue, %error, "a ConsumeQueue cannot be read");
                break;
            }
            if units.is_empty() {
                break;
            }
            left -= units.len();
            for unit in &units {
                if self.is_full(&scan, unit, max_messages) {
                    break 'rounds;
                }
                scan.next = unit.next();
                scan.last_physical = unit.physical_offset;
                // An address leads to nothing any more: whoever reads the message looks at its tags.
                let wanted = is_address(unit.tags_code) || (request.filter)(unit.tags_code);
                if !unit.is_blank() && wanted {
                    self.take(unit, &mut scan);
                }
            }
            round = filter_units;
        }
        if scan.next == offset {
            scan.result.status = GetStatus::OffsetFoundNull;
            scan.next = queue.next_file_start(offset);
        }
        self.close(&mut scan);
        let far_behind = !self.is_hot(scan.last_physical);
        GetResult {
            next_begin: wire(scan.next),
            far_behind,
            ..scan.result
        }
    }

    fn take(&self, unit: &Unit, scan: &mut Scan) {
        let (start, end) = (unit.physical_offset, unit.end());
        let messages = usize::try_from(unit.messages).unwrap_or(usize::MAX);
        let in_log = start >= self.0.log.segments.min_offset() && end <= self.0.log.end();
        if !in_log {
            if scan.result.count == 0 {
                scan.result.status = GetStatus::MessageWasRemoving;
            }
            return;
        }
        match &mut scan.open {
            // A slice cannot cross a file, and the first record of a file starts a new one.
            Some(open) if open.end == start && !start.is_multiple_of(self.0.log.segments.bytes) => {
                open.end = end;
                open.messages += messages;
            }
            _ => {
                self.close(scan);
                scan.open = Some(OpenSlice {
                    start,
                    end,
                    messages,
                });
            }
        }
        scan.result.cold |= !self.is_hot(start);
        scan.result.count += messages;
        scan.result.bytes += usize::try_from(unit.bytes).unwrap_or(0);
        scan.result.status = GetStatus::Found;
    }

    /// Cuts the slice that was growing.
    fn close(&self, scan: &mut Scan) {
        let Some(open) = scan.open.take() else {
            return;
        };
        let bytes = usize::try_from(open.end - open.start).unwrap_or(usize::MAX);
        let result = &mut scan.result;
        if let Some(slice) = self.0.log.segments.view(open.start, bytes) {
            result.records.push(slice);
            return;
        }
        // The segment was deleted since its units were read.
        result.count -= open.messages;
        result.bytes -= bytes;
        if result.count == 0 {
            result.status = GetStatus::MessageWasRemoving;
        }
    }

    /// The first message always fits.
    fn is_full(&self, scan: &Scan, unit: &Unit, max_messages: usize) -> bool {
        let GetResult { count, bytes, .. } = scan.result;
        if count == 0 {
            return false;
        }
        let hot = self.is_hot(unit.physical_offset);
        let pick = |(near, far): (usize, usize)| if hot { near } else { far };
        let bytes = bytes.saturating_add(usize::try_from(unit.bytes).unwrap_or(usize::MAX));
        let messages = usize::try_from(unit.messages).unwrap_or(usize::MAX);
        count.saturating_add(messages) > max_messages
            || count >= pick(self.0.config.read_messages)
            || bytes > pick(self.0.config.read_bytes)
    }

    /// The record that starts at a position of the log, if consumers may see it.
    pub fn record_at(&self, offset: PhysicalOffset) -> Option<Bytes> {
        let segments = &self.0.log.segments;
        let limit = self.0.flush.visible_limit();
        let readable = limit.min(segments.end_of(offset.0)).checked_sub(offset.0)?;
        let rest = segments.view(offset.0, usize::try_from(readable).ok()?)?;
        match step(&rest, offset.0) {
            Step::Record(record) => Some(rest.slice(..usize::try_from(record.total_size).ok()?)),
            Step::Blank | Step::End | Step::Missing => None,
        }
    }

    /// Store time of a message, in milliseconds since 1970.
    pub fn store_time_of(&self, topic: &str, queue_id: u32, offset: u64) -> Option<i64> {
        self.store_time(&self.queue(topic, queue_id)?, offset)
    }

    /// The record of a message.
    pub fn record_of(&self, topic: &str, queue_id: u32, offset: u64) -> Option<Bytes> {
        let unit = self.unit(&self.queue(topic, queue_id)?, offset)?;
        self.record_at(PhysicalOffset(unit.physical_offset))
    }

    /// Position of a message in the log.
    pub fn position_of(&self, topic: &str, queue_id: u32, offset: u64) -> Option<u64> {
        let unit = self.unit(&self.queue(topic, queue_id)?, offset)?;
        Some(unit.physical_offset)
    }

    fn store_time(&self, queue: &Arc<Queue>, offset: u64) -> Option<i64> {
        let unit = self.unit(queue, offset)?;
        let record = self.record_at(PhysicalOffset(unit.physical_offset))?;
        RecordView::parse(&record)
            .ok()
            .map(|record| record.store_timestamp)
    }

    /// Units of a queue from `offset` on, `count` at most, as far as consumers see it; fewer at the end of a file. None where
    /// the queue has been damaged.
    ///
    /// # Errors
    /// The queue's file cannot be read.
    pub fn units(
        &self,
        queue: &Arc<Queue>,
        offset: u64,
        count: usize,
    ) -> Result<Vec<Unit>, StoreError> {
        let visible = queue.max_offset().saturating_sub(offset);
        let count = usize::try_from(visible).unwrap_or(usize::MAX).min(count);
        let mut units = Vec::new();
        self.0.queues.read(queue, offset, count, &mut units)?;
        Ok(units)
    }

    fn unit(&self, queue: &Arc<Queue>, offset: u64) -> Option<Unit> {
        if offset < queue.min_offset() || offset >= queue.max_offset() {
            return None;
        }
        self.0
            .queues
            .unit(queue, offset)
            .unwrap_or_else(|error: StoreError| {
                tracing::warn!(?queue, %error, "a ConsumeQueue cannot be read");
                None
            })
    }

    /// Store time of the oldest message of a queue, in milliseconds since 1970.
    pub fn earliest_store_time(&self, topic: &str, queue_id: u32) -> Option<i64> {
        let queue = self.queue(topic, queue_id)?;
        self.store_time(&queue, queue.min_offset())
    }

    /// Store time of the oldest record of the whole log.
    pub fn earliest_store_time_of_all(&self) -> Option<i64> {
        let oldest = || PhysicalOffset(self.0.log.segments.min_offset());
        // The oldest segment may be deleted between the two; then the next one is asked.
        let record = self
            .record_at(oldest())
            .or_else(|| self.record_at(oldest()))?;
        RecordView::parse(&record)
            .ok()
            .map(|record| record.store_timestamp)
    }

    /// Offset of the message stored at a time. When all are older than a lower bound it is the
    /// end of the queue; when all are younger than an upper bound it is its start. 0 when there
    /// is no queue.
    pub fn offset_by_time(
        &self,
        topic: &str,
        queue_id: u32,
        timestamp: i64,
        boundary: Boundary,
    ) -> u64 {
        let Some(queue) = self.queue(topic, queue_id) else {
            return 0;
        };
        let min = queue.min_offset();
        let (mut low, mut high) = (min, queue.max_offset());
        while low < high {
            let middle = low + (high - low) / 2;
            let older = self
                .store_time(&queue, middle)
                .is_none_or(|time| match boundary {
                    Boundary::Lower => time < timestamp,
                    Boundary::Upper => time <= timestamp,
                });
            if older {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let found = match boundary {
            Boundary::Lower => low,
            Boundary::Upper => low.saturating_sub(1).max(min),
        };
        match queue.kind() {
            QueueKind::Simple => found,
            // Of batches the first message is meant, of younger ones than all the last batch.
            QueueKind::Batch => {
                let last = queue.max_offset().saturating_sub(1);
                let unit = self.unit(&queue, found.min(last));
                unit.map_or(found, |unit| unit.base)
            }
        }
    }

    /// From now on segments do not expire from this position on.
    pub fn need_from(&self, position: u64) {
        let needed_from = position.saturating_add(1);
        self.0
            .config
            .needed_from
            .store(needed_from, Ordering::Relaxed);
    }

    /// What was found when the store was opened.
    pub fn recovery(&self) -> &Recovery {
        &self.0.recovery
    }

    /// The store as it is now.
    pub fn status(&self) -> StoreStatus {
        StoreStatus {
            min_physical: self.0.log.segments.min_offset(),
            max_physical: self.0.log.end(),
            flushed: *self.0.flush.flushed().borrow(),
            dispatched: self.0.reput.dispatched(),
            queues: self.0.queues.count(),
            syncs: self.0.flush.syncs(),
            refusal: self.0.log.refusal(),
        }
    }
}

/// Figures of the store.
#[derive(Debug)]
pub struct StoreStatus {
    /// Position of the log's oldest byte.
    pub min_physical: u64,
    /// End of the log.
    pub max_physical: u64,
    /// Everything below is on disk.
    pub flushed: u64,
    /// Everything below can be consumed.
    pub dispatched: u64,
    /// Number of queues.
    pub queues: usize,
    /// Syncs of the log since the store was opened.
    pub syncs: Syncs,
    /// Why nothing is stored at the moment, if so; [`StoreError::DiskFull`] passes by itself.
    pub refusal: Option<StoreError>,
}

fn empty(status: GetStatus, next_begin: u64, min: u64, max: u64) -> GetResult {
    GetResult {
        status,
        next_begin: wire(next_begin),
        min,
        max,
        records: Vec::new(),
        count: 0,
        bytes: 0,
        cold: false,
        far_behind: false,
    }
}

/// Queue offsets stay far below the largest number of the wire.
fn wire(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
