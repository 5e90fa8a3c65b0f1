//! Transactions: kills in the middle of them, and those who look after them from outside.

use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::crash::{KindTrial, Moments, Stop, Transactions, Verdict};
use tests::{Answer, Cluster, Connection, binary, http_get, patiently, records};

use crate::SOON;
use crate::kinds::{create_topic, figure, property, send};

const TOPIC: &str = "e2e-transactions";
const RESUME: i32 = 323;
const END_TRANSACTION: i32 = 37;

fn mqadmin(words: &[&str]) -> Result<Output> {
    let run = Command::new(binary("mqadmin")?)
        .arg("transaction")
        .args(words)
        .output();
    run.context("mqadmin")
}

pub fn printed(words: &[&str]) -> Result<String> {
    let done = mqadmin(words)?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(done.status.success(), "{words:?}: {said}");
    Ok(String::from_utf8(done.stdout)?)
}

pub fn half(key: &str, more: &str) -> String {
    let of = |name, value| property(name, value);
    of("TRAN_MSG", "true") + &of("PGROUP", "deciders") + &of("UNIQ_KEY", key) + more
}

fn bodies(connection: &mut Connection, topic: &str) -> Result<Vec<String>> {
    let text = |body: &Vec<u8>| String::from_utf8_lossy(body).into_owned();
    Ok(connection.bodies(topic, 0, 0)?.iter().map(text).collect())
}

/// Ends the transaction of a half message that was answered so.
fn end(connection: &mut Connection, sent: &Answer, outcome: &str) -> Result<()> {
    let position = u64::from_str_radix(&sent.field("msgId")[16..], 16)?.to_string();
    let fields = [
        ("producerGroup", "deciders"),
        ("tranStateTableOffset", sent.field("queueOffset")),
        ("commitLogOffset", &position),
        ("commitOrRollback", outcome),
    ];
    connection
        .call(END_TRANSACTION, &fields, &[])?
        .ok()
        .map(|_| ())
}

fn kills(seed: u64, settings: &[(&str, &str)]) -> Result<Verdict> {
    let mut moments = Moments::new(seed);
    let mut trial: KindTrial<Transactions> = KindTrial::new(seed, settings)?;
    for _ in 0..3 {
        trial.blow(&mut moments, false)?;
    }
    trial.stop_and_start(&mut moments, Stop::Orderly)?;
    trial.settle()?;
    let (delivered, _) = trial.delivered();
    ensure!(delivered > 0, "seed {seed}: nothing was committed");
    Ok(trial.verdict())
}

#[test]
fn what_was_ended_stays_ended_whenever_the_broker_is_killed() -> Result<()> {
    for flush in ["ASYNC_FLUSH", "SYNC_FLUSH"] {
        let seed = rand::random();
        let verdict = kills(seed, &[("flushDiskType", flush)])?;
        ensure!(verdict.count() == 0, "seed {seed}: {verdict:#?}");
    }
    Ok(())
}

#[test]
fn open_transactions_are_listed_shown_and_ended_by_hand() -> Result<()> {
    let cluster = Cluster::with(&[])?;
    let address = &*cluster.broker.address;
    let mut connection = Connection::open(address)?;
    create_topic(&mut connection, TOPIC, "")?;
    let mut ids = Vec::new();
    for key in ["first", "second", "third"] {
        let sent = send(&mut connection, TOPIC, &half(key, ""), key)?.ok()?;
        ids.push(sent.field("msgId").to_owned());
    }
    let listed = printed(&["list", "-b", address, "--json"])?;
    let listed: Vec<Value> = listed
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let named: Vec<_> = listed.iter().map(|of| &of["transactionId"]).collect();
    ensure!(named == ["first", "second", "third"], "{listed:?}");
    ensure!(listed[0]["topic"] == TOPIC && listed[0]["producerGroup"] == "deciders");
    for limit in [
        ["--topic", "other"],
        ["-t", "other"],
        ["-g", "other"],
        ["--producerGroup", "other"],
    ] {
        let none = printed(&[&["list", "-b", address], &limit[..]].concat())?;
        ensure!(none.contains("0 open transactions"), "{none}");
        let wrong = mqadmin(&[&["show", "-b", address, "second"], &limit[..]].concat())?;
        let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
        ensure!(
            wrong.status.code() == Some(1) && said.contains("second of "),
            "{said}"
        );
    }
    let all = printed(&["list", "-b", address, "-t", TOPIC, "-g", "deciders"])?;
    ensure!(all.contains("3 open transactions"), "{all}");
    let shown = printed(&[
        "show", "-b", address, "-t", TOPIC, "-g", "deciders", "second",
    ])?;
    ensure!(
        shown.contains(&ids[1]) && shown.contains("PGROUP=deciders"),
        "{shown}"
    );
    printed(&["commit", "-n", &cluster.namesrv.address, "second"])?;
    printed(&["rollback", "-b", address, &ids[2]])?;
    let gone = mqadmin(&["commit", "-b", address, "third"])?;
    ensure!(gone.status.code() == Some(1), "{gone:?}");
    ensure!(bodies(&mut connection, TOPIC)? == ["second"]);
    let (_, page) = http_get(&cluster.broker.http, "/api/v1/transactions")?;
    let page: Value = serde_json::from_str(&page)?;
    ensure!(
        page["open"] == 1 && page["transactions"][0]["transactionId"] == "first",
        "{page}"
    );
    let of = |name| figure(&cluster.broker.http, &[name, TOPIC]);
    ensure!(of("rocketmq_half_messages")? == "1");
    ensure!(of("rocketmq_commit_messages_total")? == "1");
    ensure!(of("rocketmq_rollback_messages_total")? == "1");
    Ok(())
}

