//! What a million messages that wait for their time cost a broker, and how punctual it is.
//!
//! `cargo build --release && ARUGULA_BIN=target/release cargo run --release -p tests --example many_timers [WAITING [STORM]]`
//!
//! Sends messages that are due within three days, waits until they are filed, and starts the broker again: once it was left in
//! order, once it was killed. Then as many as STORM says are due over 30 s, while 5,000 ordinary messages are sent each second.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use common::clock::{Clock, SystemClock};
use serde_json::Value;
use tests::{Cluster, Connection, http_get, patiently, records};

const TOPIC: &str = "TopicOfManyTimers";
const LIVE: &str = "TopicOfLiveTraffic";
const QUEUES: u32 = 8;
/// Sends on their way at once.
const WINDOW: usize = 256;
const PATIENCE: Duration = Duration::from_mins(10);
const BODY: [u8; 100] = [b'x'; 100];
const HOUR_MS: i64 = 3_600_000;
const STORM_MS: i64 = 30_000;
/// Live messages of one burst, and the time to the next one: 5,000 a second.
const BURST: (usize, Duration) = (25, Duration::from_millis(5));

/// Sends messages that are due at `due(number)`.
fn send(cluster: &Cluster, count: usize, due: impl Fn(usize) -> i64) -> Result<()> {
    let mut connection = Connection::open(&cluster.broker.address)?;
    let mut waiting = 0;
    for first in (0..count).step_by(WINDOW / 2) {
        let mut frames = Vec::new();
        for number in first..(first + WINDOW / 2).min(count) {
            let properties = format!("TIMER_DELIVER_MS\u{1}{}\u{2}", due(number));
            let queue = u32::try_from(number)? % QUEUES;
            frames.extend(connection.send_frame(TOPIC, queue, &properties, &BODY));
            waiting += 1;
        }
        connection.write(&frames)?;
        while waiting >= WINDOW {
            connection.read()?.ok()?;
            waiting -= 1;
        }
    }
    for _ in 0..waiting {
        connection.read()?.ok()?;
    }
    Ok(())
}

fn page(cluster: &Cluster) -> Result<Value> {
    let (_, page) = http_get(&cluster.broker.http, "/api/v1/timers?limit=1")?;
    Ok(serde_json::from_str(&page)?)
}

/// Waits until as many messages are known to wait.
fn filed(cluster: &Cluster, count: usize) -> Result<()> {
    patiently("everything is filed and counted", PATIENCE, || {
        let page = page(cluster)?;
        Ok((page["behind"] == 0 && page["waiting"][TOPIC] == count).then_some(()))
    })
}

fn report(what: &str, cluster: &Cluster, took: Duration) -> Result<()> {
    let status = format!("/proc/{}/status", cluster.broker.process.id());
    let status = std::fs::read_to_string(status)?;
    let memory = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_whitespace().nth(1));
        value.map_or("?".to_owned(), str::to_owned)
    };
    println!(
        "{what:<36} {took:>9.2?}   anonymous {:>7} KiB, of files {:>8} KiB",
        memory("RssAnon"),
        memory("RssFile"),
    );
    Ok(())
}

fn timed<R>(clock: &dyn Clock, work: impl FnOnce() -> Result<R>) -> Result<(R, Duration)> {
    let started = clock.monotonic();
    let done = work()?;
    Ok((done, clock.monotonic().saturating_sub(started)))
}

/// Sends at a steady pace until told to end; how long each burst took to be answered.
fn live(address: &str, end: &AtomicBool) -> Result<Vec<Duration>> {
    let clock = SystemClock::new();
    let mut connection = Connection::open(address)?;
    let mut took = Vec::new();
    let mut next = clock.monotonic();
    while !end.load(Ordering::Relaxed) {
        let started = clock.monotonic();
        let mut frames = Vec::new();
        for number in 0..BURST.0 {
            let queue = u32::try_from(number)? % QUEUES;
            frames.extend(connection.send_frame(LIVE, queue, "", &BODY));
        }
        connection.write(&frames)?;
        for _ in 0..BURST.0 {
            connection.read()?.ok()?;
        }
        took.push(clock.monotonic().saturating_sub(started));
        next += BURST.1;
        std::thread::sleep(next.saturating_sub(clock.monotonic()));
    }
    took.sort();
    Ok(took)
}

