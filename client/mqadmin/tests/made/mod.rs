//! Small stores, made by the store itself, and the tool run on them.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use common::clock::{Clock, ManualClock, Millis};
use common::message::{CompressionType, RecordParts, sys_flag};
use serde_json::Value;
use store::{
    Appended, Arrivals, DiskFiles, FlushMode, Queue, RetentionConfig, StoreConfig, StoreTasks,
    StoreWriter, open,
};
use tempfile::TempDir;

/// Bytes of a file of the log.
pub const SEGMENT: u64 = 4096;
/// 2026-11-21T00:00:00Z; every message is stored a second after the one before it.
pub const FIRST_STORED: i64 = 1_795_219_200_000;
/// A topic that only a V2 record can name.
pub fn long_topic() -> String {
    format!("%RETRY%{}", "g".repeat(140))
}

struct Nobody;

impl Arrivals for Nobody {
    fn arrived(&self, _: &Arc<Queue>, _: u64, _: i64, _: i64) {}
}

/// A message to be stored.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    pub topic: &'a str,
    pub queue: u32,
    pub body: &'a [u8],
    pub properties: &'a str,
    pub sys_flag: i32,
    pub born_host: &'a str,
}

impl<'a> Message<'a> {
    pub fn new(topic: &'a str, queue: u32, body: &'a [u8]) -> Self {
        Self {
            topic,
            queue,
            body,
            properties: "",
            sys_flag: 0,
            born_host: "127.0.0.1:4000",
        }
    }
}

pub fn config(root: &Path, mode: FlushMode) -> StoreConfig {
    StoreConfig {
        segment_bytes: SEGMENT,
        // Five units.
        consume_queue_file_bytes: 100,
        flush_mode: mode,
        index_interval: Duration::from_hours(1),
        index_slots: 10,
        index_entries: 40,
        // However full the disk of whoever runs the tests.
        retention: RetentionConfig {
            warning_percent: 100,
            clean_forcibly: false,
            ..RetentionConfig::default()
        },
        ..StoreConfig::new(root)
    }
}

/// An open store.
pub struct Opened {
    pub writer: StoreWriter,
    clock: Arc<ManualClock>,
    pub tasks: StoreTasks,
}

impl Opened {
    pub fn new(root: &Path, mode: FlushMode) -> Self {
        Self::with(config(root, mode))
    }

    pub fn with(config: StoreConfig) -> Self {
        let clock = Arc::new(ManualClock::new(Millis(FIRST_STORED)));
        let (writer, _, tasks) = open(
            config,
            Arc::new(DiskFiles),
            clock.clone() as Arc<dyn Clock>,
            Arc::new(Nobody),
        )
        .unwrap();
        Self {
            writer,
            clock,
            tasks,
        }
    }

    pub fn send(&self, message: Message<'_>) -> Appended {
        let queue = self.writer.queue(message.topic, message.queue);
        let parts = RecordParts {
            topic: message.topic,
            queue_id: message.queue,
            flag: 7,
            sys_flag: message.sys_flag,
            born_timestamp: FIRST_STORED - 5,
            born_host: message.born_host.parse::<SocketAddr>().unwrap(),
            store_host: "127.0.0.1:10911".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: message.body,
            properties: message.properties,
        };
        let mut batch = self.writer.batch();
        batch.push(&queue, &parts).unwrap();
        let mut appended = Vec::new();
        self.writer.append_batch(&mut batch, &mut appended).unwrap();
        self.clock.advance(Duration::from_secs(1));
        appended[0]
    }
}

/// A store that was closed in order.
pub struct Made {
    pub dir: TempDir,
    /// Where each message went.
    pub stored: Vec<Appended>,
}

/// 24 messages to two queues of `orders`, one to each of three other topics, a transaction's half.
pub fn make(mode: FlushMode) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let opened = Opened::new(dir.path(), mode);
    let mut stored = Vec::new();
    for n in 0..24_u32 {
        let body = format!("order number {n}, {}", "x".repeat(200));
        let tag = if n % 3 == 0 { "new" } else { "paid" };
        let properties =
            format!("TAGS\u{1}{tag}\u{2}KEYS\u{1}k{n} all\u{2}UNIQ_KEY\u{1}id-{n}\u{2}");
        let message = Message::new("orders", n % 2, body.as_bytes());
        stored.push(opened.send(Message {
            properties: &properties,
            ..message
        }));
    }
    let long = long_topic();
    stored.push(opened.send(Message::new(&long, 0, b"again")));
    let v6 = Message::new("six", 3, b"from afar");
    stored.push(opened.send(Message {
        born_host: "[2001:db8::1]:4000",
        ..v6
    }));
    let packed = CompressionType::Zlib
        .compress("pack ".repeat(100).as_bytes(), 5)
        .unwrap();
    let packed = Message::new("packed", 0, &packed);
    stored.push(opened.send(Message {
        sys_flag: sys_flag::COMPRESSED,
        ..packed
    }));
    let half = Message::new("orders", 0, b"half");
    let half = Message {
        sys_flag: sys_flag::TRANSACTION_PREPARED,
        ..half
    };
    stored.push(opened.send(half));
    opened.tasks.shutdown().unwrap();
    Made { dir, stored }
}

impl Made {
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// The file of the log that holds a position, and where in it.
    pub fn in_log(&self, offset: u64) -> (PathBuf, u64) {
        let at = offset % SEGMENT;
        let name = format!("commitlog/{:020}", offset - at);
        (self.root().join(name), at)
    }

    /// The file that holds a queue's unit, and where in it.
    pub fn unit(&self, topic: &str, queue: u32, offset: u64) -> (PathBuf, u64) {
        let at = offset * 20 % 100;
        let name = format!("consumequeue/{topic}/{queue}/{:020}", offset * 20 - at);
        (self.root().join(name), at)
    }

    /// The files of the key index.
    pub fn index(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.root().join("index")).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    }

    pub fn run(&self, args: &[&str]) -> Done {
        run(self.root(), args)
    }

    pub fn json(&self, args: &[&str]) -> (i32, Value) {
        let done = self.run(args);
        let value = serde_json::from_str(&done.out);
        (done.code, value.unwrap_or_else(|_| panic!("{done:?}")))
    }

    /// Everything below the store's directory, byte for byte.
    pub fn everything(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut found, mut open) = (BTreeMap::new(), vec![self.root().to_owned()]);
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    found.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        found
    }
}

/// Writes over what a file holds.
pub fn overwrite((path, at): &(PathBuf, u64), add: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at + add).unwrap();
}

/// What the tool said.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// `mqadmin store ARGS --store ROOT`.
pub fn run(root: &Path, args: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqadmin"));
    command.arg("store").args(args).arg("--store").arg(root);
    let output = command.output().unwrap();
    Done {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
