//! What the store must hold, whoever serves it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use common::message::record::{MAX_V1_TOPIC_BYTES, RecordView};
use common::wire::fastjson;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::Value;
use tests::{Connection, patiently};

use super::offsets::Offsets;
use super::site::{End, Maker};
use super::wire::{self, Acknowledged};

/// Dispatch of what was just acknowledged, on a busy machine.
const VISIBLE: Duration = Duration::from_secs(30);

/// Everything known about a store that several brokers serve in turn.
#[derive(Debug, Default)]
pub struct Model {
    /// The records of each queue, byte for byte, from its least offset on.
    pub queues: BTreeMap<(String, u32), Queue>,
    /// Offsets of consumer groups.
    pub offsets: Offsets,
    topics: BTreeMap<String, Value>,
    groups: BTreeMap<String, Value>,
    /// Whether records end in a checksum over all of them.
    pub sealed: bool,
    /// Acknowledged, but not looked at yet: the broker was killed.
    in_flight: Vec<Acknowledged>,
}

/// One queue.
#[derive(Debug, Default)]
pub struct Queue {
    pub min: u64,
    pub records: Vec<Vec<u8>>,
}

impl Queue {
    fn end(&self) -> u64 {
        self.min + self.records.len() as u64
    }
}

/// A tag that many messages have.
pub const TAG: &str = "芝麻菜";
/// Topics in which the reference stores messages by itself.
pub const DELAYED: &str = "SCHEDULE_TOPIC_XXXX";
pub const HALVES: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
pub const OPERATIONS: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Delayed and transactional messages are sent to this one, so nobody but the reference adds to it.
pub const LATER: &str = "later";
/// Sends to this one are in flight when a broker is killed.
pub const BURST: &str = "burst";

fn view(record: &[u8]) -> Result<RecordView<'_>> {
    Ok(RecordView::parse(record)?)
}

/// Store time of a record.
pub fn store_time(record: &[u8]) -> Result<i64> {
    Ok(view(record)?.store_timestamp)
}

/// Position of a record in the log.
pub fn position(record: &[u8]) -> Result<u64> {
    Ok(u64::try_from(view(record)?.physical_offset)?)
}

impl Model {
    /// From now on this queue is looked at.
    pub fn watch(&mut self, topic: &str, queue: u32) {
        self.queues.entry((topic.to_owned(), queue)).or_default();
    }

    /// The records of a queue.
    pub fn records(&self, topic: &str, queue: u32) -> &[Vec<u8>] {
        self.queues
            .get(&(topic.to_owned(), queue))
            .map_or(&[], |queue| &queue.records)
    }

    /// Reads what was added to every queue since the last time.
    pub fn read_on(&mut self, connection: &mut Connection) -> Result<()> {
        for ((topic, queue), known) in &mut self.queues {
            let (_, max) = wire::ends(connection, topic, *queue)?;
            let added = wire::records(connection, topic, *queue, known.end(), max)?;
            known.records.extend(added);
            ensure!(
                known.end() >= max,
                "{topic}[{queue}] has no messages up to {max}"
            );
        }
        Ok(())
    }

    /// Waits for what was acknowledged, reads it, and compares it with what was sent.
    pub fn absorb(&mut self, connection: &mut Connection, sent: &[Acknowledged]) -> Result<()> {
        for one in sent {
            self.watch(stored_topic(one), stored_queue(one));
        }
        patiently("everything acknowledged can be read", VISIBLE, || {
            self.read_on(connection)?;
            let missing = sent.iter().find(|one| {
                let queue = &self.queues[&(stored_topic(one).to_owned(), stored_queue(one))];
                one.offset + one.positions.len() as u64 > queue.end()
            });
            Ok(missing.is_none().then_some(()))
        })?;
        sent.iter().try_for_each(|one| self.compare(one))
    }

