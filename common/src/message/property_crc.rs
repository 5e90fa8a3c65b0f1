//! The checksum over a whole record that can end its properties.
//!
//! The last 20 bytes of such a record are one more property: `__CRC32#`, 0x01, ten decimal digits with the
//! least significant one first, 0x02. It covers everything before it: head, body, topic, properties.

use super::properties;
use super::record::body_crc;

/// Bytes of the property that holds the checksum.
pub const PROPERTY_BYTES: usize = NAME.len() + DIGITS + 1;

const NAME: &[u8] = b"__CRC32#\x01";
const DIGITS: usize = 10;
const END: u8 = 2;
const _: () = assert!(PROPERTY_BYTES == 20);

/// The properties with room for the checksum at their end, and with no other one.
#[must_use]
pub fn with_room(text: &str) -> String {
    properties::with(text, properties::CRC32, "0000000000")
}

/// Fills in the checksum of a record that has room for it and needs no other change.
pub fn seal(record: &mut [u8]) {
    let Some(at) = record.len().checked_sub(PROPERTY_BYTES) else {
        return;
    };
    let (covered, property) = record.split_at_mut(at);
    property.copy_from_slice(&of(covered));
}

/// The checksum at the end of a record, and what it should be; `None` when there is none.
pub fn said_and_right(record: &[u8]) -> Option<(u32, u32)> {
    let (covered, property) = record.split_last_chunk::<PROPERTY_BYTES>()?;
    let digits = property.strip_prefix(NAME)?.strip_suffix(&[END])?;
    let mut value = 0_u64;
    for digit in digits.iter().rev() {
        value = value * 10 + u64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    Some((u32::try_from(value).ok()?, body_crc(covered)))
}

/// Whether a record has a checksum at its end, and still is what was summed up.
pub fn is_intact(record: &[u8]) -> bool {
    said_and_right(record).is_some_and(|(said, right)| said == right)
}

fn of(covered: &[u8]) -> [u8; PROPERTY_BYTES] {
    let mut crc = body_crc(covered);
    let mut property = [END; PROPERTY_BYTES];
    property[..NAME.len()].copy_from_slice(NAME);
    for digit in &mut property[NAME.len()..][..DIGITS] {
        *digit = b"0123456789"[usize::try_from(crc % 10).unwrap_or(0)];
        crc /= 10;
    }
    property
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::record::RecordView;

    /// A record that Apache RocketMQ 5.5.0 wrote with `enabledAppendPropCRC=true`.
    const GOLDEN: &str = "000000f7daa320a750591658000000010000000000000000000000010000000000000b3200000000000001a1fed6b4f3\
         7f0000010000ceb8000001a1fed6b5b87f00000100003f630000000000000000000000000000000fa507aa5a8a8d6562\
         cda2b3824fc95c066576656e747300874d53475f524547494f4e0144656661756c74526567696f6e02554e49515f4b45\
         590173696e676c652d302d3502434c55535445520144656661756c74436c7573746572026e6f74650172c3ba63756c61\
         20e88a9de9babbe88f9c025741495401747275650254524143455f4f4e0174727565025f5f4352433332230133393030\
         35343538353102";

    fn golden() -> Vec<u8> {
        let digits = GOLDEN.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.map(byte).collect()
    }

    #[test]
    fn record_of_the_reference_is_intact() {
        let record = golden();
        assert!(is_intact(&record));
        let view = RecordView::parse(&record).unwrap();
        assert_eq!(view.property("UNIQ_KEY"), Some("single-0-5"));
        assert_eq!(view.property(properties::CRC32), Some("3900545851"));
    }

    #[test]
    fn sealing_gives_the_bytes_of_the_reference() {
        let mut record = golden();
        let digits = record.len() - 1 - DIGITS..record.len() - 1;
        record[digits].fill(b'0');
        assert!(!is_intact(&record));
        seal(&mut record);
        assert_eq!(record, golden());
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        for at in 0..golden().len() {
            let mut record = golden();
            record[at] ^= 1;
            assert!(!is_intact(&record), "byte {at}");
        }
    }

    #[test]
    fn shorter_than_a_checksum_is_not_intact() {
        for bytes in 0..=PROPERTY_BYTES {
            assert!(!is_intact(&golden()[..bytes]));
        }
        let mut short = [7; 19];
        seal(&mut short);
        assert_eq!(short, [7; 19]);
    }

    #[test]
    fn room_replaces_what_a_client_sent() {
        let text = "__CRC32#\u{1}1234567890\u{2}TAGS\u{1}A";
        assert_eq!(
            with_room(text),
            "TAGS\u{1}A\u{2}__CRC32#\u{1}0000000000\u{2}"
        );
        assert_eq!(with_room("").len(), PROPERTY_BYTES);
    }
}
