//! Messages that wait for their time, and transactions: what one broker takes on, the other one finishes.
//!
//! Both store them in topics of their own, in the same form.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use common::message::record::RecordView;
use serde_json::json;
use tests::{Answer, Connection, patiently};

use super::files::due;
use super::model::{DELAYED, HALVES, LATER, Model, OPERATIONS};
use super::site::End;
use super::turn::now;
use super::wire::{self, Acknowledged, Content, Sending};

/// Queues of the topic everything is delivered to.
pub const QUEUES: u32 = 2;
/// The longest delay, and some rounds of checks, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
const COMMIT: &str = "8";
const ROLLBACK: &str = "12";
const CHECK: i64 = 39;
/// Of delays that were over the reference may repeat those that came before a kill, which it has not noted,
/// or has not been told of.
const FORGOTTEN_MS: i64 = 20_000;

/// Everything that is still to be delivered, and what was.
#[derive(Debug, Default)]
pub struct Later {
    /// When each delayed message is due.
    due: BTreeMap<String, i64>,
    /// Half messages nobody has decided on: to be committed in a later turn.
    open: Vec<Acknowledged>,
    /// Half messages the next broker has to ask about.
    unasked: BTreeSet<String>,
    committed: BTreeSet<String>,
    rolled_back: BTreeSet<String>,
    kills: Vec<i64>,
}

fn sending(id: &str, queue: u32, properties: &[(&str, &str)]) -> Sending {
    let mut all = vec![
        ("UNIQ_KEY".to_owned(), id.to_owned()),
        ("TAGS".to_owned(), "later".to_owned()),
    ];
    let more = properties
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    all.extend(more);
    Sending {
        topic: LATER.to_owned(),
        queue,
        sys_flag: if properties.iter().any(|(name, _)| *name == "TRAN_MSG") {
            4
        } else {
            0
        },
        messages: vec![Content {
            properties: all,
            body: format!("body of {id}").into_bytes(),
        }],
    }
}

fn half(id: &str, queue: u32, more: &[(&str, &str)]) -> Sending {
    let mut properties = vec![("TRAN_MSG", "true"), ("PGROUP", "deciders")];
    properties.extend(more);
    sending(id, queue, &properties)
}

fn id(sent: &Acknowledged) -> &str {
    sent.sending.messages[0]
        .property("UNIQ_KEY")
        .unwrap_or_default()
}

impl Later {
    /// One turn of either: decides what earlier turns left open, has the broker ask about the rest, and sends anew.
    pub fn turn(
        &mut self,
        number: usize,
        connection: &mut Connection,
        model: &mut Model,
        end: End,
    ) -> Result<()> {
        if number == 0 {
            connection.create_topic(LATER, QUEUES)?;
            (0..QUEUES).for_each(|queue| model.watch(LATER, queue));
        }
        self.decide(connection, model)?;
        self.answer_checks(connection, model)?;
        self.send(number, connection, model, end)
    }

    fn send(
        &mut self,
        number: usize,
        connection: &mut Connection,
        model: &mut Model,
        end: End,
    ) -> Result<()> {
        let mut sendings = Vec::new();
        for (index, level) in ["1", "2", "2", "3", "4"].into_iter().enumerate() {
            // The last turn of a run waits for these.
            let queue = u32::try_from(index)? % QUEUES;
            sendings.push(sending(
                &format!("delayed-{number}-{index}"),
                queue,
                &[("DELAY", level)],
            ));
        }
        let delayed = wire::send_all(connection, sendings, now())?;
        model.absorb(connection, &delayed)?;
        for sent in &delayed {
            let level = sent.sending.messages[0]
                .property("DELAY")
                .context("no level")?;
            let queue = super::model::stored_queue(sent);
            let at = usize::try_from(sent.offset)?;
            let record = RecordView::parse(&model.records(DELAYED, queue)[at])?;
            self.due.insert(id(sent).to_owned(), due(&record, level)?);
        }

        let mut halves = vec![half(&format!("committed-{number}"), 0, &[])];
        halves.push(half(&format!("rolled-back-{number}"), 1, &[]));
        if end == End::Clean {
            // After a kill the reference may ask twice, and then deliver twice.
            halves.push(half(&format!("open-{number}"), 1, &[]));
            let soon = [("CHECK_IMMUNITY_TIME_IN_SECONDS", "1")];
            halves.push(half(&format!("unasked-{number}"), 0, &soon));
        }
        let halves = wire::send_all(connection, halves, now())?;
        model.absorb(connection, &halves)?;
        let mut decided = Vec::new();
        for sent in halves {
            let name = id(&sent).to_owned();
            if name.starts_with("committed") {
                finish(connection, &sent, COMMIT)?;
                self.committed.insert(name);
                decided.push(sent.offset);
            } else if name.starts_with("rolled") {
                finish(connection, &sent, ROLLBACK)?;
                self.rolled_back.insert(name);
                decided.push(sent.offset);
            } else if name.starts_with("open") {
                self.open.push(sent);
            } else {
                self.unasked.insert(name);
            }
        }
        noted(connection, model, &decided)
    }

    /// Commits what an earlier turn left open, under the ids it was given then.
    fn decide(&mut self, connection: &mut Connection, model: &mut Model) -> Result<()> {
        let mut decided = Vec::new();
        for sent in std::mem::take(&mut self.open) {
            finish(connection, &sent, COMMIT)?;
            decided.push(sent.offset);
            self.committed.insert(id(&sent).to_owned());
        }
        noted(connection, model, &decided)
    }

