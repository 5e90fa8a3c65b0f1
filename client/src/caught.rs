//! Calls into the application's code, which may panic.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// A future of any type.
pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the application does with an `I`.
pub(crate) type Callback<I, S> = dyn Fn(I) -> Boxed<S> + Send + Sync;

/// The outcome of the future `make` makes; `None` when either panics.
pub(crate) async fn caught<F: Future>(make: impl FnOnce() -> F) -> Option<F::Output> {
    let mut running = catch_unwind(AssertUnwindSafe(|| Box::pin(make()))).ok()?;
    std::future::poll_fn(move |cx| {
        match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(outcome)) => Poll::Ready(Some(outcome)),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_caught_before_and_after_the_first_await() {
        let early = || {
            assert!(std::hint::black_box(false), "early");
            async { 1 }
        };
        assert_eq!(caught(early).await, None);
        let late = || async {
            tokio::task::yield_now().await;
            assert!(std::hint::black_box(false), "late");
            1
        };
        assert_eq!(caught(late).await, None);
        assert_eq!(caught(|| async { 1 }).await, Some(1));
    }
}
