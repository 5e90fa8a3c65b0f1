//! Units: 20 bytes, `physicalOffset(8) size(4) tagsCode(8)`, or in topics for whole batches 46,
//! `physicalOffset(8) size(4) tagsCode(8) storeTimestamp(8) baseOffset(8) messages(2)
//! compactedOffset(4) reserved(4)`; all big-endian.

use bytes::{Buf as _, BufMut as _};
use common::message::batch::{self, MAX_INNER_MESSAGES};
use common::message::record::RecordView;

/// Bytes of a plain unit.
pub(crate) const UNIT_BYTES: usize = 20;
const _: () = assert!(UNIT_BYTES == 8 + 4 + 8);
/// Bytes of a unit that can stand for many messages.
pub(crate) const BATCH_UNIT_BYTES: usize = 46;
const _: () = assert!(BATCH_UNIT_BYTES == UNIT_BYTES + 8 + 8 + 2 + 4 + 4);
/// Position of the tags code.
pub(crate) const TAGS_CODE_AT: usize = 12;

/// Size in units that stand where a queue has no message: it began later.
const BLANK_SIZE: u32 = 0x7FFF_FFFF;
/// Ends a unit of a batch: it was not compacted, and nothing is reserved.
const BATCH_UNIT_END: [u8; 8] = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];

/// What the units of a queue are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueueKind {
    /// The nth unit is the nth message.
    Simple,
    /// A unit stands for one message or a whole batch, and names the offset of the first.
    Batch,
}

/// Where a message, or a batch stored as one record, is; and the hash of its tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Position of the record in the log.
    pub physical_offset: u64,
    /// Bytes of the record.
    pub bytes: u32,
    /// Hash of its tags; 0 without any.
    pub tags_code: i64,
    /// Offset of its first message.
    pub base: u64,
    /// Number of its messages.
    pub messages: u32,
    /// In milliseconds since 1970; 0 where units do not say it.
    pub store_timestamp: i64,
}

impl QueueKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Simple, Self::Batch];

    /// Bytes of a unit.
    pub const fn unit_bytes(self) -> usize {
        match self {
            Self::Simple => UNIT_BYTES,
            Self::Batch => BATCH_UNIT_BYTES,
        }
    }

    /// Directory of the queues, below that of the store.
    pub const fn directory(self) -> &'static str {
        match self {
            Self::Simple => "consumequeue",
            Self::Batch => "batchconsumequeue",
        }
    }

    /// Messages of a record with these properties.
    pub(crate) fn messages(self, sys_flag: i32, properties: &[u8]) -> u32 {
        match self {
            Self::Simple => 1,
            Self::Batch => batch::inner_messages(sys_flag, properties),
        }
    }

    /// Adds a unit to `out`.
    pub(crate) fn encode(self, unit: &Unit, out: &mut Vec<u8>) {
        let mut plain = [0; UNIT_BYTES];
        let mut fields = &mut plain[..];
        fields.put_u64(unit.physical_offset);
        fields.put_u32(unit.bytes);
        fields.put_i64(unit.tags_code);
        out.extend_from_slice(&plain);
        if self == Self::Batch {
            out.put_i64(unit.store_timestamp);
            out.put_u64(unit.base);
            out.put_u16(u16::try_from(unit.messages).unwrap_or(u16::MAX));
            out.extend_from_slice(&BATCH_UNIT_END);
        }
    }

    /// The `index`th unit of a queue, as it stands in `raw`. `None` for what is no unit: zeros, or a
    /// negative number.
    pub(crate) fn decode(self, raw: &[u8], index: u64) -> Option<Unit> {
        let mut fields = raw.get(..self.unit_bytes())?;
        let mut unit = Unit {
            physical_offset: fields.get_u64(),
            bytes: fields.get_u32(),
            tags_code: fields.get_i64(),
            base: index,
            messages: 1,
            store_timestamp: 0,
        };
        if self == Self::Batch {
            unit.store_timestamp = fields.get_i64();
            unit.base = fields.get_u64();
            unit.messages = fields.get_u16().into();
        }
        let valid = unit.physical_offset.max(unit.base) <= i64::MAX.unsigned_abs()
            && (1..=BLANK_SIZE).contains(&unit.bytes)
            && (1..=MAX_INNER_MESSAGES).contains(&unit.messages);
        valid.then_some(unit)
    }

    /// The units that stand in `raw`, which begins with the `index`th.
    pub(crate) fn units(
        self,
        raw: &[u8],
        index: u64,
    ) -> impl DoubleEndedIterator<Item = Option<Unit>> {
        let chunks = raw.chunks_exact(self.unit_bytes()).enumerate();
        chunks.map(move |(at, raw)| self.decode(raw, index + at as u64))
    }
}

