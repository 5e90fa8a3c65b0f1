use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use common::message::batch::{self, BatchMessage};
use rand::Rng;
use rand::rngs::StdRng;

use super::{
    Journal, Kind, Shift, Window, Wrong, body_of, follow, number_of, properties, property,
};
use crate::{Answer, Connection, Record, records};

/// A topic whose queues are for whole batches, and one of single messages.
const WHOLE: &str = "crash-whole";
const SINGLE: &str = "crash-single";
const QUEUES: u32 = 2;
const LIGHT: [&str; 3] = ["%LMQ%crash-a", "%LMQ%crash-b", "%LMQ%crash-c"];
/// Requests of one client that are in flight together.
const TOGETHER: usize = 8;
/// Clients that send.
const SENDERS: usize = 4;

/// Batches: those that become single messages, and those that stay one record and take an offset for
/// each message; and messages that lie in light queues, too.
///
/// Whatever was acknowledged is in every queue it was for, once, at the offset that was named; offsets
/// are dense.
#[derive(Debug)]
pub struct Spread {
    seed: u64,
    next: AtomicU64,
    journal: Journal<BTreeMap<u64, Message>>,
}

/// Topic and number.
type Queue = (&'static str, u32);

/// What is known of a message.
#[derive(Clone, Debug)]
pub struct Message {
    queue: Queue,
    /// Light queues it is for, by their bit.
    light: u64,
    /// The offset that was acknowledged.
    promised: Option<i64>,
    /// Where it was seen.
    seen: Vec<(Queue, i64)>,
}

/// One request.
#[derive(Debug)]
struct Sent {
    queue: Queue,
    first: u64,
    count: u64,
}

impl Spread {
    /// The light queues of a message: those of a whole batch are those of its first.
    fn light(&self, sent: &Sent, number: u64) -> u64 {
        let number = if sent.queue.0 == WHOLE {
            sent.first
        } else {
            number
        };
        (number ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61
    }

    fn properties(&self, light: u64, number: u64) -> String {
        let key = format!("S{:x}N{number}", self.seed);
        let names = light_queues(light).collect::<Vec<_>>().join(",");
        let mut pairs = vec![("UNIQ_KEY", key.as_str()), ("WAIT", "true")];
        if light > 0 {
            pairs.push(("INNER_MULTI_DISPATCH", &names));
        }
        properties(&pairs)
    }

    fn send(&self, connection: &mut Connection, rng: &mut StdRng) -> Result<(Vec<u8>, Sent)> {
        let count = if rng.random() {
            1
        } else {
            rng.random_range(2..=9)
        };
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        let sent = Sent {
            queue: (
                if rng.random() { WHOLE } else { SINGLE },
                rng.random_range(0..QUEUES),
            ),
            first,
            count,
        };
        let (topic, queue) = sent.queue;
        let numbers = first..first + count;
        self.journal.ask(|pages| {
            for number in numbers.clone() {
                let message = Message {
                    queue: sent.queue,
                    light: self.light(&sent, number),
                    promised: None,
                    seen: Vec::new(),
                };
                pages.notes.insert(number, message);
            }
        });
        let properties = self.properties(self.light(&sent, first), first);
        if count == 1 {
            let body = body_of(self.seed, first);
            let frame = connection.send_frame(topic, queue, &properties, body.as_bytes());
            return Ok((frame, sent));
        }
        let mut all = Vec::new();
        for number in numbers {
            let light = self.light(&sent, number);
            let (body, properties) = (body_of(self.seed, number), self.properties(light, number));
            let message = BatchMessage {
                flag: 0,
                body: body.as_bytes(),
                properties: &properties,
            };
            batch::encode(&message, &mut all)?;
        }
        let frame = connection.batch_frame_with(topic, queue, &properties, &all);
        Ok((frame, sent))
    }

    fn answered(&self, sent: &Sent, answer: Answer) -> Result<()> {
        let answer = answer.ok().with_context(|| format!("{sent:?}"))?;
        let offset = answer.number("queueOffset")?;
        self.journal.note(|pages| {
            pages.acknowledged += 1;
            for (number, offset) in (sent.first..sent.first + sent.count).zip(offset..) {
                if let Some(message) = pages.notes.get_mut(&number) {
                    message.promised = Some(offset);
                }
                check_place(number, pages);
            }
        });
        Ok(())
    }

    fn work(&self, address: &str, mut rng: StdRng, shift: &Shift) -> Result<()> {
        let mut connection = Connection::open(address)?;
        while shift.begins() {
            let mut window = Window::new();
            for _ in 0..rng.random_range(1..=TOGETHER) {
                let (frame, sent) = self.send(&mut connection, &mut rng)?;
                window.add(&connection, frame, sent);
            }
            window.exchange(&mut connection, |sent, answer| self.answered(&sent, answer))?;
            thread::sleep(Duration::from_millis(rng.random_range(0..20)));
        }
        Ok(())
    }

    /// Numbers of the messages that a record holds.
    fn numbers(&self, record: &Record) -> Result<Vec<u64>> {
        let number = |body: &[u8]| {
            let number = number_of(self.seed, body);
            number.with_context(|| format!("nobody sent {}", String::from_utf8_lossy(body)))
        };
        let Some(count) = property(record, "INNER_NUM") else {
            return Ok(vec![number(&record.body)?]);
        };
        let messages = batch::split(&record.body).map(|message| number(message?.body));
        let numbers: Vec<u64> = messages.collect::<Result<_>>()?;
        ensure!(count == numbers.len().to_string(), "{count} in {record:?}");
        Ok(numbers)
    }

    /// A record was read at `offset` of a queue; the offset that follows.
    fn arrived(&self, queue: Queue, offset: i64, record: &Record) -> Result<i64> {
        let numbers = self.numbers(record)?;
        let light = LIGHT.contains(&queue.0);
        // A light queue counts records, and only they know where in it they are.
        let (found, step) = if light {
            (light_offset(record, queue.0)?, 1)
        } else {
            (record.offset, i64::try_from(numbers.len())?)
        };
        ensure!(found == offset, "at {queue:?} {offset}: {record:?}");
        self.journal.note(|pages| {
            pages.positions.insert(queue, offset + step);
            for (nth, number) in (0..).zip(numbers) {
                pages.delivered += 1;
                let place = (queue, offset + if light { 0 } else { nth });
                let Some(message) = pages.notes.get_mut(&number) else {
                    pages.fault(Wrong::Other, || format!("nobody sent {number}: {record:?}"));
                    continue;
                };
                let again = message.seen.iter().any(|((topic, _), _)| *topic == queue.0);
                message.seen.push(place);
                let message = message.clone();
                if again {
                    pages.fault(Wrong::Twice, || format!("{number}: {message:?}"));
                }
                if !message.queues().contains(&queue) {
                    pages.fault(Wrong::Unwanted, || format!("{number}: {message:?}"));
                }
                check_place(number, pages);
            }
        });
        Ok(offset + step)
    }
}

/// The light queues of these bits.
fn light_queues(bits: u64) -> impl Iterator<Item = &'static str> {
    let named = (0..)
        .zip(LIGHT)
        .filter(move |(bit, _)| bits >> bit & 1 == 1);
    named.map(|(_, name)| name)
}

/// Where in a light queue a record lies.
fn light_offset(record: &Record, light: &str) -> Result<i64> {
    let named = property(record, "INNER_MULTI_DISPATCH").unwrap_or("");
    let offsets = property(record, "INNER_MULTI_QUEUE_OFFSET").unwrap_or("");
    let mut pairs = named.split(',').zip(offsets.split(','));
    let pair = pairs.find(|(name, _)| *name == light);
    let (_, offset) = pair.with_context(|| format!("in {light}: {record:?}"))?;
    Ok(offset.parse()?)
}

/// A fault when a message is not where the broker has said.
fn check_place(number: u64, pages: &mut super::journal::Pages<BTreeMap<u64, Message>>) {
    let Some(message) = pages.notes.get(&number).cloned() else {
        return;
    };
    let own = message
        .seen
        .iter()
        .find(|(queue, _)| *queue == message.queue);
    if let (Some(promised), Some((_, offset))) = (message.promised, own)
        && promised != *offset
    {
        pages.fault(Wrong::Other, || {
            format!("{number} is elsewhere: {message:?}")
        });
    }
}

impl Message {
    /// All queues it is for.
    fn queues(&self) -> Vec<Queue> {
        let light = light_queues(self.light).map(|name| (name, 0));
        std::iter::once(self.queue).chain(light).collect()
    }
}

impl Kind for Spread {
    type Notes = BTreeMap<u64, Message>;
    const NAME: &'static str = "spread";
    const TOPICS: &'static [(&'static str, u32, &'static str)] =
        &[(WHOLE, QUEUES, "+queue.type=BatchCQ"), (SINGLE, QUEUES, "")];
    const CLIENTS: usize = 1 + SENDERS;
    const SETTINGS: &'static [(&'static str, &'static str)] =
        &[("enableLmq", "true"), ("enableMultiDispatch", "true")];
    const MOVED_ON: Option<Duration> = Some(Duration::from_secs(1));

    fn new(seed: u64) -> Self {
        Self {
            seed,
            next: AtomicU64::new(1),
            journal: Journal::default(),
        }
    }

    fn journal(&self) -> &Journal<Self::Notes> {
        &self.journal
    }

    fn client(&self, number: usize, address: &str, rng: StdRng, shift: &Shift) -> Result<()> {
        match number {
            0 => follow(self, address, shift),
            _ => self.work(address, rng, shift),
        }
    }

    fn read(&self, connection: &mut Connection) -> Result<()> {
        let own = [WHOLE, SINGLE]
            .into_iter()
            .flat_map(|topic| (0..QUEUES).map(move |queue| (topic, queue)));
        for queue in own.chain(LIGHT.map(|light| (light, 0))) {
            let mut offset = self.journal.position(queue);
            loop {
                let answer = connection.pull(queue.0, queue.1, offset)?;
                match answer.code {
                    0 => {
                        for record in records(&answer.body)? {
                            offset = self.arrived(queue, offset, &record)?;
                        }
                    }
                    // Nothing there.
                    19 => break,
                    code => bail!("pull {queue:?} at {offset}: code {code}: {}", answer.remark),
                }
            }
        }
        Ok(())
    }

    fn awaited(&self) -> Vec<String> {
        let pages = self.journal.pages();
        let awaited = pages.notes.iter().filter(|(_, message)| {
            let seen = |queue: &Queue| message.seen.iter().any(|(seen, _)| seen == queue);
            message.promised.is_some() && !message.queues().iter().all(seen)
        });
        awaited
            .map(|(number, message)| format!("{number}: {message:?}"))
            .collect()
    }
}
