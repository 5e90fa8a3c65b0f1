//! Properties that name queue offsets, which are known only once the log is locked: `INNER_BASE` of a
//! batch that is one record, `INNER_MULTI_QUEUE_OFFSET` of a message that goes into light queues, too.
//! A record is encoded with room for them at the end of its properties.
//!
//! A light queue is queue 0 of a topic called `%LMQ%…` that no record needs to be stored for:
//! messages of other topics name it in `INNER_MULTI_DISPATCH`.

use std::sync::Arc;

use common::message::{properties, property_crc, sys_flag};
use common::names;

use crate::consume_queue::{Queue, QueueKind, QueueTable};

/// Most digits of an offset.
const DIGITS: usize = 20;
/// Holds the room in the properties; any name will do.
const ROOM: &str = "_";

/// What a record still lacks.
#[derive(Debug)]
pub(crate) struct Late {
    /// Bytes of all its properties.
    properties: usize,
    /// Bytes at their end, before the checksum, that are to be replaced.
    room: usize,
    /// Whether the record names its own offset.
    base: bool,
    /// The queues it names, in order; `None` for what is no light queue.
    light: Vec<Option<(Arc<Queue>, u64)>>,
}

impl Late {
    /// What a record with these properties lacks, with the properties that have room for it.
    /// `light` gives the queues, if messages go into light queues at all.
    pub(crate) fn of(
        queue: &Queue,
        sys_flag: i32,
        text: &str,
        light: Option<&QueueTable>,
    ) -> Option<(Self, String)> {
        if !sys_flag::is_queued(sys_flag) {
            return None;
        }
        let base = queue.kind() == QueueKind::Batch && sys_flag & sys_flag::INNER_BATCH != 0;
        let named = light.and_then(|_| light_queues(queue.topic(), text));
        if !base && named.is_none() {
            return None;
        }
        let (Some(table), Some(named)) = (light, named) else {
            return Some(Self::with_room(true, Vec::new(), text));
        };
        let queue_of =
            |name: &str| names::is_light_queue(name).then(|| (table.get_or_create(name, 0), 0));
        Some(Self::with_room(
            base,
            named.split(',').map(queue_of).collect(),
            text,
        ))
    }

    fn with_room(base: bool, light: Vec<Option<(Arc<Queue>, u64)>>, text: &str) -> (Self, String) {
        let mut late = Self {
            properties: 0,
            room: 0,
            base,
            light,
        };
        if base {
            late.room += properties::INNER_BASE.len() + 2 + DIGITS;
        }
        if !late.light.is_empty() {
            let offsets = late.light.len() * (DIGITS + 1);
            late.room += properties::INNER_MULTI_QUEUE_OFFSET.len() + 2 + offsets;
        }
        let replaced = [properties::INNER_BASE, properties::INNER_MULTI_QUEUE_OFFSET];
        let mut text = properties::without(text, &replaced);
        let rest = late.room - ROOM.len() - 2;
        properties::write(&mut text, ROOM, &"0".repeat(rest));
        (late, text)
    }

    /// To be told how many bytes of properties were encoded.
    pub(crate) fn encoded(mut self, properties: usize) -> Self {
        self.properties = properties;
        self
    }

    /// The light queues, with the offset the record has in each.
    pub(crate) fn light(&mut self) -> impl Iterator<Item = &mut (Arc<Queue>, u64)> {
        self.light.iter_mut().flatten()
    }

    /// As [`Self::light`].
    pub(crate) fn dispatched(&self) -> impl Iterator<Item = &(Arc<Queue>, u64)> {
        self.light.iter().flatten()
    }

    /// Puts the offsets where there is room for them; returns how long the record is now.
    pub(crate) fn fill(&self, record: &mut [u8], has_crc: bool, offset: u64) -> usize {
        let mut text = String::with_capacity(self.room);
        if self.base {
            properties::write(&mut text, properties::INNER_BASE, &offset.to_string());
        }
        let offsets = self.light.iter().map(|named| {
            let offset = named.as_ref().map(|(_, offset)| offset.to_string());
            offset.unwrap_or_default()
        });
        let offsets = offsets.collect::<Vec<_>>().join(",");
        properties::write(&mut text, properties::INNER_MULTI_QUEUE_OFFSET, &offsets);
        let behind = if has_crc {
            property_crc::PROPERTY_BYTES
        } else {
            0
        };
        let at = record.len() - behind - self.room;
        let less = self.room - text.len();
        record[at..at + text.len()].copy_from_slice(text.as_bytes());
        record.copy_within(record.len() - behind.., at + text.len());
        let len = record.len() - less;
        // Both did fit before.
        let total = u32::try_from(len).unwrap_or(u32::MAX);
        record[..4].copy_from_slice(&total.to_be_bytes());
        let properties = u16::try_from(self.properties - less).unwrap_or(u16::MAX);
        let length_at = record.len() - self.properties - 2;
        record[length_at..length_at + 2].copy_from_slice(&properties.to_be_bytes());
        len
    }
}

/// The light queues in which a record of `topic` with these properties is, with its offset in each.
pub fn stored<'a>(topic: &str, text: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
    let offsets = properties::get(text, properties::INNER_MULTI_QUEUE_OFFSET).unwrap_or_default();
    let named = light_queues(topic, text).unwrap_or_default();
    let both = named.split(',').zip(offsets.split(','));
    let light = both.filter(|(name, _)| names::is_light_queue(name));
    light.filter_map(|(name, offset)| Some((name, offset.parse().ok()?)))
}

/// The queues that a message of `topic` names, if it is one that may. Those of half messages and of
/// messages that wait count once they are in their own topic.
fn light_queues<'a>(topic: &str, text: &'a str) -> Option<&'a str> {
    let named = properties::get(text, properties::INNER_MULTI_DISPATCH)?;
    let may = !names::is_retry_or_dlq(topic)
        && !topic.starts_with(names::SYSTEM_TOPIC_PREFIX)
        && ![names::SCHEDULE_TOPIC, names::TRANS_HALF_TOPIC].contains(&topic);
    (may && !named.trim().is_empty()).then_some(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISPATCH: &str = "INNER_MULTI_DISPATCH\u{1}%LMQ%a,b,%LMQ%c/d,%LMQ%e\u{2}";

    #[test]
    fn stored_offsets_belong_to_the_names_in_the_same_place() {
        let text = format!("{DISPATCH}INNER_MULTI_QUEUE_OFFSET\u{1}7,,3,9\u{2}");
        let both: Vec<_> = stored("t", &text).collect();
        assert_eq!(both, [("%LMQ%a", 7), ("%LMQ%e", 9)]);
        for topic in [
            "%RETRY%g",
            "%DLQ%g",
            "rmq_sys_wheel_timer",
            "SCHEDULE_TOPIC_XXXX",
            "RMQ_SYS_TRANS_HALF_TOPIC",
        ] {
            assert_eq!(stored(topic, &text).count(), 0, "{topic}");
        }
        assert_eq!(stored("t", DISPATCH).count(), 0);
        let text = "INNER_MULTI_DISPATCH\u{1}%LMQ%a\u{2}INNER_MULTI_QUEUE_OFFSET\u{1}-1\u{2}";
        assert_eq!(stored("t", text).count(), 0);
    }
}