    fn compare(&self, sent: &Acknowledged) -> Result<()> {
        let key = (stored_topic(sent).to_owned(), stored_queue(sent));
        let queue = self
            .queues
            .get(&key)
            .context("a queue that is not watched")?;
        for (index, message) in sent.sending.messages.iter().enumerate() {
            let offset = sent.offset + index as u64;
            let at = usize::try_from(offset.checked_sub(queue.min).context("below the queue")?)?;
            let record = queue.records.get(at).context("beyond the queue")?;
            let view = view(record)?;
            let what = || format!("{}[{}] {offset}: {view:?}", key.0, key.1);
            ensure!(
                u64::try_from(view.queue_offset)? == offset,
                "offset of {}",
                what()
            );
            let position = u64::try_from(view.physical_offset)?;
            ensure!(position == sent.positions[index], "position of {}", what());
            ensure!(view.body == message.body, "body of {}", what());
            let long = key.0.len() > MAX_V1_TOPIC_BYTES;
            ensure!(view.is_v2 == long, "version of {}", what());
            let sealed = view.property("__CRC32#").is_some();
            ensure!(sealed == self.sealed, "checksum of {}", what());
            for (name, value) in &message.properties {
                // WAIT says how to send; TRAN_MSG is the same in the half message.
                let kept = name == "WAIT" || view.property(name) == Some(value);
                ensure!(kept, "property {name}={value} of {}", what());
            }
        }
        Ok(())
    }

    /// Compares everything with what the broker of `maker` serves. What the reference adds by
    /// itself (deliveries that were due, copies of half messages) becomes known.
    pub fn verify(
        &mut self,
        connection: &mut Connection,
        maker: Maker,
        rng: &mut StdRng,
    ) -> Result<()> {
        for ((topic, queue), known) in &mut self.queues {
            let what = format!("{topic}[{queue}] at {maker:?}");
            let (min, max) = wire::ends(connection, topic, *queue)?;
            ensure!(
                min == known.min,
                "{what} begins at {min}, not at {}",
                known.min
            );
            ensure!(
                max >= known.end(),
                "{what} ends at {max}, not at {}",
                known.end()
            );
            // The reference may have delivered something while it stopped.
            let may_grow = matches!(
                topic.as_str(),
                BURST | LATER | DELAYED | HALVES | OPERATIONS
            );
            ensure!(
                may_grow || max == known.end(),
                "{what} ends at {max}, not at {}",
                known.end()
            );
            let records = wire::records(connection, topic, *queue, min, max)?;
            for (offset, (known, now)) in (min..).zip(known.records.iter().zip(&records)) {
                ensure!(known == now, "{what}: message {offset} is not the same");
            }
            ensure!(
                records.len() as u64 == max - min,
                "{what}: {} records",
                records.len()
            );
            known.records = records;
            let found = by_time(connection, topic, *queue, known, rng);
            found
                .and_then(|()| by_tag(connection, topic, *queue, known))
                .context(what)?;
        }
        for sent in std::mem::take(&mut self.in_flight) {
            self.compare(&sent)?;
        }
        self.by_position(connection, rng)?;
        self.offsets.verify(connection, maker)?;
        self.verify_tables(connection, maker)
    }

    fn by_position(&self, connection: &mut Connection, rng: &mut StdRng) -> Result<()> {
        for queue in self
            .queues
            .values()
            .filter(|queue| !queue.records.is_empty())
        {
            let record = &queue.records[rng.random_range(0..queue.records.len())];
            let found = wire::by_position(connection, position(record)?)?;
            ensure!(found == *record, "another message at its position");
        }
        Ok(())
    }

    /// A turn has ended. What was acknowledged before a kill is there.
    pub fn turn_ended(&mut self, maker: Maker, how: End, in_flight: Vec<Acknowledged>) {
        self.offsets.turn_ended(maker, how);
        self.in_flight = in_flight;
    }

    /// A topic and a group whose settings must stay.
    pub fn keep_settings(
        &mut self,
        connection: &mut Connection,
        topic: &str,
        group: &str,
    ) -> Result<()> {
        let mut topics = wire::table(connection, 21, "topicConfigTable")?;
        let mut groups = wire::table(connection, 201, "subscriptionGroupTable")?;
        let settings = topics.remove(topic).context("the topic is not listed")?;
        self.topics.insert(topic.to_owned(), settings);
        let settings = groups.remove(group).context("the group is not listed")?;
        self.groups.insert(group.to_owned(), settings);
        Ok(())
    }

