//! The bytes of an index file: header, slots, entries. All numbers are big-endian.
//!
//! ```text
//! 0   begin timestamp · end timestamp · begin offset · end offset   i64 each
//! 32  slots in use · number of the next entry                       i32 each
//! 40  slots: number of the newest entry, 0 without any              i32 each
//!     entries: hash i32 · offset i64 · seconds i32 · previous i32, from number 0, which is not used
//! ```

use bytes::{Buf as _, BufMut as _};

pub(crate) const HEADER_BYTES: usize = 40;
const SLOT_BYTES: u64 = 4;
pub(crate) const ENTRY_BYTES: usize = 20;

/// Numbers of slots and entries of every file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// At least 1.
    pub(crate) slots: u32,
    /// The unused entry 0 included.
    pub(crate) entries: u32,
}

impl Shape {
    pub(crate) fn file_bytes(self) -> u64 {
        self.entry_at(self.entries)
    }

    pub(crate) fn slot_of(self, hash: i32) -> u32 {
        u32::try_from(hash).unwrap_or(0) % self.slots
    }

    pub(crate) fn slot_at(slot: u32) -> u64 {
        HEADER_BYTES as u64 + u64::from(slot) * SLOT_BYTES
    }

    pub(crate) fn entry_at(self, number: u32) -> u64 {
        Self::slot_at(self.slots) + u64::from(number) * ENTRY_BYTES as u64
    }
}

/// The start of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Store time of the first record, in milliseconds; before that of the newest record of the previous file.
    pub(crate) begin_timestamp: i64,
    /// Store time of the newest record.
    pub(crate) end_timestamp: i64,
    /// Position of the first record in the log.
    pub(crate) begin_offset: u64,
    /// Position of the newest.
    pub(crate) end_offset: u64,
    /// Slots that are not 0.
    pub(crate) used_slots: u32,
    /// Number of the next entry; the first is 1.
    pub(crate) next: u32,
}

/// A key on its way into a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) hash: i32,
    /// Position of the record that carries it.
    pub(super) offset: u64,
    pub(super) store_timestamp: i64,
}

/// A key in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) hash: i32,
    pub(crate) offset: u64,
    /// Since the file's begin timestamp.
    pub(crate) seconds: i32,
    /// The next older entry of the slot, 0 if there is none.
    pub(crate) previous: u32,
}

impl Header {
    /// Of the first file of all.
    pub(super) const EMPTY: Self = Self {
        begin_timestamp: 0,
        end_timestamp: 0,
        begin_offset: 0,
        end_offset: 0,
        used_slots: 0,
        next: 1,
    };

    /// Of the file behind a full one.
    pub(super) fn after(full: &Self) -> Self {
        Self {
            begin_timestamp: full.end_timestamp,
            end_timestamp: full.end_timestamp,
            begin_offset: full.end_offset,
            end_offset: full.end_offset,
            ..Self::EMPTY
        }
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut fields = &mut bytes[..];
        fields.put_i64(self.begin_timestamp);
        fields.put_i64(self.end_timestamp);
        fields.put_u64(self.begin_offset);
        fields.put_u64(self.end_offset);
        fields.put_u32(self.used_slots);
        fields.put_u32(self.next);
        bytes
    }

    /// An entry count of 0 is that of a file nothing was written to yet.
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Self {
        let mut fields = &bytes[..];
        Self {
            begin_timestamp: fields.get_i64(),
            end_timestamp: fields.get_i64(),
            begin_offset: fields.get_u64(),
            end_offset: fields.get_u64(),
            used_slots: fields.get_u32(),
            next: fields.get_u32().max(1),
        }
    }

    /// Whether it can be the header of a file of `shape` with entries, all of them of records below `log_end`.
    pub(super) fn is_plausible(&self, shape: Shape, log_end: u64) -> bool {
        self.next > 1
            && self.next <= shape.entries
            && (1..self.next).contains(&self.used_slots)
            && self.used_slots <= shape.slots
            && self.begin_offset <= self.end_offset
            && self.end_offset < log_end
    }

    pub(super) fn is_full(&self, shape: Shape) -> bool {
        self.next >= shape.entries
    }

    /// The next entry, but for what it follows in its slot.
    pub(super) fn add(&mut self, key: &Key) -> Entry {
        let seconds = match key.store_timestamp.saturating_sub(self.begin_timestamp) / 1000 {
            _ if self.begin_timestamp <= 0 => 0,
            seconds => i32::try_from(seconds.max(0)).unwrap_or(i32::MAX),
        };
        if self.next == 1 {
            (self.begin_offset, self.begin_timestamp) = (key.offset, key.store_timestamp);
        }
        self.next += 1;
        (self.end_offset, self.end_timestamp) = (key.offset, key.store_timestamp);
        Entry {
            hash: key.hash,
            offset: key.offset,
            seconds,
            previous: 0,
        }
    }

