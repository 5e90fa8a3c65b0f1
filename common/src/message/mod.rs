//! Messages: their record in the log, their properties, ids and batches. No I/O.

pub mod batch;
pub mod compression;
mod decoded;
pub mod message_id;
pub mod properties;
pub mod property_crc;
pub mod record;
pub mod sys_flag;

pub use compression::{CompressionError, compress, decompress};
pub use decoded::{DecodeError, MAX_DECOMPRESSED_BYTES, Message, decode_all};
pub use record::{RecordError, RecordFormatError, RecordParts, RecordView};

/// Java's `String.hashCode`: over UTF-16 units, wrapping.
pub fn java_hash(text: &str) -> i32 {
    let step = |hash: i32, unit: u16| hash.wrapping_mul(31).wrapping_add(i32::from(unit));
    if text.is_ascii() {
        text.bytes()
            .fold(0, |hash, byte| step(hash, u16::from(byte)))
    } else {
        text.encode_utf16().fold(0, step)
    }
}

/// What a consume queue keeps of the tags: the hash of the whole text, 0 without any.
pub fn tags_code(tags: &str) -> i64 {
    i64::from(java_hash(tags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_javas() {
        let check = |text, expected| assert_eq!(java_hash(text), expected, "{text}");
        check("", 0);
        check("a", 97);
        check("TagA", 2_598_919);
        check("polygenelubricants", i32::MIN);
        check("ä", 228);
        // One character, two UTF-16 units: 0xD83D * 31 + 0xDE80.
        check("🚀", 0xD83D * 31 + 0xDE80);
        assert_eq!(tags_code("polygenelubricants"), i64::from(i32::MIN));
    }
}
