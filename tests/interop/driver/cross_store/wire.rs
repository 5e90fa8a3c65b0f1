//! Requests of this test, as bytes: no codec of ours is between it and the broker.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use anyhow::{Context, Result, bail, ensure};
use common::message::batch::{self, BatchMessage};
use common::wire::fastjson;
use serde_json::{Value, json};
use tests::{Answer, Connection};

/// Sends not yet answered.
const IN_FLIGHT: usize = 64;

/// A message, or a batch of messages, to be sent.
#[derive(Clone, Debug)]
pub struct Sending {
    pub topic: String,
    pub queue: u32,
    pub sys_flag: i32,
    pub messages: Vec<Content>,
}

/// What the sender decides about one message.
#[derive(Clone, Debug)]
pub struct Content {
    pub properties: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Content {
    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        let mut named = self.properties.iter().filter(|(key, _)| key == name);
        named.next().map(|(_, value)| value.as_str())
    }

    fn text(&self) -> String {
        let one = |(key, value): &(String, String)| format!("{key}\u{1}{value}\u{2}");
        self.properties.iter().map(one).collect()
    }
}

/// Where the messages of a [`Sending`] are.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub sending: Sending,
    /// Offset of the first.
    pub offset: u64,
    /// Position in the log of each.
    pub positions: Vec<u64>,
}

fn frame(connection: &mut Connection, sending: &Sending, now: i64) -> Result<Vec<u8>> {
    let (queue, sys_flag, now) = (
        sending.queue.to_string(),
        sending.sys_flag.to_string(),
        now.to_string(),
    );
    let (properties, body, code) = match sending.messages.as_slice() {
        [one] => (one.text(), one.body.clone(), 310),
        several => {
            let mut body = Vec::new();
            for one in several {
                let message = BatchMessage {
                    flag: 0,
                    body: &one.body,
                    properties: &one.text(),
                };
                batch::encode(&message, &mut body)?;
            }
            ("WAIT\u{1}true\u{2}".to_owned(), body, 320)
        }
    };
    let batch = (code == 320).to_string();
    let group = sending.messages[0]
        .property("PGROUP")
        .unwrap_or("cross-producer");
    let fields = [
        ("a", group),
        ("b", sending.topic.as_str()),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", &queue),
        ("f", &sys_flag),
        ("g", &now),
        ("h", "0"),
        ("i", &properties),
        ("j", "0"),
        ("k", "false"),
        ("m", &batch),
    ];
    Ok(connection.frame(code, &fields, &body))
}

/// The message's position in the log, from an offset id.
fn position(id: &str) -> Result<u64> {
    let digits = id
        .get(id.len().saturating_sub(16)..)
        .context("a short id")?;
    u64::from_str_radix(digits, 16).with_context(|| format!("offset id {id}"))
}

fn acknowledged(sending: Sending, answer: Answer) -> Result<Acknowledged> {
    let answer = answer
        .ok()
        .with_context(|| format!("send to {}[{}]", sending.topic, sending.queue))?;
    let positions: Result<Vec<u64>> = answer.field("msgId").split(',').map(position).collect();
    let acknowledged = Acknowledged {
        offset: u64::try_from(answer.number("queueOffset")?)?,
        positions: positions?,
        sending,
    };
    ensure!(
        acknowledged.positions.len() == acknowledged.sending.messages.len(),
        "{acknowledged:?}"
    );
    Ok(acknowledged)
}

/// Sends everything, many at a time, and gives what was answered, in the order of the answers.
pub fn send_all(
    connection: &mut Connection,
    sendings: Vec<Sending>,
    now: i64,
) -> Result<Vec<Acknowledged>> {
    let mut waiting = HashMap::new();
    let mut done = Vec::new();
    for sending in sendings {
        let bytes = frame(connection, &sending, now)?;
        connection.write(&bytes)?;
        waiting.insert(connection.last_opaque(), sending);
        if waiting.len() >= IN_FLIGHT {
            done.push(next_answer(connection, &mut waiting)?);
        }
    }
    while !waiting.is_empty() {
        done.push(next_answer(connection, &mut waiting)?);
    }
    Ok(done)
}

