//! One connection: its shared handle and the loop that reads, runs turns and writes.

use super::error::TransportError;
use super::in_flight::{InFlight, Response};
use super::outgoing::Outgoing;
use super::turn::{Replies, Requests, Service};
use crate::wire::{Command, MAX_FRAME_BYTES, Reply, ReplyTo, split_frame};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, sleep_until};

/// Buffer all connections of a thread read into; a connection owns memory only while a frame is incomplete.
const SCRATCH_BYTES: usize = 256 * 1024;
/// An incomplete frame up to this size is copied in front of the next read.
const MOVED_BYTES: usize = 16 * 1024;
/// Memory for incomplete frames a connection may keep while it has none.
const KEPT_PARTIAL_BYTES: usize = 64 * 1024;
/// A connection whose peer leaves this much unread is not read from until it catches up.
const UNREAD_LIMIT_BYTES: usize = 4 * 1024 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Handle of a connection, for any thread: answers, requests to the peer, the end.
pub struct Connection {
    id: u64,
    peer: SocketAddr,
    local: SocketAddr,
    late: Mutex<Late>,
    in_flight: InFlight,
    next_opaque: AtomicI32,
    congested: AtomicBool,
}

/// What other threads want written.
#[derive(Default)]
struct Late {
    out: Outgoing,
    waker: Option<Waker>,
    closing: bool,
    closed: bool,
}

impl Connection {
    pub(super) fn new(stream: &TcpStream) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            peer: stream.peer_addr()?,
            local: stream.local_addr()?,
            late: Mutex::default(),
            in_flight: InFlight::default(),
            next_opaque: AtomicI32::new(0),
            congested: AtomicBool::new(false),
        }))
    }

    /// Unique in this process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Address of the other side.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Address of this side.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Answers a request of an earlier turn. Does nothing for one-way requests and closed connections.
    pub fn reply(&self, to: ReplyTo, reply: Reply) {
        if !to.oneway {
            self.write_late(|out| out.push_reply(to, reply));
        }
    }

    /// Answers requests of earlier turns as a turn does.
    pub fn answer(&self, work: impl FnOnce(&mut Replies<'_>)) {
        let mut answers = Outgoing::default();
        work(&mut Replies::new(&mut answers));
        if !answers.is_empty() {
            self.write_late(|out| out.append(&mut answers));
        }
    }

    /// Queues frames that are encoded already.
    pub fn write_frames(&self, frames: &[u8]) {
        self.write_late(|out| out.buffer().extend_from_slice(frames));
    }

    /// Sends a request that wants no answer.
    pub fn send_oneway(&self, mut command: Command, body: Bytes) {
        command.flag |= crate::wire::command::FLAG_ONEWAY;
        command.opaque = self.next_opaque();
        self.write_late(|out| push_request(out, &command, body));
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// [`TransportError::TooLarge`], [`TransportError::Timeout`] or [`TransportError::Closed`].
    pub async fn call(
        &self,
        mut command: Command,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Response, TransportError> {
        let code = command.code;
        let bytes = body.len();
        if bytes > MAX_FRAME_BYTES {
            return Err(TransportError::TooLarge {
                code,
                bytes,
                limit: MAX_FRAME_BYTES,
            });
        }
        let opaque = self.next_opaque();
        command.opaque = opaque;
        let answer = self.in_flight.wait(opaque);
        let waiting = Waiting {
            in_flight: &self.in_flight,
            opaque,
        };
        let closed = || TransportError::Closed {
            address: self.peer.to_string(),
            code,
        };
        if !self.write_late(|out| push_request(out, &command, body)) {
            return Err(closed());
        }
        let outcome = tokio::time::timeout(timeout, answer).await;
        drop(waiting);
        match outcome {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(_)) => Err(closed()),
            Err(_) => Err(TransportError::Timeout {
                address: self.peer.to_string(),
                code,
                timeout,
            }),
        }
    }

    /// Ends the connection once what is queued has been written.
    pub fn close(&self) {
        let mut late = self.late.lock();
        late.closing = true;
        if let Some(waker) = late.waker.take() {
            drop(late);
            waker.wake();
        }
    }

    /// True when nothing more will be written.
    pub fn is_closed(&self) -> bool {
        let late = self.late.lock();
        late.closed || late.closing
    }

    /// True while the peer does not read what is written.
    pub fn is_congested(&self) -> bool {
        self.congested.load(Ordering::Relaxed) || self.late.lock().out.bytes() > UNREAD_LIMIT_BYTES
    }

    pub(super) fn complete(&self, command: &Command, body: &[u8]) {
        self.in_flight.complete(command, body);
    }

    fn next_opaque(&self) -> i32 {
        self.next_opaque.fetch_add(1, Ordering::Relaxed)
    }

    /// False when the connection is closed.
    fn write_late(&self, write: impl FnOnce(&mut Outgoing)) -> bool {
        let mut late = self.late.lock();
        if late.closed {
            return false;
        }
        write(&mut late.out);
        if let Some(waker) = late.waker.take() {
            drop(late);
            waker.wake();
        }
        true
    }

    /// Moves what others queued to `out`; asks to be woken for more. True when the connection shall end.
    fn take_late(&self, out: &mut Outgoing, cx: &Context<'_>) -> bool {
        let mut late = self.late.lock();
        if !late.out.is_empty() {
            out.append(&mut late.out);
        }
        if !late
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            late.waker = Some(cx.waker().clone());
        }
        late.closing
    }

    fn finish(&self) {
        let mut late = self.late.lock();
        late.closed = true;
        late.out = Outgoing::default();
        late.waker = None;
        drop(late);
        self.in_flight.fail_all();
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

fn push_request(out: &mut Outgoing, command: &Command, body: Bytes) {
    command.encode_head(body.len(), out.buffer());
    out.push_body(body);
}

/// Takes the waiting entry back when the caller stops waiting, however it stops.
struct Waiting<'a> {
    in_flight: &'a InFlight,
    opaque: i32,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.in_flight.forget(self.opaque);
    }
}

