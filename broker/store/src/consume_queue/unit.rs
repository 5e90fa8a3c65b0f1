//! The 20-byte unit: `physicalOffset(8) size(4) tagsCode(8)`, big-endian.

/// Bytes of a unit.
pub(crate) const UNIT_BYTES: usize = 20;
const _: () = assert!(UNIT_BYTES == 8 + 4 + 8);
/// Position of the tags code.
pub(crate) const TAGS_CODE_AT: usize = 12;

/// Size in units that stand where a queue has no message: it began later.
const BLANK_SIZE: u32 = 0x7FFF_FFFF;

/// Where a message is, and the hash of its tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Position of the record in the log.
    pub physical_offset: u64,
    /// Bytes of the record.
    pub bytes: u32,
    /// Hash of its tags; 0 without any.
    pub tags_code: i64,
}

impl Unit {
    /// Stands before the first message of a queue that did not begin at 0.
    pub(crate) const BLANK: Self = Self {
        physical_offset: 0,
        bytes: BLANK_SIZE,
        tags_code: 0,
    };

    pub(crate) fn encode(&self) -> [u8; UNIT_BYTES] {
        let mut unit = [0; UNIT_BYTES];
        unit[..8].copy_from_slice(&self.physical_offset.to_be_bytes());
        unit[8..12].copy_from_slice(&self.bytes.to_be_bytes());
        unit[TAGS_CODE_AT..].copy_from_slice(&self.tags_code.to_be_bytes());
        unit
    }

    /// `None` for what is no unit: zeros, or a negative offset or size.
    pub(crate) fn decode(unit: &[u8; UNIT_BYTES]) -> Option<Self> {
        let (offset, rest) = unit.split_first_chunk::<8>()?;
        let (bytes, tags) = rest.split_first_chunk::<4>()?;
        let physical_offset = u64::from_be_bytes(*offset);
        let bytes = u32::from_be_bytes(*bytes);
        let tags_code = i64::from_be_bytes(*tags.first_chunk()?);
        let valid = i64::try_from(physical_offset).is_ok() && bytes > 0 && bytes <= BLANK_SIZE;
        valid.then_some(Self {
            physical_offset,
            bytes,
            tags_code,
        })
    }

    /// Stands before the first message of a queue that did not begin at 0.
    pub fn is_blank(&self) -> bool {
        self.bytes == BLANK_SIZE
    }

    /// Offset behind the record.
    pub fn end(&self) -> u64 {
        self.physical_offset + u64::from(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_unit() {
        let unit = Unit {
            physical_offset: 0x0102_0304,
            bytes: 1152,
            tags_code: -65,
        };
        let bytes = [
            0, 0, 0, 0, 1, 2, 3, 4, // position
            0, 0, 4, 0x80, // size
            0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBF, // tags code
        ];
        assert_eq!(unit.encode(), bytes);
        assert_eq!(Unit::decode(&unit.encode()), Some(unit));
    }

    #[test]
    fn zeros_and_negative_numbers_are_no_units() {
        assert_eq!(Unit::decode(&[0; UNIT_BYTES]), None);
        assert_eq!(Unit::decode(&[0xFF; UNIT_BYTES]), None);
        assert!(Unit::decode(&Unit::BLANK.encode()).is_some_and(|unit| unit.is_blank()));
    }
}