/// The reference loses such a message: the half itself is delayed there.
#[test]
fn a_half_message_with_a_level_is_delayed_when_it_is_committed() -> Result<()> {
    let cluster = Cluster::with(&[("messageDelayLevel", "1s 2s")])?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    create_topic(&mut connection, TOPIC, "")?;
    let sent = send(
        &mut connection,
        TOPIC,
        &half("k", &property("DELAY", "1")),
        "later",
    )?
    .ok()?;
    end(&mut connection, &sent, "8")?;
    ensure!(bodies(&mut connection, TOPIC)?.is_empty());
    patiently("the message comes", SOON, || {
        let found = bodies(&mut connection, TOPIC)?;
        Ok((found == ["later"]).then_some(()))
    })
}

#[test]
fn a_transaction_that_was_given_up_can_be_taken_up_again() -> Result<()> {
    let cluster = Cluster::with(&[
        ("transactionCheckInterval", "200"),
        ("transactionTimeOut", "100"),
        ("transactionCheckMax", "1"),
    ])?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    create_topic(&mut connection, TOPIC, "")?;
    send(&mut connection, TOPIC, &half("k", ""), "kept")?.ok()?;
    let discarded = "TRANS_CHECK_MAX_TIME_TOPIC";
    let given_up = patiently("it is given up", SOON, || {
        let pull = connection.pull(discarded, 0, 0)?;
        Ok(records(&pull.body)?.first().map(|record| record.at))
    })?;
    let port: u16 = cluster
        .broker
        .address
        .rsplit(':')
        .next()
        .context("port")?
        .parse()?;
    let id = format!("7F000001{port:08X}{given_up:016X}");
    connection
        .call(RESUME, &[("topic", TOPIC), ("msgId", &id)], &[])?
        .ok()?;
    patiently("it is open and ended", SOON, || {
        let done = mqadmin(&["commit", "-b", &cluster.broker.address, "k"])?;
        Ok(done.status.success().then_some(()))
    })?;
    ensure!(bodies(&mut connection, TOPIC)? == ["kept"]);
    Ok(())
}

#[test]
fn rounds_without_a_producer_need_not_count() -> Result<()> {
    let cluster = Cluster::with(&[
        ("transactionCheckInterval", "100"),
        ("transactionTimeOut", "10"),
        ("transactionCheckMax", "1"),
        ("transactionCheckOnlyWhenProducerOnline", "true"),
    ])?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    create_topic(&mut connection, TOPIC, "")?;
    for key in ["alone", "asked"] {
        let group = if key == "alone" { "nobody" } else { "somebody" };
        let text = half(key, "") + &property("PGROUP", group);
        send(&mut connection, TOPIC, &text, key)?.ok()?;
    }
    connection.join_producers("e2e-producer", "somebody")?;
    let mut asker = Connection::open(&cluster.broker.address)?;
    // The other one is asked once and then given up: rounds go on.
    patiently("rounds go on", SOON, || {
        let pull = asker.pull("TRANS_CHECK_MAX_TIME_TOPIC", 0, 0)?;
        Ok((records(&pull.body)?.len() == 1).then_some(()))
    })?;
    let listed = printed(&["list", "-b", &cluster.broker.address, "--json"])?;
    let only: Value = serde_json::from_str(&listed)?;
    ensure!(
        only["transactionId"] == "alone" && only["checks"] == 0,
        "{listed}"
    );
    Ok(())
}

/// A question carries its message: those that nobody reads would fill the memory, and would count as asked.
#[test]
fn a_producer_that_does_not_read_is_asked_no_more_and_that_does_not_count() -> Result<()> {
    const HALVES: usize = 64;
    let cluster = Cluster::with(&[
        ("transactionCheckInterval", "100"),
        ("transactionTimeOut", "10"),
        ("transactionCheckMax", "3"),
    ])?;
    let address = &*cluster.broker.address;
    let (mut connection, mut deaf) = (Connection::open(address)?, Connection::open(address)?);
    create_topic(&mut connection, TOPIC, "")?;
    deaf.join_producers("e2e-deaf", "deciders")?;
    let before = cluster.broker.process.anonymous_kib()?;
    let body = "x".repeat(1024 * 1024);
    let mut halves = Vec::new();
    for number in 0..HALVES {
        let text = half(&format!("k{number}"), "");
        halves.push(send(&mut connection, TOPIC, &text, &body)?.ok()?);
    }
    let text = half("alone", "") + &property("PGROUP", "nobody");
    send(&mut connection, TOPIC, &text, "alone")?.ok()?;
    let listed = || -> Result<Vec<Value>> {
        let listed = printed(&["list", "-b", address, "--json"])?;
        Ok(listed
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?)
    };
    // A message without producers is given up after so many rounds.
    let open = patiently("rounds go on", SOON, || {
        let open = listed()?;
        let waits = open.iter().any(|of| of["transactionId"] == "alone");
        Ok((!waits).then_some(open))
    })?;
    // The first ones may have gone where the connection keeps what is not read yet.
    let checks: Option<u64> = open.iter().map(|of| of["checks"].as_u64()).sum();
    let asked = checks.context("checks")? + 3 * (HALVES - open.len()) as u64;
    ensure!(asked < HALVES as u64, "asked {asked} times");
    let grown = cluster
        .broker
        .process
        .anonymous_kib()?
        .saturating_sub(before);
    ensure!(grown < 48 * 1024, "the broker grew by {grown} KiB");
    for sent in &halves {
        end(&mut connection, sent, "8")?;
    }
    let offset = connection.call(30, &[("topic", TOPIC), ("queueId", "0")], &[])?;
    ensure!(offset.ok()?.field("offset") == open.len().to_string());
    Ok(())
}
