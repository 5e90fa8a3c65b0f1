use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::{Journal, Kind, LOOK, Shift, Window, Wrong, properties, property, read_queue};
use crate::{Answer, CONSUMER_GROUP, Connection, Record, records};

const TOPIC: &str = "crash-order";
const QUEUES: u32 = 4;
const CLIENTS_THAT_CONSUME: usize = 2;
const CLIENTS_THAT_SEND: usize = 3;
/// Message groups of one sender; every third is sent with a delay level.
const GROUPS: u32 = 5;
/// Batches a consumer takes from a queue before it gives the queue up, at most.
const STAY: u32 = 6;

const LOCK_BATCH_MQ: i32 = 41;
const UNLOCK_BATCH_MQ: i32 = 42;
const QUERY_CONSUMER_OFFSET: i32 = 14;
const UPDATE_CONSUMER_OFFSET: i32 = 15;
/// No offset is known.
const QUERY_NOT_FOUND: i64 = 22;

/// Message groups, each sent one by one into a queue of its own, some through a delay level; and
/// consumers that take queues from each other under the broker's locks and go on at the offset of
/// their group.
///
/// Each group's messages lie in their queue in order and are consumed in it, none is skipped, none is
/// there more often than it was sent, and a confirmed offset does not go back.
#[derive(Debug)]
pub struct Order {
    seed: u64,
    journal: Journal<Orders>,
}

/// What is known of groups and queues.
#[derive(Debug, Default)]
pub struct Orders {
    groups: BTreeMap<u32, Group>,
    queues: BTreeMap<u32, Queue>,
}

/// A message group.
#[derive(Clone, Debug, Default)]
struct Group {
    /// How often each message was sent, from the first on.
    sent: Vec<u32>,
    /// Messages that were acknowledged.
    promised: usize,
    /// Messages that were consumed, without those consumed again.
    consumed: usize,
}

/// A queue and its consumers.
#[derive(Clone, Debug, Default)]
struct Queue {
    holder: Option<usize>,
    /// The offset that was confirmed last, and the highest one that was asked for.
    confirmed: i64,
    asked: i64,
}

impl Order {
    fn frame(&self, connection: &mut Connection, group: u32) -> Vec<u8> {
        let mut place = 0;
        self.journal.ask(|pages| {
            let group = pages.notes.groups.entry(group).or_default();
            place = group.promised;
            if group.sent.len() <= place {
                group.sent.push(0);
            }
            group.sent[place] += 1;
        });
        let (name, level) = (
            group.to_string(),
            if group.is_multiple_of(3) { "1" } else { "0" },
        );
        let properties = properties(&[
            ("__SHARDINGKEY", name.as_str()),
            ("WAIT", "true"),
            ("DELAY", level),
        ]);
        let body = format!("{:x} {group} {place}", self.seed);
        connection.send_frame(TOPIC, queue_of(group), &properties, body.as_bytes())
    }

    /// Sends the next message of each of its groups, over and over; what was not acknowledged before a
    /// kill is sent again.
    fn produce(&self, address: &str, sender: u32, mut rng: StdRng, shift: &Shift) -> Result<()> {
        let mut connection = Connection::open(address)?;
        while shift.begins() {
            let mut window = Window::new();
            for group in sender * GROUPS..(sender + 1) * GROUPS {
                if rng.random_ratio(2, 3) {
                    let frame = self.frame(&mut connection, group);
                    window.add(&connection, frame, group);
                }
            }
            window.exchange(&mut connection, |group, answer| {
                answer
                    .ok()
                    .with_context(|| format!("send to group {group}"))?;
                self.journal.note(|pages| {
                    pages.acknowledged += 1;
                    pages.notes.groups.entry(group).or_default().promised += 1;
                });
                Ok(())
            })?;
            thread::sleep(Duration::from_millis(rng.random_range(0..20)));
        }
        Ok(())
    }

