//! The frame: `length(4) | serialize type(1) header length(3) | header | body`, all big-endian.

use super::command::SerializeType;

/// Largest frame in bytes, its length field included. A peer that announces more is cut off.
pub const MAX_FRAME_BYTES: usize = 16_777_216;

/// Bytes in front of the header.
pub const FRAME_PREFIX_BYTES: usize = 8;

/// A complete frame inside a read buffer, not yet understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawFrame<'a> {
    /// How the header is written.
    pub serialize: SerializeType,
    /// Header bytes.
    pub header: &'a [u8],
    /// Body bytes, possibly none.
    pub body: &'a [u8],
    /// Bytes the frame takes in the buffer.
    pub total: usize,
}

/// Why bytes cannot be a frame. The connection that sent them is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length field is below the four bytes of the header mark, or above the limit.
    #[error("frame length {length}: expected 4 to {}", MAX_FRAME_BYTES - 4)]
    Length {
        /// The announced length.
        length: i32,
    },
    /// The serialize type is not known.
    #[error("serialize type {0}: expected 0 (JSON) or 1 (ROCKETMQ)")]
    Serialize(u8),
    /// The header would reach beyond the frame.
    #[error("header of {header} bytes in a frame with {available} left")]
    Header {
        /// Announced header length.
        header: usize,
        /// Bytes behind the mark.
        available: usize,
    },
}

/// Cuts the first frame off `buffer`.
///
/// Returns `None` while the frame is incomplete; a wrong length or type is told as soon as it can be seen, before
/// any memory is reserved for the rest.
///
/// # Errors
/// See [`FrameError`].
pub fn split_frame(buffer: &[u8]) -> Result<Option<RawFrame<'_>>, FrameError> {
    let Some(length) = buffer.first_chunk::<4>().map(|b| i32::from_be_bytes(*b)) else {
        return Ok(None);
    };
    let bytes = usize::try_from(length)
        .ok()
        .filter(|n| (4..=MAX_FRAME_BYTES - 4).contains(n));
    let bytes = bytes.ok_or(FrameError::Length { length })?;
    let Some(mark) = buffer.get(4..8) else {
        return Ok(None);
    };
    let serialize = SerializeType::from_byte(mark[0]).ok_or(FrameError::Serialize(mark[0]))?;
    let header = usize::from(mark[1]) << 16 | usize::from(mark[2]) << 8 | usize::from(mark[3]);
    let available = bytes - 4;
    if header > available {
        return Err(FrameError::Header { header, available });
    }
    let Some(rest) = buffer.get(FRAME_PREFIX_BYTES..4 + bytes) else {
        return Ok(None);
    };
    let (header, body) = rest.split_at(header);
    Ok(Some(RawFrame {
        serialize,
        header,
        body,
        total: 4 + bytes,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_proper_prefix_is_incomplete_and_the_whole_is_a_frame() {
        let bytes = [0, 0, 0, 9, 0, 0, 0, 2, b'{', b'}', 1, 2, 3];
        for end in 0..bytes.len() {
            assert_eq!(split_frame(&bytes[..end]), Ok(None), "prefix of {end}");
        }
        let frame = split_frame(&bytes).unwrap().unwrap();
        assert_eq!(
            (frame.header, frame.body, frame.total),
            (&b"{}"[..], &[1u8, 2, 3][..], 13)
        );
    }

    #[test]
    fn lengths_out_of_range_are_refused_at_once() {
        for length in [0, 3, -1, i32::MIN, i32::MAX, (16 << 20) - 3] {
            assert_eq!(
                split_frame(&length.to_be_bytes()),
                Err(FrameError::Length { length })
            );
        }
        assert_eq!(split_frame(&((16 << 20) - 4i32).to_be_bytes()), Ok(None));
    }

    #[test]
    fn unknown_kinds_and_long_headers_are_refused() {
        assert_eq!(
            split_frame(&[0, 0, 0, 4, 2, 0, 0, 0]),
            Err(FrameError::Serialize(2))
        );
        assert_eq!(
            split_frame(&[0, 0, 0, 14, 0, 0, 0, 11]),
            Err(FrameError::Header {
                header: 11,
                available: 10
            })
        );
    }
}
