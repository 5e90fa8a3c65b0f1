//! Java, Go and Rust clients against one name server and one broker; see `../README.md`.

mod cross_store;
mod crosstalk;
mod delayed;
mod every_way;
mod kill;
mod kinds;
mod latency;
mod mqadmin;
mod order;
mod transactions;

use std::time::Duration;

use anyhow::Result;
use tests::{
    Cluster, Connection, Deadline, Language, Ledger, Message, Peer, WARM_UP, patiently, toolchain,
};

/// Sending or receiving ten thousand messages on a machine that builds something else besides.
const LONG: Duration = Duration::from_mins(4);

/// Everything that is waited for comes within seconds.
const QUICK: [(&str, &str); 6] = [
    ("messageDelayLevel", "1s 2s 3s"),
    ("recallMessageEnable", "true"),
    ("transactionTimeOut", "1000"),
    ("transactionCheckInterval", "1000"),
    ("transactionCheckMax", "100"),
    ("transactionOpBatchInterval", "100"),
];

/// Whether the client of `language` can run here.
fn available(language: Language) -> Result<bool> {
    match language {
        Language::Java => toolchain("the Java client", &["java"]),
        Language::Go => toolchain("the Go client", &["go"]),
        Language::Rust => Ok(true),
    }
}

/// Starts a sender.
fn sender(
    language: Language,
    namesrv: &str,
    name: &str,
    topic: &str,
    mode: &str,
    options: &[(&str, &str)],
) -> Result<Peer> {
    let mut arguments = vec![("topic", topic), ("sender", name), ("mode", mode)];
    arguments.extend(options);
    Peer::start(language, "send", namesrv, &arguments)
}

/// Starts a receiver in a group of its own.
fn receiver(
    language: Language,
    namesrv: &str,
    group: &str,
    topic: &str,
    options: &[(&str, &str)],
) -> Result<Peer> {
    let mut arguments = vec![("topic", topic), ("group", group), ("name", group)];
    arguments.extend(options);
    Peer::start(language, "receive", namesrv, &arguments)
}

/// Sends warm-up messages until every receiver reads every queue. Clients share out queues while they start; a stock client that
/// does so twice in a row may skip what it has read before (seen with the Go client at the reference), and that is not looked
/// for here.
fn settle(cluster: &Cluster, topic: &str, queues: u32, receivers: &[&Peer]) -> Result<()> {
    /// Between two rounds of warm-up messages.
    const ROUND: Duration = Duration::from_millis(500);
    let mut connection = Connection::open(&cluster.broker.address)?;
    let properties = [
        ("TAGS", "A"),
        ("sender", WARM_UP),
        ("index", "0"),
        ("sentAt", "0"),
        ("note", "rúcula 芝麻菜"),
    ]
    .map(|(key, value)| format!("{key}\u{1}{value}\u{2}"))
    .concat();
    let settled = || -> Result<Option<()>> {
        for receiver in receivers {
            if receiver.warm_queues()? < queues as usize {
                return Ok(None);
            }
        }
        Ok(Some(()))
    };
    let deadline = Deadline::after(LONG);
    while !deadline.passed() {
        for queue in 0..queues {
            let frame = connection.send_frame(topic, queue, &properties, b"warm-up");
            connection.write(&frame)?;
            connection.read()?.ok()?;
        }
        if patiently("every receiver reads every queue", ROUND, settled).is_ok() {
            return Ok(());
        }
    }
    anyhow::bail!("not every receiver reads every queue")
}

/// A page of the broker as JSON; `None` where Apache RocketMQ runs, which has none.
fn page(cluster: &Cluster, path: &str) -> Result<Option<serde_json::Value>> {
    if std::env::var_os("ARUGULA_REFERENCE_JARS").is_some() {
        return Ok(None);
    }
    let (_, text) = tests::http_get(&cluster.broker.http, path)?;
    Ok(Some(serde_json::from_str(&text)?))
}

/// A cluster with a topic and a receiver that reads all of its queues.
fn prepared(language: Language, topic: &str, options: &[(&str, &str)]) -> Result<(Cluster, Peer)> {
    prepared_with(&[], language, topic, options)
}

/// The same; `settings` go into the broker's file.
fn prepared_with(
    settings: &[(&str, &str)],
    language: Language,
    topic: &str,
    options: &[(&str, &str)],
) -> Result<(Cluster, Peer)> {
    let cluster = Cluster::with(&[&QUICK[..], settings].concat())?;
    cluster.create_topic(topic, 4)?;
    let receiver = receiver(
        language,
        &cluster.namesrv.address,
        "takes-all",
        topic,
        options,
    )?;
    settle(&cluster, topic, 4, &[&receiver])?;
    Ok((cluster, receiver))
}

/// Waits for what `sender` was asked to send and enters it into the ledger; nothing may be refused.
fn all_sent(sender: &mut Peer, ledger: &mut Ledger) -> Result<()> {
    sender.finish(LONG)?;
    let failures = sender.failures();
    anyhow::ensure!(failures.is_empty(), "refused: {failures:?}");
    ledger.add(sender.messages("ack")?)
}

/// The same for `count` messages of a sender that waits to be told to stop.
fn acknowledged(sender: &Peer, count: usize, ledger: &mut Ledger) -> Result<()> {
    let done = patiently("everything is acknowledged", LONG, || {
        let failures = sender.failures();
        let done = !failures.is_empty() || sender.messages("ack")?.len() >= count;
        Ok(done.then_some(failures))
    });
    let failures = done?;
    anyhow::ensure!(failures.is_empty(), "refused: {failures:?}");
    ledger.add(sender.messages("ack")?)
}

/// Waits for as many messages as the ledger has for `tags`, ends the receiver, and gives all it got.
fn all_received(receiver: &mut Peer, ledger: &Ledger, tags: &[&str]) -> Result<Vec<Message>> {
    receiver.wait_for("got", ledger.count(tags), LONG)?;
    receiver.stop()?;
    receiver.messages("got")
}