/// Runs a connection to its end.
pub(super) async fn run<S: Service>(
    stream: TcpStream,
    connection: Arc<Connection>,
    service: Arc<S>,
    idle_timeout: Duration,
) {
    let session = service.connected(&connection);
    let mut state = Loop {
        stream,
        connection: Arc::clone(&connection),
        service: Arc::clone(&service),
        session,
        command: Command::default(),
        partial: BytesMut::new(),
        out: Outgoing::default(),
        last_active: Instant::now(),
        idle_timeout,
        paused: None,
        waited: false,
    };
    let mut idle = pin!(sleep_until(state.last_active + idle_timeout));
    let outcome = poll_fn(|cx| state.poll(cx, idle.as_mut())).await;
    match outcome {
        Ok(reason) => tracing::debug!(peer = %connection.peer, reason, "connection ended"),
        Err(error) => tracing::debug!(peer = %connection.peer, %error, "connection broke"),
    }
    connection.finish();
    service.closed(state.session, &connection);
}

struct Loop<S: Service> {
    stream: TcpStream,
    connection: Arc<Connection>,
    service: Arc<S>,
    session: S::Session,
    command: Command,
    /// The beginning of a frame whose rest has not arrived.
    partial: BytesMut,
    out: Outgoing,
    last_active: Instant,
    idle_timeout: Duration,
    /// What the rest of a turn waits for, which is in `partial`.
    paused: Option<JoinHandle<()>>,
    /// The next turn begins with the request that was waited for.
    waited: bool,
}

