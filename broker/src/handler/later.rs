//! Requests that may wait for the disk: an I/O thread that waited would keep all its connections waiting.

use crate::state::State;
use bytes::Bytes;
use common::transport::Connection;
use common::wire::{Reply, ReplyTo, response_code};
use std::hint::black_box;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Requests that are worked on at a time, each by a thread of its own. Further ones wait for their turn.
const RUNNING: usize = 16;
/// Requests that may run or wait; further ones are refused.
const MOST_WAITING: usize = 1000;
/// Messages are fetched from the disk in steps of this size: one memory page.
const PAGE_BYTES: usize = 4096;

/// Room for requests that may wait for the disk. Clones share it.
#[derive(Clone)]
pub struct Room {
    waiting: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
            turns: Arc::new(Semaphore::new(RUNNING)),
        }
    }
}

impl State {
    /// Has a request answered by a thread that may wait for the disk; `None` unless there is no room for it.
    pub fn later(
        &self,
        (connection, to): (&Arc<Connection>, ReplyTo),
        work: impl FnOnce(&Self) -> Reply + Send + 'static,
    ) -> Option<Reply> {
        let Ok(room) = Arc::clone(&self.room.waiting).try_acquire_owned() else {
            let text =
                format!("{MOST_WAITING} requests wait for the disk already; try again later");
            return Some(Reply::error(response_code::SYSTEM_BUSY, text));
        };
        let (state, connection) = (self.clone(), Arc::clone(connection));
        tokio::spawn(async move {
            let turn = state.room.turns.acquire().await;
            let worker = state.clone();
            let done = tokio::task::spawn_blocking(move || {
                let reply = work(&worker);
                fetch(&reply.body);
                reply
            });
            let reply = done.await.unwrap_or_else(|panicked| {
                tracing::error!(peer = %connection.peer(), "a request handler panicked");
                Reply::error(response_code::SYSTEM_ERROR, panicked.to_string())
            });
            connection.reply(to, reply);
            drop((turn, room));
        });
        None
    }
}

/// Looks at every page of the records, so that they are in memory when they are written to a socket.
pub(super) fn fetch(records: &[Bytes]) {
    for record in records {
        for at in (0..record.len()).step_by(PAGE_BYTES) {
            black_box(record[at]);
        }
        if let Some(last) = record.last() {
            black_box(*last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::testing::{Loopback, Served};
    use crate::testing::Stored;
    use common::wire::Command;
    use parking_lot::Mutex;
    use std::sync::mpsc;

    /// Answers requests of code 1 when it is told to, and panics over those of code 2.
    struct World(Stored, Arc<Mutex<mpsc::Receiver<()>>>);

    impl Served for World {
        fn answer(&self, asking: &Arc<Connection>, command: &Command, _: &[u8]) -> Option<Reply> {
            let (asked, told) = ((asking, command.reply_to()), Arc::clone(&self.1));
            match command.code {
                1 => self.0.later(asked, move |_| {
                    told.lock().recv().unwrap();
                    Reply::ok()
                }),
                2 => self.0.later(asked, |_| panic!("on purpose")),
                _ => Some(Reply::ok()),
            }
        }

        fn closed(&self, _: &Connection) {}
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_waits_keeps_nobody_and_needs_room() {
        let (tell, told) = mpsc::channel();
        let world = Arc::new(World(Stored::new(), Arc::new(Mutex::new(told))));
        let loopback = Loopback::serve(Arc::clone(&world));
        let client = Arc::new(loopback.client());
        let call = |code| {
            let client = Arc::clone(&client);
            async move { client.call(Command::request(code), "").await.0.code }
        };
        let waiting = tokio::spawn(call(1));
        assert_eq!(call(3).await, response_code::SUCCESS);
        assert_eq!(call(2).await, response_code::SYSTEM_ERROR);
        tell.send(()).unwrap();
        assert_eq!(waiting.await.unwrap(), response_code::SUCCESS);
        let most = u32::try_from(MOST_WAITING).unwrap();
        let all = world.0.room.waiting.acquire_many(most).await.unwrap();
        assert_eq!(call(1).await, response_code::SYSTEM_BUSY);
        drop(all);
        tell.send(()).unwrap();
        assert_eq!(call(1).await, response_code::SUCCESS);
    }
}
