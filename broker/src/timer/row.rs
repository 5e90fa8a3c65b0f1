//! A timer that waits, as a row: what its record says, in a form that is ordered by time.

use crate::kv::{Change, Family};
use common::message::RecordView;
use common::message::properties::{self as names, get_each};
use common::names::{TIMER_TOPIC, is_not_allowed_to_send, validate_topic};
use std::str::FromStr as _;

/// Bytes of a key.
const KEY_BYTES: usize = 25;
/// No timer is delivered later than this after the beginning of its slot, whatever the precision was when it was taken.
pub const WIDEST_SLOT_MS: i64 = 1_000;
/// The last slot a message can be in: the year 9999 begins then.
const LAST_SLOT: u64 = 253_370_764_800_000;

/// Where a row stands: by slot, then all rows of one unique key together, first those that cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// Its slot: `TIMER_OUT_MS`, milliseconds since 1970.
    pub slot: u64,
    /// Hash of the unique key that the record has or cancels.
    pub hash: u64,
    /// 0: it cancels others; 1: a message that waits.
    pub(super) kind: u8,
    /// Position of the record in the log.
    pub at: u64,
}

/// What is known of it without looking at its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// When it is delivered, in milliseconds since 1970.
    pub due: i64,
    /// When it was filed.
    pub filed: i64,
    /// Bytes of its record.
    pub bytes: u32,
    /// The topic of a message that waits; `TIMER_DEL_UNIQKEY` of one that cancels others.
    pub name: Box<str>,
}

impl RowKey {
    /// Behind every other.
    pub const LAST: Self = Self {
        slot: u64::MAX,
        hash: u64::MAX,
        kind: u8::MAX,
        at: u64::MAX,
    };

    /// The first a slot could have.
    pub fn first_of(slot: u64) -> Self {
        Self {
            slot,
            hash: 0,
            kind: 0,
            at: 0,
        }
    }

    /// Behind this one and before every other that is behind it.
    pub fn next(&self) -> Self {
        // Positions stay far below the last number.
        let at = self.at + 1;
        Self { at, ..*self }
    }

    /// Whether it cancels others.
    pub fn is_marker(&self) -> bool {
        self.kind == 0
    }

    /// Rows of the same slot and unique key.
    pub fn group(&self) -> (u64, u64) {
        (self.slot, self.hash)
    }

    /// The first and the last that its group could have.
    pub fn bounds(&self) -> (Self, Self) {
        let (kind, at) = (u8::MAX, u64::MAX);
        let first = Self {
            kind: 0,
            at: 0,
            ..*self
        };
        (first, Self { kind, at, ..*self })
    }

    /// What brings its row to the disk, or takes it away.
    pub fn change(&self, row: Option<&Row>) -> Change {
        Change {
            family: Family::Timers,
            key: self.encode(),
            value: row.map(Row::encode),
        }
    }

    /// The bytes of the key.
    pub fn encode(&self) -> Box<[u8]> {
        let [slot, hash, at] = [self.slot, self.hash, self.at].map(u64::to_be_bytes);
        [&slot[..], &hash, &[self.kind], &at].concat().into()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let key = Self {
            slot: number(0)?,
            hash: number(8)?,
            kind: *bytes.get(16)?,
            at: number(17)?,
        };
        (bytes.len() == KEY_BYTES).then_some(key)
    }
}

impl Row {
    /// The bytes of the value.
    pub fn encode(&self) -> Box<[u8]> {
        let [due, filed] = [self.due, self.filed].map(i64::to_be_bytes);
        let bytes = self.bytes.to_be_bytes();
        [&due[..], &filed, &bytes, self.name.as_bytes()]
            .concat()
            .into()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (due, rest) = bytes.split_first_chunk()?;
        let (filed, rest) = rest.split_first_chunk()?;
        let (size, name) = rest.split_first_chunk()?;
        Some(Self {
            due: i64::from_be_bytes(*due),
            filed: i64::from_be_bytes(*filed),
            bytes: u32::from_be_bytes(*size),
            name: std::str::from_utf8(name).ok()?.into(),
        })
    }
}

