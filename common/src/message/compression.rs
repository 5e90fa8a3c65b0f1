//! Compression of bodies, which clients do. The broker stores and returns bodies as they come.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use lz4_flex::frame::{FrameDecoder, FrameEncoder};

use super::sys_flag::{COMPRESSED, COMPRESSION_TYPE};

/// Most bytes readers of messages let a body become.
pub const MAX_DECOMPRESSED_BYTES: usize = 64 << 20;
/// Logarithm of the largest window a Zstandard stream may ask memory for: that of [`MAX_DECOMPRESSED_BYTES`].
const MAX_WINDOW_LOG: u32 = 26;

/// Why a body cannot be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// Compressed with something this build does not know.
    #[error("compression type {kind} is not known")]
    Unsupported {
        /// The number from the sysFlag.
        kind: i32,
    },
    /// More bytes come out than the caller allows.
    #[error("decompressed body exceeds {limit} bytes")]
    TooLarge {
        /// The caller's limit in bytes.
        limit: usize,
    },
    /// Not a stream of its kind, or a damaged one.
    #[error("body is not a whole stream of compression type {kind}")]
    Corrupt {
        /// The number from the sysFlag: 1 LZ4, 2 Zstandard, 0 and 3 zlib.
        kind: i32,
        /// What the decoder says.
        #[source]
        source: io::Error,
    },
}

/// How bodies are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CompressionType {
    /// The fastest; it has no levels.
    Lz4,
    /// Zstandard. Levels 1 (fastest) to 22 (smallest).
    Zstd,
    /// What every client reads. Levels 0 (not compressed) to 9 (smallest).
    #[default]
    Zlib,
}

impl CompressionType {
    /// The bits of the sysFlag of a message with such a body.
    #[must_use]
    pub fn sys_flag(self) -> i32 {
        COMPRESSED
            | match self {
                Self::Lz4 => 0x100,
                Self::Zstd => 0x200,
                Self::Zlib => 0x300,
            }
    }

    /// The body, compressed. A level beyond the last one is the last one; clients use 5.
    ///
    /// # Errors
    /// What the encoder says, which lacks memory.
    pub fn compress(self, body: &[u8], level: u32) -> io::Result<Vec<u8>> {
        match self {
            Self::Lz4 => {
                let mut encoder = FrameEncoder::new(Vec::new());
                encoder.write_all(body)?;
                Ok(encoder.finish()?)
            }
            Self::Zstd => {
                let level = i32::try_from(level).unwrap_or(i32::MAX);
                let most = *zstd::compression_level_range().end();
                // All at once: the encoder sees that no reader needs a window larger than the body.
                zstd::bulk::compress(body, level.min(most))
            }
            Self::Zlib => {
                let out = Vec::with_capacity(body.len() / 2);
                let mut encoder = ZlibEncoder::new(out, Compression::new(level.min(9)));
                encoder.write_all(body)?;
                encoder.finish()
            }
        }
    }
}

/// The body as its sender had it: as it is when `sys_flag` says it is not compressed.
///
/// # Errors
/// Unknown compression, a damaged stream, or more than `limit` bytes.
pub fn decompress(body: &[u8], sys_flag: i32, limit: usize) -> Result<Vec<u8>, CompressionError> {
    if sys_flag & COMPRESSED == 0 {
        return Ok(body.to_vec());
    }
    let kind = (sys_flag & COMPRESSION_TYPE) >> 8;
    let mut out = Vec::with_capacity(body.len().saturating_mul(3).min(limit));
    let read = match kind {
        0 | 3 => fill(ZlibDecoder::new(body), limit, &mut out),
        1 if !lz4_is_whole(body).unwrap_or(false) => Err(io::ErrorKind::UnexpectedEof.into()),
        1 => fill(FrameDecoder::new(body), limit, &mut out),
        2 => zstd::Decoder::with_buffer(body).and_then(|mut decoder| {
            decoder.window_log_max(MAX_WINDOW_LOG)?;
            fill(decoder, limit, &mut out)
        }),
        kind => return Err(CompressionError::Unsupported { kind }),
    };
    read.map_err(|source| CompressionError::Corrupt { kind, source })?;
    if out.len() > limit {
        return Err(CompressionError::TooLarge { limit });
    }
    Ok(out)
}

