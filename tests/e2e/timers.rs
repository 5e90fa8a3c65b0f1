//! Messages with a time: a storm of them that is killed, a broker that was down over their times, and `mqadmin timer`.

use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use common::clock::{Clock as _, SystemClock};
use serde_json::Value;
use tests::{Cluster, Connection, binary, http_get, patiently};

use crate::SOON;
use crate::kinds::{figure, property};

const TOPIC: &str = "e2e-timers";
const SETTINGS: [(&str, &str); 2] = [
    ("timerPrecisionMs", "10"),
    ("timerMaxDelaySec", "315576000"),
];

fn mqadmin(words: &[&str]) -> Result<Output> {
    let run = Command::new(binary("mqadmin")?)
        .arg("timer")
        .args(words)
        .output();
    run.context("mqadmin")
}

/// Sends messages from `numbers` that are due at `due`.
fn send(connection: &mut Connection, numbers: std::ops::Range<usize>, due: i64) -> Result<()> {
    for window in numbers.collect::<Vec<_>>().chunks(50) {
        let mut frames = Vec::new();
        for number in window {
            let key = format!("key{number}");
            let properties =
                property("UNIQ_KEY", &key) + &property("TIMER_DELIVER_MS", &due.to_string());
            let body = number.to_string();
            frames.extend(connection.send_frame(TOPIC, 0, &properties, body.as_bytes()));
        }
        connection.write(&frames)?;
        for _ in window {
            connection.read()?.ok()?;
        }
    }
    Ok(())
}

fn delivered(connection: &mut Connection) -> Result<usize> {
    let fields = [("topic", TOPIC), ("queueId", "0")];
    let end = connection.call(30, &fields, &[])?.ok()?.number("offset")?;
    Ok(usize::try_from(end)?)
}

/// Waits until `count` messages are there, and looks that they are those from 0 on, each once.
fn all_once(connection: &mut Connection, count: usize) -> Result<()> {
    patiently("messages are delivered", SOON, || {
        Ok((delivered(connection)? >= count).then_some(()))
    })?;
    let bodies = connection.bodies(TOPIC, 0, 0)?;
    let mut numbers = Vec::new();
    for body in bodies {
        numbers.push(String::from_utf8(body)?.parse::<usize>()?);
    }
    numbers.sort_unstable();
    ensure!(numbers == (0..count).collect::<Vec<_>>(), "{numbers:?}");
    Ok(())
}

#[test]
fn a_storm_that_is_killed_and_times_that_passed_while_nobody_ran_deliver_each_message_once()
-> Result<()> {
    const STORM: usize = 4_000;
    let mut cluster = Cluster::with(&SETTINGS)?;
    cluster.create_topic(TOPIC, 1)?;
    let clock = SystemClock::new();
    let mut connection = Connection::open(&cluster.broker.address)?;
    send(&mut connection, 0..STORM, clock.now().0 + 2_500)?;
    // In the middle of it, and at once again.
    for some in [1, STORM / 3] {
        patiently("the storm begins", SOON, || {
            Ok((delivered(&mut connection)? >= some).then_some(()))
        })?;
        cluster.broker.kill_and_restart()?;
        connection = Connection::open(&cluster.broker.address)?;
    }
    all_once(&mut connection, STORM)?;

    let due = clock.now().0 + 700;
    send(&mut connection, STORM..STORM + 500, due)?;
    drop(connection);
    cluster.broker.process.terminate()?;
    cluster.broker.process.wait_exit(SOON)?;
    patiently("their time passes", SOON, || {
        Ok((clock.now().0 > due + 100).then_some(()))
    })?;
    cluster.broker.start_again()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    all_once(&mut connection, STORM + 500)?;
    let labels = ["rocketmq_timing_messages", TOPIC];
    let waits = figure(&cluster.broker.http, &labels)?;
    ensure!(waits == "0", "{waits} wait");
    Ok(())
}

#[test]
fn a_broker_that_is_killed_and_loses_kv_repeats_only_what_came_last() -> Result<()> {
    const NOW: usize = 100;
    let mut cluster = Cluster::with(&SETTINGS)?;
    cluster.create_topic(TOPIC, 1)?;
    let clock = SystemClock::new();
    let mut connection = Connection::open(&cluster.broker.address)?;
    let due = clock.now().0 + 1_000;
    send(&mut connection, 0..NOW, due)?;
    send(&mut connection, 1_000..1_010, due + 3_600_000)?;
    all_once(&mut connection, NOW)?;
    let path = cluster.broker.store.join("config/timercheck");
    patiently("what was delivered is written down", SOON, || {
        let file = std::fs::read(&path).unwrap_or_default();
        let numbers = file.as_chunks::<8>().0.iter().take(3);
        let numbers: Vec<_> = numbers.map(|bytes| i64::from_be_bytes(*bytes)).collect();
        let is_all = |numbers: &[i64]| numbers[0] > due && numbers[2] == 110;
        Ok((!numbers.is_empty() && is_all(&numbers)).then_some(()))
    })?;
    ensure!(cluster.broker.store.join("timerwheel").exists());
    drop(connection);
    cluster.broker.process.kill()?;
    std::fs::remove_dir_all(cluster.broker.store.join("kv"))?;
    cluster.broker.start_again()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    send(&mut connection, NOW..NOW + 1, clock.now().0 + 500)?;
    all_once(&mut connection, NOW + 1)?;
    let waits = figure(&cluster.broker.http, &["rocketmq_timing_messages", TOPIC])?;
    ensure!(waits == "10", "{waits} wait");
    Ok(())
}