    /// Earliest store time entry `number` can have; it is less than a second later. The first entry counts its seconds
    /// from the file before.
    pub(super) fn time_of(&self, number: u32, entry: &Entry) -> i64 {
        let seconds = if number == 1 { 0 } else { entry.seconds };
        self.begin_timestamp
            .saturating_add(i64::from(seconds) * 1000)
    }
}

impl Entry {
    pub(super) fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let mut fields = &mut bytes[..];
        fields.put_i32(self.hash);
        fields.put_u64(self.offset);
        fields.put_i32(self.seconds);
        fields.put_u32(self.previous);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let mut fields = &bytes[..];
        Self {
            hash: fields.get_i32(),
            offset: fields.get_u64(),
            seconds: fields.get_i32(),
            previous: fields.get_u32(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_the_references() {
        let shape = Shape {
            slots: 5_000_000,
            entries: 20_000_000,
        };
        assert_eq!(shape.file_bytes(), 420_000_040);
        assert_eq!((Shape::slot_at(0), shape.entry_at(0)), (40, 20_000_040));
        assert_eq!((Shape::slot_at(3), shape.entry_at(2)), (52, 20_000_080));
        assert_eq!(shape.slot_of(5_000_007), 7);
    }

    #[test]
    fn header_has_the_documented_bytes() {
        let header = Header {
            begin_timestamp: 0x0102,
            end_timestamp: 0x0304,
            begin_offset: 0x0506,
            end_offset: 0x0708,
            used_slots: 0x090A,
            next: 0x0B0C,
        };
        let bytes = header.encode();
        let expected = [
            0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0, 5, 6, 0, 0, 0, 0, 0,
            0, 7, 8, 0, 0, 9, 10, 0, 0, 11, 12,
        ];
        assert_eq!(bytes, expected);
        assert_eq!(Header::decode(&bytes), header);
        assert_eq!(Header::decode(&[0; HEADER_BYTES]), Header::EMPTY);
    }

    #[test]
    fn entry_has_the_documented_bytes() {
        let entry = Entry {
            hash: 0x0102_0304,
            offset: 0x0506,
            seconds: 7,
            previous: 8,
        };
        let bytes = entry.encode();
        let expected = [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 5, 6, 0, 0, 0, 7, 0, 0, 0, 8];
        assert_eq!(bytes, expected);
        assert_eq!(Entry::decode(&bytes), entry);
    }

    fn key(offset: u64, store_timestamp: i64) -> Key {
        Key {
            hash: 1,
            offset,
            store_timestamp,
        }
    }

    #[test]
    fn seconds_count_from_the_first_entry_and_are_clamped() {
        let mut header = Header::EMPTY;
        assert_eq!(header.add(&key(5, 10_000)).seconds, 0);
        assert_eq!(header.add(&key(6, 12_999)).seconds, 2);
        assert_eq!(header.add(&key(7, 9_000)).seconds, 0);
        assert_eq!(header.add(&key(8, i64::MAX)).seconds, i32::MAX);
        assert_eq!(header.next, 5);
        assert_eq!((header.begin_offset, header.begin_timestamp), (5, 10_000));
        assert_eq!((header.end_offset, header.end_timestamp), (8, i64::MAX));
    }

    #[test]
    fn first_entry_of_a_further_file_counts_from_the_previous_one() {
        let mut header = Header::EMPTY;
        header.add(&key(5, 10_000));
        let mut header = Header::after(&header);
        assert_eq!((header.begin_offset, header.end_timestamp), (5, 10_000));
        let entry = header.add(&key(9, 14_000));
        assert_eq!(entry.seconds, 4);
        assert_eq!(header.begin_timestamp, 14_000);
        assert_eq!(header.time_of(1, &entry), 14_000);
        assert_eq!(header.time_of(2, &entry), 18_000);
    }

    #[test]
    fn impossible_headers_are_recognised() {
        let shape = Shape {
            slots: 4,
            entries: 10,
        };
        let good = Header {
            used_slots: 3,
            next: 10,
            begin_offset: 7,
            end_offset: 9,
            ..Header::EMPTY
        };
        assert!(good.is_plausible(shape, 10));
        assert!(!good.is_plausible(shape, 9));
        for bad in [
            Header { next: 11, ..good },
            Header { next: 1, ..good },
            Header { next: 3, ..good },
            Header {
                used_slots: 5,
                ..good
            },
            Header {
                used_slots: 0,
                ..good
            },
            Header {
                begin_offset: 10,
                ..good
            },
        ] {
            assert!(!bad.is_plausible(shape, 100), "{bad:?}");
        }
    }
}
