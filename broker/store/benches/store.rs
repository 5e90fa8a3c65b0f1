//! Time of the steps a message takes through the store, and of recovery.
//!
//! `cargo bench -p store`, or `cargo bench -p store -- append` for some of them. Files lie in a directory of their own
//! below `TMPDIR`.
#![expect(
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench that cannot be run may end with a panic; criterion's macros make public items"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::clock::{Clock, SystemClock};
use common::message::RecordParts;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use store::{
    Arrivals, DiskFiles, GetRequest, Queue, RecordBatch, StoreConfig, StoreReader, StoreTasks,
    StoreWriter, open,
};
use tempfile::TempDir;

/// What a client and a broker put on every message.
const PROPERTIES: &str = concat!(
    "UNIQ_KEY\u{1}7F0000010C3E18B4AAC2063B9E5A0000\u{2}CLUSTER\u{1}DefaultCluster\u{2}",
    "MSG_REGION\u{1}DefaultRegion\u{2}TRACE_ON\u{1}true\u{2}"
);
const BODY: [u8; 1024] = [b'x'; 1024];
const TOPIC: &str = "TopicOfTheseBenches";
const QUEUES: u32 = 8;
/// What a busy turn brings.
const BATCH: usize = 64;

struct Nobody;

impl Arrivals for Nobody {
    fn arrived(&self, _: &Arc<Queue>, _: u64, _: i64, _: i64) {}
}

struct Store {
    writer: StoreWriter,
    reader: StoreReader,
    tasks: StoreTasks,
}

fn open_store(root: &Path) -> Store {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (writer, reader, tasks) = open(
        StoreConfig::new(root),
        Arc::new(DiskFiles),
        clock,
        Arc::new(Nobody),
    )
    .unwrap();
    Store {
        writer,
        reader,
        tasks,
    }
}

fn parts(queue: &Queue) -> RecordParts<'_> {
    RecordParts {
        topic: queue.topic(),
        queue_id: queue.id(),
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        born_host: ([127, 0, 0, 1], 50_000).into(),
        store_host: ([127, 0, 0, 1], 10_911).into(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &BODY,
        properties: PROPERTIES,
    }
}

fn fill(batch: &mut RecordBatch, queues: &[Arc<Queue>], records: usize) {
    for n in 0..records {
        let queue = &queues[n % queues.len()];
        batch.push(queue, &parts(queue)).unwrap();
    }
}

fn queues(writer: &StoreWriter, of: u32) -> Vec<Arc<Queue>> {
    (0..QUEUES)
        .map(|id| writer.queue(&format!("{TOPIC}{of}"), id))
        .collect()
}

/// Appends `batches` batches of `records` messages.
fn append(writer: &StoreWriter, queues: &[Arc<Queue>], batches: u64, records: usize) {
    let (mut batch, mut appended) = (RecordBatch::default(), Vec::new());
    for _ in 0..batches {
        fill(&mut batch, queues, records);
        writer.append_batch(&mut batch, &mut appended).unwrap();
        batch.clear();
        appended.clear();
    }
}

fn encode(criterion: &mut Criterion) {
    let directory = TempDir::new().unwrap();
    let store = open_store(directory.path());
    let queues = queues(&store.writer, 0);
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("64 records of 1 KiB", |bencher| {
        bencher.iter_batched_ref(
            RecordBatch::default,
            |batch| fill(batch, &queues, BATCH),
            BatchSize::SmallInput,
        );
    });
    group.finish();
    store.tasks.shutdown().unwrap();
}

/// Encoding included. Everything is deleted between the rounds, so that the disk does not fill.
fn appends(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    group.sample_size(10).warm_up_time(Duration::from_secs(1));
    for (records, producers) in [(1, 1), (BATCH, 1), (1, 8), (BATCH, 8)] {
        let messages = records as u64 * producers;
        group.throughput(Throughput::Elements(messages));
        let name = format!("{producers} producers, batches of {records}");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let directory = TempDir::new().unwrap();
                let store = open_store(directory.path());
                let clock = SystemClock::new();
                let began = clock.monotonic();
                thread::scope(|scope| {
                    for of in 0..u32::try_from(producers).unwrap() {
                        let writer = &store.writer;
                        scope.spawn(move || append(writer, &queues(writer, of), rounds, records));
                    }
                });
                let took = clock.monotonic().saturating_sub(began);
                store.tasks.shutdown().unwrap();
                took
            });
        });
    }
    group.finish();
}

fn reads(criterion: &mut Criterion) {
    const MESSAGES: u64 = 200_000;
    let directory = TempDir::new().unwrap();
    let store = open_store(directory.path());
    append(&store.writer, &queues(&store.writer, 0), MESSAGES / 64, 64);
    let topic = format!("{TOPIC}0");
    let end = store.reader.max_offset(&topic, 0);
    let next = AtomicU64::new(0);
    let mut group = criterion.benchmark_group("read");
    for messages in [1, 32] {
        group.throughput(Throughput::Elements(messages.into()));
        group.bench_function(format!("{messages} units and their slices"), |bencher| {
            bencher.iter(|| {
                let offset = next.fetch_add(7919, Ordering::Relaxed) % (end - 32);
                let result = store.reader.get(GetRequest {
                    topic: &topic,
                    queue_id: 0,
                    offset: i64::try_from(offset).unwrap(),
                    max_messages: messages,
                    filter: &|_| true,
                });
                assert_eq!(result.count, usize::try_from(messages).unwrap());
                result
            });
        });
    }
    group.finish();
    store.tasks.shutdown().unwrap();
}

/// A GiB of which nothing is known: every record is checked, every index built anew.
fn recovery(criterion: &mut Criterion) {
    const MESSAGES: u64 = (1 << 30) / 1200;
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    let store = open_store(root);
    append(&store.writer, &queues(&store.writer, 0), MESSAGES / 64, 64);
    let bytes = store.reader.status().max_physical;
    store.tasks.shutdown().unwrap();
    let mut group = criterion.benchmark_group("recovery");
    group.sample_size(10).warm_up_time(Duration::from_millis(1));
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function("1 GiB without any index", |bencher| {
        bencher.iter_custom(|rounds| {
            let clock = SystemClock::new();
            let mut took = Duration::ZERO;
            for _ in 0..rounds {
                for index in ["consumequeue", "index"] {
                    // Not there the first time, if nothing was indexed.
                    let _ = std::fs::remove_dir_all(root.join(index));
                }
                std::fs::remove_file(root.join("checkpoint")).unwrap();
                std::fs::write(root.join("abort"), "1").unwrap();
                let began = clock.monotonic();
                let store = open_store(root);
                took += clock.monotonic().saturating_sub(began);
                assert_eq!(store.reader.status().max_physical, bytes);
                store.tasks.shutdown().unwrap();
            }
            took
        });
    });
    group.finish();
}

criterion_group!(benches, encode, appends, reads, recovery);
criterion_main!(benches);
