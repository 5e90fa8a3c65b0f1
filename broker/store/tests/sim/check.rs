//! Whether a recovered store is what the model allows.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::clock::ManualClock;
use store::sim::{self, SimFiles};
use store::{
    Arrivals, GetRequest, GetStatus, Key, KeyQuery, Queue, StoreConfig, StoreReader, StoreTasks,
    StoreWriter, TopicSet,
};

use crate::message::{BATCH_TOPIC, Message, QueueName};
use crate::model::{Model, Place, Record};

/// One life of the store.
pub struct Store {
    pub writer: StoreWriter,
    pub reader: StoreReader,
    pub tasks: StoreTasks,
    commit_log: PathBuf,
}

struct Nobody;

impl Arrivals for Nobody {
    fn arrived(&self, _: &Arc<Queue>, _: u64, _: i64, _: i64) {}
}

/// What a crash must not have taken.
#[derive(Debug, Clone, Default)]
pub struct Promise {
    /// The log reaches so far after a power cut.
    pub flushed: u64,
    /// The log reaches so far as long as only the process dies.
    pub written: u64,
    /// Consumers have seen these queues end here, and no crash may take that back.
    pub seen: Vec<(QueueName, u64)>,
    /// They have committed what they saw, and that is on the disk.
    pub committed: Vec<(QueueName, u64)>,
}

impl Promise {
    /// Everything below is on the disk.
    pub fn flushed(end: u64) -> Self {
        Self {
            flushed: end,
            written: end,
            seen: Vec::new(),
            committed: Vec::new(),
        }
    }

    /// What still holds after a power cut.
    pub fn after_power_cut(&self) -> Self {
        Self {
            written: self.flushed,
            ..self.clone()
        }
    }
}

impl Store {
    pub fn open(
        config: &StoreConfig,
        files: &Arc<SimFiles>,
        clock: &Arc<ManualClock>,
    ) -> Result<Self, String> {
        // As in a broker, nobody knows the topics while the store opens.
        let known = Arc::new(AtomicBool::new(false));
        let batch_topics = {
            let known = Arc::clone(&known);
            TopicSet::new(move |topic| known.load(Ordering::Relaxed) && topic == BATCH_TOPIC)
        };
        let opened = sim::open(
            StoreConfig {
                batch_topics,
                ..config.clone()
            },
            Arc::clone(files),
            Arc::clone(clock) as _,
            Arc::new(Nobody),
        );
        let (writer, reader, tasks) =
            opened.map_err(|error| format!("does not open: {error:?}"))?;
        known.store(true, Ordering::Relaxed);
        Ok(Self {
            writer,
            reader,
            tasks,
            commit_log: config.commit_log.clone(),
        })
    }

    /// Appends messages and compares what the store says with what the model has foreseen.
    pub fn append(
        &self,
        messages: &[Arc<Message>],
        group: bool,
        foreseen: &[store::Appended],
    ) -> Result<usize, String> {
        let mut batch = self.writer.batch();
        if group {
            batch.begin_group();
        }
        for message in messages {
            let queue = self.writer.queue(&message.queue.0, message.queue.1);
            batch
                .push(&queue, &message.parts())
                .map_err(|error| error.to_string())?;
        }
        let mut appended = Vec::new();
        let outcome = self.writer.append_batch(&mut batch, &mut appended);
        if appended != foreseen[..appended.len()] {
            return Err(format!("appended as {appended:?}, expected {foreseen:?}"));
        }
        if outcome.is_ok() && appended.len() < messages.len() {
            return Err("not all messages were appended".into());
        }
        Ok(appended.len())
    }

    /// Compares everything there is with the model; returns where the log begins and ends.
    pub fn verify(
        &self,
        files: &SimFiles,
        model: &Model,
        promise: &Promise,
    ) -> Result<(u64, u64), String> {
        let status = self.reader.status();
        let (min, end) = (status.min_physical, status.max_physical);
        if end < promise.written {
            return Err(format!(
                "the log ends at {end}, {} was promised",
                promise.written
            ));
        }
        if end > model.tail() || !model.may_end_at(end) {
            return Err(format!("the log ends at {end}, where no record ends"));
        }
        if min < model.min.0 || min > model.min.1 || !min.is_multiple_of(model.segment_bytes) {
            return Err(format!("the log begins at {min}, expected {:?}", model.min));
        }
        compare_log(files, &self.commit_log, model, min, end)?;
        let expected = model.queues(min, end);
        for (queue, (next, places)) in &expected {
            self.compare_queue(queue, *next, places, model)
                .map_err(|problem| format!("queue {}/{}: {problem}", queue.0, queue.1))?;
        }
        self.find_by_key(model, min, end)?;
        for queue in self.reader.queues() {
            let name = (queue.topic().to_owned(), queue.id());
            let deleting = model.deleting.as_ref() == Some(&name.0);
            if queue.max_offset() > queue.min_offset() && !expected.contains_key(&name) && !deleting
            {
                return Err(format!("{queue:?} has messages nobody sent"));
            }
        }
        for (queue, seen) in &promise.seen {
            let max = self.reader.max_offset(&queue.0, queue.1);
            if max < *seen && model.deleting.as_ref() != Some(&queue.0) {
                return Err(format!(
                    "{queue:?} ends at {max}, consumers have seen {seen}"
                ));
            }
        }
        // As the broker does it: after a crash it takes back what was committed beyond the end of a
        // queue; a store that was left in order has nothing to be taken back.
        for (queue, committed) in &promise.committed {
            let max = self.reader.max_offset(&queue.0, queue.1);
            let deleting = model.deleting.as_ref() == Some(&queue.0);
            if self.tasks.was_left_in_order() && *committed > max && !deleting {
                return Err(format!(
                    "left in order, but {queue:?} ends at {max} and consumers are at {committed}"
                ));
            }
        }
        Ok((min, end))
    }

