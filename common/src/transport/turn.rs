//! What a service sees of a turn.

use super::connection::Connection;
use super::outgoing::Outgoing;
use crate::wire::{Command, FrameError, HeaderError, Reply, ReplyTo, split_frame};
use bytes::BytesMut;
use std::sync::Arc;

/// What runs behind a listener. One value serves all connections.
pub trait Service: Send + Sync + 'static {
    /// What one connection keeps between turns.
    type Session: Send;

    /// A connection was accepted.
    fn connected(&self, connection: &Arc<Connection>) -> Self::Session;

    /// Takes every request of `requests`, in order. Called on the connection's I/O thread: it must not block; what has
    /// to wait answers through [`Connection::reply`], or has the connection wait, see [`Requests::pause`].
    fn turn(
        &self,
        session: &mut Self::Session,
        connection: &Arc<Connection>,
        requests: &mut Requests<'_>,
        replies: &mut Replies<'_>,
    );

    /// The connection is gone.
    fn closed(&self, session: Self::Session, connection: &Arc<Connection>);
}

/// The requests of one turn. Answers among the frames have gone to their callers already.
pub struct Requests<'a> {
    buffer: &'a [u8],
    at: usize,
    command: &'a mut Command,
    connection: &'a Connection,
    error: Option<BrokenFrame>,
    /// Where the request begins that was given last.
    last: usize,
    waited: bool,
    pause: Option<Work>,
}

/// What has to be done before a connection's next request can be taken.
pub(super) type Work = Box<dyn FnOnce() + Send>;

/// Why the rest of a connection's bytes cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BrokenFrame {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Header(#[from] HeaderError),
}

impl<'a> Requests<'a> {
    pub(super) fn new(
        buffer: &'a [u8],
        command: &'a mut Command,
        connection: &'a Connection,
        waited: bool,
    ) -> Self {
        Self {
            buffer,
            at: 0,
            command,
            connection,
            error: None,
            last: 0,
            waited,
            pause: None,
        }
    }

    /// True when the next request is the one that the connection has paused for: it is not to pause again.
    pub fn has_waited(&self) -> bool {
        self.waited && self.at == 0
    }

    /// Ends the turn: the request that was given last is given again, and those behind it, when a thread that may block has done
    /// `work`. Other connections go on meanwhile; of this one nothing is read.
    pub fn pause(&mut self, work: impl FnOnce() + Send + 'static) {
        self.at = self.last;
        self.pause = Some(Box::new(work));
    }

    /// The next request and its body; `None` when the rest is incomplete or broken.
    #[expect(
        clippy::should_implement_trait,
        reason = "it lends: the command is reused for the next request"
    )]
    pub fn next(&mut self) -> Option<(&Command, &'a [u8])> {
        while self.error.is_none() && self.pause.is_none() {
            let buffer = self.buffer;
            let frame = match split_frame(&buffer[self.at..]) {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(error) => {
                    self.error = Some(error.into());
                    return None;
                }
            };
            self.last = self.at;
            self.at += frame.total;
            if let Err(error) = self.command.decode(frame.serialize, frame.header) {
                self.error = Some(error.into());
                return None;
            }
            if !self.command.is_response() {
                return Some((&*self.command, frame.body));
            }
            self.connection.complete(self.command, frame.body);
        }
        None
    }

    /// Bytes taken, what stopped the reading if something is broken, and what the rest waits for.
    pub(super) fn finish(self) -> (usize, Option<BrokenFrame>, Option<Work>) {
        (self.at, self.error, self.pause)
    }
}

/// The answers of one turn, in the order they were pushed.
pub struct Replies<'a> {
    out: &'a mut Outgoing,
}

impl<'a> Replies<'a> {
    pub(super) fn new(out: &'a mut Outgoing) -> Self {
        Self { out }
    }

    /// Adds an answer; one-way requests get none.
    pub fn push(&mut self, to: ReplyTo, reply: Reply) {
        if !to.oneway {
            self.out.push_reply(to, reply);
        }
    }

    /// Where frames can be written without building a [`Reply`].
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.out.buffer()
    }
}
