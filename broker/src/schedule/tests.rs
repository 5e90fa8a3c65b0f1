//! The scheduler's turns, under a clock of the test's own and over several lives of a store.

use super::scheduler::{Turn, Worker};
use super::*;
use crate::config::BrokerConfig;
use crate::delivery::{Account, Ledger, Outbox};
use crate::kv::{Exported as _, Kv};
use crate::metrics::Metrics;
use crate::topic::TopicTable;
use common::clock::{Clock, Millis};
use common::message::RecordParts;
use common::message::record::RecordView;
use common::names::{SCHEDULE_TOPIC, TRANS_HALF_TOPIC};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use store::{
    Arrivals, DelayLevels, DiskFiles, GetRequest, Queue, StoreConfig, StoreReader, StoreTasks,
    StoreWriter,
};

struct Nobody;

impl Arrivals for Nobody {
    fn arrived(&self, _: &Arc<Queue>, _: u64, _: i64, _: i64) {}
}

/// A clock whose two times move apart.
struct Times {
    wall: AtomicI64,
    passed: AtomicI64,
}

impl Times {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            wall: AtomicI64::new(1_700_000_000_000),
            passed: AtomicI64::new(0),
        })
    }

    fn pass(&self, ms: i64) {
        self.wall.fetch_add(ms, Ordering::SeqCst);
        self.passed.fetch_add(ms, Ordering::SeqCst);
    }

    fn set_back(&self, ms: i64) {
        self.wall.fetch_sub(ms, Ordering::SeqCst);
    }
}

impl Clock for Times {
    fn now(&self) -> Millis {
        Millis(self.wall.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.passed.load(Ordering::SeqCst).unsigned_abs())
    }
}

/// One life of a broker's store.
struct Life {
    worker: Worker,
    writer: StoreWriter,
    reader: StoreReader,
    offsets: DelayOffsets,
    ledger: Ledger,
    kv: Kv,
    tasks: StoreTasks,
}

fn host() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 1))
}

fn live(root: &Path, times: &Arc<Times>, levels: &str) -> Life {
    let clock = || Arc::clone(times) as Arc<dyn Clock>;
    let levels = DelayLevels::parse(levels).unwrap();
    let config = StoreConfig {
        segment_bytes: 1 << 20,
        delay_levels: levels.clone(),
        ..StoreConfig::new(root)
    };
    let (writer, reader, tasks) =
        store::open(config, Arc::new(DiskFiles), clock(), Arc::new(Nobody)).unwrap();
    let mut kv = Kv::open(&root.join("kv")).unwrap();
    let settings = Arc::new(BrokerConfig::default().into());
    let topics = TopicTable::open(&mut kv, &root.join("topics.json"), settings, clock()).unwrap();
    let file = root.join("delayOffset.json");
    let offsets = DelayOffsets::open(&mut kv, &file, 200, clock()).unwrap();
    let accounts: Vec<Arc<dyn Account>> = vec![Arc::new(offsets.clone())];
    let ledger = Ledger::open(&kv, (writer.clone(), reader.clone()), accounts).unwrap();
    let worker = Worker::new(SchedulerParts {
        levels,
        offsets: offsets.clone(),
        reader: reader.clone(),
        outbox: Outbox::new(writer.clone(), topics.clone(), host(), clock()),
        ledger: ledger.clone(),
        metrics: Metrics::new(topics, clock()),
        clock: clock(),
    });
    Life {
        worker,
        writer,
        reader,
        offsets,
        ledger,
        kv: kv.kv().clone(),
        tasks,
    }
}

impl Life {
    /// Stores a message that waits at a level for queue 2 of `t`.
    fn wait(&self, level: u32, body: &str) {
        self.wait_for(level, body, "REAL_TOPIC\u{1}t\u{2}REAL_QID\u{1}2\u{2}");
    }