    /// The newest messages and some older ones are found by each of their keys.
    fn find_by_key(&self, model: &Model, min: u64, end: u64) -> Result<(), String> {
        let there = |record: &&Record| {
            let queued = record.message.is_queued() && model.is_alive(record);
            queued && record.start >= min && record.end <= end
        };
        let newest_first = model.records.iter().rev().filter(there).enumerate();
        for (_, record) in newest_first.filter(|(at, _)| *at < 6 || at % 8 == 0) {
            let message = &record.message;
            for key in message.keys() {
                let result = self.reader.query(&KeyQuery {
                    topic: &message.queue.0,
                    key: Key::Key(key),
                    max_messages: 100,
                    begin: 0,
                    end: i64::MAX,
                });
                let expected = &model.log[record.start as usize..record.end as usize];
                let found = result.records.iter().filter(|found| **found == expected);
                let times = found.count();
                if times != 1 {
                    return Err(format!(
                        "the message at {} is found {times} times by its key {key}",
                        record.start
                    ));
                }
            }
        }
        Ok(())
    }

    fn compare_queue(
        &self,
        queue: &QueueName,
        next: u64,
        places: &[Place<'_>],
        model: &Model,
    ) -> Result<(), String> {
        let min = self.reader.min_offset(&queue.0, queue.1);
        let max = self.reader.max_offset(&queue.0, queue.1);
        let deleting = model.deleting.as_ref() == Some(&queue.0);
        let first = places.first().map_or(next, |first| first.offset);
        if !deleting && (min, max) != (first, next) {
            return Err(format!(
                "has messages {min}..{max}, expected {first}..{next}"
            ));
        }
        let (mut at, mut found) = (min, 0);
        let tags = RefCell::new(Vec::new());
        while at < max {
            let result = self.reader.get(GetRequest {
                topic: &queue.0,
                queue_id: queue.1,
                offset: i64::try_from(at).unwrap(),
                max_messages: 32,
                filter: &|code| {
                    tags.borrow_mut().push(code);
                    true
                },
            });
            let next = u64::try_from(result.next_begin).unwrap();
            if next <= at {
                return Err(format!("cannot be read from {at} on: {:?}", result.status));
            }
            if result.status != GetStatus::Found && !deleting {
                return Err(format!("no message {at}: {:?}", result.status));
            }
            for message in result.messages() {
                let message = message.map_err(|error| format!("message at {at}: {error}"))?;
                let start = u64::try_from(message.physical_offset).unwrap();
                let mut here = places.iter().filter(|place| place.record.start == start);
                let Some(place) = here.find(|place| place.offset >= min + found) else {
                    return Err(format!("a message from {start} nobody sent to it"));
                };
                let record = place.record;
                let offset = u64::try_from(message.queue_offset).unwrap();
                if offset != record.queue_offset
                    || record.end - start != u64::from(message.total_size)
                {
                    return Err(format!("message {offset} at {start} is altered"));
                }
                if !deleting && place.offset != min + found {
                    return Err(format!(
                        "message {} stands at {}",
                        place.offset,
                        min + found
                    ));
                }
                found += place.count;
            }
            at = next;
        }
        let there: u64 = places.iter().map(|place| place.count).sum();
        if !deleting && found != there {
            return Err(format!("{found} messages can be read, {there} are there"));
        }
        let expected = places.iter().map(|place| place.record.message.tags_code());
        if !deleting && !expected.eq(tags.into_inner()) {
            return Err("has units with other tags".into());
        }
        Ok(())
    }
}

fn compare_log(
    files: &SimFiles,
    directory: &Path,
    model: &Model,
    min: u64,
    end: u64,
) -> Result<(), String> {
    let mut base = min;
    while base < end {
        let path = directory.join(format!("{base:020}"));
        let bytes = files.bytes(&path);
        let bytes = bytes.ok_or_else(|| format!("{} is missing", path.display()))?;
        let until = end.min(base + model.segment_bytes);
        let expected = &model.log[base as usize..until as usize];
        if bytes.get(..expected.len()) != Some(expected) {
            let altered = (0..expected.len()).find(|at| {
                bytes.get(*at) != Some(&expected[*at]) && !model.is_size_of_blank(base + *at as u64)
            });
            if let Some(at) = altered {
                return Err(format!("{} is altered at {at}", path.display()));
            }
        }
        base = until;
    }
    Ok(())
}
