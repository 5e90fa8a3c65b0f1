//! Batches that crashes have cut, on real files.

use super::*;
use crate::kv::{Change, Family, Kv};
use crate::topic::TopicTable;
use common::clock::{Clock, SystemClock};
use common::message::record::{RecordParts, RecordView};
use common::message::sys_flag;
use parking_lot::Mutex;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::{
    Arrivals, DiskFiles, FlushMode, Queue, StoreConfig, StoreReader, StoreTasks, StoreWriter,
};

const SEGMENT_BYTES: u64 = 2048;

struct Nobody;

impl Arrivals for Nobody {
    fn arrived(&self, _: &Arc<Queue>, _: u64, _: i64, _: i64) {}
}

/// Remembers what it is told; its one row is the number of deliveries of this process.
#[derive(Default)]
struct Seen {
    found: Mutex<Vec<(u32, u64, Option<String>)>>,
    changed: Mutex<Option<u64>>,
    settled: Mutex<u32>,
}

impl Account for Seen {
    fn delivered(&self, kind: Kind, origin: u64, record: Option<&RecordView<'_>>) {
        let Kind::Level(level) = kind else { return };
        let body = record.map(|record| String::from_utf8_lossy(record.body).into_owned());
        self.found.lock().push((level, origin, body));
    }

    fn take_changes(&self) -> Vec<Change> {
        let change = |count: u64| Change {
            family: Family::Offsets,
            key: b"count".as_slice().into(),
            value: Some(count.to_be_bytes().into()),
        };
        self.changed.lock().take().map(change).into_iter().collect()
    }

    fn settled(&self) {
        *self.settled.lock() += 1;
    }
}

struct Bench {
    root: PathBuf,
    writer: StoreWriter,
    reader: StoreReader,
    tasks: StoreTasks,
    ledger: Ledger,
    kv: Kv,
    seen: Arc<Seen>,
    outbox: Outbox,
    /// What the database says in [`Seen`]'s row.
    row: Option<u64>,
}

fn open(root: &Path) -> Bench {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config = StoreConfig {
        segment_bytes: SEGMENT_BYTES,
        flush_mode: FlushMode::Async,
        flush_interval: Duration::from_hours(1),
        index_interval: Duration::from_hours(1),
        ..StoreConfig::new(root)
    };
    let (files, arrivals) = (Arc::new(DiskFiles), Arc::new(Nobody));
    let (writer, reader, tasks) = store::open(config, files, Arc::clone(&clock), arrivals).unwrap();
    let mut start = Kv::open(&root.join("kv")).unwrap();
    let config = crate::config::BrokerConfig::default();
    let topics = TopicTable::open(
        &mut start,
        &root.join("topics.json"),
        Arc::new(config.into()),
        Arc::clone(&clock),
    );
    let seen = Arc::new(Seen::default());
    let accounts: Vec<Arc<dyn Account>> = vec![Arc::clone(&seen) as _];
    let ledger = Ledger::open(&start, (writer.clone(), reader.clone()), accounts).unwrap();
    let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    Bench {
        root: root.to_owned(),
        outbox: Outbox::new(writer.clone(), topics.unwrap(), host, clock),
        row: start.number(Family::Offsets, b"count").unwrap(),
        kv: start.kv().clone(),
        writer,
        reader,
        tasks,
        ledger,
        seen,
    }
}

fn message<'a>(body: &'a str, properties: &'a str) -> RecordParts<'a> {
    let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    RecordParts {
        topic: "T",
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 0,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: body.as_bytes(),
        properties,
    }
}

impl Bench {
    /// Delivers these origins; every origin that three divides is done without a message.
    fn deliver(&mut self, level: u32, origins: std::ops::Range<u64>) {
        let texts: Vec<_> = origins.clone().map(|o| format!("{level}-{o}")).collect();
        let deliveries: Vec<_> = origins
            .zip(&texts)
            .map(|(origin, text)| Delivery {
                origin,
                message: (!origin.is_multiple_of(3)).then(|| message(text, "")),
            })
            .collect();
        let guard = self.ledger.enter();
        let delivered = self.outbox.deliver(&guard, Kind::Level(level), &deliveries);
        assert!(delivered.error.is_none());
        assert_eq!(delivered.done, deliveries.len());
        let messages = deliveries.iter().filter(|one| one.message.is_some());
        assert_eq!(delivered.appended.len(), messages.count());
    }