    /// A producer comes; the broker asks it, and it commits.
    fn answer_checks(&mut self, connection: &mut Connection, model: &mut Model) -> Result<()> {
        if self.unasked.is_empty() {
            return Ok(());
        }
        let hello = json!({
            "clientID": "decider", "producerDataSet": [{"groupName": "deciders"}], "consumerDataSet": [],
        });
        connection
            .call(34, &[], hello.to_string().as_bytes())?
            .ok()?;
        let mut decided = Vec::new();
        while !self.unasked.is_empty() {
            ensure!(connection.arrives(PATIENCE)?, "the broker asks nothing");
            let asked = connection.next_request().context("the broker asks")?;
            if asked.code != CHECK || !self.unasked.remove(asked.field("msgId")) {
                continue;
            }
            let record = RecordView::parse(&asked.body)?;
            ensure!(record.topic == LATER.as_bytes(), "asked about {record:?}");
            decided.push(u64::try_from(asked.number("tranStateTableOffset")?)?);
            self.committed.insert(asked.field("msgId").to_owned());
            commit_asked(connection, &asked)?;
        }
        let bye = [("clientID", "decider"), ("producerGroup", "deciders")];
        connection.call(35, &bye, &[])?.ok()?;
        noted(connection, model, &decided)
    }

    /// The broker was killed.
    pub fn killed(&mut self) {
        self.kills.push(now());
    }

    /// Waits until everything is delivered, and checks that it came once and not too early.
    pub fn finish(&mut self, connection: &mut Connection, model: &mut Model) -> Result<()> {
        self.decide(connection, model)?;
        self.answer_checks(connection, model)?;
        let all: BTreeSet<String> = self.due.keys().chain(&self.committed).cloned().collect();
        let missing = patiently("everything is delivered", PATIENCE, || {
            model.read_on(connection)?;
            let there = delivered(model)?;
            Ok(all.iter().all(|id| there.contains_key(id)).then_some(()))
        });
        let delivered = delivered(model)?;
        let lacking: Vec<_> = all
            .iter()
            .filter(|id| !delivered.contains_key(*id))
            .collect();
        missing.with_context(|| format!("not delivered: {lacking:?}"))?;
        for (id, times) in &delivered {
            ensure!(all.contains(id), "{id} was delivered");
            let due = self.due.get(id).copied().unwrap_or(0);
            let early = times.iter().find(|time| **time < due);
            ensure!(
                early.is_none(),
                "{id} was due at {due} and delivered at {times:?}"
            );
            let forgiven = |first: i64| {
                let mut kills = self.kills.iter();
                due > 0 && kills.any(|kill| (kill - FORGOTTEN_MS..=*kill).contains(&first))
            };
            ensure!(
                times.len() == 1 || forgiven(times[0]),
                "{id} was delivered at {times:?}, kills {:?}",
                self.kills
            );
        }
        Ok(())
    }
}

/// Store times of each message that has arrived where it belongs.
fn delivered(model: &Model) -> Result<BTreeMap<String, Vec<i64>>> {
    let mut delivered: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for queue in 0..QUEUES {
        for record in model.records(LATER, queue) {
            let record = RecordView::parse(record)?;
            let id = record.property("UNIQ_KEY").context("no id")?;
            ensure!(
                record.body == format!("body of {id}").as_bytes(),
                "body of {id}"
            );
            delivered
                .entry(id.to_owned())
                .or_default()
                .push(record.store_timestamp);
        }
    }
    Ok(delivered)
}

/// Ends a transaction as its producer does.
fn finish(connection: &mut Connection, half: &Acknowledged, kind: &str) -> Result<()> {
    let (offset, position) = (half.offset.to_string(), half.positions[0].to_string());
    let fields = [
        ("topic", ""),
        ("producerGroup", "deciders"),
        ("tranStateTableOffset", offset.as_str()),
        ("commitLogOffset", &position),
        ("commitOrRollback", kind),
        ("fromTransactionCheck", "false"),
        ("msgId", id(half)),
        ("transactionId", id(half)),
    ];
    let ended = connection.call(37, &fields, &[])?.ok();
    ended.with_context(|| format!("end the transaction of {}", id(half)))?;
    Ok(())
}

fn commit_asked(connection: &mut Connection, asked: &Answer) -> Result<()> {
    let fields = [
        ("topic", asked.field("topic")),
        ("producerGroup", "deciders"),
        ("tranStateTableOffset", asked.field("tranStateTableOffset")),
        ("commitLogOffset", asked.field("commitLogOffset")),
        ("commitOrRollback", COMMIT),
        ("fromTransactionCheck", "true"),
        ("msgId", asked.field("msgId")),
        ("transactionId", asked.field("transactionId")),
    ];
    connection.call(37, &fields, &[])?.ok()?;
    Ok(())
}

/// Waits until the reference has noted its decisions: before that a stop makes it forget them.
fn noted(connection: &mut Connection, model: &mut Model, halves: &[u64]) -> Result<()> {
    if halves.is_empty() {
        return Ok(());
    }
    model.watch(OPERATIONS, 0);
    model.watch(HALVES, 0);
    patiently("decisions are noted", PATIENCE, || {
        model.read_on(connection)?;
        let mut noted = BTreeSet::new();
        for record in model.records(OPERATIONS, 0) {
            let record = RecordView::parse(record)?;
            for offset in std::str::from_utf8(record.body)?.split(',') {
                noted.extend(offset.parse::<u64>());
            }
        }
        Ok(halves.iter().all(|half| noted.contains(half)).then_some(()))
    })
}
