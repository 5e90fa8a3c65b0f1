//! Compression of bodies, which clients do. The broker stores and returns bodies as they come.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::sys_flag::{COMPRESSED, COMPRESSION_TYPE};

/// Most bytes readers of messages let a body become.
pub const MAX_DECOMPRESSED_BYTES: usize = 64 << 20;

/// Why a body cannot be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// Compressed with something this build does not know.
    #[error("compression type {kind} is not supported, zlib (0 and 3) is")]
    Unsupported {
        /// The number from the sysFlag: 1 LZ4, 2 Zstandard.
        kind: i32,
    },
    /// More bytes come out than the caller allows.
    #[error("decompressed body exceeds {limit} bytes")]
    TooLarge {
        /// The caller's limit in bytes.
        limit: usize,
    },
    /// Not a zlib stream, or a damaged one.
    #[error("body is not a whole zlib stream")]
    Corrupt {
        /// What the decoder says.
        #[source]
        source: std::io::Error,
    },
}

/// The body as a zlib stream. `level` is 0 (none) to 9 (smallest); clients use 5.
pub fn compress(body: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(
        Vec::with_capacity(body.len() / 2),
        Compression::new(level.min(9)),
    );
    // Writing into a Vec does not fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}

/// The body as its sender had it: as it is when `sys_flag` says it is not compressed.
///
/// # Errors
/// Unknown compression, a damaged stream, or more than `limit` bytes.
pub fn decompress(body: &[u8], sys_flag: i32, limit: usize) -> Result<Vec<u8>, CompressionError> {
    if sys_flag & COMPRESSED == 0 {
        return Ok(body.to_vec());
    }
    match (sys_flag & COMPRESSION_TYPE) >> 8 {
        0 | 3 => inflate(body, limit),
        kind => Err(CompressionError::Unsupported { kind }),
    }
}

fn inflate(body: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::with_capacity(body.len().saturating_mul(3).min(limit));
    let read_limit = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    ZlibDecoder::new(body)
        .take(read_limit)
        .read_to_end(&mut out)
        .map_err(|source| CompressionError::Corrupt { source })?;
    if out.len() > limit {
        return Err(CompressionError::TooLarge { limit });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_comes_back() {
        let body = b"rocket and arugula ".repeat(100);
        let small = compress(&body, 5);
        assert!(small.len() < body.len() / 4);
        assert_eq!(decompress(&small, COMPRESSED, body.len()).unwrap(), body);
        assert_eq!(
            decompress(&small, COMPRESSED | 0x300, body.len()).unwrap(),
            body
        );
    }

    #[test]
    fn uncompressed_is_returned_as_it_is() {
        assert_eq!(decompress(b"plain", 0x100, 1).unwrap(), b"plain");
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = compress(&vec![0; 1 << 20], 9);
        assert!(matches!(
            decompress(&bomb, COMPRESSED, 4096),
            Err(CompressionError::TooLarge { limit: 4096 })
        ));
    }

    #[test]
    fn damage_and_unknown_kinds_are_errors() {
        let whole = compress(b"hello hello hello", 5);
        let cut = &whole[..whole.len() - 3];
        assert!(matches!(
            decompress(cut, COMPRESSED, 99),
            Err(CompressionError::Corrupt { .. })
        ));
        assert!(matches!(
            decompress(&whole, COMPRESSED | 0x200, 99),
            Err(CompressionError::Unsupported { kind: 2 })
        ));
    }
}
