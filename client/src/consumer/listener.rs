//! The application's side of consuming.

use std::sync::Arc;
use std::time::Duration;

use super::GIVEN_UP;
use crate::MessageExt;
use crate::caught::Callback;

/// Messages given to a listener at once: one, unless the consumer was told to give more.
pub type Messages = Vec<Arc<MessageExt>>;

/// What a listener made of the messages it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConsumeStatus {
    /// All are done.
    #[default]
    Success,
    /// The first so many are done, the rest is to be delivered again.
    SuccessOf(usize),
    /// All are to be delivered again, after a time that grows with every failure.
    ReconsumeLater,
    /// All are to be delivered again after the broker's delay of this level: 1 is one second, 18 two hours
    /// by default.
    ReconsumeAtLevel(u32),
    /// All go to the group's dead letter queue at once.
    GiveUp,
}

impl ConsumeStatus {
    /// How many of `count` messages, from the first on, are done.
    pub(crate) fn done(self, count: usize) -> usize {
        match self {
            Self::Success => count,
            Self::SuccessOf(done) => done.min(count),
            Self::ReconsumeLater | Self::ReconsumeAtLevel(_) | Self::GiveUp => 0,
        }
    }

    /// The delay level brokers are asked for: 0 leaves it to them, below zero is the dead letter queue.
    pub(crate) fn delay_level(self) -> i32 {
        match self {
            Self::ReconsumeAtLevel(level) => i32::try_from(level).unwrap_or(i32::MAX),
            Self::GiveUp => GIVEN_UP,
            Self::Success | Self::SuccessOf(_) | Self::ReconsumeLater => 0,
        }
    }
}

/// What a listener in order made of the messages it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OrderlyStatus {
    /// All are done, and what was left uncommitted before them.
    #[default]
    Success,
    /// The queue pauses, as long as the consumer was told; then the listener gets the same messages again.
    Suspend,
    /// As [`OrderlyStatus::Suspend`], for this long; 10 ms to 30 s.
    SuspendFor(Duration),
    /// All are done, but not to be counted as consumed before a later [`OrderlyStatus::Success`].
    Uncommitted,
    /// The queue pauses; then the listener gets everything since the last [`OrderlyStatus::Success`] again.
    Rollback,
}

/// The listener of a consumer.
#[derive(Clone)]
pub(crate) enum Listener {
    Concurrent(Arc<Callback<Messages, ConsumeStatus>>),
    Orderly(Arc<Callback<Messages, OrderlyStatus>>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_says_how_many_are_done() {
        let check = |status: ConsumeStatus, done| assert_eq!(status.done(3), done, "{status:?}");
        check(ConsumeStatus::Success, 3);
        check(ConsumeStatus::SuccessOf(0), 0);
        check(ConsumeStatus::SuccessOf(2), 2);
        check(ConsumeStatus::SuccessOf(9), 3);
        check(ConsumeStatus::ReconsumeLater, 0);
        check(ConsumeStatus::GiveUp, 0);
    }

    #[test]
    fn delay_levels_as_brokers_want_them() {
        assert_eq!(ConsumeStatus::ReconsumeLater.delay_level(), 0);
        assert_eq!(ConsumeStatus::ReconsumeAtLevel(5).delay_level(), 5);
        assert_eq!(ConsumeStatus::GiveUp.delay_level(), -1);
    }
}
