//! From each record to its unit.

use std::collections::HashSet;

use common::message::record::RecordView;
use common::message::sys_flag;
use hashbrown::HashMap;

use super::super::{OfflineQueue, OfflineStore, Segment, light_queues};
use super::units::differs;
use super::{Finding, Part, Scanned, Seen};
use crate::consume_queue::Unit;

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
    scans: &'s [Scanned<'s>],
    settled: u64,
    topics: Option<&'s HashSet<String>>,
    by_name: HashMap<(&'s [u8], i32), usize>,
    /// Units of each queue, read ahead.
    cursors: Vec<Vec<Unit>>,
    ahead_units: usize,
    pub(super) seen: Seen,
}

impl<'s> Follow<'s> {
    pub(super) fn new(
        store: &'s OfflineStore,
        scans: &'s [Scanned<'s>],
        settled: u64,
        topics: Option<&'s HashSet<String>>,
    ) -> Self {
        let name = |(at, queue): (usize, &'s OfflineQueue)| {
            Some(((queue.topic.as_bytes(), i32::try_from(queue.id).ok()?), at))
        };
        let share = AHEAD_BYTES / size_of::<Unit>() / store.queues.len().max(1);
        Self {
            store,
            scans,
            settled,
            topics,
            by_name: store.queues.iter().enumerate().filter_map(name).collect(),
            cursors: vec![Vec::new(); store.queues.len()],
            ahead_units: share.clamp(*AHEAD_UNITS.start(), *AHEAD_UNITS.end()),
            seen: Seen {
                hits: vec![0; store.queues.len()],
                ..Seen::default()
            },
        }
    }

    /// A record that is good in itself.
    pub(super) fn record(&mut self, segment: &Segment, at: u64, record: &RecordView<'_>) {
        if !sys_flag::is_queued(record.sys_flag) {
            return;
        }
        let Ok(offset) = u64::try_from(record.queue_offset) else {
            let problem = format!("queueOffset is {}, 0 or more is right", record.queue_offset);
            return self
                .seen
                .findings
                .add(Finding::record(segment, at, problem));
        };
        let queue = self.by_name.get(&(record.topic, record.queue_id)).copied();
        if let Some(queue) = queue {
            self.message(segment, at, record, (queue, offset));
        } else {
            let (id, topic) = (record.queue_id, record.topic_text());
            let is_orphan = self.topics.is_some_and(|topics| !topics.contains(&*topic));
            self.absent(segment, at, is_orphan, || {
                format!("no ConsumeQueue for queue {id} of {topic}")
            });
        }
        let properties = record.properties_text();
        for (name, offset) in light_queues(&record.topic_text(), &properties) {
            // Whether the broker dispatched to light queues at all is not known.
            if let Some(queue) = self.by_name.get(&(name.as_bytes(), 0)).copied() {
                self.message(segment, at, record, (queue, offset));
            }
        }
    }

    /// The record is message `offset` of a queue.
    fn message(
        &mut self,
        segment: &Segment,
        at: u64,
        record: &RecordView<'_>,
        (queue, offset): (usize, u64),
    ) {
        let (_, scan) = &self.scans[queue];
        if offset < scan.first || offset >= scan.end {
            return self.no_unit(segment, at, queue, offset);
        }
        match self.unit(queue, offset) {
            Some(unit)
                if unit.physical_offset == at
                    && differs(&self.store.queues[queue], &unit, record).is_none() =>
            {
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
        let inside = |units: &[Unit]| {
            let at = units.binary_search_by_key(&offset, |unit| unit.base);
            Some(units[at.ok()?])
        };
        inside(cursor).or_else(|| {
            let (queue, scan) = &self.scans[queue];
            let left = usize::try_from(scan.end - offset).unwrap_or(usize::MAX);
            let count = self.ahead_units.min(left);
            // What cannot be read here is found and named when the queue is looked at itself.
            *cursor = queue.units(offset, count).ok()?;
            inside(cursor)
        })
    }

    fn no_unit(&mut self, segment: &Segment, at: u64, queue: usize, offset: u64) {
        let (_, scan) = &self.scans[queue];
        let (first, end) = (scan.first, scan.end);
        // The topic was deleted and made again: its queues began anew behind this record.
        let is_orphan = first == 0 && end > 0 && at < scan.first_physical;
        let OfflineQueue { topic, id, .. } = &self.store.queues[queue];
        self.absent(segment, at, is_orphan, || {
            format!(
                "message {offset} of queue {id} of {topic} has no unit: the ConsumeQueue has {first} to {end}"
            )
        });
    }

    /// The record has no unit.
    fn absent(
        &mut self,
        segment: &Segment,
        at: u64,
        is_orphan: bool,
        problem: impl FnOnce() -> String,
    ) {
        if at >= self.settled {
            self.seen.pending += 1;
        } else if is_orphan {
            self.seen.orphans += 1;
        } else {
            let mut finding = Finding::record(segment, at, problem());
            finding.part = Part::Unit;
            self.seen.findings.add(finding);
        }
    }
}