/// Milliseconds by which each message was late.
fn lateness(cluster: &Cluster) -> Result<Vec<i64>> {
    let mut late = Vec::new();
    let mut connection = Connection::open(&cluster.broker.address)?;
    for queue in 0..QUEUES {
        let mut offset = 0;
        loop {
            let answer = connection.pull(TOPIC, queue, offset)?;
            if answer.code != 0 {
                break;
            }
            for record in records(&answer.body)? {
                let text = record.properties;
                let due = text
                    .split('\u{2}')
                    .find_map(|part| part.strip_prefix("TIMER_DELIVER_MS\u{1}"));
                late.push(record.stored - due.context("TIMER_DELIVER_MS")?.parse::<i64>()?);
            }
            offset = answer.number("nextBeginOffset")?;
        }
    }
    late.sort_unstable();
    Ok(late)
}

fn storm(cluster: &Cluster, count: usize) -> Result<()> {
    let clock = SystemClock::new();
    // They are sent before the first is due.
    let begin = clock.now().0 + 20_000;
    let step = |number: usize| i64::try_from(number).unwrap_or(0) * STORM_MS;
    let each = i64::try_from(count)?;
    send(cluster, count, |number| begin + step(number) / each)?;
    ensure!(clock.now().0 < begin, "sending took longer than 20 s");
    let end = AtomicBool::new(false);
    let answered = std::thread::scope(|scope| {
        let sending = scope.spawn(|| live(&cluster.broker.address, &end));
        let waited = patiently("the storm is over", PATIENCE, || {
            Ok((clock.now().0 > begin + STORM_MS + 2_000).then_some(()))
        });
        end.store(true, Ordering::Relaxed);
        waited?;
        sending.join().ok().context("the live traffic panicked")?
    })?;
    let late = lateness(cluster)?;
    ensure!(late.len() == count, "{} of {count} delivered", late.len());
    let of = |share: usize| late[(late.len() - 1) * share / 1_000];
    println!(
        "{count} due over 30 s: late by p50 {} ms, p99 {} ms, p99.9 {} ms, at most {} ms, at least {} ms",
        of(500),
        of(990),
        of(999),
        of(1_000),
        of(0)
    );
    let of = |share: usize| answered[(answered.len() - 1) * share / 1_000];
    println!(
        "live traffic meanwhile: {} messages, bursts of {} answered in p50 {:.2?}, p99 {:.2?}, at most {:.2?}",
        answered.len() * BURST.0,
        BURST.0,
        of(500),
        of(990),
        of(1_000)
    );
    Ok(())
}

fn main() -> Result<()> {
    let number = |at, otherwise: usize| {
        std::env::args()
            .nth(at)
            .map_or(Ok(otherwise), |text| text.parse())
    };
    let (count, in_storm) = (number(1, 1_000_000)?, number(2, 100_000)?);
    let clock = SystemClock::new();
    let settings = [
        ("timerPrecisionMs", "10"),
        ("mappedFileSizeCommitLog", "134217728"),
    ];
    let mut cluster = Cluster::with(&settings)?;
    cluster.create_topic(TOPIC, QUEUES)?;
    cluster.create_topic(LIVE, QUEUES)?;
    report("started", &cluster, clock.monotonic())?;
    if count > 0 {
        let now = clock.now().0;
        // Neighbours in the log are far apart in time.
        let due = |number: usize| {
            let mixed = i64::try_from(number.wrapping_mul(7_919) % count).unwrap_or(0);
            now + HOUR_MS + mixed * 70 * HOUR_MS / i64::try_from(count).unwrap_or(1)
        };
        let ((), took) = timed(&clock, || send(&cluster, count, due))?;
        report(&format!("{count} messages sent"), &cluster, took)?;
        let ((), took) = timed(&clock, || filed(&cluster, count))?;
        report("filed", &cluster, took)?;
        let ((), took) = timed(&clock, || {
            cluster.broker.process.terminate()?;
            cluster.broker.process.wait_exit(PATIENCE)?;
            Ok(())
        })?;
        println!("stopped in order, all written for a Java broker, in {took:.2?}");
        let ((), took) = timed(&clock, || cluster.broker.start_again())?;
        report("started again", &cluster, took)?;
        let ((), took) = timed(&clock, || filed(&cluster, count))?;
        report("all counted", &cluster, took)?;
        let ((), took) = timed(&clock, || cluster.broker.kill_and_restart())?;
        report("started after kill -9", &cluster, took)?;
        let ((), took) = timed(&clock, || filed(&cluster, count))?;
        report("all counted", &cluster, took)?;
    }
    if in_storm > 0 {
        storm(&cluster, in_storm)?;
        report("after the storm", &cluster, Duration::ZERO)?;
    }
    Ok(())
}
