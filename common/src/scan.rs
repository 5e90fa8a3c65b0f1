//! Looking for bytes.

/// Position of the first byte that is one of `wanted`, or the length of `bytes`. Every header and every message comes by here,
/// and values are long: eight bytes are looked at at a time.
pub(crate) fn first_of<const N: usize>(bytes: &[u8], wanted: [u8; N]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = wanted.iter().fold(0, |found, byte| {
            let differs = word ^ (ONES * u64::from(*byte));
            found | differs.wrapping_sub(ONES) & !differs & HIGH_BITS
        });
        // The lowest high bit that is set marks the first equal byte; those above it may be set without reason.
        if found != 0 {
            return at * 8 + (found.trailing_zeros() / 8) as usize;
        }
    }
    let in_rest = rest.iter().position(|byte| wanted.contains(byte));
    words.len() * 8 + in_rest.unwrap_or(rest.len())
}
