//! What the store has to hold, kept byte by byte without looking at the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::ids::{PhysicalOffset, QueueOffset};
use common::message::record::{BLANK_MAGIC, PHYSICAL_OFFSET_AT, QUEUE_OFFSET_AT, encode};
use store::{Appended, RecordParts};

use crate::message::{Message, QueueName};

/// Bytes of the blank that closes a segment.
const BLANK_BYTES: u64 = 8;

#[derive(Debug, Clone)]
pub struct Record {
    pub start: u64,
    pub end: u64,
    pub queue_offset: u64,
    /// Where else it is.
    pub light: Vec<(QueueName, u64)>,
    pub message: Arc<Message>,
}

/// A record in one of its queues.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Offset of its first message there.
    pub offset: u64,
    /// Messages there.
    pub count: u64,
    pub record: &'a Record,
}

/// The log as it would be if nothing were ever lost, and what was promised of it.
#[derive(Debug, Clone)]
pub struct Model {
    pub segment_bytes: u64,
    pub log: Vec<u8>,
    pub records: Vec<Record>,
    /// Everything below was confirmed to be written.
    pub written: u64,
    /// Everything below was confirmed to be on disk when the store was last opened.
    pub safe: u64,
    /// The log begins here; while old segments are being deleted, here or at most at the second.
    pub min: (u64, u64),
    /// Records of a topic that stand before its position are deleted.
    pub deleted: BTreeMap<String, u64>,
    /// This topic is being deleted: it may be as before, gone, or in parts.
    pub deleting: Option<String>,
    /// What the last crash took, oldest first.
    pub lost: Vec<Arc<Message>>,
    next: BTreeMap<QueueName, u64>,
}

impl Model {
    pub fn new(segment_bytes: u64) -> Self {
        Self {
            segment_bytes,
            log: Vec::new(),
            records: Vec::new(),
            written: 0,
            safe: 0,
            min: (0, 0),
            deleted: BTreeMap::new(),
            deleting: None,
            lost: Vec::new(),
            next: BTreeMap::new(),
        }
    }

    pub fn tail(&self) -> u64 {
        self.log.len() as u64
    }

    /// What appending these messages will do; with `group` they go into one segment if they fit.
    pub fn append(&mut self, messages: &[Arc<Message>], group: bool, now: i64) -> Vec<Appended> {
        let encoded: Vec<_> = messages
            .iter()
            .map(|message| {
                let (queue_offset, light) = self.take_offsets(message);
                let parts = RecordParts {
                    properties: &message.stored_properties(queue_offset, &light),
                    ..message.parts()
                };
                let mut bytes = Vec::new();
                let encoded = encode(&parts, &mut bytes).unwrap();
                (bytes, encoded, queue_offset, light)
            })
            .collect();
        let mut left: u64 = encoded.iter().map(|(bytes, ..)| bytes.len() as u64).sum();
        let mut appended = Vec::new();
        for (message, (mut bytes, encoded, queue_offset, light)) in messages.iter().zip(encoded) {
            // The rest of a group that is too large may be one that is not.
            if group && left + BLANK_BYTES <= self.segment_bytes {
                self.make_room(left);
            }
            left -= bytes.len() as u64;
            self.make_room(bytes.len() as u64);
            let start = self.tail();
            let mut put = |at: usize, value: [u8; 8]| bytes[at..at + 8].copy_from_slice(&value);
            put(QUEUE_OFFSET_AT, queue_offset.to_be_bytes());
            put(PHYSICAL_OFFSET_AT, start.to_be_bytes());
            put(encoded.store_timestamp_at as usize, now.to_be_bytes());
            self.log.extend_from_slice(&bytes);
            self.records.push(Record {
                start,
                end: self.tail(),
                queue_offset,
                light,
                message: Arc::clone(message),
            });
            appended.push(Appended {
                physical_offset: PhysicalOffset(start),
                queue_offset: QueueOffset(queue_offset),
                store_timestamp: now,
                bytes: encoded.bytes,
            });
        }
        appended
    }

    fn take_offsets(&mut self, message: &Message) -> (u64, Vec<(QueueName, u64)>) {
        let mut take = |queue: QueueName, count: u64| {
            let next = self.next.entry(queue).or_default();
            *next += count;
            *next - count
        };
        if !message.is_queued() {
            return (0, Vec::new());
        }
        let offset = take(message.queue.clone(), message.count);
        let light = message.light_queues();
        (
            offset,
            light.map(|queue| (queue.clone(), take(queue, 1))).collect(),
        )
    }

