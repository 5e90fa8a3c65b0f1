//! Requests that wait for their answer: opaque → waiting caller.

use crate::wire::Command;
use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Response {
    /// Header.
    pub command: Command,
    /// Body, empty when there is none.
    pub body: Bytes,
}

#[derive(Default)]
pub(super) struct InFlight {
    waiting: Mutex<HashMap<i32, oneshot::Sender<Response>>>,
}

impl InFlight {
    pub(super) fn wait(&self, opaque: i32) -> oneshot::Receiver<Response> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().insert(opaque, sender);
        receiver
    }

    pub(super) fn forget(&self, opaque: i32) {
        self.waiting.lock().remove(&opaque);
    }

    /// Hands an answer to its caller; answers nobody waits for are dropped.
    pub(super) fn complete(&self, command: &Command, body: &[u8]) {
        let waiting = self.waiting.lock().remove(&command.opaque);
        if let Some(caller) = waiting {
            // The caller may have gone in this moment; then nobody wants the answer.
            let _ = caller.send(Response {
                command: command.clone(),
                body: Bytes::copy_from_slice(body),
            });
        }
    }

    /// Every caller learns that no answer will come.
    pub(super) fn fail_all(&self) {
        self.waiting.lock().clear();
    }
}
