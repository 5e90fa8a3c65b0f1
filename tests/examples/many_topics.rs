//! What ten thousand topics of eight queues cost a broker and its name server.
//!
//! `cargo build --release && ARUGULA_BIN=target/release cargo run --release -p tests --example many_topics [TOPICS]`
//!
//! Starts both in a temporary directory, creates the topics one after the other, sends a message to
//! every queue, and starts the broker again: once it was left in order, once it was killed.

use std::time::Duration;

use anyhow::{Context, Result};
use common::clock::{Clock, SystemClock};
use tests::{Cluster, Connection, patiently};

const QUEUES: u32 = 8;
/// Sends on their way at once.
const WINDOW: usize = 64;
const PATIENCE: Duration = Duration::from_mins(5);

fn name(topic: usize) -> String {
    format!("TopicOfManyTopics-{topic:06}")
}

/// User and system time of a process in seconds.
fn cpu_seconds(process: u32) -> Result<f64> {
    /// Ticks of the clock this is counted with.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields = stat.rsplit_once(')').context("no name")?.1;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks = ticks
        .map(str::parse::<f64>)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS)
}

fn report(what: &str, cluster: &Cluster, took: Duration) -> Result<()> {
    let broker = cluster.broker.process.id();
    println!(
        "{what:<42} {took:>9.2?}   broker {:>6} KiB, {:>3} files, {:.2} s CPU; name server {:>6} KiB, {:.2} s CPU",
        cluster.broker.process.anonymous_kib()?,
        std::fs::read_dir(format!("/proc/{broker}/fd"))?.count(),
        cpu_seconds(broker)?,
        cluster.namesrv.process.anonymous_kib()?,
        cpu_seconds(cluster.namesrv.process.id())?,
    );
    Ok(())
}

fn wait_for_route(cluster: &Cluster, topic: usize) -> Result<()> {
    let mut namesrv = Connection::open(&cluster.namesrv.address)?;
    patiently("the last topic has a route", PATIENCE, || {
        let route = namesrv.call(105, &[("topic", &name(topic))], &[])?;
        Ok((route.code == 0).then_some(()))
    })
}

fn send_to_all(cluster: &Cluster, topics: usize) -> Result<()> {
    let mut connection = Connection::open(&cluster.broker.address)?;
    let mut waiting = 0;
    for topic in 0..topics {
        for queue in 0..QUEUES {
            let frame = connection.send_frame(&name(topic), queue, "", b"one of many");
            connection.write(&frame)?;
            waiting += 1;
            if waiting == WINDOW {
                connection.read()?.ok()?;
                waiting -= 1;
            }
        }
    }
    for _ in 0..waiting {
        connection.read()?.ok()?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let topics: usize = std::env::args()
        .nth(1)
        .map_or(Ok(10_000), |text| text.parse())?;
    let clock = SystemClock::new();
    let mut cluster = Cluster::start()?;
    report("started", &cluster, clock.monotonic())?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    for tenth in 0..10 {
        let started = clock.monotonic();
        for topic in topics * tenth / 10..topics * (tenth + 1) / 10 {
            connection.create_topic(&name(topic), QUEUES)?;
        }
        let took = clock.monotonic().saturating_sub(started);
        report(
            &format!("topics up to {}", topics * (tenth + 1) / 10),
            &cluster,
            took,
        )?;
    }
    let started = clock.monotonic();
    wait_for_route(&cluster, topics - 1)?;
    report(
        "the name server knows the last one",
        &cluster,
        clock.monotonic().saturating_sub(started),
    )?;
    let started = clock.monotonic();
    send_to_all(&cluster, topics)?;
    report(
        "a message in each queue",
        &cluster,
        clock.monotonic().saturating_sub(started),
    )?;

    let started = clock.monotonic();
    let last = cluster
        .broker
        .store
        .join("consumequeue")
        .join(name(topics - 1));
    patiently("all queues have files", PATIENCE, || {
        Ok(last.join((QUEUES - 1).to_string()).exists().then_some(()))
    })?;
    report(
        "all queues have files",
        &cluster,
        clock.monotonic().saturating_sub(started),
    )?;

    cluster.broker.process.terminate()?;
    let started = clock.monotonic();
    let status = cluster.broker.process.wait_exit(PATIENCE)?;
    println!(
        "left in order: {status} in {:.2?}",
        clock.monotonic().saturating_sub(started)
    );
    let started = clock.monotonic();
    cluster.broker.start_again()?;
    report(
        "started again",
        &cluster,
        clock.monotonic().saturating_sub(started),
    )?;
    wait_for_route(&cluster, topics - 1)?;
    let started = clock.monotonic();
    cluster.broker.kill_and_restart()?;
    report(
        "started after kill -9",
        &cluster,
        clock.monotonic().saturating_sub(started),
    )
}