/// Whether an LZ4 frame goes on to its end mark: the decoder takes an end between two blocks for the end of all.
fn lz4_is_whole(frame: &[u8]) -> Option<bool> {
    let flags = *frame.get(4)?;
    let size_of = |bit: u8, bytes: usize| if flags & bit == 0 { 0 } else { bytes };
    // Magic, flags, block size and header checksum; between them the size of the content and an id.
    let mut at = 7 + size_of(8, 8) + size_of(1, 4);
    loop {
        let (size, _) = frame.get(at..)?.split_first_chunk()?;
        let size = usize::try_from(u32::from_le_bytes(*size) & 0x7FFF_FFFF).ok()?;
        if size == 0 {
            return Some(true);
        }
        at = at.checked_add(4 + size_of(16, 4))?.checked_add(size)?;
    }
}

/// Reads one byte more than allowed, so that too much is seen.
fn fill(decoder: impl Read, limit: usize, out: &mut Vec<u8>) -> io::Result<usize> {
    let bytes = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(bytes).read_to_end(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the reference's three compressors make of the text below, with their kinds.
    const BY_THE_REFERENCE: [(i32, &str); 3] = [
        (
            0x100,
            "04224d186070731f000000ff04726f636b657420616e642061727567756c61201300ff525067756c612000000000",
        ),
        (
            0x200,
            "28b52ffd0058d4000098726f636b657420616e642061727567756c61200100cd4c9d61010000",
        ),
        (
            0x300,
            "785e2bca4fce4e2d5148cc4b51482c2a4d2fcd4954281a15a28f100012cf8cf1",
        ),
    ];

    fn text() -> Vec<u8> {
        b"rocket and arugula ".repeat(20)
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let pairs = hex.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        pairs.map(byte).collect()
    }

    #[test]
    fn what_is_compressed_comes_back() {
        let body = text();
        for kind in [
            CompressionType::Lz4,
            CompressionType::Zstd,
            CompressionType::Zlib,
        ] {
            for level in [0, 1, 5, u32::MAX] {
                let small = kind.compress(&body, level).unwrap();
                let is_small = small.len() < body.len() / 4;
                assert_eq!(is_small, (kind, level) != (CompressionType::Zlib, 0));
                let back = decompress(&small, kind.sys_flag(), body.len());
                assert_eq!(back.unwrap(), body, "{kind:?} {level}");
            }
        }
        let small = CompressionType::Zlib.compress(&body, 5).unwrap();
        assert_eq!(decompress(&small, COMPRESSED, body.len()).unwrap(), body);
    }

    #[test]
    fn what_the_reference_compresses_is_read_and_every_proper_prefix_refused() {
        for (kind, hex) in BY_THE_REFERENCE {
            let small = bytes(hex);
            let back = decompress(&small, COMPRESSED | kind, text().len());
            assert_eq!(back.unwrap(), text(), "{kind:#x}");
            for cut in 0..small.len() {
                let error = decompress(&small[..cut], COMPRESSED | kind, 9999);
                assert!(
                    matches!(error, Err(CompressionError::Corrupt { .. })),
                    "{kind:#x} cut at {cut}: {error:?}"
                );
            }
        }
    }

    #[test]
    fn uncompressed_is_returned_as_it_is() {
        assert_eq!(decompress(b"plain", 0x100, 1).unwrap(), b"plain");
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        for (kind, hex) in BY_THE_REFERENCE {
            let error = decompress(&bytes(hex), COMPRESSED | kind, text().len() - 1);
            assert!(matches!(error, Err(CompressionError::TooLarge { .. })));
        }
        let bomb = CompressionType::Zlib
            .compress(&vec![0; 1 << 20], 9)
            .unwrap();
        assert!(matches!(
            decompress(&bomb, COMPRESSED, 4096),
            Err(CompressionError::TooLarge { limit: 4096 })
        ));
    }

    #[test]
    fn unknown_kinds_are_errors() {
        assert!(matches!(
            decompress(b"x", COMPRESSED | 0x400, 99),
            Err(CompressionError::Unsupported { kind: 4 })
        ));
    }
}
