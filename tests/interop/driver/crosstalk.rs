//! What one language sends the others receive.

use std::collections::BTreeMap;

use anyhow::Result;
use tests::{Cluster, Connection, Language, Ledger, Peer};

use crate::{all_received, all_sent, available, receiver, sender, settle};

#[test]
fn java_go_and_rust_receive_each_others_messages() -> Result<()> {
    let mut languages = Vec::new();
    for language in [Language::Java, Language::Go, Language::Rust] {
        if available(language)? {
            languages.push(language);
        }
    }
    let cluster = Cluster::start()?;
    let namesrv = cluster.namesrv.address.as_str();
    cluster.create_topic("crosstalk", 4)?;

    let mut receivers = Vec::new();
    for language in &languages {
        let group = format!("{language:?}-group");
        receivers.push((
            *language,
            receiver(*language, namesrv, &group, "crosstalk", &[])?,
        ));
    }
    let waiting: Vec<&Peer> = receivers.iter().map(|(_, receiver)| receiver).collect();
    settle(&cluster, "crosstalk", 4, &waiting)?;
    let mut senders = Vec::new();
    for language in &languages {
        let more = [("sizes", "mixed"), ("count", "500"), ("tags", "A,B")];
        let name = format!("{language:?}");
        senders.push(sender(
            *language,
            namesrv,
            &name,
            "crosstalk",
            "sync",
            &more,
        )?);
    }
    let mut ledger = Ledger::default();
    for sender in &mut senders {
        all_sent(sender, &mut ledger)?;
    }
    for (language, receiver) in &mut receivers {
        let received = all_received(receiver, &ledger, &[])?;
        ledger.each_once(&format!("{language:?}"), &received, &[])?;
    }
    Ok(())
}

/// Waits until every queue is read by one of the members, and by one only: both may hold one for a moment while they share
/// them out.
fn shared_out(sender: &Peer, members: [&Peer; 2]) -> Result<()> {
    /// So many messages in a row come to one member each: longer than either needs to get what it still reads.
    const IN_A_ROW: u32 = 200;
    let last = || -> Result<u32> {
        let sent = sender.messages("ack")?;
        Ok(sent.iter().map(|message| message.id.1).max().unwrap_or(0))
    };
    let mut begin = last()? + 1;
    tests::patiently("the queues are shared out", crate::LONG, || {
        let mut copies: BTreeMap<u32, usize> = BTreeMap::new();
        for member in members {
            for message in member.messages("got")? {
                if message.id.1 >= begin {
                    *copies.entry(message.id.1).or_default() += 1;
                }
            }
        }
        if copies.values().any(|copies| *copies > 1) {
            begin = last()? + 1;
            return Ok(None);
        }
        let row = begin..begin + IN_A_ROW;
        let all = row.clone().all(|index| copies.contains_key(&index));
        Ok(all.then_some(()))
    })
}

/// Two members of one group share the queues between them, whatever they are written in.
#[test]
fn java_and_go_share_a_group() -> Result<()> {
    if !available(Language::Java)? || !available(Language::Go)? {
        return Ok(());
    }
    let cluster = Cluster::start()?;
    let namesrv = cluster.namesrv.address.as_str();
    cluster.create_topic("shared", 8)?;

    let member = |language: Language, name: &str| {
        Peer::start(
            language,
            "receive",
            namesrv,
            &[
                ("topic", "shared"),
                ("group", "shared-group"),
                ("name", name),
            ],
        )
    };
    let mut java = member(Language::Java, "java-member")?;
    let mut go = member(Language::Go, "go-member")?;
    let mut warm = sender(
        Language::Go,
        namesrv,
        "warm",
        "shared",
        "sync",
        &[("count", "100000"), ("interval", "5")],
    )?;
    java.wait_for("got", 40, crate::LONG)?;
    go.wait_for("got", 40, crate::LONG)?;
    shared_out(&warm, [&java, &go])?;
    warm.stop()?;

    let mut ledger = Ledger::default();
    let mut sender = sender(
        Language::Java,
        namesrv,
        "shared",
        "shared",
        "sync",
        &[("count", "400")],
    )?;
    all_sent(&mut sender, &mut ledger)?;
    let ours = |peer: &Peer| -> Result<Vec<tests::Message>> {
        let mut messages = peer.messages("got")?;
        messages.retain(|message| message.id.0 == "shared");
        Ok(messages)
    };
    tests::patiently("both members together get everything", crate::LONG, || {
        Ok((ours(&java)?.len() + ours(&go)?.len() >= 400).then_some(()))
    })?;
    // Who leaves before its last message is committed leaves it to the other.
    let mut connection = Connection::open(&cluster.broker.address)?;
    tests::patiently("what they got is committed", crate::LONG, || {
        for queue in 0..8 {
            let queue = queue.to_string();
            let fields = [
                ("topic", "shared"),
                ("queueId", &*queue),
                ("consumerGroup", "shared-group"),
            ];
            let committed = connection.call(14, &fields, &[])?.ok()?.number("offset")?;
            let end = connection.call(30, &fields[..2], &[])?.ok()?;
            if committed != end.number("offset")? {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    java.stop()?;
    go.stop()?;
    let (of_java, of_go) = (ours(&java)?, ours(&go)?);
    anyhow::ensure!(
        !of_java.is_empty() && !of_go.is_empty(),
        "Java got {}, Go got {}",
        of_java.len(),
        of_go.len()
    );
    ledger.each_once("the group of two", &[of_java, of_go].concat(), &[])
}