impl<S: Service> Loop<S> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        idle: Pin<&mut Sleep>,
    ) -> Poll<io::Result<&'static str>> {
        loop {
            let closing = self.connection.take_late(&mut self.out, cx);
            let written = self.out.poll_write(&mut self.stream, cx)?;
            let congested = &self.connection.congested;
            if congested.load(Ordering::Relaxed) != written.is_pending() {
                congested.store(written.is_pending(), Ordering::Relaxed);
            }
            if closing && written.is_ready() {
                return Poll::Ready(Ok("closed here"));
            }
            if closing || self.out.bytes() > UNREAD_LIMIT_BYTES {
                break;
            }
            match self.poll_turn(cx)? {
                Poll::Ready(Some(reason)) => return Poll::Ready(Ok(reason)),
                Poll::Ready(None) => self.last_active = Instant::now(),
                Poll::Pending => break,
            }
        }
        self.poll_idle(cx, idle)
    }

    fn poll_idle(
        &mut self,
        cx: &mut Context<'_>,
        mut idle: Pin<&mut Sleep>,
    ) -> Poll<io::Result<&'static str>> {
        while idle.as_mut().poll(cx).is_ready() {
            let until = self.last_active + self.idle_timeout;
            if until <= Instant::now() {
                return Poll::Ready(Ok("idle"));
            }
            idle.as_mut().reset(until);
        }
        Poll::Pending
    }

    /// Reads once and handles what is complete, or goes on with what has waited. `Some` when the connection is over.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<&'static str>>> {
        if let Some(work) = &mut self.paused {
            // Whether it has panicked shows when the request is taken again.
            let _ = ready!(Pin::new(work).poll(cx));
            (self.paused, self.waited) = (None, true);
            return Poll::Ready(Ok(self.take_partial().err()));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            // A short beginning of a frame moves in front of what is read now, so that one turn sees it all.
            let in_front = if self.partial.len() <= MOVED_BYTES {
                self.partial.len()
            } else {
                0
            };
            scratch[..in_front].copy_from_slice(&self.partial[..in_front]);
            let mut buffer = ReadBuf::new(&mut scratch[in_front..]);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(read) => read?,
            }
            let read = buffer.filled().len();
            if read == 0 {
                let whole = self.partial.is_empty();
                return Poll::Ready(Ok(Some(if whole {
                    "closed by the peer"
                } else {
                    "closed within a frame"
                })));
            }
            Poll::Ready(Ok(self.take(&scratch[..in_front + read], in_front).err()))
        })
    }

    /// Handles `arrived`, whose first `in_front` bytes are all of `partial`, or which continues `partial`.
    fn take(&mut self, arrived: &[u8], in_front: usize) -> Result<(), &'static str> {
        if in_front == self.partial.len() {
            let taken = self.turn(arrived)?;
            self.partial.clear();
            if self.partial.capacity() > KEPT_PARTIAL_BYTES {
                self.partial = BytesMut::new();
            }
            // Room grows with what has arrived, not with what was announced.
            self.partial.extend_from_slice(&arrived[taken..]);
            return Ok(());
        }
        self.partial.extend_from_slice(arrived);
        if let Ok(None) = split_frame(&self.partial) {
            return Ok(());
        }
        self.take_partial()
    }

    fn take_partial(&mut self) -> Result<(), &'static str> {
        let partial = std::mem::take(&mut self.partial);
        let taken = self.turn(&partial)?;
        self.partial.extend_from_slice(&partial[taken..]);
        Ok(())
    }

    /// One turn over `arrived`; returns the bytes taken.
    fn turn(&mut self, arrived: &[u8]) -> Result<usize, &'static str> {
        let waited = std::mem::take(&mut self.waited);
        let mut requests = Requests::new(arrived, &mut self.command, &self.connection, waited);
        let mut replies = Replies::new(&mut self.out);
        let (service, session, connection) = (&self.service, &mut self.session, &self.connection);
        let ran = catch_unwind(AssertUnwindSafe(|| {
            service.turn(session, connection, &mut requests, &mut replies);
        }));
        if ran.is_err() {
            tracing::error!(peer = %self.connection.peer, "a request handler panicked; its connection is closed");
            return Err("a request handler panicked");
        }
        let (taken, broken, pause) = requests.finish();
        self.paused = pause.map(tokio::task::spawn_blocking);
        match broken {
            None => Ok(taken),
            Some(error) => {
                tracing::warn!(peer = %self.connection.peer, %error, "closing a connection that sent a malformed frame");
                Err("malformed frame")
            }
        }
    }
}