#[test]
fn what_waits_is_listed_and_called_back_from_outside() -> Result<()> {
    let cluster = Cluster::with(&SETTINGS)?;
    cluster.create_topic(TOPIC, 1)?;
    let address = cluster.broker.address.as_str();
    let mut connection = Connection::open(address)?;
    // Ten years, less the time that it takes.
    let far = SystemClock::new().now().0 + 315_576_000_000 - 60_000;
    send(&mut connection, 0..3, far)?;
    let listed = || -> Result<Vec<String>> {
        let done = mqadmin(&["list", "-b", address, "--topic", TOPIC, "--json"])?;
        ensure!(done.status.success(), "{done:?}");
        let mut keys = Vec::new();
        for line in String::from_utf8(done.stdout)?.lines() {
            let timer: Value = serde_json::from_str(line)?;
            let due = timer["deliverTime"].as_i64().context("deliverTime")?;
            ensure!(due >= far && due < far + 10, "{due} {far}");
            keys.push(timer["uniqueKey"].as_str().context("key")?.to_owned());
        }
        keys.sort();
        Ok(keys)
    };
    patiently("they are filed", SOON, || {
        Ok((listed()?.len() == 3).then_some(()))
    })?;
    let other = mqadmin(&["list", "-b", address, "-t", "other", "--json"])?;
    ensure!(
        other.status.success() && other.stdout.is_empty(),
        "{other:?}"
    );
    let other = mqadmin(&["cancel", "-b", address, "-t", "other", "key1"])?;
    ensure!(other.status.code() == Some(1), "{other:?}");
    let done = mqadmin(&["cancel", "-b", address, "-t", TOPIC, "key1"])?;
    ensure!(done.status.success(), "{done:?}");
    patiently("one is cancelled", SOON, || {
        Ok((listed()? == ["key0", "key2"]).then_some(()))
    })?;
    let (status, page) = http_get(&cluster.broker.http, "/api/v1/timers?limit=1")?;
    let page: Value = serde_json::from_str(&page)?;
    let shown = page["messages"].as_array().map(Vec::len);
    ensure!(
        status == 200 && shown == Some(1) && page["next"].is_string(),
        "{page}"
    );
    patiently("it is not counted", SOON, || {
        let (_, page) = http_get(&cluster.broker.http, "/api/v1/timers")?;
        let page: Value = serde_json::from_str(&page)?;
        Ok((page["waiting"][TOPIC] == 2).then_some(()))
    })?;
    let none = mqadmin(&["cancel", "-b", address, "key1"])?;
    ensure!(none.status.code() == Some(1), "{none:?}");
    Ok(())
}

/// More recalls of one message than rows are read at once.
#[test]
fn a_message_may_be_called_back_thousands_of_times() -> Result<()> {
    const RECALLS: usize = 5_000;
    const AT_ONCE: usize = 500;
    let cluster = Cluster::with(&SETTINGS)?;
    cluster.create_topic(TOPIC, 1)?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    let far = SystemClock::new().now().0 + 3_600_000;
    send(&mut connection, 0..3, far)?;
    let handles = |list: &Value| -> Vec<String> {
        let all = list["timers"].as_array().into_iter().flatten();
        all.filter_map(|timer| Some(timer["recallHandle"].as_str()?.to_owned()))
            .collect()
    };
    let list = |connection: &mut Connection| -> Result<Value> {
        let answer = connection.call(9101, &[("topic", TOPIC)], &[])?.ok()?;
        Ok(serde_json::from_slice(&answer.body)?)
    };
    let first = patiently("they are filed", SOON, || {
        let handles = handles(&list(&mut connection)?);
        Ok((handles.len() == 3).then(|| handles[0].clone()))
    })?;
    let fields = [("topic", TOPIC), ("recallHandle", &*first)];
    for _ in 0..RECALLS / AT_ONCE {
        let frames: Vec<_> = (0..AT_ONCE)
            .flat_map(|_| connection.frame(370, &fields, &[]))
            .collect();
        connection.write(&frames)?;
        for _ in 0..AT_ONCE {
            connection.read()?.ok()?;
        }
    }
    patiently("it is called back", SOON, || {
        let list = list(&mut connection)?;
        ensure!(list["next"].is_null(), "{list}");
        Ok((handles(&list).len() == 2).then_some(()))
    })?;
    patiently("it is not counted", SOON, || {
        let (_, page) = http_get(&cluster.broker.http, "/api/v1/timers")?;
        let page: Value = serde_json::from_str(&page)?;
        Ok((page["waiting"][TOPIC] == 2).then_some(()))
    })
}
