//! Connections and their requests in flight: one thread, one `epoll`, as few system calls as the load allows.
//!
//! Per turn of a connection: one read, all replies in it, all requests that may follow, one write. What the
//! requests are is the business of a [`Work`]; the engine knows request numbers, windows, rates and time limits.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

use crate::frame::{OPAQUE_FIRST, OPAQUE_LAST};
use crate::load::{Phase, Shared};
use crate::reply::{self, Reply};
use crate::tally::{Fault, Tally};

/// Longest sleep of a thread: it looks at the phase of the run and for overdue requests at least this often.
const NAP: Duration = Duration::from_millis(10);

/// Bytes taken from a socket at once.
const READ_BYTES: usize = 512 * 1024;

/// With more than this in flight, a blocking write could wait for a server that waits for us to read.
const BLOCKING_WINDOW: usize = 256;

/// What a work wants to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A request was appended; the token comes back with its answer.
    Sent(u64),
    /// Nothing before another answer came.
    Wait,
    /// Nothing ever again.
    Done,
}

/// A reply to one of the requests.
pub struct Answer<'a> {
    /// What `fill` returned for the request.
    pub token: u64,
    /// When the request was due, in nanoseconds.
    pub due_ns: u64,
    /// When the reply was read.
    pub now_ns: u64,
    /// Its header.
    pub reply: &'a Reply<'a>,
    /// Its body.
    pub body: &'a [u8],
}

/// Makes the requests of one connection and judges their replies.
pub trait Work: Send {
    /// Appends the next request, numbered `opaque` and due at `due_ns`.
    fn fill(&mut self, opaque: u32, due_ns: u64, out: &mut Vec<u8>) -> Next;

    /// Takes a reply.
    fn answer(&mut self, answer: &Answer<'_>, tally: &mut Tally);

    /// The connection may be closed although requests are in flight.
    fn may_leave(&self) -> bool {
        false
    }
}

/// A connection and what is to be done on it.
pub struct Lane {
    /// Connected socket.
    pub stream: TcpStream,
    /// Its work.
    pub work: Box<dyn Work>,
    /// Most requests in flight.
    pub window: usize,
    /// Open loop: one request every so many nanoseconds, the first one at the time given.
    pub pace: Option<Pace>,
}

/// Times at which requests are due, whether or not earlier ones were answered.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// First request.
    pub first_ns: u64,
    /// Distance of two requests.
    pub every_ns: u64,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    opaque: u32,
    token: u64,
    due_ns: u64,
}

struct Connection {
    stream: TcpStream,
    work: Box<dyn Work>,
    pace: Option<Pace>,
    /// Requests in flight; `opaque` 0 means free.
    slots: Vec<Slot>,
    free: Vec<usize>,
    generation: u32,
    /// Start of a frame whose rest has not arrived.
    partial: Vec<u8>,
    out: Vec<u8>,
    written: usize,
    waits_for_room: bool,
    done: bool,
    closed: bool,
}

impl Connection {
    fn new(lane: Lane) -> Self {
        Self {
            stream: lane.stream,
            work: lane.work,
            pace: lane.pace,
            slots: vec![Slot::default(); lane.window],
            free: (0..lane.window).rev().collect(),
            generation: 0,
            partial: Vec::new(),
            out: Vec::new(),
            written: 0,
            waits_for_room: false,
            done: false,
            closed: false,
        }
    }

    fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// When the next paced request can be sent.
    fn due_ns(&self) -> Option<u64> {
        let pace = self
            .pace
            .filter(|_| !self.done && !self.closed && !self.free.is_empty())?;
        Some(pace.first_ns)
    }

    fn is_finished(&self) -> bool {
        self.closed || self.done && self.free.len() == self.slots.len() || self.work.may_leave()
    }

    /// Takes every whole frame of `bytes`; how many bytes those were.
    fn take_replies(&mut self, bytes: &[u8], now_ns: u64, tally: &mut Tally) -> usize {
        let mut at = 0;
        loop {
            match reply::first_frame(&bytes[at..]) {
                Ok(Some(frame)) => {
                    at += frame.total;
                    if frame.reply.flag & 1 != 0 {
                        self.take_reply(&frame.reply, frame.body, now_ns, tally);
                    }
                }
                Ok(None) => return at,
                Err(malformed) => {
                    tally
                        .faults
                        .add(Fault::Unexpected, 1, || malformed.to_string());
                    self.end("its bytes make no sense", tally);
                    return bytes.len();
                }
            }
        }
    }