    fn wait_for(&self, level: u32, body: &str, real: &str) {
        let parts = RecordParts {
            topic: SCHEDULE_TOPIC,
            queue_id: level - 1,
            flag: 7,
            sys_flag: 0,
            born_timestamp: 5,
            born_host: host(),
            store_host: host(),
            reconsume_times: 3,
            prepared_transaction_offset: 0,
            body: body.as_bytes(),
            properties: &format!("DELAY\u{1}{level}\u{2}TAGS\u{1}A\u{2}{real}"),
        };
        let queue = self.writer.queue(SCHEDULE_TOPIC, level - 1);
        let mut batch = self.writer.batch();
        batch.push(&queue, &parts).unwrap();
        self.writer
            .append_batch(&mut batch, &mut Vec::new())
            .unwrap();
    }

    /// Serves a level until it has to wait; how long, in milliseconds.
    fn serve(&mut self, level: u32) -> u128 {
        loop {
            match self.worker.serve(level - 1) {
                Turn::More => {}
                Turn::Wait(time) => return time.as_millis(),
                Turn::Failed => panic!("the log is not full"),
            }
        }
    }

    fn records(&self) -> Vec<bytes::Bytes> {
        let (mut records, mut offset) = (Vec::new(), 0);
        loop {
            let found = self.reader.get(GetRequest {
                topic: "t",
                queue_id: 2,
                offset,
                max_messages: 32,
                filter: &|_| true,
            });
            if found.count == 0 {
                return records;
            }
            offset = found.next_begin;
            records.extend(found.records);
        }
    }

    /// Bodies of what was delivered.
    fn delivered(&self) -> Vec<String> {
        let records = self.records();
        let bodies = records.iter().flat_map(|slice| {
            common::message::record::iter(slice)
                .map(|record| String::from_utf8(record.unwrap().body.to_vec()).unwrap())
        });
        bodies.collect()
    }

    /// Ends without writing down how far it is, as a kill does.
    fn end(self) {
        self.kv.shutdown().unwrap();
        self.tasks.shutdown().unwrap();
    }
}

#[test]
fn messages_of_a_level_go_on_in_order_and_never_early() {
    let (home, times) = (tempfile::tempdir().unwrap(), Times::new());
    let mut life = live(home.path(), &times, "1s 5s");
    for body in ["a", "b", "c"] {
        life.wait(1, body);
        times.pass(10);
    }
    life.wait(2, "later");
    for (pass, left, there) in [(0, 971, 0), (969, 2, 0), (1, 1, 0), (1, 10, 1), (10, 10, 2)] {
        times.pass(pass);
        assert_eq!(life.serve(1), left);
        assert_eq!(life.delivered(), ["a", "b", "c"][..there]);
    }
    times.pass(60_000);
    life.serve(1);
    life.serve(2);
    assert_eq!(life.delivered(), ["a", "b", "c", "later"]);
    assert_eq!((life.offsets.next(1), life.offsets.next(2)), (3, 1));
    let records = life.records();
    let first = RecordView::parse(&records[0]).unwrap();
    assert_eq!((first.flag, first.reconsume_times), (7, 3));
    assert_eq!((first.born_timestamp, first.queue_id), (5, 2));
    assert_eq!(first.property("REAL_TOPIC"), Some("t"));
    life.end();
}

#[test]
fn what_was_delivered_in_one_life_is_not_delivered_in_the_next() {
    let (home, times) = (tempfile::tempdir().unwrap(), Times::new());
    let mut bodies = Vec::new();
    for round in 0..4 {
        let mut life = live(home.path(), &times, "1s");
        life.serve(1);
        assert_eq!(life.delivered(), bodies);
        for n in 0..300 {
            life.wait(1, &format!("{round}-{n}"));
            bodies.push(format!("{round}-{n}"));
        }
        times.pass(1_001);
        // In the middle of what is due.
        for _ in 0..round {
            life.worker.serve(0);
        }
        if round == 2 {
            life.ledger.settle().unwrap();
        }
        let there = life.delivered().len();
        life.end();
        let mut life = live(home.path(), &times, "1s");
        assert_eq!(life.offsets.next(1), there as u64);
        life.serve(1);
        life.end();
    }
    let life = live(home.path(), &times, "1s");
    assert_eq!(life.delivered(), bodies);
    life.end();
}

