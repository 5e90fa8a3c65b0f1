//! A send that runs by itself.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::JoinHandle;

use super::SendResult;
use crate::error::ClientError;

/// A send under way: a future of its outcome. Dropping it does not stop the send.
#[derive(Debug)]
#[must_use = "the outcome of the send is known only to who awaits it"]
pub struct PendingSend(pub(super) JoinHandle<Result<SendResult, ClientError>>);

impl Future for PendingSend {
    type Output = Result<SendResult, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The task neither panics nor is aborted by us: it ends early only with its runtime.
        let outcome = Pin::new(&mut self.0).poll(cx);
        outcome.map(|sent| sent.unwrap_or(Err(ClientError::Stopped)))
    }
}
