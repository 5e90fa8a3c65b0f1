//! Base 64.

/// Digits as mails have them.
pub const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Digits for addresses and names.
pub const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// `bytes` with these digits, padded.
pub fn encode(bytes: &[u8], digits: &[u8; 64]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | usize::from(*chunk.get(at).unwrap_or(&0))
        });
        for digit in 0..4 {
            out.push(if digit <= chunk.len() {
                char::from(digits[bits >> (18 - 6 * digit) & 63])
            } else {
                '='
            });
        }
    }
    out
}

/// The bytes that `text` stands for, padded or not; `None` when it is no base 64 of these digits.
pub fn decode(text: &str, known_digits: &[u8; 64]) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    for chunk in digits.chunks(4) {
        let mut bits = 0_u32;
        for at in 0..4 {
            let value = match chunk.get(at) {
                Some(digit) => known_digits.iter().position(|known| known == digit)?,
                None => 0,
            };
            bits = bits << 6 | u32::try_from(value).ok()?;
        }
        // A single digit is less than a byte.
        let whole = chunk.len().checked_sub(1).filter(|bytes| *bytes > 0)?;
        out.extend_from_slice(bits.to_be_bytes().get(1..=whole)?);
    }
    Some(out)
}
