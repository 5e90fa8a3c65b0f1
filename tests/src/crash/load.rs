use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::books::{Books, Fault};
use super::consume::consume;
use super::produce::produce;
use crate::patiently;

/// Until a broker under load has acknowledged what was asked for. With `SYNC_FLUSH` and a disk that
/// others use too it is some hundred messages a second.
const LOADED: Duration = Duration::from_mins(2);

/// When a load has done its work, and when it ends.
#[derive(Debug)]
pub(super) struct Pace {
    /// Acknowledged messages, counted over the whole run, after which producers calm down.
    target: u64,
    /// Refused sends after which there is nothing more to come.
    refusals: u64,
    over: AtomicBool,
}

impl Pace {
    pub(super) fn enough(&self, books: &Books) -> bool {
        books.acknowledged() >= self.target || books.refused() >= self.refusals
    }

    pub(super) fn over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Producers and consumers at work.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Producers, each with a connection of its own.
    pub producers: u64,
    /// Messages to be acknowledged before anything happens to the broker.
    pub messages: u64,
    /// Refused sends that are enough as well.
    pub refusals: u64,
    /// How much longer the load goes on, slowly, before that.
    pub linger: Duration,
    /// Older files of the log expire at the end, and the broker has so long to begin deleting them.
    pub expiry: Option<Duration>,
    /// For the producers' choices.
    pub seed: u64,
}

impl Load {
    /// Starts producers and consumers; when there is enough in the books, does `act`, which makes an
    /// end of the broker; and gives what it gave once everybody has stopped.
    ///
    /// # Errors
    /// When not enough is acknowledged in time, or those of `act`.
    pub fn until<T>(
        &self,
        books: &Books,
        address: &str,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let pace = Pace {
            target: books.acknowledged() + self.messages,
            refusals: books.refused().saturating_add(self.refusals),
            over: AtomicBool::new(false),
        };
        thread::scope(|scope| {
            let pace = &pace;
            let mut clients = Vec::new();
            for producer in 0..self.producers {
                let seed = self.seed.wrapping_add(producer);
                clients.push(scope.spawn(move || produce(books, address, seed, pace)));
            }
            clients.push(scope.spawn(move || consume(books, address, pace)));
            let loaded = patiently("enough is acknowledged", LOADED, || {
                Ok(pace.enough(books).then_some(()))
            });
            thread::sleep(self.linger);
            // Also without enough, so that the clients end.
            let acted = act();
            pace.over.store(true, Ordering::Relaxed);
            let mut ends = Vec::new();
            for client in clients {
                let ended = client.join();
                let ended = ended.unwrap_or_else(|_| Err(anyhow!("a client panicked")));
                if let Err(error) = ended {
                    if !is_broken_connection(&error) {
                        books.fault(Fault::Other, format!("{error:#}"));
                    }
                    ends.push(format!("{error:#}"));
                }
            }
            loaded.with_context(|| {
                let refused = books.refused();
                format!("{refused} sends were refused; clients ended with {ends:?}")
            })?;
            acted
        })
    }
}

/// How clients of a broker that goes away may end. No answer at all from one that lives is something
/// else.
pub(super) fn is_broken_connection(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref());
    io.is_some_and(|io: &io::Error| {
        !matches!(
            io.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        )
    })
}
