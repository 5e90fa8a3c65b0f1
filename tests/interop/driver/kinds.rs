//! What else stock clients do with messages: requests and replies, compression, traces.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use tests::{Cluster, Connection, Language, Ledger, Message, patiently};

use crate::{LONG, all_received, all_sent, available, prepared, receiver, sender};

fn requests_are_replied_to(asking: Language, replying: Language) -> Result<()> {
    if !available(asking)? || !available(replying)? {
        return Ok(());
    }
    let (cluster, mut receiver) = prepared(replying, "questions", &[("reply", "true")])?;
    let mut ledger = Ledger::default();
    let namesrv = cluster.namesrv.address.as_str();
    let more = [("count", "50"), ("timeout", "20000")];
    let mut sender = sender(asking, namesrv, "asks", "questions", "request", &more)?;
    // An acknowledged request is one that has its reply.
    sender.wait_for("ack", 50, LONG)?;
    let failures = sender.failures();
    ensure!(failures.is_empty(), "refused: {failures:?}");
    ledger.add(sender.messages("ack")?)?;
    let arrived = all_received(&mut receiver, &ledger, &[])?;
    sender.stop()?;
    ledger.each_once("the replier", &arrived, &[])
}

#[test]
fn java_replies_to_java() -> Result<()> {
    requests_are_replied_to(Language::Java, Language::Java)
}

#[test]
fn rust_replies_to_java() -> Result<()> {
    requests_are_replied_to(Language::Java, Language::Rust)
}

#[test]
fn java_replies_to_rust() -> Result<()> {
    requests_are_replied_to(Language::Rust, Language::Java)
}

#[test]
fn go_replies_to_go() -> Result<()> {
    requests_are_replied_to(Language::Go, Language::Go)
}

#[test]
fn go_replies_to_java() -> Result<()> {
    requests_are_replied_to(Language::Java, Language::Go)
}

#[test]
fn java_replies_to_go() -> Result<()> {
    requests_are_replied_to(Language::Go, Language::Java)
}

#[test]
fn go_replies_to_rust() -> Result<()> {
    requests_are_replied_to(Language::Rust, Language::Go)
}

#[test]
fn rust_replies_to_go() -> Result<()> {
    requests_are_replied_to(Language::Go, Language::Rust)
}

/// Whatever a body was compressed with, receivers undo it: Java's client and ours. Answers what arrived, unless Java is not there.
fn compresses_in_three_ways(
    language: Language,
    trace: &str,
) -> Result<Option<(Cluster, Vec<Message>)>> {
    if !available(Language::Java)? {
        return Ok(None);
    }
    let (cluster, mut receiver) = prepared(Language::Java, "compressed", &[])?;
    let namesrv = cluster.namesrv.address.as_str();
    let mut ours = crate::receiver(Language::Rust, namesrv, "takes-it-too", "compressed", &[])?;
    crate::settle(&cluster, "compressed", 4, &[&ours])?;
    let mut ledger = Ledger::default();
    let mut senders = Vec::new();
    for kind in ["ZLIB", "LZ4", "ZSTD"] {
        let more = [
            ("count", "120"),
            ("sizes", "mixed"),
            ("compress", kind),
            ("trace", trace),
        ];
        senders.push(sender(
            language,
            namesrv,
            kind,
            "compressed",
            "sync",
            &more,
        )?);
    }
    for sender in &mut senders {
        all_sent(sender, &mut ledger)?;
    }
    let arrived = all_received(&mut receiver, &ledger, &[])?;
    ledger.each_once("the receiver of compressed bodies", &arrived, &[])?;
    let inflated = all_received(&mut ours, &ledger, &[])?;
    ledger.each_once("our receiver of compressed bodies", &inflated, &[])?;
    Ok(Some((cluster, arrived)))
}

#[test]
fn rust_compresses_in_three_ways() -> Result<()> {
    compresses_in_three_ways(Language::Rust, "false").map(drop)
}

/// The sender's trace has every message.
#[test]
fn java_compresses_in_three_ways_and_traces() -> Result<()> {
    let Some((cluster, arrived)) = compresses_in_three_ways(Language::Java, "true")? else {
        return Ok(());
    };
    patiently("every message is in the trace", LONG, || {
        let traced = traced_keys(&cluster)?;
        let all = arrived
            .iter()
            .all(|message| traced.contains(&format!("{}-{}", message.id.0, message.id.1)));
        Ok(all.then_some(()))
    })
}

/// The keys of all trace records.
fn traced_keys(cluster: &Cluster) -> Result<BTreeSet<String>> {
    const TRACE: &str = "RMQ_SYS_TRACE_TOPIC";
    let mut connection = Connection::open(&cluster.broker.address)?;
    let mut keys = BTreeSet::new();
    for queue in 0..8 {
        let mut offset = 0;
        loop {
            let answer = connection.pull(TRACE, queue, offset)?;
            match answer.code {
                0 => {}
                // Nothing more, and no such queue.
                19 | 29 => break,
                code => bail!("pull from the trace: {code} {}", answer.remark),
            }
            for record in tests::records(&answer.body)? {
                let pairs = record.properties.split('\u{2}');
                let found = pairs.filter_map(|pair| pair.strip_prefix("KEYS\u{1}"));
                keys.extend(found.flat_map(|keys| keys.split(' ')).map(str::to_owned));
            }
            offset = answer.number("nextBeginOffset")?;
        }
    }
    Ok(keys)
}
/// Batches that the client makes by itself: as single messages in an ordinary topic, whole in one whose queues hold batches.
fn gathers_batches(language: Language) -> Result<()> {
    if !available(language)? {
        return Ok(());
    }
    let cluster = Cluster::start()?;
    let namesrv = cluster.namesrv.address.as_str();
    let mut connection = Connection::open(&cluster.broker.address)?;
    for (topic, attributes) in [("singles", ""), ("batches", "+queue.type=BatchCQ")] {
        connection.create_topic_with(topic, 4, attributes)?;
        cluster.wait_for_route(topic)?;
        let group = format!("takes-{topic}");
        let mut receiver = receiver(language, namesrv, &group, topic, &[])?;
        let mut ledger = Ledger::default();
        let more = [("count", "500"), ("tags", "A,B")];
        let mut sender = sender(language, namesrv, topic, topic, "autobatch", &more)?;
        all_sent(&mut sender, &mut ledger)?;
        let arrived = all_received(&mut receiver, &ledger, &[])?;
        ledger.each_once(&group, &arrived, &[])?;
    }
    Ok(())
}

#[test]
fn java_batches_by_itself() -> Result<()> {
    gathers_batches(Language::Java)
}

#[test]
fn rust_batches_by_itself() -> Result<()> {
    gathers_batches(Language::Rust)
}