    fn take_reply(&mut self, reply: &Reply<'_>, body: &[u8], now_ns: u64, tally: &mut Tally) {
        let opaque = u32::try_from(reply.opaque).unwrap_or(0);
        let slots = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let index = usize::try_from(opaque.wrapping_sub(OPAQUE_FIRST) % slots).unwrap_or(0);
        let slot = self.slots[index];
        if opaque == 0 || slot.opaque != opaque {
            tally.faults.add(Fault::Unexpected, 1, || {
                format!("a reply to opaque {opaque}, which is not in flight")
            });
            return;
        }
        self.slots[index].opaque = 0;
        self.free.push(index);
        let answer = Answer {
            token: slot.token,
            due_ns: slot.due_ns,
            now_ns,
            reply,
            body,
        };
        self.work.answer(&answer, tally);
        tally.last_reply_ns = now_ns;
    }

    /// Appends every request that may be sent now.
    fn refill(&mut self, now_ns: u64) {
        let slots = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let generations = (OPAQUE_LAST - OPAQUE_FIRST) / slots;
        while let Some(&index) = self.free.last()
            && !self.done
        {
            let due_ns = match self.pace {
                Some(pace) if pace.first_ns > now_ns => break,
                Some(pace) => pace.first_ns,
                None => now_ns,
            };
            self.generation = (self.generation + 1) % generations;
            let opaque = OPAQUE_FIRST + self.generation * slots + u32::try_from(index).unwrap_or(0);
            match self.work.fill(opaque, due_ns, &mut self.out) {
                Next::Sent(token) => {
                    self.free.pop();
                    self.slots[index] = Slot {
                        opaque,
                        token,
                        due_ns,
                    };
                    if let Some(pace) = &mut self.pace {
                        pace.first_ns += pace.every_ns;
                    }
                }
                Next::Wait => break,
                Next::Done => self.done = true,
            }
        }
    }

    /// Writes what is pending, as far as the socket takes it.
    fn flush(&mut self, tally: &mut Tally) {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) if count > 0 => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => {
                    self.end(&format!("write: {outcome:?}"), tally);
                    return;
                }
            }
        }
        self.out.clear();
        self.written = 0;
    }

    /// Gives up the connection.
    fn end(&mut self, why: &str, tally: &mut Tally) {
        self.closed = true;
        let in_flight = self.in_flight() as u64;
        tally.faults.add(Fault::Unanswered, in_flight.max(1), || {
            format!("connection ended with {in_flight} requests in flight: {why}")
        });
    }

    /// One turn with what `scratch` gets from the socket.
    fn turn(&mut self, scratch: &mut [u8], shared: &Shared, tally: &mut Tally) {
        match self.stream.read(scratch) {
            Ok(0) => self.end("closed by the server", tally),
            Ok(count) => {
                let now_ns = shared.now_ns();
                if self.partial.is_empty() {
                    let used = self.take_replies(&scratch[..count], now_ns, tally);
                    self.partial.extend_from_slice(&scratch[used..count]);
                } else {
                    let mut bytes = std::mem::take(&mut self.partial);
                    bytes.extend_from_slice(&scratch[..count]);
                    let used = self.take_replies(&bytes, now_ns, tally);
                    bytes.drain(..used);
                    self.partial = bytes;
                }
                self.refill(now_ns);
                self.flush(tally);
            }
            // Nothing to read: the time limit of a blocking socket, or readiness to write.
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                self.flush(tally);
            }
            Err(error) => self.end(&error.to_string(), tally),
        }
    }

    /// Sends what has become due without an answer having come.
    fn tick(&mut self, now_ns: u64, tally: &mut Tally) {
        self.refill(now_ns);
        self.flush(tally);
    }

    fn give_up_overdue(&mut self, now_ns: u64, limit_ns: u64, tally: &mut Tally) {
        let overdue =
            |slot: &&Slot| slot.opaque != 0 && now_ns.saturating_sub(slot.due_ns) > limit_ns;
        let count = self.slots.iter().filter(overdue).count();
        if count > 0 && !self.closed {
            self.end(
                &format!(
                    "{count} of them for more than {} s",
                    limit_ns / 1_000_000_000
                ),
                tally,
            );
        }
    }
}

