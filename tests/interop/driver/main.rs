//! Java, Go and Rust clients against one name server and one broker; see `../README.md`.

mod crosstalk;
mod every_way;
mod kill;
mod latency;
mod mqadmin;

use std::time::Duration;

use anyhow::Result;
use tests::{Language, Ledger, Message, Peer, toolchain};

/// Sending or receiving ten thousand messages on a machine that builds something else besides.
const LONG: Duration = Duration::from_mins(4);

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

/// Waits for what `sender` was asked to send and enters it into the ledger; nothing may be refused.
fn all_sent(sender: &mut Peer, ledger: &mut Ledger) -> Result<()> {
    sender.finish(LONG)?;
    let failures = sender.failures();
    anyhow::ensure!(failures.is_empty(), "refused: {failures:?}");
    ledger.add(sender.messages("ack")?)
}

/// Waits for as many messages as the ledger has for `tags`, ends the receiver, and gives all it got.
fn all_received(receiver: &mut Peer, ledger: &Ledger, tags: &[&str]) -> Result<Vec<Message>> {
    receiver.wait_for("got", ledger.count(tags), LONG)?;
    receiver.stop()?;
    receiver.messages("got")
}
