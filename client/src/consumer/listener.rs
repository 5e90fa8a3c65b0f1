//! The application's side of consuming.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use crate::MessageExt;

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
            Self::GiveUp => -1,
            Self::Success | Self::SuccessOf(_) | Self::ReconsumeLater => 0,
        }
    }
}

/// Consumes messages. Calls run at the same time, as many as the consumer has consume threads, in no
/// particular order.
///
/// Implemented for nothing by default: closures are taken by
/// [`on_messages`](crate::PushConsumerBuilder::on_messages).
pub trait MessageListener: Send + Sync + 'static {
    /// Handles `messages`, all of one queue. A panic counts as [`ConsumeStatus::ReconsumeLater`].
    fn consume(&self, messages: Messages) -> impl Future<Output = ConsumeStatus> + Send;
}

/// A listener made of a closure.
pub(crate) struct FnListener<F>(pub(crate) F);

impl<F, Fut> MessageListener for FnListener<F>
where
    F: Fn(Messages) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ConsumeStatus> + Send,
{
    fn consume(&self, messages: Messages) -> impl Future<Output = ConsumeStatus> + Send {
        (self.0)(messages)
    }
}

/// A call of a listener whose type is forgotten. `None`: it panicked.
pub(crate) type Call<'a> = Pin<Box<dyn Future<Output = Option<ConsumeStatus>> + Send + 'a>>;

/// A listener of any type.
pub(crate) trait AnyListener: Send + Sync {
    fn call(&self, messages: Messages) -> Call<'_>;
}

impl<L: MessageListener> AnyListener for L {
    fn call(&self, messages: Messages) -> Call<'_> {
        Box::pin(async move {
            let started = catch_unwind(AssertUnwindSafe(|| Box::pin(self.consume(messages))));
            let mut running = started.ok()?;
            std::future::poll_fn(move |cx| {
                match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx))) {
                    Ok(Poll::Pending) => Poll::Pending,
                    Ok(Poll::Ready(status)) => Poll::Ready(Some(status)),
                    Err(_) => Poll::Ready(None),
                }
            })
            .await
        })
    }
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

    #[tokio::test]
    async fn a_panic_is_caught_before_and_after_the_first_await() {
        let early = FnListener(|messages: Messages| {
            assert!(!messages.is_empty(), "early");
            async { ConsumeStatus::Success }
        });
        assert_eq!(early.call(Vec::new()).await, None);
        let late = FnListener(|_: Messages| async {
            tokio::task::yield_now().await;
            panic!("late")
        });
        assert_eq!(late.call(Vec::new()).await, None);
        let fine = FnListener(|_: Messages| async { ConsumeStatus::SuccessOf(1) });
        assert_eq!(
            fine.call(Vec::new()).await,
            Some(ConsumeStatus::SuccessOf(1))
        );
    }
}
