//! Delay levels, killed and stopped in the middle of deliveries.

use anyhow::{Result, ensure};
use tests::{Cluster, Connection, patiently, records};

use crate::SOON;
use crate::kinds::{figure, property};

const MESSAGES: usize = 3_000;
const PULL_AT_ONCE: i64 = 19;
const TOPIC: &str = "delayed";
const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";

/// Body and store time of every message of a queue.
fn all(connection: &mut Connection, topic: &str, queue: u32) -> Result<Vec<(String, i64)>> {
    let (mut all, mut offset) = (Vec::new(), 0);
    loop {
        let answer = connection.pull(topic, queue, offset)?;
        if answer.code == PULL_AT_ONCE {
            return Ok(all);
        }
        let answer = answer.ok()?;
        for record in records(&answer.body)? {
            all.push((String::from_utf8(record.body)?, record.stored));
        }
        offset = answer.number("nextBeginOffset")?;
    }
}

/// Sends `MESSAGES` alternately at levels 1 and 2, for queue 0 and 1.
fn send(connection: &mut Connection) -> Result<()> {
    for window in (0..MESSAGES).collect::<Vec<_>>().chunks(20) {
        let mut frames = Vec::new();
        for number in window {
            let level = if number % 2 == 0 { ("1", 0) } else { ("2", 1) };
            let (properties, body) = (property("DELAY", level.0), number.to_string());
            frames.extend(connection.send_frame(TOPIC, level.1, &properties, body.as_bytes()));
        }
        connection.write(&frames)?;
        for _ in window {
            connection.read()?.ok()?;
        }
    }
    Ok(())
}

/// Waits until at least so many were delivered, and pulls nothing it need not.
fn delivered(connection: &mut Connection, at_least: i64) -> Result<()> {
    patiently("messages are delivered", SOON, || {
        let mut sum = 0;
        for queue in ["0", "1"] {
            let max = connection.call(30, &[("topic", TOPIC), ("queueId", queue)], &[])?;
            sum += max.ok()?.number("offset")?;
        }
        Ok((sum >= at_least).then_some(()))
    })
}

fn check(connection: &mut Connection) -> Result<()> {
    for (queue, delay) in [(0, 1_000), (1, 2_000)] {
        let (waited, arrived) = (
            all(connection, SCHEDULE_TOPIC, queue)?,
            all(connection, TOPIC, queue)?,
        );
        let bodies = |messages: &[(String, i64)]| -> Vec<String> {
            messages.iter().map(|(body, _)| body.clone()).collect()
        };
        ensure!(
            bodies(&arrived) == bodies(&waited),
            "queue {queue}: {} waited, {} arrived",
            waited.len(),
            arrived.len()
        );
        let early = waited.iter().zip(&arrived);
        let early = early.filter(|(waited, arrived)| arrived.1 - waited.1 < delay);
        ensure!(early.count() == 0, "early in queue {queue}");
    }
    Ok(())
}

fn killed_or_stopped(flush: &str) -> Result<()> {
    let mut cluster = Cluster::with(&[("messageDelayLevel", "1s 2s"), ("flushDiskType", flush)])?;
    cluster.create_topic(TOPIC, 2)?;
    let address = cluster.broker.address.clone();
    let mut connection = Connection::open(&address)?;
    for (round, at_least) in (1_i64..).zip([1, 700, 1_400]) {
        send(&mut connection)?;
        let before = i64::try_from(MESSAGES)? * (round - 1);
        delivered(&mut connection, before + at_least)?;
        if round == 3 {
            cluster.broker.process.terminate()?;
            cluster.broker.process.wait_exit(SOON)?;
            cluster.broker.start_again()?;
        } else {
            cluster.broker.kill_and_restart()?;
        }
        // At once again, while what came due meanwhile goes out.
        cluster.broker.kill_and_restart()?;
        connection = Connection::open(&address)?;
        delivered(&mut connection, before + i64::try_from(MESSAGES)?)?;
    }
    check(&mut connection)?;
    let labels = ["rocketmq_messages_out_total", "SCHEDULE_CONSUMER"];
    ensure!(figure(&cluster.broker.http, &labels)? != "none");
    Ok(())
}

#[test]
fn each_message_of_a_level_is_delivered_once_in_order_and_never_early() -> Result<()> {
    killed_or_stopped("ASYNC_FLUSH")
}

#[test]
fn with_answers_that_wait_for_the_disk_too() -> Result<()> {
    killed_or_stopped("SYNC_FLUSH")
}