    /// Waits until the files of both tables name everything that must stay. We answer when a change is on the disk in `kv`,
    /// which the reference does not read; the file it reads follows at once, but whoever kills us is quicker.
    pub fn settings_written(&self, store: &Path) -> Result<()> {
        let has_all = |file: &str, table: &str, known: &BTreeMap<String, Value>| -> bool {
            // For a moment between two renames there is none.
            let content = std::fs::read(store.join("config").join(file)).unwrap_or_default();
            let content = fastjson::from_slice::<Value>(&content).unwrap_or_default();
            let table = &content[table];
            known.keys().all(|name| table.get(name).is_some())
        };
        patiently("the tables' files follow", VISIBLE, || {
            let topics = has_all("topics.json", "topicConfigTable", &self.topics);
            let (file, table) = ("subscriptionGroup.json", "subscriptionGroupTable");
            Ok((topics && has_all(file, table, &self.groups)).then_some(()))
        })
    }

    fn verify_tables(&self, connection: &mut Connection, maker: Maker) -> Result<()> {
        for (code, name, known) in [
            (21, "topicConfigTable", &self.topics),
            (201, "subscriptionGroupTable", &self.groups),
        ] {
            let table = wire::table(connection, code, name)?;
            for (entry, settings) in known {
                let now = table.get(entry);
                ensure!(
                    now == Some(settings),
                    "{name} of {maker:?} has {entry} as {now:?}, not as {settings}"
                );
            }
        }
        Ok(())
    }
}

/// Where the broker stores what was sent.
fn stored_topic(sent: &Acknowledged) -> &str {
    let first = &sent.sending.messages[0];
    if first.property("TRAN_MSG").is_some() {
        HALVES
    } else if first.property("DELAY").is_some() {
        DELAYED
    } else {
        &sent.sending.topic
    }
}

pub fn stored_queue(sent: &Acknowledged) -> u32 {
    let first = &sent.sending.messages[0];
    if first.property("TRAN_MSG").is_some() {
        return 0;
    }
    match first
        .property("DELAY")
        .and_then(|level| level.parse::<u32>().ok())
    {
        Some(level) => level - 1,
        None => sent.sending.queue,
    }
}

/// What a consumer of one tag gets, against the model.
fn by_tag(connection: &mut Connection, topic: &str, queue: u32, known: &Queue) -> Result<()> {
    let ends = (known.min, known.end());
    let found = wire::tagged(connection, (topic, queue), TAG, ends)?;
    let mut expected = Vec::new();
    for record in &known.records {
        // The tags code of a message that waits is a time, so nobody finds it by its tags.
        if topic != DELAYED && view(record)?.property("TAGS") == Some(TAG) {
            expected.push(record.clone());
        }
    }
    let counts = (found.len(), expected.len());
    ensure!(found == expected, "messages with tag {TAG}: {counts:?}");
    Ok(())
}

/// A few times, the ends among them, against the model.
fn by_time(
    connection: &mut Connection,
    topic: &str,
    queue: u32,
    known: &Queue,
    rng: &mut StdRng,
) -> Result<()> {
    let times: Result<Vec<i64>> = known
        .records
        .iter()
        .map(|record| store_time(record))
        .collect();
    let times = times?;
    let (Some(first), Some(last)) = (times.first(), times.last()) else {
        return Ok(());
    };
    ensure!(times.is_sorted(), "store times are not in order");
    let middle = times[rng.random_range(0..times.len())];
    let probes = BTreeSet::from([
        first - 1,
        *first,
        middle - 1,
        middle,
        middle + 1,
        *last,
        last + 1,
    ]);
    for time in probes {
        let before = times.partition_point(|at| *at < time) as u64;
        let found = wire::by_time(connection, topic, queue, time, "LOWER")?;
        ensure!(
            found == known.min + before,
            "first at or after {time}: {found}"
        );
        let up_to = times.partition_point(|at| *at <= time) as u64;
        let found = wire::by_time(connection, topic, queue, time, "UPPER")?;
        ensure!(
            found == known.min + up_to.saturating_sub(1),
            "last at or before {time}: {found}"
        );
    }
    Ok(())
}
