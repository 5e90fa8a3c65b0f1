//! CPU time of encoding, appending and reading 1 KiB messages, by batch size.
//!
//! `cargo run --release -p store --example append -- DIRECTORY`

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::clock::{Clock, SystemClock};
use common::message::RecordParts;
use rustix::time::{ClockId, clock_gettime};
use store::{Arrivals, DiskFiles, GetRequest, Queue, RecordBatch, StoreConfig, open};

/// What a client and a broker put on a message.
fn properties(number: usize) -> String {
    format!(
        "UNIQ_KEY\u{1}7F0000010C3E18B4AAC2063B{number:08X}\u{2}CLUSTER\u{1}DefaultCluster\u{2}\
         MSG_REGION\u{1}DefaultRegion\u{2}TRACE_ON\u{1}true\u{2}"
    )
}
const MESSAGES: usize = 400_000;

struct Nobody;

impl Arrivals for Nobody {
    fn arrived(&self, _: &Arc<Queue>, _: u64, _: i64, _: i64) {}
}

fn thread_cpu() -> Duration {
    cpu(ClockId::ThreadCPUTime)
}

fn cpu(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[expect(clippy::cast_precision_loss, reason = "only printed")]
fn report(what: &str, batch: usize, cpu: Duration) {
    let each = cpu.as_nanos() as f64 / MESSAGES as f64;
    println!("{what:<28} batch {batch:>3}: {each:>7.0} ns per message");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let root = root.join(format!("arugula-append-{}", std::process::id()));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config = StoreConfig::new(&root);
    let (writer, reader, tasks) = open(config, Arc::new(DiskFiles), clock, Arc::new(Nobody))?;
    let body = vec![b'x'; 1024];
    let queues: Vec<_> = (0..4)
        .map(|id| writer.queue("TopicOfThisExample", id))
        .collect();
    for size in [1, 16, 64] {
        let mut batch = RecordBatch::default();
        let mut appended = Vec::new();
        let (mut encoding, mut appending) = (Duration::ZERO, Duration::ZERO);
        let others = || cpu(ClockId::ProcessCPUTime).saturating_sub(thread_cpu());
        let others_before = others();
        for round in 0..MESSAGES / size {
            let properties: Vec<_> = (0..size).map(|n| properties(round * size + n)).collect();
            let started = thread_cpu();
            for (n, properties) in properties.iter().enumerate() {
                let queue = &queues[(round + n) % 4];
                let parts = RecordParts {
                    topic: queue.topic(),
                    queue_id: queue.id(),
                    flag: 0,
                    sys_flag: 0,
                    born_timestamp: 1_700_000_000_000,
                    born_host: ([127, 0, 0, 1], 50_000).into(),
                    store_host: ([127, 0, 0, 1], 10_911).into(),
                    reconsume_times: 0,
                    prepared_transaction_offset: 0,
                    body: &body,
                    properties,
                };
                batch.push(queue, &parts)?;
            }
            let encoded = thread_cpu();
            writer.append_batch(&mut batch, &mut appended)?;
            appending += thread_cpu().saturating_sub(encoded);
            encoding += encoded.saturating_sub(started);
            batch.clear();
            appended.clear();
        }
        report("encode", size, encoding);
        report("append and dispatch", size, appending);
        report(
            "other threads",
            size,
            others().saturating_sub(others_before),
        );
    }
    let (mut offset, mut read, started) = (0, 0, thread_cpu());
    while read < MESSAGES {
        let result = reader.get(GetRequest {
            topic: "TopicOfThisExample",
            queue_id: 0,
            offset: offset % 200_000,
            max_messages: 32,
            filter: &|_| true,
        });
        read += result.count;
        offset = result.next_begin;
    }
    report("get", 32, thread_cpu().saturating_sub(started));
    tasks.shutdown()?;
    std::fs::remove_dir_all(&root)?;
    Ok(())
}
