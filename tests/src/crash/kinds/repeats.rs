use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use common::message::batch::{self, BatchMessage};
use rand::Rng;
use rand::rngs::StdRng;

use super::{
    Journal, Kind, Shift, Window, Wrong, body_of, follow, number_of, properties, property, read_on,
};
use crate::{Answer, Connection, Record};

const TOPIC: &str = "crash-repeats";
const QUEUES: u32 = 2;
/// Clients that send.
const SENDERS: usize = 4;
/// Sends of one client that are in flight together.
const TOGETHER: usize = 8;
/// Sends a client can repeat although it has their answers.
const KEPT: usize = 200;

/// Messages that are sent again with their ids, because a kill took the answer or for no reason, to a
/// topic that stores such a message once.
///
/// Whatever was acknowledged is there once, however often it was sent, and every answer says where.
#[derive(Debug)]
pub struct Repeats {
    seed: u64,
    next: AtomicU64,
    journal: Journal<BTreeMap<u64, Repeated>>,
    /// What each client has sent and was never told about, over all lives of the broker.
    unanswered: [Mutex<Vec<Sent>>; SENDERS],
}

/// What is known of a message.
#[derive(Clone, Debug, Default)]
pub struct Repeated {
    sent: u32,
    /// Where in the log it lies, or waits, as the first answer has said.
    promised: Option<i64>,
    delivered: Option<(u32, i64, i64)>,
}

/// One request, which may be repeated.
#[derive(Clone, Copy, Debug)]
struct Sent {
    first: u64,
    count: u64,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    /// Several in one request.
    Batch,
    /// To be delivered a second later.
    Delayed,
}

impl Repeats {
    fn properties(&self, number: u64, form: Form) -> String {
        let key = format!("R{:x}N{number}", self.seed);
        let level = if form == Form::Delayed { "1" } else { "0" };
        properties(&[("UNIQ_KEY", &key), ("WAIT", "true"), ("DELAY", level)])
    }

    fn begin(&self, rng: &mut StdRng) -> Sent {
        let (form, count) = match rng.random_range(0..10) {
            0..2 => (Form::Batch, rng.random_range(2..=5)),
            2..4 => (Form::Delayed, 1),
            _ => (Form::Plain, 1),
        };
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        Sent { first, count, form }
    }

    fn frame(&self, connection: &mut Connection, sent: Sent) -> Result<Vec<u8>> {
        let numbers = sent.first..sent.first + sent.count;
        self.journal.ask(|pages| {
            for number in numbers.clone() {
                pages.notes.entry(number).or_default().sent += 1;
            }
        });
        let queue = u32::try_from(sent.first % u64::from(QUEUES))?;
        if sent.form != Form::Batch {
            let (properties, body) = (
                self.properties(sent.first, sent.form),
                body_of(self.seed, sent.first),
            );
            return Ok(connection.send_frame(TOPIC, queue, &properties, body.as_bytes()));
        }
        let mut all = Vec::new();
        for number in numbers {
            let (body, properties) = (
                body_of(self.seed, number),
                self.properties(number, sent.form),
            );
            let message = BatchMessage {
                flag: 0,
                body: body.as_bytes(),
                properties: &properties,
            };
            batch::encode(&message, &mut all)?;
        }
        Ok(connection.batch_frame(TOPIC, queue, &all))
    }

    /// Notes where the broker says its messages are, which is the same each time.
    fn answered(&self, sent: Sent, answer: Answer) -> Result<()> {
        let answer = answer.ok().with_context(|| format!("{sent:?}"))?;
        // An id is the store's address and the place in the log.
        let places = answer.field("msgId").split(',').map(|id| {
            let place = id.get(16..32).with_context(|| format!("{answer:?}"))?;
            Ok(i64::from_str_radix(place, 16)?)
        });
        let places: Vec<i64> = places.collect::<Result<_>>()?;
        ensure!(places.len() as u64 == sent.count, "{sent:?}: {answer:?}");
        self.journal.note(|pages| {
            pages.acknowledged += 1;
            for (number, place) in (sent.first..).zip(places) {
                let known = pages.notes.entry(number).or_default();
                let before = *known.promised.get_or_insert(place);
                let known = known.clone();
                if before != place {
                    pages.fault(Wrong::Twice, || {
                        format!("{number} acknowledged at {place}: {known:?}")
                    });
                }
                check_place(number, sent.form, pages);
            }
        });
        Ok(())
    }