/// What the properties of a record in the timer topic say. Everybody may send to that topic, so they may say anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filed<'a> {
    /// Its row.
    pub key: RowKey,
    /// `REAL_TOPIC`.
    pub topic: &'a str,
    /// `REAL_QID`.
    pub queue_id: u32,
    /// `UNIQ_KEY`.
    pub unique_key: &'a str,
    /// `TIMER_DEL_UNIQKEY`.
    pub cancels: Option<&'a str>,
    /// `TIMER_ROLL_TIMES`: it was appended again so often.
    pub rolled: u32,
    /// Earliest time its sender wants, as far as the record tells.
    asked: Option<i64>,
}

impl<'a> Filed<'a> {
    /// `None` for a record that is no timer.
    pub fn of(record: &RecordView<'a>) -> Option<Self> {
        let text = std::str::from_utf8(record.properties).ok()?;
        let [slot, topic, queue_id, unique_key, cancels, rolled] = get_each(
            text,
            [
                names::TIMER_OUT_MS,
                names::REAL_TOPIC,
                names::REAL_QUEUE_ID,
                names::UNIQUE_KEY,
                names::TIMER_DEL_UNIQKEY,
                names::TIMER_ROLL_TIMES,
            ],
        );
        let [seconds, millis, deliver] = get_each(
            text,
            [
                names::TIMER_DELAY_SEC,
                names::TIMER_DELAY_MS,
                names::TIMER_DELIVER_MS,
            ],
        );
        let after = |delay: i64| record.store_timestamp.saturating_add(delay);
        let number = |text: &str| text.parse::<i64>().ok();
        let asked = match (seconds, millis) {
            (Some(seconds), _) => number(seconds).map(|s| after(s.saturating_mul(1_000))),
            (None, Some(millis)) => number(millis).map(after),
            (None, None) => deliver.and_then(number),
        };
        let slot = slot?.parse().ok().filter(|slot| *slot <= LAST_SLOT)?;
        let queue_id = i32::from_str(queue_id?).ok()?;
        // Where clients may not send, they may not have anything delivered either; nor round in circles.
        let topic =
            topic.filter(|topic| *topic != TIMER_TOPIC && !is_not_allowed_to_send(topic))?;
        validate_topic(topic).ok()?;
        let unique_key = unique_key.unwrap_or_default();
        let at = u64::try_from(record.physical_offset).ok()?;
        Some(Self {
            key: RowKey {
                slot,
                hash: hash(cancels.unwrap_or(unique_key)),
                kind: u8::from(cancels.is_none()),
                at,
            },
            topic,
            queue_id: u32::try_from(queue_id).ok()?,
            unique_key,
            cancels,
            rolled: rolled.and_then(|times| times.parse().ok()).unwrap_or(0),
            asked,
        })
    }

    /// Its row, filed at `filed`. A slot is over after `precision_ms`; where that may have been more when the message was
    /// taken (`old`), what it asked for counts too, so that nothing is ever early.
    pub fn row(&self, record: &RecordView<'_>, filed: i64, precision_ms: i64, old: bool) -> Row {
        let slot = i64::try_from(self.key.slot).unwrap_or(i64::MAX);
        let latest = slot.saturating_add(WIDEST_SLOT_MS);
        let asked = self.asked.filter(|_| old).unwrap_or(slot).min(latest);
        Row {
            due: slot.saturating_add(precision_ms).max(asked),
            filed,
            bytes: record.total_size,
            name: self.cancels.unwrap_or(self.topic).into(),
        }
    }

    /// Whether a message that carries `cancels` calls this one back.
    pub fn is_cancelled_by(&self, cancels: &str, topic_in_key: bool) -> bool {
        if topic_in_key {
            cancels.strip_prefix(self.topic) == Some(&format!("+{}", self.unique_key))
        } else {
            cancels == self.unique_key
        }
    }
}

