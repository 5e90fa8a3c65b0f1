//! What else stock clients do with messages: requests and replies, compression, traces.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use tests::{Cluster, Connection, Language, Ledger, Peer, patiently};

use crate::{LONG, acknowledged, all_received, all_sent, available, page, prepared};
use crate::{receiver, sender};

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
    acknowledged(&sender, 50, &mut ledger)?;
    let arrived = all_received(&mut receiver, &ledger, &[])?;
    sender.stop()?;
    ledger.each_once("the replier", &arrived, &[])
}

/// The next offsets of a topic's queues, together.
fn end(connection: &mut Connection, topic: &str, queues: u32) -> Result<i64> {
    (0..queues).try_fold(0, |sum, queue| {
        let fields = [("topic", topic), ("queueId", &*queue.to_string())];
        Ok(sum + connection.call(30, &fields, &[])?.ok()?.number("offset")?)
    })
}

/// Who asks dies before its reply comes, or while the broker waits for it to take it (`frozen`). The replier is told that nobody is
/// there, the broker keeps nothing, and both go on.
fn a_requester_may_die(frozen: bool) -> Result<()> {
    if !available(Language::Java)? {
        return Ok(());
    }
    let topic = "questions";
    let (cluster, mut replier) = prepared(Language::Java, topic, &[("reply", "true")])?;
    let namesrv = cluster.namesrv.address.as_str();
    let mut connection = Connection::open(&cluster.broker.address)?;
    let before = end(&mut connection, topic, 4)?;
    replier.process.pause()?;
    let more = [("timeout", "120000")];
    let mut dies = sender(Language::Java, namesrv, "dies", topic, "request", &more)?;
    patiently("the request is stored", LONG, || {
        Ok((end(&mut connection, topic, 4)? > before).then_some(()))
    })?;
    if frozen {
        dies.process.pause()?;
        replier.process.resume()?;
        // Our broker stores the reply while it is on its way.
        if page(&cluster, "/healthz")?.is_some() {
            patiently("the reply is on its way", LONG, || {
                let on_its_way = end(&mut connection, "DefaultCluster_REPLY_TOPIC", 1)? > 0;
                Ok(on_its_way.then_some(()))
            })?;
        }
        dies.process.kill()?;
    } else {
        dies.process.kill()?;
    }
    patiently("the broker knows the requester no more", LONG, || {
        let listed = connection.call(204, &[("producerGroup", "interop-dies")], &[])?;
        Ok((listed.code != 0).then_some(()))
    })?;
    if !frozen {
        replier.process.resume()?;
    }
    replier.process.wait_line("orphan dies 0", LONG)?;

    let more = [("count", "5"), ("timeout", "20000")];
    let mut asks = sender(Language::Java, namesrv, "asks", topic, "request", &more)?;
    let mut ledger = Ledger::default();
    acknowledged(&asks, 5, &mut ledger)?;
    let arrived = all_received(&mut replier, &ledger, &[])?;
    asks.stop()?;
    ledger.each_once("the replier", &arrived, &[])
}

#[test]
fn java_replies_to_nobody_when_the_requester_has_died() -> Result<()> {
    a_requester_may_die(false)
}

#[test]
fn java_replies_to_nobody_when_the_requester_dies_with_the_reply_on_its_way() -> Result<()> {
    a_requester_may_die(true)
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

/// Whatever a body was compressed with, receivers undo it: Java's client and ours. With `with_traces` the senders' traces have every
/// message, too.
fn compresses_in_three_ways(language: Language, with_traces: bool) -> Result<()> {
    if !available(Language::Java)? {
        return Ok(());
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
            ("trace", if with_traces { "true" } else { "false" }),
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
    for sender in &senders {
        acknowledged(sender, 120, &mut ledger)?;
    }
    let arrived = all_received(&mut receiver, &ledger, &[])?;
    ledger.each_once("the receiver of compressed bodies", &arrived, &[])?;
    let inflated = all_received(&mut ours, &ledger, &[])?;
    ledger.each_once("our receiver of compressed bodies", &inflated, &[])?;
    if !with_traces {
        return Ok(());
    }
    patiently("every message is in the trace", LONG, || {
        let traced = traced_keys(&cluster)?;
        let all = arrived
            .iter()
            .all(|message| traced.contains(&format!("{}-{}", message.id.0, message.id.1)));
        Ok(all.then_some(()))
    })?;
    senders.iter_mut().try_for_each(Peer::stop)
}

#[test]
fn rust_compresses_in_three_ways() -> Result<()> {
    compresses_in_three_ways(Language::Rust, false)
}

#[test]
fn java_compresses_in_three_ways_and_traces() -> Result<()> {
    compresses_in_three_ways(Language::Java, true)
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