    fn send(&self, body: &str) {
        let mut batch = self.writer.batch();
        batch
            .push(&self.writer.queue("T", 0), &message(body, ""))
            .unwrap();
        self.writer
            .append_batch(&mut batch, &mut Vec::new())
            .unwrap();
    }

    /// Position, end and body of every record; notes have no body here.
    fn records(&self) -> Vec<(u64, u64, Option<String>)> {
        let mut records = Vec::new();
        let seen = &mut |record: &RecordView<'_>| {
            let at = u64::try_from(record.physical_offset).unwrap();
            let body = sys_flag::is_queued(record.sys_flag)
                .then(|| String::from_utf8(record.body.to_vec()).unwrap());
            records.push((at, at + u64::from(record.total_size), body));
        };
        self.reader.replay(0, seen).unwrap();
        records
    }

    fn found(&self) -> Vec<(u32, u64, Option<String>)> {
        std::mem::take(&mut *self.seen.found.lock())
    }

    /// What `kill -9` leaves.
    fn kill(self) -> tempfile::TempDir {
        self.kv.shutdown().unwrap();
        let left = cut_copy(&self.root, u64::MAX);
        self.tasks.shutdown().unwrap();
        left
    }
}

/// What the store in `from` looks like when a power cut has taken everything from position `cut` on.
fn cut_copy(from: &Path, cut: u64) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    copy(from, to.path());
    // What was on the disk cannot be cut off; here anything may not have been.
    let _ = fs::remove_file(to.path().join("checkpoint"));
    for entry in fs::read_dir(to.path().join("commitlog")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(base) = path.file_name().unwrap().to_str().unwrap().parse::<u64>() else {
            continue;
        };
        let mut bytes = fs::read(&path).unwrap();
        let keep = usize::try_from(cut.saturating_sub(base))
            .unwrap()
            .min(bytes.len());
        bytes[keep..].fill(0);
        fs::write(&path, bytes).unwrap();
    }
    to
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (source, target) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if source.is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&source, &target);
        } else {
            fs::copy(&source, &target).unwrap();
        }
    }
}

fn origin(level: u32, origin: u64) -> (u32, u64, Option<String>) {
    let message = (!origin.is_multiple_of(3)).then(|| format!("{level}-{origin}"));
    (level, origin, message)
}

/// What must be found when `bodies` of the messages are there; deliveries in the order of the log, with the bodies of the
/// messages before which each note stands.
fn expected(
    deliveries: &[(u32, std::ops::Range<u64>)],
    notes: usize,
    bodies: &[String],
) -> Vec<(u32, u64, Option<String>)> {
    let mut found = Vec::new();
    for (level, origins) in deliveries.iter().take(notes) {
        for one in origins.clone() {
            let one = origin(*level, one);
            if one.2.as_ref().is_some_and(|body| !bodies.contains(body)) {
                break;
            }
            found.push(one);
        }
    }
    found
}

#[test]
fn a_batch_cut_anywhere_counts_as_far_as_it_is_there() {
    let home = tempfile::tempdir().unwrap();
    let mut bench = open(home.path());
    let deliveries = [(3, 0..8), (1, 7..10), (3, 8..18), (2, 3..4)];
    for (level, origins) in deliveries.clone() {
        bench.deliver(level, origins);
        bench.send("between");
    }
    let records = bench.records();
    assert!(
        records.last().unwrap().1 > SEGMENT_BYTES,
        "no batch crosses a segment"
    );
    bench.kill();
    for (at, end, _) in &records {
        for cut in [at + 60, *end] {
            let copy = cut_copy(home.path(), cut);
            let bench = open(copy.path());
            let there: Vec<_> = records.iter().filter(|(_, end, _)| *end <= cut).collect();
            let notes = there.iter().filter(|(.., body)| body.is_none()).count();
            let bodies: Vec<_> = there.iter().filter_map(|(.., body)| body.clone()).collect();
            assert_eq!(
                bench.found(),
                expected(&deliveries, notes, &bodies),
                "cut at {cut}"
            );
            bench.kill();
        }
    }
}

#[test]
fn what_follows_a_cut_batch_is_not_taken_for_its_rest() {
    let home = tempfile::tempdir().unwrap();
    let mut bench = open(home.path());
    bench.deliver(1, 1..6);
    let records = bench.records();
    let home = bench.kill();
    // The note, 1-1 and 1-2 are left.
    let copy = cut_copy(home.path(), records[2].1);
    let mut bench = open(copy.path());
    assert_eq!(bench.found(), [origin(1, 1), origin(1, 2), origin(1, 3)]);
    bench.send("another");
    bench.deliver(1, 4..6);
    let copy = bench.kill();
    let bench = open(copy.path());
    let all: Vec<_> = (1..6).map(|one| origin(1, one)).collect();
    assert_eq!(bench.found(), all);
    bench.kill();
}

