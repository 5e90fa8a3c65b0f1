//! From each record to its unit.

use std::collections::HashSet;

use common::message::properties;
use common::message::record::RecordView;
use common::message::{sys_flag, tags_code};
use hashbrown::HashMap;

use super::super::queues::Scan;
use super::super::{OfflineStore, Segment};
use super::{Finding, Part, Seen, SegmentReport};
use crate::consume_queue::Unit;
use crate::consume_queue::unit::UNIT_BYTES;
use crate::schedule;

/// Memory for units read ahead, for all queues together, and its share for one queue.
const AHEAD_BYTES: usize = 64 << 20;
const AHEAD_UNITS: std::ops::RangeInclusive<usize> = 20..=3200;
/// Records whose unit says otherwise that are remembered; more are no more help.
const KEPT_MISSES: usize = 10_000;

/// A record whose unit is another's, or differs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Miss {
    pub(super) queue: usize,
    pub(super) offset: u64,
    pub(super) at: u64,
    /// The record the unit names instead.
    pub(super) named: Option<u64>,
}

/// Looks records up in their queues. One for each thread.
pub(super) struct Follow<'s> {
    store: &'s OfflineStore,
    scans: &'s [Scan],
    settled: u64,
    topics: Option<&'s HashSet<String>>,
    by_name: HashMap<(&'s [u8], i32), usize>,
    cursors: Vec<Cursor>,
    ahead_units: usize,
    seen: Seen,
}

/// Units of a queue, read ahead.
#[derive(Default, Clone)]
struct Cursor {
    first: u64,
    raw: Vec<u8>,
}

impl<'s> Follow<'s> {
    pub(super) fn new(
        store: &'s OfflineStore,
        scans: &'s [Scan],
        settled: u64,
        topics: Option<&'s HashSet<String>>,
    ) -> Self {
        let name = |(at, queue): (usize, &'s crate::offline::OfflineQueue)| {
            Some(((queue.topic.as_bytes(), i32::try_from(queue.id).ok()?), at))
        };
        let share = AHEAD_BYTES / UNIT_BYTES / store.queues.len().max(1);
        Self {
            store,
            scans,
            settled,
            topics,
            by_name: store.queues.iter().enumerate().filter_map(name).collect(),
            cursors: vec![Cursor::default(); store.queues.len()],
            ahead_units: share.clamp(*AHEAD_UNITS.start(), *AHEAD_UNITS.end()),
            seen: Seen {
                hits: vec![0; store.queues.len()],
                ..Seen::default()
            },
        }
    }

    pub(super) fn into_seen(self, segments: Vec<SegmentReport>) -> Seen {
        Seen {
            segments,
            ..self.seen
        }
    }

    /// A record that is good in itself.
    pub(super) fn record(&mut self, segment: &Segment, at: u64, record: &RecordView<'_>) {
        if !sys_flag::is_queued(record.sys_flag) || record.sys_flag & sys_flag::INNER_BATCH != 0 {
            return;
        }
        let Ok(offset) = u64::try_from(record.queue_offset) else {
            let problem = format!("queueOffset is {}, 0 or more is right", record.queue_offset);
            return self
                .seen
                .findings
                .add(Finding::record(segment, at, problem));
        };
        let Some(queue) = self.by_name.get(&(record.topic, record.queue_id)).copied() else {
            return self.no_queue(segment, at, record);
        };
        let scan = &self.scans[queue];
        if offset < scan.first || offset >= scan.end {
            return self.no_unit(segment, at, queue, offset);
        }
        match self.unit(queue, offset) {
            Some(unit) if unit.physical_offset == at && agrees(&unit, record) => {
                self.seen.hits[queue] += 1;
            }
            unit if self.seen.misses.len() < KEPT_MISSES => {
                let unit = unit.filter(|unit| !unit.is_blank());
                let named = unit.map(|unit| unit.physical_offset);
                self.seen.misses.push(Miss {
                    queue,
                    offset,
                    at,
                    named,
                });
            }
            _ => {}
        }
    }

    fn unit(&mut self, queue: usize, offset: u64) -> Option<Unit> {
        let cursor = &mut self.cursors[queue];
        let inside = |cursor: &Cursor| {
            let skip = usize::try_from(offset.checked_sub(cursor.first)?).ok()?;
            cursor.raw.as_chunks::<UNIT_BYTES>().0.get(skip).copied()
        };
        let raw = inside(cursor).or_else(|| {
            let left = usize::try_from(self.scans[queue].end - offset).unwrap_or(usize::MAX);
            let count = self.ahead_units.min(left);
            // What cannot be read here is found and named when the queue is looked at itself.
            self.store.queues[queue]
                .read(offset, count, &mut cursor.raw)
                .ok()?;
            cursor.first = offset;
            inside(cursor)
        });
        Unit::decode(&raw?)
    }

    fn no_queue(&mut self, segment: &Segment, at: u64, record: &RecordView<'_>) {
        if at >= self.settled {
            self.seen.pending += 1;
            return;
        }
        let topic = record.topic_text();
        if self.topics.is_some_and(|topics| !topics.contains(&*topic)) {
            self.seen.orphans += 1;
            return;
        }
        let problem = format!("no ConsumeQueue for queue {} of {topic}", record.queue_id);
        self.missing(segment, at, problem);
    }

    fn no_unit(&mut self, segment: &Segment, at: u64, queue: usize, offset: u64) {
        let scan = &self.scans[queue];
        if at >= self.settled {
            self.seen.pending += 1;
            return;
        }
        // The topic was deleted and made again: its queues began anew behind this record.
        if scan.first == 0 && scan.end > 0 && at < scan.first_physical {
            self.seen.orphans += 1;
            return;
        }
        let name = &self.store.queues[queue];
        let problem = format!(
            "message {offset} of queue {} of {} has no unit: the ConsumeQueue has {} to {}",
            name.id, name.topic, scan.first, scan.end
        );
        self.missing(segment, at, problem);
    }

    fn missing(&mut self, segment: &Segment, at: u64, problem: String) {
        let mut finding = Finding::record(segment, at, problem);
        finding.part = Part::Unit;
        self.seen.findings.add(finding);
    }
}

/// Whether size and tags of a unit are those of its record.
pub(super) fn agrees(unit: &Unit, record: &RecordView<'_>) -> bool {
    let code = unit.tags_code;
    // The unit of a delayed message has the time it is due.
    let due = || record.topic == schedule::TOPIC.as_bytes() && code >= record.store_timestamp;
    unit.bytes == record.total_size && (code == expected(record) || due())
}

/// The tags code a record's unit has.
pub(super) fn expected(record: &RecordView<'_>) -> i64 {
    let tags = properties::get_bytes(record.properties, properties::TAGS.as_bytes());
    tags.map_or(0, |tags| tags_code(&String::from_utf8_lossy(tags)))
}
