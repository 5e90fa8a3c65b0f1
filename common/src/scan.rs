//! Looking for bytes, and taking them off the front of others.

/// Position of the first byte that is one of `wanted`, or the length of `bytes`. Every header and every message comes by here,
/// and values are long: eight bytes are looked at at a time.
#[inline(always)]
pub(crate) fn first_of<const N: usize>(bytes: &[u8], wanted: [u8; N]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let mut rest = bytes;
    while let Some((word, behind)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*word);
        let found = wanted.iter().fold(0, |found, byte| {
            let differs = word ^ (ONES * u64::from(*byte));
            found | differs.wrapping_sub(ONES) & !differs & HIGH_BITS
        });
        // The lowest high bit that is set marks the first equal byte; those above it may be set without reason.
        if found != 0 {
            return bytes.len() - rest.len() + (found.trailing_zeros() / 8) as usize;
        }
        rest = behind;
    }
    bytes.len() - rest.len() + first_of_few(rest, wanted)
}

/// The same for the few bytes that are no word any more.
#[cold]
fn first_of_few<const N: usize>(bytes: &[u8], wanted: [u8; N]) -> usize {
    let at = bytes.iter().position(|byte| wanted.contains(byte));
    at.unwrap_or(bytes.len())
}

/// Takes `N` bytes off the front of `rest`, or nothing where there are fewer.
#[inline]
pub(crate) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*taken)
}

/// Takes as many bytes off the front of `rest` as `length` says; a negative length says nothing.
#[inline]
pub(crate) fn take_bytes<'a>(rest: &mut &'a [u8], length: impl TryInto<usize>) -> Option<&'a [u8]> {
    rest.split_off(..length.try_into().ok()?)
}
