//! The table at the start: what the log says of the windows.

use super::{Deduplication, Fingerprint, First};
use crate::delivery::Follower;
use crate::topic::{Topic, TopicTable};
use common::ids::{PhysicalOffset, QueueOffset};
use common::message::recall_handle::RecallHandle;
use common::message::record::RecordView;
use common::message::{properties, sys_flag};
use common::names;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{Appended, Boundary, QueueKind, StoreError, StoreReader};

/// Units of a queue that are read at once.
const RUN_UNITS: usize = 128;

/// Topics that have a window, with its milliseconds.
type Windows = BTreeMap<Arc<str>, (Arc<Topic>, i64)>;

/// Where messages are in the log, by their offsets. The log comes by in the order of each queue: many are read at once.
struct Positions<'a> {
    reader: &'a StoreReader,
    /// By address of the queue: the first offset of those that were read, and where their messages are.
    runs: HashMap<usize, (u64, Vec<u64>)>,
}

impl Positions<'_> {
    fn of(&mut self, topic: &str, queue_id: u32, offset: u64) -> Option<u64> {
        let queue = self.reader.queue(topic, queue_id)?;
        if queue.kind() != QueueKind::Simple {
            return self.reader.position_of(topic, queue_id, offset);
        }
        let (first, run) = self.runs.entry(Arc::as_ptr(&queue).addr()).or_default();
        let at = offset.checked_sub(*first).map(usize::try_from);
        if let Some(place) = at.and_then(|at| run.get(at.ok()?)) {
            return Some(*place);
        }
        let units = self.reader.units(&queue, offset, RUN_UNITS).ok()?;
        *run = units.iter().map(|unit| unit.physical_offset).collect();
        *first = offset;
        run.first().copied()
    }
}

impl Deduplication {
    /// Fills the table with what was stored within the windows of its topics; before anything is sent. Reads the log from
    /// there on.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn rebuild(&self, topics: &TopicTable, reader: &StoreReader) -> Result<(), StoreError> {
        let windows = topics.all().into_iter().filter_map(|(name, topic)| {
            let window = topic.deduplication_window(self.default_window)?;
            Some((name, (topic, window)))
        });
        let windows: Windows = windows.collect();
        let now = self.clock.now().0;
        let longest = windows.values().map(|(_, window)| *window).max();
        let from = longest.and_then(|longest| first_since(reader, &windows, now - longest));
        let Some(from) = from else { return Ok(()) };
        let mut recent = self.recent.lock();
        let mut follower = Follower::default();
        let mut positions = Positions {
            reader,
            runs: HashMap::new(),
        };
        let end = reader.replay(from, &mut |record| {
            let mut delivered = false;
            follower.follow(record, |_, _, message| delivered |= message.is_some());
            let sent = self.sent(&windows, record, &mut positions);
            let Some((fingerprint, first, window)) = sent.filter(|_| !delivered) else {
                return;
            };
            let (time, oldest) = (record.store_timestamp, now - window);
            // Of a message that was stored twice nevertheless, the first counts.
            if time >= oldest && recent.find(&fingerprint, oldest).is_none() {
                recent.remember(fingerprint, first, time + window);
            }
        })?;
        let held = recent.len();
        tracing::info!(from, end, held, "recent messages were read from the log");
        Ok(())
    }

    /// What a client sent, what it was answered, and the window of the topic; `None` for records that the broker itself made of
    /// other ones.
    fn sent(
        &self,
        windows: &Windows,
        record: &RecordView<'_>,
        positions: &mut Positions<'_>,
    ) -> Option<(Fingerprint, First, i64)> {
        let stored_in = std::str::from_utf8(record.topic).ok()?;
        let names = [
            properties::UNIQUE_KEY,
            properties::REAL_TOPIC,
            properties::REAL_QUEUE_ID,
            properties::TIMER_OUT_MS,
            properties::TRANSACTION_CHECK_TIMES,
        ];
        let text = std::str::from_utf8(record.properties).ok()?;
        let [key, real_topic, real_queue, due, checked] = properties::get_each(text, names);
        let (unique_key, queue_id) = (key?, u32::try_from(record.queue_id).ok()?);
        let (asked_topic, asked_queue) = if is_detour(stored_in) {
            (real_topic?, real_queue?.parse().ok()?)
        } else {
            (stored_in, queue_id)
        };
        let (topic, window) = windows.get(asked_topic)?;
        let queue_offset = u64::try_from(record.queue_offset).ok()?;
        let physical_offset = u64::try_from(record.physical_offset).ok()?;
        let ended = record.sys_flag & sys_flag::TRANSACTION_TYPE != 0;
        let taken_up = record.prepared_transaction_offset != 0;
        // Of a topic that was deleted and made again only the new messages count.
        let mut at = || positions.of(stored_in, queue_id, queue_offset);
        if ended || taken_up || checked.is_some() || at() != Some(physical_offset) {
            return None;
        }
        let due = due.filter(|_| stored_in == names::TIMER_TOPIC);
        let handle = due.and_then(|due| due.parse().ok()).map(|slot| {
            let broker_name = &self.broker_name;
            RecallHandle::of_slot(slot, asked_topic, broker_name, unique_key).encode()
        });
        let first = First {
            appended: Appended {
                physical_offset: PhysicalOffset(physical_offset),
                queue_offset: QueueOffset(queue_offset),
                store_timestamp: record.store_timestamp,
                bytes: record.total_size,
            },
            queue_id: asked_queue,
            recall_handle: handle.map(Into::into),
        };
        let fingerprint = Fingerprint {
            hash: self.hash(topic, unique_key),
            body_crc: record.body_crc,
            body_bytes: u32::try_from(record.body.len()).unwrap_or(u32::MAX),
        };
        Some((fingerprint, first, *window))
    }
}

/// Position of the first message stored at a time or later in the queues that matter.
fn first_since(reader: &StoreReader, windows: &Windows, time: i64) -> Option<u64> {
    let queues = reader.queues();
    let matter = queues
        .iter()
        .filter(|queue| is_detour(queue.topic()) || windows.contains_key(queue.topic()));
    let first = matter.filter_map(|queue| {
        let (topic, id) = (queue.topic(), queue.id());
        let offset = reader.offset_by_time(topic, id, time, Boundary::Lower);
        reader.position_of(topic, id, offset)
    });
    first.min()
}

/// Topics in which messages wait that were sent to others.
fn is_detour(topic: &str) -> bool {
    [
        names::SCHEDULE_TOPIC,
        names::TIMER_TOPIC,
        names::TRANS_HALF_TOPIC,
    ]
    .contains(&topic)
}