/// Runs the lanes of one thread until all are done.
pub fn run(
    lanes: Vec<Lane>,
    thread: usize,
    shared: &Shared,
    mut tally: Tally,
) -> std::io::Result<Tally> {
    let blocking =
        lanes.len() == 1 && lanes[0].pace.is_none() && lanes[0].window <= BLOCKING_WINDOW;
    let paced = lanes.iter().any(|lane| lane.pace.is_some());
    let mut connections: Vec<Connection> = lanes.into_iter().map(Connection::new).collect();
    let mut scratch = vec![0; READ_BYTES];
    let wake = if blocking {
        Wake::blocking(&connections[0].stream)?
    } else {
        Wake::epoll(&connections)?
    };
    if paced {
        // Otherwise the system may end a sleep 50 µs late to save wake-ups.
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    }
    let mut look_ns = 0;
    let mut ready = Vec::new();
    loop {
        let now_ns = shared.now_ns();
        tally.measuring = shared.phase() == Phase::Measure;
        if now_ns >= look_ns || paced {
            for (index, connection) in connections
                .iter_mut()
                .enumerate()
                .filter(|(_, it)| !it.closed)
            {
                if now_ns >= look_ns {
                    connection.give_up_overdue(now_ns, shared.timeout_ns, &mut tally);
                }
                connection.tick(now_ns, &mut tally);
                wake.settle(index, connection)?;
            }
        }
        if now_ns >= look_ns {
            look_ns = now_ns + u64::try_from(NAP.as_nanos()).unwrap_or(0);
            if connections.iter().all(Connection::is_finished) {
                return Ok(tally);
            }
        }
        match &wake {
            Wake::Read if connections[0].is_finished() => return Ok(tally),
            Wake::Read => connections[0].turn(&mut scratch, shared, &mut tally),
            Wake::Epoll(epoll) => {
                let due_ns = connections.iter().filter_map(Connection::due_ns).min();
                let until_ns = due_ns.unwrap_or(look_ns).min(look_ns);
                wait(epoll, until_ns.saturating_sub(now_ns), paced, &mut ready)?;
                for &index in &ready {
                    connections[index].turn(&mut scratch, shared, &mut tally);
                    wake.settle(index, &mut connections[index])?;
                }
            }
        }
        shared.publish(thread, &tally);
    }
}

/// How a thread learns that something arrived.
enum Wake {
    /// Its only socket is read with a time limit: a system call less per turn.
    Read,
    /// Readiness of many sockets.
    Epoll(OwnedFd),
}

impl Wake {
    fn blocking(stream: &TcpStream) -> std::io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(NAP))?;
        Ok(Self::Read)
    }

    fn epoll(connections: &[Connection]) -> std::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (index, connection) in connections.iter().enumerate() {
            connection.stream.set_nonblocking(true)?;
            epoll::add(
                &epoll,
                &connection.stream,
                epoll::EventData::new_u64(index as u64),
                epoll::EventFlags::IN,
            )?;
        }
        Ok(Self::Epoll(epoll))
    }

    /// Watches for what the connection needs now: room to write while something is pending, nothing once it is closed.
    fn settle(&self, index: usize, connection: &mut Connection) -> std::io::Result<()> {
        let Self::Epoll(epoll) = self else {
            return Ok(());
        };
        if connection.closed {
            // A closed socket would be ready for ever.
            return Ok(epoll::delete(epoll, &connection.stream)?);
        }
        let pending = connection.written < connection.out.len();
        if pending != connection.waits_for_room {
            connection.waits_for_room = pending;
            let flags = if pending {
                epoll::EventFlags::IN | epoll::EventFlags::OUT
            } else {
                epoll::EventFlags::IN
            };
            epoll::modify(
                epoll,
                &connection.stream,
                epoll::EventData::new_u64(index as u64),
                flags,
            )?;
        }
        Ok(())
    }
}

/// Waits until sockets are ready, at most `nap_ns`; which ones are goes to `ready`.
///
/// `epoll_wait` counts in milliseconds. With `exact`, for requests that are due at a time, `ppoll` on the epoll waits
/// instead: a system call more, but no request is late by half a millisecond before it is sent.
fn wait(epoll: &OwnedFd, nap_ns: u64, exact: bool, ready: &mut Vec<usize>) -> std::io::Result<()> {
    ready.clear();
    let mut nap = timespec(nap_ns);
    if exact {
        match poll(&mut [PollFd::new(epoll, PollFlags::IN)], Some(&nap)) {
            Ok(_) => nap = timespec(0),
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    let none = epoll::Event {
        flags: epoll::EventFlags::empty(),
        data: epoll::EventData::new_u64(0),
    };
    let mut events = [none; 64];
    match epoll::wait(epoll, &mut events, Some(&nap)) {
        Ok(count) => {
            let index = |event: &epoll::Event| usize::try_from(event.data.u64()).ok();
            ready.extend(events[..count].iter().filter_map(index));
            Ok(())
        }
        Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn timespec(nanoseconds: u64) -> Timespec {
    let duration = Duration::from_nanos(nanoseconds);
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(0),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests;
