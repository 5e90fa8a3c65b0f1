//! Bytes on their way out of one connection: encoded heads in a reused buffer, large body parts as they are.

use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use crate::wire::{Reply, ReplyTo};

/// Body parts from this size on are not copied behind the head but written from where they are.
const SHARED_FROM_BYTES: usize = 2048;
/// Slices one vectored write takes; the system's limit is 1024.
const SLICES: usize = 128;
/// Buffer an idle connection may keep.
const KEPT_BYTES: usize = 64 * 1024;

/// A queue of bytes to write: everything in `queue`, then `tail`.
#[derive(Default)]
pub(super) struct Outgoing {
    queue: VecDeque<Bytes>,
    queued: usize,
    tail: BytesMut,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.tail.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.queued + self.tail.len()
    }

    /// Where frames are encoded.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    pub(super) fn push_reply(&mut self, to: ReplyTo, reply: Reply) {
        for part in reply.encode_head(to, &mut self.tail) {
            self.push_body(part);
        }
    }

    pub(super) fn push_body(&mut self, part: Bytes) {
        if part.len() < SHARED_FROM_BYTES {
            self.tail.extend_from_slice(&part);
            return;
        }
        self.seal_tail();
        self.queued += part.len();
        self.queue.push_back(part);
    }

    /// Takes over everything `other` holds.
    pub(super) fn append(&mut self, other: &mut Self) {
        if other.queue.is_empty() {
            if self.tail.is_empty() {
                std::mem::swap(&mut self.tail, &mut other.tail);
            } else {
                self.tail.extend_from_slice(&other.tail);
            }
        } else {
            self.seal_tail();
            self.queued += other.queued;
            self.queue.append(&mut other.queue);
            std::mem::swap(&mut self.tail, &mut other.tail);
        }
        other.queued = 0;
        other.tail.clear();
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            self.queued += self.tail.len();
            self.queue.push_back(self.tail.split().freeze());
        }
    }

    /// Writes until nothing is left or the socket takes no more.
    pub(super) fn poll_write(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        while !self.is_empty() {
            let wrote = if self.queue.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, &self.tail))?
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let parts = self.queue.iter().map(|b| &b[..]).chain([&self.tail[..]]);
                let filled = slices
                    .iter_mut()
                    .zip(parts)
                    .map(|(slot, part)| *slot = IoSlice::new(part))
                    .count();
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices[..filled]))?
            };
            if wrote == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            self.advance(wrote);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut wrote: usize) {
        while let Some(first) = self.queue.front_mut() {
            if wrote < first.len() {
                first.advance(wrote);
                self.queued -= wrote;
                return;
            }
            wrote -= first.len();
            self.queued -= first.len();
            self.queue.pop_front();
        }
        if wrote == self.tail.len() {
            self.tail.clear();
            if self.tail.capacity() > KEPT_BYTES {
                self.tail = BytesMut::new();
            }
        } else {
            self.tail.advance(wrote);
        }
    }
}
