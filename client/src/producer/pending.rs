//! A send that runs by itself.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::JoinHandle;

use super::SendResult;
use crate::error::ClientError;

/// A send under way: a future of its outcome. Dropping it does not stop the send.
#[derive(Debug)]
#[must_use = "the outcome of the send is known only to who awaits it"]
pub struct PendingSend {
    state: State,
}

#[derive(Debug)]
enum State {
    Running(JoinHandle<Result<SendResult, ClientError>>),
    Failed(Option<ClientError>),
}

impl PendingSend {
    pub(super) fn spawn(
        send: impl Future<Output = Result<SendResult, ClientError>> + Send + 'static,
    ) -> Self {
        Self {
            state: State::Running(tokio::spawn(send)),
        }
    }

    pub(super) fn failed(error: ClientError) -> Self {
        Self {
            state: State::Failed(Some(error)),
        }
    }
}

impl Future for PendingSend {
    type Output = Result<SendResult, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            State::Failed(error) => Poll::Ready(Err(error.take().unwrap_or(ClientError::Stopped))),
            // The task neither panics nor is aborted by us: it ends early only with its runtime.
            State::Running(task) => Pin::new(task).poll(cx).map(|outcome| match outcome {
                Ok(sent) => sent,
                Err(_) => Err(ClientError::Stopped),
            }),
        }
    }
}