fn next_answer(
    connection: &mut Connection,
    waiting: &mut HashMap<i64, Sending>,
) -> Result<Acknowledged> {
    let answer = connection.read()?;
    let sending = waiting
        .remove(&answer.opaque)
        .context("an answer nobody asked for")?;
    acknowledged(sending, answer)
}

/// Sends everything, but waits for `answers` of them only: the rest is on its way when this
/// returns.
pub fn send_and_leave(
    connection: &mut Connection,
    sendings: Vec<Sending>,
    answers: usize,
    now: i64,
) -> Result<Vec<Acknowledged>> {
    let mut waiting = HashMap::new();
    for sending in sendings {
        let bytes = frame(connection, &sending, now)?;
        connection.write(&bytes)?;
        waiting.insert(connection.last_opaque(), sending);
    }
    (0..answers)
        .map(|_| next_answer(connection, &mut waiting))
        .collect()
}

/// Least and next offset of a queue.
pub fn ends(connection: &mut Connection, topic: &str, queue: u32) -> Result<(u64, u64)> {
    let queue = queue.to_string();
    let mut ask = |code| -> Result<u64> {
        let fields = [("topic", topic), ("queueId", queue.as_str())];
        let answer = connection.call(code, &fields, &[])?.ok()?;
        Ok(u64::try_from(answer.number("offset")?)?)
    };
    Ok((ask(31)?, ask(30)?))
}

/// The records of a queue from `offset` up to `end`, byte for byte.
pub fn records(
    connection: &mut Connection,
    topic: &str,
    queue: u32,
    mut offset: u64,
    end: u64,
) -> Result<Vec<Vec<u8>>> {
    let mut records = Vec::new();
    while offset < end {
        let answer = connection.pull(topic, queue, i64::try_from(offset)?)?;
        ensure!(
            answer.code == 0,
            "pull {topic}[{queue}] at {offset} of {end}: code {}: {}",
            answer.code,
            answer.remark
        );
        split(&answer.body, &mut records)?;
        let next = u64::try_from(answer.number("nextBeginOffset")?)?;
        ensure!(next > offset, "pull at {offset} leads to {next}");
        offset = next;
    }
    Ok(records)
}

/// The records of a queue that a consumer of `tag` gets.
pub fn tagged(
    connection: &mut Connection,
    (topic, queue): (&str, u32),
    tag: &str,
    (mut offset, end): (u64, u64),
) -> Result<Vec<Vec<u8>>> {
    let (id, mut records) = (queue.to_string(), Vec::new());
    while offset < end {
        let from = offset.to_string();
        let fields = [
            ("consumerGroup", "cross-consumer"),
            ("topic", topic),
            ("queueId", &id),
            ("queueOffset", &from),
            ("maxMsgNums", "32"),
            ("sysFlag", "4"),
            ("commitOffset", "0"),
            ("suspendTimeoutMillis", "0"),
            ("subscription", tag),
            ("subVersion", "0"),
            ("expressionType", "TAG"),
        ];
        let answer = connection.call(11, &fields, &[])?;
        match answer.code {
            0 => split(&answer.body, &mut records)?,
            20 => {}
            code => bail!("pull {tag} at {offset}: code {code}: {}", answer.remark),
        }
        offset = u64::try_from(answer.number("nextBeginOffset")?)?;
    }
    Ok(records)
}

/// Records that stand one behind the other.
pub fn split(mut bytes: &[u8], records: &mut Vec<Vec<u8>>) -> Result<()> {
    while let Some(size) = bytes.first_chunk::<4>() {
        let size = usize::try_from(u32::from_be_bytes(*size))?;
        let (record, rest) = bytes.split_at_checked(size).context("a record cut off")?;
        records.push(record.to_vec());
        bytes = rest;
    }
    Ok(())
}

