//! The store on real files.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::*;
use common::clock::SystemClock;
use common::message::RecordParts;

struct Nobody;

impl Arrivals for Nobody {
    fn arrived(&self, _: &Arc<Queue>, _: u64, _: i64, _: i64) {}
}

/// Names the directory in which the other process of a test works.
const CHILD_ROOT: &str = "ARUGULA_TEST_CHILD_ROOT";

fn start(root: &Path) -> Result<(StoreWriter, StoreReader, StoreTasks), StoreError> {
    start_with(root, FlushMode::Async)
}

fn start_with(
    root: &Path,
    flush_mode: FlushMode,
) -> Result<(StoreWriter, StoreReader, StoreTasks), StoreError> {
    let config = StoreConfig {
        segment_bytes: 1 << 20,
        flush_mode,
        retention: RetentionConfig {
            // The disk of the machine may be as full as it likes.
            clean_forcibly: false,
            warning_percent: 100,
            ..RetentionConfig::default()
        },
        ..StoreConfig::new(root.join("store"))
    };
    open(
        config,
        Arc::new(DiskFiles),
        Arc::new(SystemClock::new()),
        Arc::new(Nobody),
    )
}

fn send(writer: &StoreWriter, bodies: &[String]) -> Vec<Appended> {
    let queue = writer.queue("Topic", 2);
    let mut batch = RecordBatch::default();
    for body in bodies {
        let parts = RecordParts {
            topic: "Topic",
            queue_id: 2,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 1,
            born_host: "127.0.0.1:1".parse().unwrap(),
            store_host: "[::1]:10911".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: body.as_bytes(),
            properties: "TAGS\u{1}a\u{2}",
        };
        batch.push(&queue, &parts).unwrap();
    }
    let mut appended = Vec::new();
    writer.append_batch(&mut batch, &mut appended).unwrap();
    appended
}

fn bodies(reader: &StoreReader) -> Vec<String> {
    let (mut offset, mut bodies) = (0, Vec::new());
    loop {
        let request = GetRequest {
            topic: "Topic",
            queue_id: 2,
            offset,
            max_messages: 32,
            filter: &|_| true,
        };
        let result = reader.get(request);
        if result.status != GetStatus::Found {
            return bodies;
        }
        for message in result.messages() {
            bodies.push(String::from_utf8(message.unwrap().body.to_vec()).unwrap());
        }
        offset = result.next_begin;
    }
}

fn names(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("{n:04000}")).collect()
}

#[test]
fn messages_survive_a_clean_restart() {
    let root = tempfile::tempdir().unwrap();
    let (writer, reader, tasks) = start(root.path()).unwrap();
    send(&writer, &names(0..600));
    assert_eq!(bodies(&reader), names(0..600));
    tasks.shutdown().unwrap();
    assert!(!root.path().join("store/abort").exists());
    drop((writer, reader));

    let (writer, reader, _tasks) = start(root.path()).unwrap();
    assert_eq!(bodies(&reader), names(0..600));
    assert_eq!(send(&writer, &names(600..601))[0].queue_offset.0, 600);
}

#[test]
fn slices_outlive_the_store() {
    let root = tempfile::tempdir().unwrap();
    let (writer, reader, tasks) = start(root.path()).unwrap();
    let sent = send(&writer, &names(0..1));
    let record = reader.record_at(sent[0].physical_offset).unwrap();
    tasks.shutdown().unwrap();
    drop((writer, reader, root));
    assert!(record.ends_with(b"TAGS\x01a\x02"));
}

#[test]
fn synchronous_flush_makes_messages_visible() {
    let root = tempfile::tempdir().unwrap();
    let (writer, reader, _tasks) = start_with(root.path(), FlushMode::Sync).unwrap();
    let end = send(&writer, &names(0..300)).last().unwrap().end();
    let mut flushed = writer.flushed();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let wait = flushed.wait_for(|offset| *offset >= end);
        // A disk under load may take seconds for a sync.
        tokio::time::timeout(Duration::from_mins(1), wait)
            .await
            .unwrap()
            .unwrap();
    });
    assert_eq!(bodies(&reader), names(0..300));
}

#[test]
fn second_process_is_refused_and_a_killed_one_loses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let ready = root.path().join("ready");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::disk::child_process", "--nocapture"])
        .env(CHILD_ROOT, root.path())
        .spawn()
        .unwrap();
    while !ready.exists() {
        assert!(child.try_wait().unwrap().is_none(), "the child ended early");
        std::thread::yield_now();
    }
    let Err(error) = start(root.path()) else {
        panic!("two processes have the store open")
    };
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");

    child.kill().unwrap();
    child.wait().unwrap();
    assert!(root.path().join("store/abort").exists());
    let (writer, reader, _tasks) = start(root.path()).unwrap();
    assert_eq!(bodies(&reader), names(0..700));
    assert_eq!(send(&writer, &names(700..701))[0].queue_offset.0, 700);
}

/// The other process of the test above; by itself it has nothing to do.
#[test]
fn child_process() {
    let Some(root) = std::env::var_os(CHILD_ROOT) else {
        return;
    };
    let root = Path::new(&root);
    let (writer, _reader, _tasks) = start(root).unwrap();
    send(&writer, &names(0..700));
    std::fs::write(root.join("ready"), "").unwrap();
    loop {
        std::thread::park();
    }
}
