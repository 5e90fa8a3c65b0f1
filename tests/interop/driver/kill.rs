//! `kill -9` of the broker while stock clients send and receive: what was acknowledged is there.

use anyhow::Result;
use tests::{Cluster, Language, Ledger};

use crate::{LONG, available, receiver, sender, settle};

/// Acknowledged messages per sender before each kill, and after the last one.
const BETWEEN_KILLS: usize = 400;
const KILLS: usize = 2;

fn a_killed_broker_loses_nothing_acknowledged(language: Language, ways: &[&str]) -> Result<()> {
    if !available(language)? {
        return Ok(());
    }
    let mut cluster = Cluster::start()?;
    let namesrv = cluster.namesrv.address.clone();
    cluster.create_topic("killed", 4)?;
    let mut receiver = receiver(language, &namesrv, "survives", "killed", &[])?;
    settle(&cluster, "killed", 4, &[&receiver])?;
    let mut senders = Vec::new();
    for mode in ways {
        let more = [
            ("count", "10000000"),
            ("timeout", "3000"),
            ("interval", "1"),
        ];
        senders.push(sender(language, &namesrv, mode, "killed", mode, &more)?);
    }
    let mut wanted = 0;
    for _ in 0..KILLS {
        wanted += BETWEEN_KILLS;
        for sender in &senders {
            sender.wait_for("ack", wanted, LONG)?;
        }
        cluster.broker.kill_and_restart()?;
        // What was acknowledged around the kill counts too, so start counting anew.
        let acknowledged: Result<Vec<usize>> = senders
            .iter()
            .map(|sender| Ok(sender.messages("ack")?.len()))
            .collect();
        wanted = acknowledged?.into_iter().max().unwrap_or(wanted);
    }
    let mut ledger = Ledger::default();
    for sender in &mut senders {
        sender.wait_for("ack", wanted + BETWEEN_KILLS, LONG)?;
        sender.stop()?;
        ledger.add(sender.messages("ack")?)?;
    }
    // A send whose answer the kill swallowed is repeated by the client, so copies are allowed here.
    tests::patiently("everything acknowledged arrives", LONG, || {
        let arrived = receiver.messages("got")?;
        ledger.nothing_lost("the group", &arrived, &[]).map(Some)
    })?;
    receiver.stop()
}

#[test]
fn java_loses_nothing_acknowledged_when_the_broker_is_killed() -> Result<()> {
    a_killed_broker_loses_nothing_acknowledged(Language::Java, &["sync", "async"])
}

#[test]
fn go_loses_nothing_acknowledged_when_the_broker_is_killed() -> Result<()> {
    a_killed_broker_loses_nothing_acknowledged(Language::Go, &["sync"])
}

#[test]
fn rust_loses_nothing_acknowledged_when_the_broker_is_killed() -> Result<()> {
    a_killed_broker_loses_nothing_acknowledged(Language::Rust, &["sync", "async"])
}
