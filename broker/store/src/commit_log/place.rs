//! Where the next record goes. Pure.

use common::ids::PhysicalOffset;

/// Bytes of the blank that closes a segment: its length and its magic.
pub(crate) const BLANK_BYTES: u64 = 8;

/// Where a record, or a group that must stay together, goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// At the tail.
    Here {
        /// The tail.
        at: PhysicalOffset,
    },
    /// Close the segment with a blank of `blank_bytes` at the tail, then start the next one.
    Roll {
        /// Bytes left in the segment.
        blank_bytes: u64,
        /// Start of the next segment.
        at: PhysicalOffset,
    },
}

/// Records need room for themselves and for the blank that may have to follow them.
pub(crate) fn place(tail: PhysicalOffset, bytes: u64, segment_bytes: u64) -> Placement {
    assert!(
        bytes + BLANK_BYTES <= segment_bytes,
        "callers refuse what no segment can hold"
    );
    let left = segment_bytes - tail.0 % segment_bytes;
    if bytes + BLANK_BYTES <= left {
        Placement::Here { at: tail }
    } else {
        Placement::Roll {
            blank_bytes: left,
            at: PhysicalOffset(tail.0 + left),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEGMENT: u64 = 1000;

    #[test]
    fn record_without_room_for_the_blank_rolls() {
        let check = |tail, bytes, expected| {
            assert_eq!(
                place(PhysicalOffset(tail), bytes, SEGMENT),
                expected,
                "{tail} {bytes}"
            );
        };
        check(
            900,
            92,
            Placement::Here {
                at: PhysicalOffset(900),
            },
        );
        check(
            900,
            93,
            Placement::Roll {
                blank_bytes: 100,
                at: PhysicalOffset(1000),
            },
        );
        check(
            1000,
            992,
            Placement::Here {
                at: PhysicalOffset(1000),
            },
        );
    }

    proptest! {
        #[test]
        fn every_segment_has_room_for_its_blank(
            sizes in proptest::collection::vec(1_u64..=992, 1..100)
        ) {
            let mut tail = 0;
            for bytes in sizes {
                let at = match place(PhysicalOffset(tail), bytes, SEGMENT) {
                    Placement::Here { at } => {
                        prop_assert_eq!(at.0, tail);
                        at.0
                    }
                    Placement::Roll { blank_bytes, at } => {
                        prop_assert!(blank_bytes >= BLANK_BYTES);
                        prop_assert_eq!((at.0, at.0 % SEGMENT), (tail + blank_bytes, 0));
                        at.0
                    }
                };
                tail = at + bytes;
                prop_assert_eq!(at / SEGMENT, (tail + BLANK_BYTES - 1) / SEGMENT);
            }
        }
    }
}