    fn work(&self, me: usize, address: &str, mut rng: StdRng, shift: &Shift) -> Result<()> {
        let mut unanswered = self.unanswered[me]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut connection = Connection::open(address)?;
        let mut answered = VecDeque::new();
        while shift.begins() || (shift.goes_on() && !unanswered.is_empty()) {
            while shift.begins() && unanswered.len() < TOGETHER {
                unanswered.push(self.begin(&mut rng));
            }
            let mut sends = unanswered.clone();
            while !sends.is_empty() && rng.random_ratio(1, 3) {
                let known = rng.random_range(0..sends.len() + answered.len());
                let again = sends
                    .get(known)
                    .or_else(|| answered.get(known - sends.len()));
                let again = *again.context("one of both")?;
                sends.insert(rng.random_range(0..=sends.len()), again);
            }
            let mut window = Window::new();
            for sent in sends {
                let frame = self.frame(&mut connection, sent)?;
                window.add(&connection, frame, sent);
            }
            window.exchange(&mut connection, |sent, answer| {
                self.answered(sent, answer)?;
                unanswered.retain(|other| other.first != sent.first);
                answered.push_back(sent);
                Ok(())
            })?;
            answered.drain(..answered.len().saturating_sub(KEPT));
            thread::sleep(Duration::from_millis(rng.random_range(0..20)));
        }
        Ok(())
    }

    fn arrived(&self, record: &Record, queue: u32) {
        let number = number_of(self.seed, &record.body);
        let place = (queue, record.offset, record.at);
        self.journal.note(|pages| {
            pages.positions.insert((TOPIC, queue), record.offset + 1);
            pages.delivered += 1;
            let known = number.and_then(|number| Some((number, pages.notes.get_mut(&number)?)));
            let Some((number, known)) = known else {
                return pages.fault(Wrong::Other, || format!("nobody sent {record:?}"));
            };
            let before = known.delivered.replace(place);
            let known = known.clone();
            if before.is_some() {
                pages.fault(Wrong::Twice, || {
                    format!("{number} was at {before:?}: {known:?}")
                });
            }
            let delayed = property(record, "DELAY") == Some("1");
            let form = if delayed { Form::Delayed } else { Form::Plain };
            check_place(number, form, pages);
        });
    }
}

/// A fault when a message that goes to its queue at once is not where the broker has said.
fn check_place(
    number: u64,
    form: Form,
    pages: &mut super::journal::Pages<BTreeMap<u64, Repeated>>,
) {
    let Some(known) = pages.notes.get(&number).cloned() else {
        return;
    };
    if let (Some(promised), Some((.., at))) = (known.promised, known.delivered)
        && promised != at
        && form != Form::Delayed
    {
        pages.fault(Wrong::Other, || format!("{number} is elsewhere: {known:?}"));
    }
}

impl Kind for Repeats {
    type Notes = BTreeMap<u64, Repeated>;
    const NAME: &'static str = "repeats";
    const TOPICS: &'static [(&'static str, u32, &'static str)] =
        &[(TOPIC, QUEUES, "+deduplication.window.ms=600000")];
    const CLIENTS: usize = 1 + SENDERS;
    const SETTINGS: &'static [(&'static str, &'static str)] = &[("messageDelayLevel", "1s 2s 3s")];
    // What the log has no more cannot be recognized.
    const MOVED_ON: Option<Duration> = None;

    fn new(seed: u64) -> Self {
        Self {
            seed,
            next: AtomicU64::new(1),
            journal: Journal::default(),
            unanswered: Default::default(),
        }
    }

    fn journal(&self) -> &Journal<Self::Notes> {
        &self.journal
    }

    fn client(&self, number: usize, address: &str, rng: StdRng, shift: &Shift) -> Result<()> {
        match number.checked_sub(1) {
            None => follow(self, address, shift),
            Some(sender) => self.work(sender, address, rng, shift),
        }
    }

    fn read(&self, connection: &mut Connection) -> Result<()> {
        read_on(self, connection, |record, queue| {
            self.arrived(record, queue);
        })
    }

    fn awaited(&self) -> Vec<String> {
        let pages = self.journal.pages();
        let awaited = pages
            .notes
            .iter()
            .filter(|(_, known)| known.promised.is_some() && known.delivered.is_none());
        awaited
            .map(|(number, known)| format!("{number}: {known:?}"))
            .collect()
    }
}
