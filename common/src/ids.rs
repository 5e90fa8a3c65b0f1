//! Numbers that must not be mixed up. Both kinds of offset are non-negative by construction: the
//! place that reads an `i64` from the wire decides what a negative one means.

use std::fmt;

/// Byte position in the commit log, counted over all its files; it never starts again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysicalOffset(pub u64);

/// Index of a message within one queue of one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueOffset(pub u64);

macro_rules! offset {
    ($name:ident) => {
        impl $name {
            /// From the wire's or the disk's signed number; `None` when it is negative.
            pub fn from_wire(value: i64) -> Option<Self> {
                u64::try_from(value).ok().map(Self)
            }

            /// As the wire and the disk write it. Offsets stay far below `i64::MAX`; one beyond
            /// (which only a damaged file can produce) is written as `i64::MAX`.
            pub fn to_wire(self) -> i64 {
                i64::try_from(self.0).unwrap_or(i64::MAX)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

offset!(PhysicalOffset);
offset!(QueueOffset);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_wire_offsets_are_refused() {
        assert_eq!(QueueOffset::from_wire(-1), None);
        assert_eq!(QueueOffset::from_wire(7), Some(QueueOffset(7)));
        assert_eq!(PhysicalOffset(1 << 40).to_wire(), 1 << 40);
        assert_eq!(PhysicalOffset(9).to_string(), "9");
    }
}