    fn consume(&self, address: &str, me: usize, mut rng: StdRng, shift: &Shift) -> Result<()> {
        let mut connection = Connection::open(address)?;
        connection.join(&[TOPIC])?;
        let done = (|| {
            while shift.goes_on() {
                let queue = rng.random_range(0..QUEUES);
                if lock(&mut connection, LOCK_BATCH_MQ, me, queue)? {
                    self.take_over(queue, me);
                    self.stay(&mut connection, queue, rng.random_range(1..=STAY))?;
                    self.journal.ask(|pages| {
                        pages.notes.queues.entry(queue).or_default().holder = None;
                    });
                    lock(&mut connection, UNLOCK_BATCH_MQ, me, queue)?;
                }
                thread::sleep(LOOK);
            }
            Ok(())
        })();
        // Its connection is gone, and with the broker every lock.
        let mut pages = self.journal.pages();
        for queue in pages.notes.queues.values_mut() {
            queue.holder = queue.holder.filter(|holder| *holder != me);
        }
        done
    }

    fn take_over(&self, queue: u32, me: usize) {
        self.journal.ask(|pages| {
            let holder = &mut pages.notes.queues.entry(queue).or_default().holder;
            if let Some(other) = holder.replace(me) {
                pages.fault(Wrong::Disorder, || {
                    format!("queue {queue} was locked for {me} while {other} held it")
                });
            }
        });
    }

    /// Consumes from where the group is, and confirms.
    fn stay(&self, connection: &mut Connection, queue: u32, batches: u32) -> Result<()> {
        let id = queue.to_string();
        let fields = [
            ("consumerGroup", CONSUMER_GROUP),
            ("topic", TOPIC),
            ("queueId", &id),
        ];
        let answer = connection.call(QUERY_CONSUMER_OFFSET, &fields, &[])?;
        let mut offset = match answer.code {
            0 => answer.number("offset")?,
            QUERY_NOT_FOUND => 0,
            code => bail!("offset of queue {queue}: code {code}: {}", answer.remark),
        };
        self.journal.note(|pages| {
            let known = pages.notes.queues.entry(queue).or_default().clone();
            if !(known.confirmed..=known.asked).contains(&offset) {
                pages.fault(Wrong::Other, || {
                    format!("the group is at {offset} of queue {queue}: {known:?}")
                });
            }
        });
        for _ in 0..batches {
            let answer = connection.pull(TOPIC, queue, offset)?;
            if answer.code == 19 {
                return Ok(());
            }
            for record in records(&answer.ok()?.body)? {
                ensure!(record.offset == offset, "asked for {offset}: {record:?}");
                self.consumed(&record);
                offset += 1;
            }
            self.confirm(connection, queue, offset)?;
        }
        Ok(())
    }

    fn confirm(&self, connection: &mut Connection, queue: u32, offset: i64) -> Result<()> {
        self.journal.ask(|pages| {
            let asked = &mut pages.notes.queues.entry(queue).or_default().asked;
            *asked = offset.max(*asked);
        });
        let (id, text) = (queue.to_string(), offset.to_string());
        let fields = [
            ("consumerGroup", CONSUMER_GROUP),
            ("topic", TOPIC),
            ("queueId", &id),
            ("commitOffset", &text),
        ];
        connection
            .call(UPDATE_CONSUMER_OFFSET, &fields, &[])?
            .ok()?;
        self.journal.note(|pages| {
            pages.notes.queues.entry(queue).or_default().confirmed = offset;
        });
        Ok(())
    }

    /// Group and place of a message of this run.
    fn identify(&self, record: &Record) -> Option<(u32, usize)> {
        let text = String::from_utf8_lossy(&record.body);
        let rest = text.strip_prefix(&format!("{:x} ", self.seed))?;
        let (group, place) = rest.split_once(' ')?;
        let sharding = property(record, "__SHARDINGKEY")?;
        (sharding == group).then_some(())?;
        Some((group.parse().ok()?, place.parse().ok()?))
    }

    fn consumed(&self, record: &Record) {
        let identity = self.identify(record);
        // The offset that follows may be kept although its confirmation counts no more.
        self.journal.ask(|pages| {
            pages.delivered += 1;
            let Some((group, place)) = identity else {
                return pages.fault(Wrong::Other, || format!("nobody sent {record:?}"));
            };
            let known = pages.notes.groups.entry(group).or_default();
            let next = known.consumed;
            known.consumed = next.max(place + 1);
            if place > next {
                pages.fault(Wrong::Disorder, || {
                    format!("{place} of group {group} consumed when {next} was to come: {record:?}")
                });
            }
        });
    }
}

