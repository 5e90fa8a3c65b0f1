//! The store as a whole, on files in memory that a test can crash.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::clock::{ManualClock, Millis};
use common::ids::PhysicalOffset;
use common::message::record::RecordView;
use common::message::{RecordParts, sys_flag, tags_code};
use parking_lot::Mutex;

use crate::sim::SimFiles;
use crate::*;

mod batch_queue;
mod crash;
mod disk;
mod ext;
mod index;
mod light;
mod properties;
mod property_crc;
mod reading;
mod retention;
mod schedule;
mod writing;

pub(crate) const SEGMENT_BYTES: u64 = 4096;

/// One store on its files.
pub(crate) struct Bench {
    pub(crate) files: Arc<SimFiles>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) arrivals: Arc<Seen>,
    pub(crate) writer: StoreWriter,
    pub(crate) reader: StoreReader,
    tasks: Running,
}

/// The threads of a store, which end with this value and do nothing more.
pub(crate) struct Running(Option<StoreTasks>);

impl Running {
    pub(crate) fn shutdown(mut self) -> Result<(), StoreError> {
        self.0.take().map_or(Ok(()), StoreTasks::shutdown)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(tasks) = &self.0 {
            tasks.abandon();
        }
    }
}

/// Arrivals as they were reported: queue id, end, tags code.
#[derive(Default)]
pub(crate) struct Seen(pub(crate) Mutex<Vec<(u32, u64, i64)>>);

impl Arrivals for Seen {
    fn arrived(&self, queue: &Arc<Queue>, max_offset: u64, tags_code: i64, _store_timestamp: i64) {
        self.0.lock().push((queue.id(), max_offset, tags_code));
    }
}

pub(crate) fn config(mode: FlushMode) -> StoreConfig {
    StoreConfig {
        segment_bytes: SEGMENT_BYTES,
        // Five units.
        consume_queue_file_bytes: 100,
        index_slots: 16,
        index_entries: 24,
        flush_mode: mode,
        // The threads do nothing unless a test asks.
        flush_interval: Duration::from_hours(1),
        index_interval: Duration::from_hours(1),
        retention: RetentionConfig {
            interval: Duration::from_hours(1),
            segment_pause: Duration::ZERO,
            queue_pause: Duration::ZERO,
            ..RetentionConfig::default()
        },
        ..StoreConfig::new("/s")
    }
}

impl Bench {
    pub(crate) fn open(files: Arc<SimFiles>) -> Self {
        Self::with(files, config(FlushMode::Async))
    }

    pub(crate) fn with(files: Arc<SimFiles>, config: StoreConfig) -> Self {
        Self::opened(files, |files, clock, arrivals| {
            open(config, files, clock, arrivals)
        })
    }

    /// Without threads: nothing happens on the disk but what a test asks for.
    pub(crate) fn stepped(files: Arc<SimFiles>) -> Self {
        Self::opened(files, |files, clock, arrivals| {
            crate::sim::open(config(FlushMode::Async), files, clock, arrivals)
        })
    }

    fn opened(
        files: Arc<SimFiles>,
        open: impl FnOnce(
            Arc<SimFiles>,
            Arc<ManualClock>,
            Arc<Seen>,
        ) -> Result<(StoreWriter, StoreReader, StoreTasks), StoreError>,
    ) -> Self {
        let clock = Arc::new(ManualClock::new(Millis(1_000_000)));
        let arrivals = Arc::new(Seen::default());
        let (writer, reader, tasks) = open(files.clone(), clock.clone(), arrivals.clone()).unwrap();
        Self {
            files,
            clock,
            arrivals,
            writer,
            reader,
            tasks: Running(Some(tasks)),
        }
    }

    pub(crate) fn new() -> Self {
        Self::open(SimFiles::new())
    }

    /// Sends one message; its body is `body`.
    pub(crate) fn send(
        &self,
        topic: &str,
        queue_id: u32,
        body: &str,
    ) -> Result<Appended, StoreError> {
        self.send_with(topic, queue_id, body, "", 0)
    }

    pub(crate) fn send_with(
        &self,
        topic: &str,
        queue_id: u32,
        body: &str,
        properties: &str,
        sys_flag: i32,
    ) -> Result<Appended, StoreError> {
        let queue = self.writer.queue(topic, queue_id);
        let mut batch = self.writer.batch();
        batch.push(&queue, &parts(topic, queue_id, body, properties, sys_flag))?;
        let mut appended = Vec::new();
        self.writer.append_batch(&mut batch, &mut appended)?;
        Ok(appended[0])
    }

    /// Bodies of all messages of a queue, read as consumers do.
    pub(crate) fn bodies(&self, topic: &str, queue_id: u32) -> Vec<String> {
        let mut bodies = Vec::new();
        let mut offset = i64::try_from(self.reader.min_offset(topic, queue_id)).unwrap();
        loop {
            let result = self.get(topic, queue_id, offset, 32);
            if result.status != GetStatus::Found {
                return bodies;
            }
            bodies.extend(result.messages().map(|message| body_of(&message.unwrap())));
            assert!(result.next_begin > offset);
            offset = result.next_begin;
        }
    }

    pub(crate) fn get(&self, topic: &str, queue_id: u32, offset: i64, max: u32) -> GetResult {
        self.reader.get(GetRequest {
            topic,
            queue_id,
            offset,
            max_messages: max,
            filter: &|_| true,
        })
    }

    /// Ends the process's work on its files, as `kill -9` does.
    pub(crate) fn kill(self) -> Arc<SimFiles> {
        self.files.after_kill()
    }

    pub(crate) fn shutdown(self) -> Arc<SimFiles> {
        self.tasks.shutdown().unwrap();
        self.files
    }
}

pub(crate) fn parts<'a>(
    topic: &'a str,
    queue_id: u32,
    body: &'a str,
    properties: &'a str,
    sys_flag: i32,
) -> RecordParts<'a> {
    RecordParts {
        topic,
        queue_id,
        flag: 0,
        sys_flag,
        born_timestamp: 5,
        born_host: "127.0.0.1:4000".parse().unwrap(),
        store_host: "127.0.0.1:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: body.as_bytes(),
        properties,
    }
}

pub(crate) fn body_of(record: &RecordView<'_>) -> String {
    String::from_utf8(record.body.to_vec()).unwrap()
}

pub(crate) fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("message {n}")).collect()
}

pub(crate) fn segment_path(base: u64) -> String {
    format!("/s/commitlog/{base:020}")
}