#[test]
fn a_level_that_is_no_more_keeps_its_time() {
    let (home, times) = (tempfile::tempdir().unwrap(), Times::new());
    let life = live(home.path(), &times, "1s 5s 1m");
    life.wait(3, "long");
    life.end();
    let mut life = live(home.path(), &times, "1s");
    times.pass(30_000);
    assert_eq!(life.serve(3), 30_001);
    times.pass(30_001);
    life.serve(3);
    assert_eq!(life.delivered(), ["long"]);
    life.end();
}

#[test]
fn a_clock_that_is_set_back_delays_a_message_by_its_level_at_most() {
    let (home, times) = (tempfile::tempdir().unwrap(), Times::new());
    let mut life = live(home.path(), &times, "5s");
    life.wait(1, "a");
    times.set_back(3_600_000);
    assert_eq!(life.serve(1), 5_000);
    times.pass(4_999);
    assert_eq!(life.serve(1), 1);
    assert_eq!(life.delivered(), [] as [&str; 0]);
    times.pass(1);
    life.serve(1);
    assert_eq!(life.delivered(), ["a"]);
    life.end();
}

#[test]
fn what_cannot_be_delivered_does_not_hold_up_the_rest() {
    let (home, times) = (tempfile::tempdir().unwrap(), Times::new());
    let mut life = live(home.path(), &times, "1s");
    life.wait_for(1, "nowhere", "");
    life.wait_for(1, "no queue", "REAL_TOPIC\u{1}t\u{2}REAL_QID\u{1}x\u{2}");
    let half = format!("REAL_TOPIC\u{1}{TRANS_HALF_TOPIC}\u{2}REAL_QID\u{1}0\u{2}");
    life.wait_for(1, "half", &half);
    life.wait_for(1, "no name", "REAL_TOPIC\u{1}../t\u{2}REAL_QID\u{1}2\u{2}");
    life.wait(1, "good");
    times.pass(1_001);
    life.serve(1);
    assert_eq!(
        (life.delivered(), life.offsets.next(1)),
        (vec!["good".to_owned()], 5)
    );
    assert_eq!(life.reader.max_offset(TRANS_HALF_TOPIC, 0), 0);
    life.end();
}

#[test]
fn the_file_of_another_broker_counts_and_ours_follows() {
    let (home, times) = (tempfile::tempdir().unwrap(), Times::new());
    let file = home.path().join("delayOffset.json");
    let life = live(home.path(), &times, "1s 2s");
    for body in ["a", "b", "c"] {
        life.wait(1, body);
    }
    life.wait(2, "d");
    life.end();
    times.pass(2_001);
    // The first two were delivered by another broker, which says nonsense about the second level.
    fs::write(
        &file,
        r#"{"dataVersion":{"counter":1,"stateVersion":0,"timestamp":2},"offsetTable":{1:2,2:99}}"#,
    )
    .unwrap();
    let mut life = live(home.path(), &times, "1s 2s");
    assert_eq!((life.offsets.next(1), life.offsets.next(2)), (2, 1));
    life.serve(1);
    assert_eq!(life.delivered(), ["c"]);
    // Not on the disk yet: the file says what it said.
    life.offsets.persist().unwrap();
    assert!(fs::read_to_string(&file).unwrap().contains("1:2"));
    let says = |level: &str| {
        let text = fs::read_to_string(&file).unwrap();
        let table: serde_json::Value = serde_json::from_str(&text).unwrap();
        table["offsetTable"][level].as_u64()
    };
    life.ledger.settle().unwrap();
    life.offsets.persist().unwrap();
    assert_eq!((says("1"), says("2")), (Some(3), Some(1)));
    life.end();
}