    /// Closes the segment if `bytes` and a blank do not fit any more.
    fn make_room(&mut self, bytes: u64) {
        let left = self.segment_bytes - self.tail() % self.segment_bytes;
        if bytes + BLANK_BYTES > left {
            let size = u32::try_from(left).unwrap();
            let end = self.log.len() + left as usize;
            self.log.extend_from_slice(&size.to_be_bytes());
            self.log.extend_from_slice(&BLANK_MAGIC.to_be_bytes());
            self.log.resize(end, 0);
        }
    }

    /// Whether a crash can leave a log that ends here: behind a record, or behind the blank that
    /// follows it.
    pub fn may_end_at(&self, end: u64) -> bool {
        let behind = self.records.partition_point(|record| record.end <= end);
        let last = behind.checked_sub(1).map_or(0, |at| self.records[at].end);
        let next_segment = last.next_multiple_of(self.segment_bytes);
        end == last || (end == next_segment && end <= self.tail())
    }

    /// Whether this is a byte of the size a blank gives itself. Nobody reads it: a blank counts by its
    /// magic, and if a sector ends between the two the size may be lost without any harm.
    pub fn is_size_of_blank(&self, position: u64) -> bool {
        let behind = self
            .records
            .partition_point(|record| record.end <= position);
        let last = behind.checked_sub(1).map_or(0, |at| self.records[at].end);
        let next = self.records.get(behind);
        position < last + 4 && next.is_none_or(|next| next.start > position)
    }

    /// The log ends at `end` from now on.
    pub fn truncate(&mut self, end: u64) {
        self.log.truncate(usize::try_from(end).unwrap());
        let lost = self.records.partition_point(|record| record.end <= end);
        let lost = self.records.split_off(lost);
        self.lost = lost.into_iter().map(|record| record.message).collect();
        (self.written, self.safe) = (end, end);
        self.next.clear();
        let mut next = BTreeMap::new();
        for record in &self.records {
            for (queue, place) in self.places(record) {
                next.insert(queue.clone(), place.offset + place.count);
            }
        }
        self.next = next;
    }

    /// Where a record is.
    fn places<'a>(
        &'a self,
        record: &'a Record,
    ) -> impl Iterator<Item = (&'a QueueName, Place<'a>)> {
        let message = &record.message;
        let place = |offset, count| Place {
            offset,
            count,
            record,
        };
        let own = message.is_queued().then_some(&message.queue).into_iter();
        let own = own.map(move |queue| (queue, place(record.queue_offset, message.count)));
        let light = record.light.iter();
        let light = light.map(move |(queue, offset)| (queue, place(*offset, 1)));
        own.chain(light)
            .filter(|(queue, _)| self.is_alive_in(&queue.0, record))
    }

    fn is_alive_in(&self, topic: &str, record: &Record) -> bool {
        let deleted = self.deleted.get(topic);
        deleted.is_none_or(|position| record.start >= *position)
    }

    pub fn is_alive(&self, record: &Record) -> bool {
        self.is_alive_in(&record.message.queue.0, record)
    }

    /// All messages of a topic are gone; its queues begin again.
    pub fn topic_deleted(&mut self, topic: &str) {
        self.deleted.insert(topic.to_owned(), self.tail());
        self.next.retain(|(other, _), _| other != topic);
    }

    /// Old segments may go, all but the last.
    pub fn begin_cleaning(&mut self) {
        self.min.1 = self.tail() - self.tail() % self.segment_bytes;
    }

    /// The log is what a store says it is: it begins and ends here.
    pub fn settle(&mut self, (min, end): (u64, u64)) {
        self.truncate(end);
        self.min = (min, min);
    }

    /// For each queue of a log that reaches from `min` to `end`: its end, and the records a
    /// consumer finds in it.
    pub fn queues(&self, min: u64, end: u64) -> BTreeMap<&QueueName, (u64, Vec<Place<'_>>)> {
        let mut queues: BTreeMap<_, (u64, Vec<_>)> = BTreeMap::new();
        for record in self.records.iter().filter(|record| record.end <= end) {
            for (queue, place) in self.places(record) {
                let (next, found) = queues.entry(queue).or_default();
                *next = place.offset + place.count;
                if record.start >= min {
                    found.push(place);
                }
            }
        }
        queues
    }
}
