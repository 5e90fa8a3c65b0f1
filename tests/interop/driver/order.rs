//! Message groups: one after the other from the sender to whoever consumes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tests::{Cluster, Language, Peer, patiently};

use crate::{LONG, available, sender};

/// Sender, index and time of what ordered receivers were given, in the order of time.
fn turns(receivers: &[&Peer]) -> Result<Vec<(i64, u32)>> {
    let mut turns = Vec::new();
    for receiver in receivers {
        for line in receiver.process.stdout.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            if let ["turn", "groups", index, at] = words[..] {
                turns.push((at.parse()?, index.parse()?));
            }
        }
    }
    turns.sort_unstable();
    Ok(turns)
}

/// No message came before its predecessor in its group has come; one that was sent again, or was not confirmed before a
/// consumer changed, may come again.
fn groups_in_order(turns: &[(i64, u32)], groups: u32) -> Result<BTreeMap<u32, u32>> {
    let mut next: BTreeMap<u32, u32> = (0..groups).map(|group| (group, group)).collect();
    for (at, index) in turns {
        let next = next.get_mut(&(index % groups)).context("a group")?;
        ensure!(index <= next, "{index} came at {at} before {next}");
        if index == next {
            *next += groups;
        }
    }
    Ok(next)
}

/// Message groups over a kill of the broker, a consumer that leaves and one that joins.
fn groups_keep_their_order(language: Language) -> Result<()> {
    const GROUPS: u32 = 8;
    const STAGE: usize = 250;
    if !available(language)? {
        return Ok(());
    }
    let mut cluster = Cluster::start()?;
    let topic = "groups";
    cluster.create_topic(topic, 4)?;
    let namesrv = cluster.namesrv.address.clone();
    let member = |name: &str| {
        let options = [
            ("topic", topic),
            ("group", "in-order"),
            ("name", name),
            ("listener", "orderly"),
        ];
        Peer::start(language, "receive", &namesrv, &options)
    };
    let groups = GROUPS.to_string();
    let more = [
        ("count", "10000000"),
        ("timeout", "3000"),
        ("interval", "2"),
        ("groups", groups.as_str()),
    ];
    let mut first = member("first")?;
    let mut sender = sender(language, &namesrv, "groups", topic, "ordered", &more)?;
    first.wait_for("turn", STAGE, LONG)?;
    cluster.broker.kill_and_restart()?;
    let sent = sender.messages("ack")?.len();
    sender.wait_for("ack", sent + STAGE, LONG)?;
    let mut second = member("second")?;
    second.wait_for("turn", STAGE, LONG)?;
    first.stop()?;
    let sent = sender.messages("ack")?.len();
    sender.wait_for("ack", sent + STAGE, LONG)?;
    sender.stop()?;
    let last = sender
        .messages("ack")?
        .into_iter()
        .map(|message| message.id.1)
        .max();
    let last = last.context("nothing was sent")?;
    let all_there = patiently("every message of every group has come", LONG, || {
        let next = groups_in_order(&turns(&[&first, &second])?, GROUPS)?;
        Ok(next.values().all(|next| *next > last).then_some(()))
    });
    second.stop()?;
    all_there
}

#[test]
fn java_message_groups_keep_their_order_over_a_kill_and_a_consumer_change() -> Result<()> {
    groups_keep_their_order(Language::Java)
}

#[test]
fn go_message_groups_keep_their_order_over_a_kill_and_a_consumer_change() -> Result<()> {
    groups_keep_their_order(Language::Go)
}

#[test]
fn rust_message_groups_keep_their_order_over_a_kill_and_a_consumer_change() -> Result<()> {
    groups_keep_their_order(Language::Rust)
}
