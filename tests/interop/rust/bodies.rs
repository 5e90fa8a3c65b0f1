use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

const MIB: usize = 1 << 20;

/// The same in every language. `mixed`: 1 B to 1 MiB, one in a hundred above 32 KiB; `small`: 1 B to 2 KiB.
pub fn size(sizes: &str, index: u32) -> usize {
    let hash = index.wrapping_mul(2_654_435_761);
    match (sizes, index) {
        ("small", _) => within(hash % 11, hash),
        (_, 0) => 1,
        (_, 1) => MIB,
        _ if index % 100 == 50 => within(15 + hash % 5, hash),
        _ => within(hash % 15, hash),
    }
}

fn within(bits: u32, hash: u32) -> usize {
    let base = 1_u32 << bits;
    (base + (hash >> 8) % base) as usize
}

/// Every second body repeats itself, so that the client's compression of larger ones is used.
pub fn body(sizes: &str, index: u32) -> Vec<u8> {
    let mut body = vec![0; size(sizes, index)];
    if index.is_multiple_of(2) {
        StdRng::seed_from_u64(u64::from(index)).fill_bytes(&mut body);
    } else {
        let letters = (b'a'..=b'z').cycle().skip(index as usize % 26);
        for (byte, letter) in body.iter_mut().zip(letters) {
            *byte = letter;
        }
    }
    body
}

pub fn sum(body: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(body))
}
