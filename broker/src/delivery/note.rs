//! Notes: records in the log only that say what the records behind them deliver.
//!
//! A note's body, all numbers in big endian: version (1 byte), kind (1), the kind's number (4), then 12 bytes for each delivery:
//! its origin (8) and the fingerprint of its message (4), zero where the origin is done without a message.

use common::message::record::RecordView;
use common::message::{properties, sys_flag};
use common::names::DELIVERY_NOTE_TOPIC;
use std::collections::VecDeque;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 6;
const ENTRY_BYTES: usize = 12;
/// No consumer sees a note, here or in a broker of the reference.
pub(super) const SYS_FLAG: i32 = sys_flag::TRANSACTION_ROLLBACK;

/// What is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Messages of this delay level; their origins are offsets in the level's queue.
    Level(u32),
    /// Timed messages; their origins are positions of their records in the timer topic.
    Timer,
    /// Timed messages that are appended to the timer topic again, with the same origins.
    Roll,
}

impl Kind {
    const fn encode(self) -> (u8, u32) {
        match self {
            Self::Level(level) => (1, level),
            Self::Timer => (2, 0),
            Self::Roll => (3, 0),
        }
    }

    const fn decode(code: u8, number: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Level(number)),
            2 => Some(Self::Timer),
            3 => Some(Self::Roll),
            _ => None,
        }
    }
}

/// One delivery of a note: where it comes from, and how its message is recognised if it has one.
pub(super) type Entry = (u64, Option<u32>);

pub(super) fn encode(kind: Kind, entries: &[Entry]) -> Vec<u8> {
    let (code, number) = kind.encode();
    let mut body = Vec::with_capacity(HEAD_BYTES + entries.len() * ENTRY_BYTES);
    body.extend([VERSION, code]);
    body.extend(number.to_be_bytes());
    for (origin, fingerprint) in entries {
        body.extend(origin.to_be_bytes());
        body.extend(fingerprint.unwrap_or(0).to_be_bytes());
    }
    body
}

fn decode(body: &[u8]) -> Option<(Kind, VecDeque<Entry>)> {
    let (head, entries) = body.split_first_chunk::<HEAD_BYTES>()?;
    let [VERSION, code, number @ ..] = *head else {
        return None;
    };
    let kind = Kind::decode(code, u32::from_be_bytes(number))?;
    let (entries, []) = entries.as_chunks::<ENTRY_BYTES>() else {
        return None;
    };
    let entry = |bytes: &[u8; ENTRY_BYTES]| {
        let (origin, fingerprint) = bytes.split_first_chunk::<8>()?;
        let fingerprint = u32::from_be_bytes(*fingerprint.first_chunk()?);
        let fingerprint = (fingerprint != 0).then_some(fingerprint);
        Some((u64::from_be_bytes(*origin), fingerprint))
    };
    Some((kind, entries.iter().filter_map(entry).collect()))
}

/// By this a record is known to be the one a note speaks of: after a crash others follow in the place of those that are lost.
pub(super) fn fingerprint(topic: &[u8], queue_id: u32, body: &[u8], properties: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    let key = properties::get_bytes(properties, properties::UNIQUE_KEY.as_bytes());
    for part in [
        topic,
        &queue_id.to_be_bytes(),
        key.unwrap_or_default(),
        body,
    ] {
        hash.update(part);
    }
    hash.finalize().max(1)
}

/// Follows the log record by record and tells deliveries that are in it.
#[derive(Default)]
pub struct Follower {
    open: Option<(Kind, VecDeque<Entry>)>,
}

impl Follower {
    /// Takes the next record. `delivered` is told each origin that is done now, with its message if it has one.
    pub fn follow(
        &mut self,
        record: &RecordView<'_>,
        mut delivered: impl FnMut(Kind, u64, Option<&RecordView<'_>>),
    ) {
        if let Some((kind, entries)) = &mut self.open {
            match entries.pop_front() {
                Some((origin, expected)) if expected == Some(of(record)) => {
                    delivered(*kind, origin, Some(record));
                }
                _ => self.open = None,
            }
        }
        let is_note = record.topic == DELIVERY_NOTE_TOPIC.as_bytes()
            && record.sys_flag & sys_flag::TRANSACTION_TYPE == SYS_FLAG;
        if is_note {
            self.open = decode(record.body);
        }
        let Some((kind, entries)) = &mut self.open else {
            return;
        };
        while let Some((origin, None)) = entries.front() {
            delivered(*kind, *origin, None);
            entries.pop_front();
        }
        if entries.is_empty() {
            self.open = None;
        }
    }
}

fn of(record: &RecordView<'_>) -> u32 {
    let queue_id = u32::try_from(record.queue_id).unwrap_or(u32::MAX);
    fingerprint(record.topic, queue_id, record.body, record.properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let entries = [(0, Some(7)), (u64::MAX, None), (5, Some(u32::MAX))];
        let body = encode(Kind::Level(18), &entries);
        assert_eq!(decode(&body), Some((Kind::Level(18), entries.into())));
        for kind in [Kind::Timer, Kind::Roll] {
            assert_eq!(
                decode(&encode(kind, &entries)),
                Some((kind, entries.into()))
            );
        }
        let none = encode(Kind::Level(1), &[]);
        assert_eq!(decode(&none), Some((Kind::Level(1), VecDeque::new())));
    }

    #[test]
    fn what_is_no_note_says_nothing() {
        let body = encode(Kind::Level(3), &[(1, None), (2, Some(3))]);
        for cut in 0..body.len() {
            let whole = cut >= HEAD_BYTES && (cut - HEAD_BYTES).is_multiple_of(ENTRY_BYTES);
            assert_eq!(decode(&body[..cut]).is_some(), whole, "{cut}");
        }
        for at in [0, 1] {
            let mut other = body.clone();
            other[at] = 99;
            assert_eq!(decode(&other), None);
        }
    }

    #[test]
    fn fingerprints_tell_messages_apart() {
        let of = |topic: &str, queue, body: &str, properties: &str| {
            fingerprint(
                topic.as_bytes(),
                queue,
                body.as_bytes(),
                properties.as_bytes(),
            )
        };
        let one = of("t", 1, "b", "UNIQ_KEY\u{1}K\u{2}");
        assert_eq!(
            one,
            of("t", 1, "b", "a\u{1}b\u{2}UNIQ_KEY\u{1}K\u{2}x\u{1}y\u{2}")
        );
        for other in [
            of("u", 1, "b", "UNIQ_KEY\u{1}K\u{2}"),
            of("t", 2, "b", "UNIQ_KEY\u{1}K\u{2}"),
            of("t", 1, "c", "UNIQ_KEY\u{1}K\u{2}"),
            of("t", 1, "b", "UNIQ_KEY\u{1}L\u{2}"),
        ] {
            assert_ne!(one, other);
        }
    }
}
