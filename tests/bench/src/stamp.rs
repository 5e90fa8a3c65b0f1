//! The last bytes of every body: who sent it, as which of its messages, when, and a checksum of the whole body.
//!
//! A body is `fill | stamp`. The stamp stands last so that the checksum of the fill, which never changes, is
//! computed once per run and only continued over the stamp for each message.

use crc32fast::Hasher;

/// Bytes of a stamp, and so the smallest body.
pub const STAMP_BYTES: usize = 32;

const MAGIC: [u8; 4] = *b"mqB1";
const ORDERED: u16 = 1 << 15;

/// What a body says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Random number of the run that sent it.
    pub run: u32,
    /// Producer within the run, below 32,768.
    pub producer: u16,
    /// The producer had never more than one message in flight, so its sequence must be stored in order.
    pub ordered: bool,
    /// Queue it was sent to.
    pub queue: u16,
    /// Number of the message among those of this producer for this queue, from 0.
    pub sequence: u64,
    /// Monotonic time of the sending process at which it was due, in nanoseconds.
    pub sent_ns: u64,
}

impl Stamp {
    /// Writes the stamp without its checksum.
    fn write(&self, to: &mut [u8; STAMP_BYTES]) {
        let producer = self.producer | if self.ordered { ORDERED } else { 0 };
        to[0..4].copy_from_slice(&MAGIC);
        to[4..8].copy_from_slice(&self.run.to_be_bytes());
        to[8..10].copy_from_slice(&producer.to_be_bytes());
        to[10..12].copy_from_slice(&self.queue.to_be_bytes());
        to[12..20].copy_from_slice(&self.sequence.to_be_bytes());
        to[20..28].copy_from_slice(&self.sent_ns.to_be_bytes());
    }

    /// Overwrites the last [`STAMP_BYTES`] of `body`, whose fill is the one `fill` was made from.
    pub fn seal(&self, fill: &Fill, body: &mut [u8]) {
        let Some(place) = body.last_chunk_mut::<STAMP_BYTES>() else {
            return;
        };
        self.write(place);
        let mut crc = fill.crc.clone();
        crc.update(&place[..STAMP_BYTES - 4]);
        place[STAMP_BYTES - 4..].copy_from_slice(&crc.finalize().to_be_bytes());
    }
}

/// The part of a body that is the same in every message of a run.
#[derive(Clone, Debug)]
pub struct Fill {
    /// The bytes, without room for the stamp.
    pub bytes: Vec<u8>,
    crc: Hasher,
}

impl Fill {
    /// Bytes that do not compress, for bodies of `body_bytes` in all.
    pub fn new(body_bytes: usize, seed: u32) -> Self {
        let mut state = u64::from(seed) | 1 << 40;
        let bytes: Vec<u8> = (0..body_bytes.saturating_sub(STAMP_BYTES))
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            })
            .collect();
        let mut crc = Hasher::new();
        crc.update(&bytes);
        Self { bytes, crc }
    }
}

/// Reads and checks a stored body: its own checksum, and `stored_crc` as the record states it.
///
/// `None` when the body is not one of ours or is not what was sent. One pass over the body.
pub fn open(body: &[u8], stored_crc: u32) -> Option<Stamp> {
    let stamp = body.last_chunk::<STAMP_BYTES>()?;
    let (covered, own_crc) = body.split_at(body.len() - 4);
    let mut crc = Hasher::new();
    crc.update(covered);
    if crc.clone().finalize().to_be_bytes() != own_crc || stamp[0..4] != MAGIC {
        return None;
    }
    crc.update(own_crc);
    if crc.finalize() & 0x7FFF_FFFF != stored_crc {
        return None;
    }
    let (run, rest) = stamp[4..].split_first_chunk()?;
    let (producer, rest) = rest.split_first_chunk()?;
    let (queue, rest) = rest.split_first_chunk()?;
    let (sequence, rest) = rest.split_first_chunk()?;
    let (sent_ns, _) = rest.split_first_chunk()?;
    let producer = u16::from_be_bytes(*producer);
    Some(Stamp {
        run: u32::from_be_bytes(*run),
        producer: producer & !ORDERED,
        ordered: producer & ORDERED != 0,
        queue: u16::from_be_bytes(*queue),
        sequence: u64::from_be_bytes(*sequence),
        sent_ns: u64::from_be_bytes(*sent_ns),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(body_bytes: usize) -> (Stamp, Vec<u8>, u32) {
        let fill = Fill::new(body_bytes, 7);
        let stamp = Stamp {
            run: 7,
            producer: 3,
            ordered: true,
            queue: 5,
            sequence: 99,
            sent_ns: 123_456,
        };
        let mut body = fill.bytes.clone();
        body.resize(body_bytes, 0);
        stamp.seal(&fill, &mut body);
        let crc = crc32fast::hash(&body) & 0x7FFF_FFFF;
        (stamp, body, crc)
    }

    #[test]
    fn a_sealed_body_opens() {
        for body_bytes in [STAMP_BYTES, STAMP_BYTES + 1, 1024] {
            let (stamp, body, crc) = sealed(body_bytes);
            assert_eq!(open(&body, crc), Some(stamp));
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (_, mut body, crc) = sealed(64);
        for bit in 0..body.len() * 8 {
            body[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                open(&body, crc32fast::hash(&body) & 0x7FFF_FFFF),
                None,
                "bit {bit}"
            );
            body[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(open(&body, crc).is_some());
    }

    #[test]
    fn a_wrong_record_checksum_and_a_short_body_are_noticed() {
        let (_, body, crc) = sealed(64);
        assert_eq!(open(&body, crc ^ 1), None);
        assert_eq!(open(&body[1..], crc), None);
        assert_eq!(open(&body[..20], crc), None);
    }
}
