//! Messages: their record in the log, their properties, ids and batches. No I/O.

pub mod base64;
pub mod batch;
#[cfg(feature = "compression")]
pub mod compression;
pub mod message_id;
pub mod properties;
pub mod property_crc;
pub mod recall_handle;
pub mod record;
pub mod sys_flag;

#[cfg(feature = "compression")]
pub use compression::{CompressionError, CompressionType, MAX_DECOMPRESSED_BYTES, decompress};
pub use recall_handle::RecallHandle;
pub use record::{RecordError, RecordFormatError, RecordParts, RecordView};

/// Java's `String.hashCode`: over UTF-16 units, wrapping.
pub fn java_hash(text: &str) -> i32 {
    java_hash_append(0, text)
}

/// [`java_hash`] of a text that begins with something of hash `hash` and goes on with `more`.
pub fn java_hash_append(hash: i32, more: &str) -> i32 {
    /// Powers of 31, falling: several units are added at once, for one by one each waits for the last.
    const POWERS: [i32; 8] = {
        let mut powers = [1_i32; 8];
        let mut at = 7;
        while at > 0 {
            powers[at - 1] = powers[at].wrapping_mul(31);
            at -= 1;
        }
        powers
    };
    let step = |hash: i32, unit: u16| hash.wrapping_mul(31).wrapping_add(i32::from(unit));
    if !more.is_ascii() {
        return more.encode_utf16().fold(hash, step);
    }
    let (chunks, rest) = more.as_bytes().as_chunks::<8>();
    let hash = chunks.iter().fold(hash, |hash, chunk| {
        let parts = chunk.iter().zip(POWERS);
        let sum = parts.fold(0_i32, |sum, (byte, power)| {
            sum.wrapping_add(i32::from(*byte).wrapping_mul(power))
        });
        hash.wrapping_mul(POWERS[0].wrapping_mul(31))
            .wrapping_add(sum)
    });
    rest.iter()
        .fold(hash, |hash, byte| step(hash, u16::from(*byte)))
}

/// What a consume queue keeps of the tags: the hash of the whole text, 0 without any.
pub fn tags_code(tags: &str) -> i64 {
    i64::from(java_hash(tags))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn hash_can_be_continued(start in "[a-zß]{0,20}", more in "[a-z🚀]{0,40}") {
            let whole = format!("{start}{more}");
            let plain = whole.encode_utf16().fold(0_i32, |hash, unit| {
                hash.wrapping_mul(31).wrapping_add(i32::from(unit))
            });
            prop_assert_eq!(java_hash(&whole), plain);
            prop_assert_eq!(java_hash_append(java_hash(&start), &more), plain);
        }
    }

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
