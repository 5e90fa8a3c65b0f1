//! A record of the half queue, read.

use super::table::{Half, Rules};
use common::message::{java_hash, java_hash_append, properties as names_of, record::RecordView};
use common::names;

/// A half message: a message whose real topic and queue stand among its properties.
#[derive(Debug, Clone, Copy)]
pub struct HalfMessage<'a> {
    /// As stored.
    pub record: RecordView<'a>,
    /// Its properties as stored.
    pub text: &'a str,
    /// The topic it is meant for.
    pub topic: &'a str,
    /// The queue it is meant for.
    pub queue_id: u32,
    /// The group that is asked.
    pub group: Option<&'a str>,
    /// What its client calls it.
    pub unique_key: Option<&'a str>,
    /// Offset in the half queue.
    pub offset: u64,
    /// Offset of the half it is a copy of, or its own.
    pub first: u64,
    /// How often somebody was asked.
    pub checks: u16,
    immunity: Option<&'a str>,
    /// It may have to wait when it is committed.
    pub asks_for_a_time: bool,
    /// Where its properties say where it is meant for, if that is one piece and everything else is kept as it is.
    real: Option<(usize, usize)>,
}

impl<'a> HalfMessage<'a> {
    /// `None` for what is no half message.
    pub fn of(record: &RecordView<'a>) -> Option<Self> {
        if record.topic != names::TRANS_HALF_TOPIC.as_bytes() {
            return None;
        }
        Self::of_any(record)
    }

    /// A message that was a half, in whatever topic it is stored.
    pub fn of_any(record: &RecordView<'a>) -> Option<Self> {
        let text = std::str::from_utf8(record.properties).ok()?;
        let offset = u64::try_from(record.queue_offset).ok()?;
        let mut half = Self {
            record: *record,
            text,
            topic: "",
            queue_id: 0,
            group: None,
            unique_key: None,
            offset,
            first: offset,
            checks: 0,
            immunity: None,
            asks_for_a_time: false,
            real: None,
        };
        let (mut queue_id, mut at, mut pieces) = (None, 0, 0);
        for (name, value) in names_of::iter(text) {
            let end = at + name.len() + value.len() + 2;
            match name {
                names_of::REAL_TOPIC | names_of::REAL_QUEUE_ID => {
                    if name == names_of::REAL_TOPIC {
                        half.topic = value;
                    } else {
                        queue_id = value.parse().ok();
                    }
                    let begun = half.real.filter(|(_, end)| *end == at);
                    pieces += usize::from(begun.is_none());
                    half.real = Some((begun.map_or(at, |(start, _)| start), end));
                }
                names_of::PRODUCER_GROUP => half.group = Some(value),
                names_of::UNIQUE_KEY => half.unique_key = Some(value),
                names_of::TRANSACTION_PREPARED_QUEUE_OFFSET => {
                    let first = value.parse().ok().filter(|first| *first < offset);
                    half.first = first.unwrap_or(offset);
                }
                names_of::TRANSACTION_CHECK_TIMES => half.checks = value.parse().unwrap_or(0),
                names_of::CHECK_IMMUNITY_TIME => half.immunity = Some(value),
                names_of::DELAY
                | names_of::TIMER_DELAY_SEC
                | names_of::TIMER_DELAY_MS
                | names_of::TIMER_DELIVER_MS => half.asks_for_a_time = true,
                _ => {}
            }
            at = end;
        }
        // In a text of which something is left out the places are wrong.
        half.real = half
            .real
            .filter(|_| pieces == 1 && names_of::is_well_formed(text, at));
        half.queue_id = queue_id?;
        (!half.topic.is_empty()).then_some(half)
    }

    /// What the table keeps of it.
    pub fn entry(&self, rules: &Rules) -> Half<'a> {
        Half {
            offset: self.offset,
            first: self.first,
            since: self.since(rules),
            immunity_s: self.immunity.map_or(0, immunity_seconds),
            checks: self.checks,
            topic: self.topic,
        }
    }

    /// The broker's own time where it is known, for clocks of producers go wrong. Of a copy only theirs is: it counts unless the
    /// message would be too old to be kept.
    fn since(&self, rules: &Rules) -> i64 {
        let RecordView {
            store_timestamp: stored,
            born_timestamp: born,
            ..
        } = self.record;
        let is_copy = self.first != self.offset || self.checks > 0;
        if is_copy && (0..rules.keep_ms).contains(&stored.saturating_sub(born)) {
            born
        } else {
            stored
        }
    }

    /// Whether only the answer to a check may end it: it has an immunity time, and that is over.
    pub fn is_late(&self, now: impl FnOnce() -> (i64, Rules)) -> bool {
        self.immunity.is_some_and(|text| {
            let (now, rules) = now();
            let limit = rules.immunity_ms(immunity_seconds(text));
            now.saturating_sub(self.since(&rules)) > limit.max(rules.timeout_ms)
        })
    }

    /// The same for all copies of a message, and mostly for no other one.
    pub fn identity(&self) -> u64 {
        let hash = java_hash(self.unique_key.unwrap_or(""));
        let more = java_hash_append(hash.rotate_left(7), self.unique_key.unwrap_or(""));
        let born = self.record.born_timestamp.cast_unsigned();
        let keys = u64::from(hash.cast_unsigned()) << 32 | u64::from(more.cast_unsigned());
        keys ^ born.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    /// Appends its properties without what only a half has.
    pub fn write_real_properties(&self, out: &mut String) {
        if let Some((start, end)) = self.real {
            out.push_str(&self.text[..start]);
            out.push_str(&self.text[end..]);
        } else {
            let names = [names_of::REAL_TOPIC, names_of::REAL_QUEUE_ID];
            out.push_str(&names_of::without(self.text, &names));
        }
    }
}

/// Seconds of `CHECK_IMMUNITY_TIME_IN_SECONDS`; 0 for what is no positive number.
pub fn immunity_seconds(text: &str) -> u32 {
    let seconds = text.parse::<i64>().unwrap_or(0).max(0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}
