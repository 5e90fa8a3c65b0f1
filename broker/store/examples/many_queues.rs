//! What many idle queues cost: time to open the store, memory, open files.
//!
//! `cargo run --release -p store --example many_queues -- DIRECTORY fill|open|dirty [TOPICS]`
//!
//! `fill` makes TOPICS topics (10000) of 8 queues with 4 messages each in DIRECTORY; `open` opens the
//! store, reports and leaves it in order; `dirty` opens it, sends to every 100th topic and ends
//! without leaving it in order.

use std::path::PathBuf;
use std::sync::Arc;

use common::clock::{Clock, SystemClock};
use common::message::RecordParts;
use store::{
    Arrivals, DiskFiles, Queue, RecordBatch, RetentionConfig, StoreConfig, StoreWriter, open,
};

const QUEUES: u32 = 8;
const MESSAGES: usize = 4;

struct Nobody;

impl Arrivals for Nobody {
    fn arrived(&self, _: &Arc<Queue>, _: u64, _: i64, _: i64) {}
}

fn send(writer: &StoreWriter, topic: usize) -> Result<(), Box<dyn std::error::Error>> {
    let (mut batch, mut appended) = (RecordBatch::default(), Vec::new());
    let topic = format!("TopicOfManyQueues-{topic:06}");
    for queue_id in 0..QUEUES {
        let queue = writer.queue(&topic, queue_id);
        for _ in 0..MESSAGES {
            let parts = RecordParts {
                topic: &topic,
                queue_id,
                flag: 0,
                sys_flag: 0,
                born_timestamp: 1_700_000_000_000,
                born_host: ([127, 0, 0, 1], 50_000).into(),
                store_host: ([127, 0, 0, 1], 10_911).into(),
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body: b"one of many",
                properties: "",
            };
            batch.push(&queue, &parts)?;
        }
    }
    Ok(writer.append_batch(&mut batch, &mut appended)?)
}

/// Own memory in KiB, open files and mappings.
fn process() -> Result<(u64, usize, usize), std::io::Error> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let own = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    let files = std::fs::read_dir("/proc/self/fd")?.count();
    let mappings = std::fs::read_to_string("/proc/self/maps")?.lines().count();
    Ok((own.unwrap_or(0), files, mappings))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let root = args
        .next()
        .map(PathBuf::from)
        .ok_or("a directory is missing")?;
    let what = args.next().unwrap_or_default();
    let topics: usize = args.next().map_or(Ok(10_000), |text| text.parse())?;
    let config = StoreConfig {
        retention: RetentionConfig {
            clean_forcibly: false,
            warning_percent: 100,
            ..RetentionConfig::default()
        },
        ..StoreConfig::new(root)
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let before = process()?.0;
    let started = clock.monotonic();
    let (writer, reader, tasks) = open(
        config,
        Arc::new(DiskFiles),
        Arc::clone(&clock),
        Arc::new(Nobody),
    )?;
    let opened = clock.monotonic().saturating_sub(started);
    let (own, files, mappings) = process()?;
    let queues = reader.status().queues;
    println!(
        "{queues} queues opened in {opened:.2?}; {} KiB more memory ({} bytes a queue), {files} open files, {mappings} mappings",
        own - before,
        ((own - before) * 1024)
            .checked_div(queues as u64)
            .unwrap_or(0)
    );
    match what.as_str() {
        "fill" => (0..topics).try_for_each(|topic| send(&writer, topic))?,
        "dirty" => {
            (0..topics)
                .step_by(100)
                .try_for_each(|topic| send(&writer, topic))?;
            // Units reach their files; nobody syncs them or says that the end was orderly.
            std::thread::sleep(std::time::Duration::from_secs(3));
            std::process::exit(0);
        }
        _ => {}
    }
    let started = clock.monotonic();
    tasks.shutdown()?;
    println!(
        "left in order in {:.2?}",
        clock.monotonic().saturating_sub(started)
    );
    Ok(())
}
