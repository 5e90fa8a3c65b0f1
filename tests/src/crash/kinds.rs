//! A broker that is killed again and again while it keeps messages for later: for their time, until
//! their transaction ends, in their order.
//!
//! Each [`Kind`] has clients, which note in its [`Journal`] what they ask for before they ask and what
//! is acknowledged after that, and readers, which note what arrives. What a later life of the broker
//! does is judged by the same journal: it goes on over all kills of a store.

mod journal;
mod order;
mod repeats;
mod spread;
mod timers;
mod transactions;
mod trial;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use common::clock::{Clock, SystemClock};
use rand::rngs::StdRng;

pub use journal::Verdict;
pub use order::Order;
pub use repeats::Repeats;
pub use spread::Spread;
pub use timers::Timers;
pub use transactions::Transactions;
pub use trial::{KindCycle, KindTrial, Stop};

use crate::{Answer, Connection, Record, records};
use journal::{Journal, Wrong};

/// Between two looks at queues in which nothing new was found.
const LOOK: Duration = Duration::from_millis(5);

/// How long clients of a broker go on.
#[derive(Debug, Default)]
pub struct Shift {
    closing: AtomicBool,
    over: AtomicBool,
}

impl Shift {
    /// New things are begun.
    pub(super) fn begins(&self) -> bool {
        !self.closing.load(Ordering::Relaxed) && self.goes_on()
    }

    /// What was begun is brought to its end.
    pub(super) fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }
}

/// A kind of message, with what clients do with it and what has to come of that.
pub trait Kind: Sync + Sized {
    /// What this kind notes of its messages.
    type Notes: Default + Send;
    /// Its name at the command line and in reports.
    const NAME: &'static str;
    /// Topics, their queues and attributes.
    const TOPICS: &'static [(&'static str, u32, &'static str)];
    /// Clients that work side by side, each in a thread of its own.
    const CLIENTS: usize;
    /// What the broker's file has beside the usual.
    const SETTINGS: &'static [(&'static str, &'static str)];
    /// In which time the broker has moved on, delivered or forgotten whatever waited when it had started,
    /// and readers have read the rest: what the log held then can be deleted. `None`: never.
    const MOVED_ON: Option<Duration>;

    /// One with an empty journal.
    fn new(seed: u64) -> Self;

    /// Where everything is noted.
    fn journal(&self) -> &Journal<Self::Notes>;

    /// What client `number` does until its shift is over or its connection breaks.
    ///
    /// # Errors
    /// A broken connection, or something that must not be.
    fn client(&self, number: usize, address: &str, rng: StdRng, shift: &Shift) -> Result<()>;

    /// Reads on to the ends of the queues and notes what has come.
    ///
    /// # Errors
    /// When the broker cannot be asked.
    fn read(&self, connection: &mut Connection) -> Result<()>;

    /// What was acknowledged and has not come yet.
    fn awaited(&self) -> Vec<String>;

    /// Compares once more, when nothing is awaited any more and nothing else happens.
    ///
    /// # Errors
    /// When the broker cannot be asked.
    fn audit(&self, _connection: &mut Connection) -> Result<()> {
        Ok(())
    }
}

/// Reads on until the shift is over.
fn follow(kind: &impl Kind, address: &str, shift: &Shift) -> Result<()> {
    let mut connection = Connection::open(address)?;
    while shift.goes_on() {
        kind.read(&mut connection)?;
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Milliseconds since 1970, as brokers count.
fn now() -> i64 {
    SystemClock::new().now().0
}

/// Properties as they are sent.
fn properties(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter();
    pairs
        .flat_map(|(name, value)| [name, "\u{1}", value, "\u{2}"])
        .collect()
}

/// Requests that are written together, and what each was for.
struct Window<T> {
    frames: Vec<u8>,
    waiting: HashMap<i64, T>,
}

impl<T> Window<T> {
    fn new() -> Self {
        Self {
            frames: Vec::new(),
            waiting: HashMap::new(),
        }
    }

    /// Adds the request that `connection` has encoded last.
    fn add(&mut self, connection: &Connection, frame: Vec<u8>, purpose: T) {
        self.frames.extend(frame);
        self.waiting.insert(connection.last_opaque(), purpose);
    }

    /// Sends them all and takes the answers as they come: those before a broken connection count.
    fn exchange(
        mut self,
        connection: &mut Connection,
        mut take: impl FnMut(T, Answer) -> Result<()>,
    ) -> Result<()> {
        connection.write(&self.frames)?;
        while !self.waiting.is_empty() {
            let answer = connection.read()?;
            let purpose = self.waiting.remove(&answer.opaque);
            take(purpose.context("an answer to no request")?, answer)?;
        }
        Ok(())
    }
}

/// Reads on to the ends of the queues of a kind's one topic.
fn read_on<K: Kind>(
    kind: &K,
    connection: &mut Connection,
    mut take: impl FnMut(&Record, u32),
) -> Result<()> {
    for (topic, queues, _) in K::TOPICS {
        for queue in 0..*queues {
            let position = kind.journal().position((topic, queue));
            read_queue(connection, (topic, queue), position, |record| {
                take(record, queue);
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// Reads queue `queue` of `topic` from `offset` to its end; where the next one will be.
fn read_queue(
    connection: &mut Connection,
    (topic, queue): (&str, u32),
    mut offset: i64,
    mut take: impl FnMut(&Record) -> Result<()>,
) -> Result<i64> {
    loop {
        let answer = connection.pull(topic, queue, offset)?;
        match answer.code {
            0 => {
                for record in records(&answer.body)? {
                    let place = (record.topic.as_str(), record.queue, record.offset);
                    ensure!(
                        place == (topic, queue, offset),
                        "read at {topic}/{queue} {offset}: {record:?}"
                    );
                    take(&record)?;
                    offset += 1;
                }
            }
            // Nothing there.
            19 => return Ok(offset),
            code => bail!(
                "pull {topic}/{queue} at {offset}: code {code}: {}",
                answer.remark
            ),
        }
    }
}

/// The body of message `number` of a run.
fn body_of(seed: u64, number: u64) -> String {
    let length = usize::try_from(number.wrapping_mul(seed | 1) % 300).unwrap_or(0);
    format!("{number} of {seed:x} {}", "·".repeat(length))
}

/// The number of the message that has this body.
fn number_of(seed: u64, body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?;
    let number = number_after(text.split(' ').next()?, "")?;
    (text == body_of(seed, number)).then_some(number)
}

/// What is left of `text` behind `start`, as a number.
fn number_after(text: &str, start: &str) -> Option<u64> {
    text.strip_prefix(start)?.parse().ok()
}

/// The property `name` of a record.
fn property<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    let mut pairs = record.properties.split('\u{2}');
    pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('\u{1}'))
}
