use anyhow::{Context, Result, ensure};

/// A body starts with its message's number.
const NUMBER_BYTES: usize = 8;

/// The longest body there is; `maxMessageSize` has to allow a few of them in one batch.
pub(super) const LONGEST: usize = 24 << 10;

/// The body of every message, by its number.
#[derive(Clone, Copy, Debug)]
pub struct Bodies {
    seed: u64,
}

impl Bodies {
    /// Those of a run.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The body of message `number`.
    pub fn body(&self, number: u64) -> Vec<u8> {
        let mut noise = Noise(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // Mostly small, some larger than a page, a few that take a good part of a segment; sizes
        // that divide nothing, so that records end everywhere.
        let most = match noise.next() % 100 {
            0 => LONGEST,
            1..=5 => 6_000,
            6..=39 => 1_100,
            _ => 260,
        };
        let size = NUMBER_BYTES + usize::try_from(noise.next() % most as u64).unwrap_or(0);
        let mut body = number.to_be_bytes().to_vec();
        body.reserve(size);
        while body.len() < size {
            body.extend(noise.next().to_be_bytes());
        }
        body.truncate(size);
        body
    }

    /// The number of the message that `body` is, byte for byte.
    ///
    /// # Errors
    /// When it is no message's body.
    pub fn number(&self, body: &[u8]) -> Result<u64> {
        let number = body.first_chunk().context("a body without a number")?;
        let number = u64::from_be_bytes(*number);
        let expected = self.body(number);
        ensure!(
            body == expected,
            "message {number} has {} bytes that differ first at {:?}; {} were sent",
            body.len(),
            body.iter().zip(&expected).position(|(a, b)| a != b),
            expected.len()
        );
        Ok(number)
    }
}

/// The properties of message `number`, by which it can be found.
pub(super) fn properties(number: u64) -> String {
    format!("KEYS\u{1}k{number}\u{2}UNIQ_KEY\u{1}u{number}\u{2}")
}

/// `SplitMix64`: every number's noise is found without making that of the numbers before it.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back_as_their_numbers_and_nothing_else_does() {
        let bodies = Bodies::new(7);
        for number in 1..500 {
            let mut body = bodies.body(number);
            assert_eq!(bodies.number(&body).unwrap(), number);
            let middle = body.len() / 2;
            body[middle] ^= 1;
            assert!(bodies.number(&body).is_err());
            body.pop();
            assert!(bodies.number(&body).is_err());
        }
        assert!(Bodies::new(8).number(&bodies.body(1)).is_err());
    }

    #[test]
    fn sizes_vary_from_almost_nothing_to_many_pages() {
        let bodies = Bodies::new(7);
        let sizes: Vec<usize> = (1..2_000).map(|n| bodies.body(n).len()).collect();
        assert!(sizes.iter().any(|size| *size < 40));
        assert!(sizes.iter().any(|size| *size > 16 << 10));
        assert!(sizes.iter().all(|size| *size < NUMBER_BYTES + LONGEST));
    }
}