impl Unit {
    /// Stands before the first message of a plain queue that did not begin at 0.
    pub(crate) const BLANK: Self = Self {
        physical_offset: 0,
        bytes: BLANK_SIZE,
        tags_code: 0,
        base: 0,
        messages: 1,
        store_timestamp: 0,
    };

    /// The unit of a record at `at` in a queue of this kind; its tags code is left to the caller.
    pub(crate) fn of(kind: QueueKind, at: u64, record: &RecordView<'_>, base: u64) -> Self {
        Self {
            physical_offset: at,
            bytes: record.total_size,
            tags_code: 0,
            base,
            messages: kind.messages(record.sys_flag, record.properties),
            store_timestamp: record.store_timestamp,
        }
    }

    /// The same record as one message, `base`, of another queue.
    pub(crate) fn as_message(self, base: u64) -> Self {
        Self {
            base,
            messages: 1,
            ..self
        }
    }

    /// Stands before the first message of a queue that did not begin at 0.
    pub fn is_blank(&self) -> bool {
        self.bytes == BLANK_SIZE
    }

    /// Offset behind the record.
    pub fn end(&self) -> u64 {
        self.physical_offset + u64::from(self.bytes)
    }

    /// Offset of the message behind its last one.
    pub fn next(&self) -> u64 {
        self.base + u64::from(self.messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_units() {
        let unit = Unit {
            physical_offset: 0x0102_0304,
            bytes: 1152,
            tags_code: -65,
            base: 7,
            messages: 1,
            store_timestamp: 0,
        };
        let mut bytes = vec![
            0, 0, 0, 0, 1, 2, 3, 4, // position
            0, 0, 4, 0x80, // size
            0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBF, // tags code
        ];
        let check = |kind: QueueKind, unit: Unit, expected: &[u8]| {
            let mut encoded = Vec::new();
            kind.encode(&unit, &mut encoded);
            assert_eq!(encoded, expected);
            assert_eq!(kind.decode(&encoded, 7), Some(unit));
        };
        check(QueueKind::Simple, unit, &bytes);
        bytes.extend_from_slice(&[
            0, 0, 1, 0x9A, 0xBC, 0xDE, 0xF0, 0x12, // store time
            0, 0, 0, 0, 0, 0, 0x03, 0xE8, // offset of the first message
            0, 10, // messages
            0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, // not compacted, reserved
        ]);
        let batch = Unit {
            base: 1000,
            messages: 10,
            store_timestamp: 0x019A_BCDE_F012,
            ..unit
        };
        check(QueueKind::Batch, batch, &bytes);
        assert_eq!((batch.next(), batch.end()), (1010, 0x0102_0304 + 1152));
    }

    #[test]
    fn zeros_and_negative_numbers_are_no_units() {
        let mut blank = Vec::new();
        QueueKind::Simple.encode(&Unit::BLANK, &mut blank);
        assert!(
            QueueKind::Simple
                .decode(&blank, 0)
                .is_some_and(|unit| unit.is_blank())
        );
        for kind in QueueKind::ALL {
            for byte in [0, 0xFF] {
                assert_eq!(kind.decode(&vec![byte; kind.unit_bytes()], 0), None);
            }
        }
        let good = Unit {
            physical_offset: 1,
            bytes: 100,
            store_timestamp: 5,
            ..Unit::BLANK
        };
        let none = Unit {
            messages: 0,
            ..good
        };
        let many = Unit {
            messages: 0x8000,
            ..good
        };
        let negative = Unit {
            base: 1 << 63,
            ..good
        };
        for (unit, valid) in [
            (good, true),
            (none, false),
            (many, false),
            (negative, false),
        ] {
            let mut raw = Vec::new();
            QueueKind::Batch.encode(&unit, &mut raw);
            assert_eq!(
                QueueKind::Batch.decode(&raw, 0).is_some(),
                valid,
                "{unit:?}"
            );
        }
    }
}
