//! Where reading of a queue begins when the group has no offset on it. Pure.

/// Where a group that has not consumed a queue before starts on it.
///
/// A group's stored offset always wins. Mind that brokers answer 0 for a queue so young that its first
/// message is still in memory, so that a new group on a new topic misses nothing, whatever this says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConsumeFromWhere {
    /// Behind the last message: only what comes from now on.
    #[default]
    LastOffset,
    /// The first message there is.
    FirstOffset,
    /// The first message stored at this time or later, in ms since the epoch.
    Timestamp(i64),
}

/// What to ask the broker for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    At(i64),
    MaxOffset,
    StoredSince(i64),
}

impl ConsumeFromWhere {
    /// A retry topic holds what this very group failed on, so it is read from its start. Starting by time has
    /// it the other way: the reference begins behind its end then.
    pub(crate) fn start(self, is_retry_topic: bool) -> Start {
        match (self, is_retry_topic) {
            (Self::LastOffset, true) => Start::At(0),
            (Self::LastOffset, false) => Start::MaxOffset,
            (Self::FirstOffset, _) => Start::At(0),
            (Self::Timestamp(_), true) => Start::MaxOffset,
            (Self::Timestamp(since), false) => Start::StoredSince(since),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_as_the_reference_does() {
        assert_eq!(ConsumeFromWhere::LastOffset.start(false), Start::MaxOffset);
        assert_eq!(ConsumeFromWhere::LastOffset.start(true), Start::At(0));
        assert_eq!(ConsumeFromWhere::FirstOffset.start(false), Start::At(0));
        assert_eq!(ConsumeFromWhere::FirstOffset.start(true), Start::At(0));
        assert_eq!(
            ConsumeFromWhere::Timestamp(5).start(false),
            Start::StoredSince(5)
        );
        assert_eq!(ConsumeFromWhere::Timestamp(5).start(true), Start::MaxOffset);
    }
}
