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
    /// to wait answers through [`Connection::reply`].
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
}

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
    ) -> Self {
        Self {
            buffer,
            at: 0,
            command,
            connection,
            error: None,
        }
    }

    /// The next request and its body; `None` when the rest is incomplete or broken.
    #[expect(
        clippy::should_implement_trait,
        reason = "it lends: the command is reused for the next request"
    )]
    pub fn next(&mut self) -> Option<(&Command, &'a [u8])> {
        while self.error.is_none() {
            let buffer = self.buffer;
            let frame = match split_frame(&buffer[self.at..]) {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(error) => {
                    self.error = Some(error.into());
                    return None;
                }
            };
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

    /// Bytes taken, and what stopped the reading if something is broken.
    pub(super) fn finish(self) -> (usize, Option<BrokenFrame>) {
        (self.at, self.error)
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