/// FNV-1a of what stands behind the last `+`: the same with a topic in front and without.
pub fn hash(key: &str) -> u64 {
    let key = key.rsplit('+').next().unwrap_or_default();
    key.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use common::message::RecordParts;
    use common::message::record::encode;
    use std::net::{Ipv4Addr, SocketAddr};

    /// A record of the timer topic.
    pub fn record(properties: &[(&str, &str)]) -> Vec<u8> {
        let mut text = String::new();
        for (name, value) in properties {
            names::write(&mut text, name, value);
        }
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let parts = RecordParts {
            topic: common::names::TIMER_TOPIC,
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 1,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"x",
            properties: &text,
        };
        let mut bytes = Vec::new();
        encode(&parts, &mut bytes).unwrap();
        bytes
    }

    const TIMER: [(&str, &str); 4] = [
        ("UNIQ_KEY", "K"),
        ("REAL_TOPIC", "t"),
        ("REAL_QID", "3"),
        ("TIMER_OUT_MS", "5000"),
    ];

    #[test]
    fn keys_are_ordered_by_slot_then_key_with_those_that_cancel_first() {
        let key = |slot, hash, kind, at| RowKey {
            slot,
            hash,
            kind,
            at,
        };
        let keys = [
            key(1, 9, 1, 9),
            key(2, 1, 0, 9),
            key(2, 1, 1, 1),
            key(2, 1, 1, 256),
            key(2, 2, 0, 0),
            key(256, 0, 0, 0),
        ];
        assert!(keys.is_sorted());
        assert!(keys.map(|key| key.encode()).is_sorted());
        for key in keys {
            assert_eq!(RowKey::decode(&key.encode()), Some(key));
            let (first, last) = key.bounds();
            assert!(first <= key && key < last && first.group() == last.group());
        }
        assert_eq!(RowKey::decode(&[0; KEY_BYTES - 1]), None);
        assert_eq!(RowKey::decode(&[0; KEY_BYTES + 1]), None);
    }

    #[test]
    fn a_record_and_what_cancels_it_stand_together() {
        let timer = record(&TIMER);
        let view = RecordView::parse(&timer).unwrap();
        let filed = Filed::of(&view).unwrap();
        assert_eq!((filed.topic, filed.queue_id, filed.rolled), ("t", 3, 0));
        let row = filed.row(&view, 7, 1_000, false);
        assert_eq!((row.due, row.filed, &*row.name), (6_000, 7, "t"));
        assert_eq!(Row::decode(&row.encode()), Some(row));
        for (cancels, plain, with_topic) in [
            ("K", true, false),
            ("t+K", false, true),
            ("u+K", false, false),
        ] {
            let marker = record(&[&TIMER[..], &[("TIMER_DEL_UNIQKEY", cancels)]].concat());
            let marker = Filed::of(&RecordView::parse(&marker).unwrap()).unwrap().key;
            assert!(marker.is_marker() && marker.group() == filed.key.group());
            assert_eq!(filed.is_cancelled_by(cancels, false), plain);
            assert_eq!(filed.is_cancelled_by(cancels, true), with_topic);
        }
    }

    #[test]
    fn what_was_taken_with_wider_slots_is_not_early() {
        let check = |name, value, old, due| {
            let bytes = record(&[&TIMER[..], &[(name, value)]].concat());
            let view = RecordView::parse(&bytes).unwrap();
            assert_eq!(Filed::of(&view).unwrap().row(&view, 0, 10, old).due, due);
        };
        check("TIMER_DELIVER_MS", "5700", false, 5_010);
        check("TIMER_DELIVER_MS", "5700", true, 5_700);
        check("TIMER_DELIVER_MS", "99999", true, 6_000);
        check("TIMER_DELAY_MS", "5600", true, 5_600);
        check("TIMER_DELAY_SEC", "9223372036854775807", true, 6_000);
    }

    #[test]
    fn what_is_no_timer_has_no_row() {
        for without in 1..TIMER.len() {
            let mut properties = TIMER.to_vec();
            properties.remove(without);
            let bytes = record(&properties);
            assert_eq!(Filed::of(&RecordView::parse(&bytes).unwrap()), None);
        }
        let long = "x".repeat(128);
        for (at, value) in [
            (1, ""),
            (1, "../../t"),
            (1, &*long),
            (1, "rmq_sys_wheel_timer"),
            (1, "rmq_sys_DELIVERY_NOTE"),
            (1, "RMQ_SYS_TRANS_OP_HALF_TOPIC"),
            (2, "-1"),
            (2, "2147483648"),
            (3, ""),
            (3, "-1"),
            (3, "soon"),
            (3, "9223372036854775807"),
            (3, "99999999999999999999"),
        ] {
            let mut properties = TIMER;
            properties[at].1 = value;
            let bytes = record(&properties);
            assert_eq!(Filed::of(&RecordView::parse(&bytes).unwrap()), None);
        }
    }
}
