//! Long polling: an idle consumer hears of a message at once, not at its next turn.

use anyhow::Result;
use tests::{Cluster, Language};

use crate::{available, receiver, sender};

/// Milliseconds from the sender's clock reading to the listener, half of the messages. A poll that is
/// not woken answers after seconds; the reference's waits 5 s for a second look. Not a benchmark: the
/// machine is busy with other tests, and may be a slow one.
const MEDIAN_MS: i64 = 1_000;
const MESSAGES: usize = 40;

fn messages_wake_an_idle_consumer(language: Language) -> Result<()> {
    if !available(language)? {
        return Ok(());
    }
    let cluster = Cluster::start()?;
    let namesrv = cluster.namesrv.address.as_str();
    cluster.create_topic("latency", 1)?;
    let mut receiver = receiver(language, namesrv, "waits", "latency", &[])?;
    // Start-up of both sides (rebalancing, first compilation) is behind the first messages.
    let count = (MESSAGES + 10).to_string();
    let more = [("count", count.as_str()), ("interval", "100")];
    let mut sender = sender(language, namesrv, "clock", "latency", "sync", &more)?;
    sender.finish(crate::LONG)?;
    // The last one: a message sent while the consumer still settles may come late, and is not measured.
    receiver.wait_for(&format!("got clock {}", MESSAGES + 9), 1, crate::LONG)?;
    receiver.stop()?;

    let mut arrived = receiver.messages("got")?;
    arrived.retain(|message| message.id.1 >= 10);
    let mut latencies: Vec<i64> = arrived.iter().map(|message| message.millis).collect();
    latencies.sort_unstable();
    let median = latencies[latencies.len() / 2];
    anyhow::ensure!(
        median <= MEDIAN_MS,
        "{language:?}: median {median} ms of {latencies:?}"
    );
    Ok(())
}

#[test]
fn an_idle_java_consumer_is_woken() -> Result<()> {
    messages_wake_an_idle_consumer(Language::Java)
}

#[test]
fn an_idle_go_consumer_is_woken() -> Result<()> {
    messages_wake_an_idle_consumer(Language::Go)
}

#[test]
fn an_idle_rust_consumer_is_woken() -> Result<()> {
    messages_wake_an_idle_consumer(Language::Rust)
}