fn queue_of(group: u32) -> u32 {
    group.wrapping_mul(7) % QUEUES
}

/// Locks a queue or gives it up; whether it is locked.
fn lock(connection: &mut Connection, code: i32, client: usize, queue: u32) -> Result<bool> {
    let asked = json!({
        "consumerGroup": CONSUMER_GROUP, "clientId": format!("in-order-{client}"),
        "mqSet": [{"topic": TOPIC, "brokerName": "broker-a", "queueId": queue}],
    });
    let answer: Answer = connection
        .call(code, &[], asked.to_string().as_bytes())?
        .ok()?;
    if code == UNLOCK_BATCH_MQ {
        return Ok(false);
    }
    let locked: Value = serde_json::from_slice(&answer.body)?;
    let locked = locked["lockOKMQSet"]
        .as_array()
        .context("no set of locks")?;
    Ok(locked.iter().any(|one| one["queueId"] == queue))
}

impl Kind for Order {
    type Notes = Orders;
    const NAME: &'static str = "order";
    const TOPICS: &'static [(&'static str, u32, &'static str)] = &[(TOPIC, QUEUES, "")];
    const CLIENTS: usize = CLIENTS_THAT_CONSUME + CLIENTS_THAT_SEND;
    const SETTINGS: &'static [(&'static str, &'static str)] = &[("messageDelayLevel", "1s 2s 3s")];
    // In the end everything is read again.
    const MOVED_ON: Option<Duration> = None;

    fn new(seed: u64) -> Self {
        Self {
            seed,
            journal: Journal::default(),
        }
    }

    fn journal(&self) -> &Journal<Self::Notes> {
        &self.journal
    }

    fn client(&self, number: usize, address: &str, rng: StdRng, shift: &Shift) -> Result<()> {
        match number.checked_sub(CLIENTS_THAT_CONSUME) {
            None => self.consume(address, number, rng, shift),
            Some(sender) => self.produce(address, u32::try_from(sender)?, rng, shift),
        }
    }

    /// Consuming is what reads here.
    fn read(&self, _connection: &mut Connection) -> Result<()> {
        Ok(())
    }

    fn awaited(&self) -> Vec<String> {
        let pages = self.journal.pages();
        let groups = pages.notes.groups.iter();
        groups
            .filter(|(_, group)| group.consumed < group.promised)
            .map(|(number, group)| {
                let Group {
                    consumed, promised, ..
                } = group;
                format!("group {number}: {consumed} of {promised}")
            })
            .collect()
    }

    /// Every queue from its beginning: each group in order, without holes, nothing too often.
    fn audit(&self, connection: &mut Connection) -> Result<()> {
        let mut copies: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for queue in 0..QUEUES {
            read_queue(connection, (TOPIC, queue), 0, |record| {
                let Some((group, place)) = self.identify(record) else {
                    self.journal
                        .fault(Wrong::Other, || format!("nobody sent {record:?}"));
                    return Ok(());
                };
                let there = copies.entry(group).or_default();
                if place == there.len() {
                    there.push(1);
                } else if place + 1 == there.len() {
                    there[place] += 1;
                } else {
                    let end = there.len();
                    self.journal.fault(Wrong::Disorder, || {
                        format!("{place} of group {group} stored behind {end}: {record:?}")
                    });
                }
                Ok(())
            })?;
        }
        let mut pages = self.journal.pages();
        for (number, group) in pages.notes.groups.clone() {
            let there = copies.remove(&number).unwrap_or_default();
            if there.len() < group.promised {
                pages.fault(Wrong::Lost, || {
                    format!("group {number}: {group:?}, {} there", there.len())
                });
            }
            for (place, (copies, sent)) in there.iter().zip(&group.sent).enumerate() {
                if copies > sent {
                    pages.fault(Wrong::Twice, || {
                        format!(
                            "{place} of group {number} is there {copies} times, sent {sent} times"
                        )
                    });
                }
            }
        }
        Ok(())
    }
}