#[test]
fn rows_and_mark_are_written_together_and_not_before_the_log_is_on_the_disk() {
    let home = tempfile::tempdir().unwrap();
    let mut bench = open(home.path());
    assert_eq!((bench.row, bench.ledger.gather(1)), (None, None));
    bench.deliver(1, 1..3);
    *bench.seen.changed.lock() = Some(2);
    let until = bench.ledger.gather(1).unwrap();
    assert_eq!(until, bench.records().last().unwrap().1);
    assert_eq!(bench.ledger.close_round(until - 1), []);
    assert_eq!(*bench.seen.settled.lock(), 0);
    // A round that nobody has closed is not forgotten, and what comes later replaces what came before.
    bench.deliver(1, 4..5);
    *bench.seen.changed.lock() = Some(3);
    assert!(bench.ledger.gather(1).unwrap() > until);
    assert_eq!(bench.ledger.close_round(until), []);
    bench.ledger.settle().unwrap();
    assert_eq!(*bench.seen.settled.lock(), 1);
    assert_eq!(
        *bench.writer.flushed().borrow(),
        bench.reader.status().max_physical
    );
    bench.deliver(2, 7..8);
    let home = bench.kill();
    let bench = open(home.path());
    assert_eq!(bench.row, Some(3));
    assert_eq!(bench.found(), [origin(2, 7)]);
    bench.kill();
}

#[test]
fn after_a_stop_in_order_nothing_is_replayed() {
    let home = tempfile::tempdir().unwrap();
    let bench = open(home.path());
    bench.send("a");
    bench.ledger.settle().unwrap();
    bench.send("b");
    assert_eq!(bench.ledger.gather(1 << 20), None);
    bench.ledger.settle().unwrap();
    let end = bench.reader.status().max_physical;
    let home = bench.kill();
    let start = Kv::open(&home.path().join("kv")).unwrap();
    let mark = start.number(Family::Exchange, super::ledger::MARK_KEY);
    assert_eq!(mark.unwrap(), Some(end));
}

#[test]
fn without_a_mark_nothing_is_replayed() {
    let home = tempfile::tempdir().unwrap();
    let mut bench = open(home.path());
    bench.deliver(1, 1..3);
    let home = bench.kill();
    fs::remove_dir_all(home.path().join("kv")).unwrap();
    let mut bench = open(home.path());
    assert_eq!(bench.found(), []);
    bench.deliver(1, 4..5);
    let home = bench.kill();
    let bench = open(home.path());
    assert_eq!(bench.found(), [origin(1, 4)]);
    bench.kill();
}

#[test]
fn a_message_that_no_record_can_hold_is_left_out() {
    let home = tempfile::tempdir().unwrap();
    let mut bench = open(home.path());
    let (large, long) = ("x".repeat(5000), "y".repeat(32_768));
    let deliveries = [
        (1, message("a", "")),
        (2, message(&large, "")),
        (3, message("c", &long)),
        (4, message("d", "")),
    ];
    let deliveries = deliveries.map(|(origin, message)| Delivery {
        origin,
        message: Some(message),
    });
    let guard = bench.ledger.enter();
    let delivered = bench.outbox.deliver(&guard, Kind::Level(1), &deliveries);
    assert!(delivered.error.is_none());
    assert_eq!((delivered.done, delivered.appended.len()), (4, 2));
    drop(guard);
    let home = bench.kill();
    let bench = open(home.path());
    let body = |text: &str| Some(text.to_owned());
    let found = [
        (1, 1, body("a")),
        (1, 2, None),
        (1, 3, None),
        (1, 4, body("d")),
    ];
    assert_eq!(bench.found(), found);
    bench.kill();
}

#[test]
fn a_mark_in_a_log_that_somebody_else_has_written_counts_for_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut bench = open(home.path());
    bench.deliver(1, 1..3);
    bench.ledger.settle().unwrap();
    bench.kv.store([super::ledger::mark_row(77)]).unwrap();
    let home = bench.kill();
    let mut bench = open(home.path());
    assert_eq!(bench.found(), []);
    bench.deliver(1, 4..5);
    let home = bench.kill();
    let bench = open(home.path());
    assert_eq!(bench.found(), [origin(1, 4)]);
    bench.kill();
}