/// What code 29 answers.
pub fn by_time(
    connection: &mut Connection,
    topic: &str,
    queue: u32,
    time: i64,
    boundary: &str,
) -> Result<u64> {
    let (queue, time) = (queue.to_string(), time.to_string());
    let fields = [
        ("topic", topic),
        ("queueId", &queue),
        ("timestamp", &time),
        ("boundaryType", boundary),
    ];
    let answer = connection.call(29, &fields, &[])?.ok()?;
    Ok(u64::try_from(answer.number("offset")?)?)
}

/// The record at a position of the log, as code 33 answers it.
pub fn by_position(connection: &mut Connection, position: u64) -> Result<Vec<u8>> {
    let position = position.to_string();
    let answer = connection.call(33, &[("offset", &position)], &[])?.ok()?;
    Ok(answer.body)
}

/// The records with a key that were stored within `times`, as code 12 answers them.
pub fn by_key(
    connection: &mut Connection,
    topic: &str,
    key: &str,
    times: RangeInclusive<i64>,
) -> Result<Vec<Vec<u8>>> {
    let (begin, end) = (times.start().to_string(), times.end().to_string());
    let fields = [
        ("topic", topic),
        ("key", key),
        ("maxNum", "64"),
        ("beginTimestamp", &begin),
        ("endTimestamp", &end),
    ];
    let answer = connection.call(12, &fields, &[])?;
    let mut records = Vec::new();
    if answer.code != 22 {
        split(&answer.ok()?.body, &mut records)?;
    }
    Ok(records)
}

/// A group's offset, −1 where it has none.
pub fn committed(connection: &mut Connection, group: &str, topic: &str, queue: u32) -> Result<i64> {
    let queue = queue.to_string();
    let fields = [
        ("consumerGroup", group),
        ("topic", topic),
        ("queueId", &queue),
        ("setZeroIfNotFound", "false"),
    ];
    let answer = connection.call(14, &fields, &[])?;
    match answer.code {
        22 => Ok(-1),
        _ => answer.ok()?.number("offset"),
    }
}

/// Commits a group's offset.
pub fn commit(
    connection: &mut Connection,
    group: &str,
    topic: &str,
    queue: u32,
    offset: i64,
) -> Result<()> {
    let (queue, offset) = (queue.to_string(), offset.to_string());
    let fields = [
        ("consumerGroup", group),
        ("topic", topic),
        ("queueId", &queue),
        ("commitOffset", &offset),
    ];
    connection.call(15, &fields, &[])?.ok()?;
    Ok(())
}

/// All topics (21) or groups (201) by name, as the broker tells them.
pub fn table(
    connection: &mut Connection,
    code: i32,
    name: &str,
) -> Result<serde_json::Map<String, Value>> {
    let answer = connection.call(code, &[], &[])?.ok()?;
    let mut body: Value = fastjson::from_slice(&answer.body)?;
    match body.get_mut(name).map(Value::take) {
        Some(Value::Object(table)) => Ok(table),
        other => bail!("{name} is {other:?}"),
    }
}

/// Creates a topic with settings nobody has by default.
pub fn create_topic(connection: &mut Connection, topic: &str, read: u32, write: u32) -> Result<()> {
    let (read, write) = (read.to_string(), write.to_string());
    let fields = [
        ("topic", topic),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", &read),
        ("writeQueueNums", &write),
        ("perm", "6"),
        ("topicFilterType", "SINGLE_TAG"),
        ("topicSysFlag", "0"),
        ("order", "true"),
        ("attributes", "+message.type=NORMAL"),
    ];
    connection.call(17, &fields, &[])?.ok()?;
    Ok(())
}

/// Creates a group with settings nobody has by default.
pub fn create_group(connection: &mut Connection, group: &str, retries: u32) -> Result<()> {
    let body = json!({
        "groupName": group, "consumeEnable": true, "consumeFromMinEnable": false,
        "consumeBroadcastEnable": false, "consumeMessageOrderly": true, "retryQueueNums": 2,
        "retryMaxTimes": retries, "brokerId": 0, "whichBrokerWhenConsumeSlowly": 1,
        "notifyConsumerIdsChangedEnable": false, "groupSysFlag": 0, "consumeTimeoutMinute": 7,
    });
    connection
        .call(200, &[], body.to_string().as_bytes())?
        .ok()?;
    Ok(())
}
