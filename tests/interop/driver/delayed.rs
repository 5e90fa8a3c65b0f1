//! Delay levels, timers, and timers that are taken back.

use anyhow::{Context, Result, ensure};
use tests::{Language, Ledger, Message};

use crate::{all_received, all_sent, available, prepared, sender};

/// How late a delayed message may be on a busy machine, in milliseconds.
const LATE_MS: i64 = 25_000;

/// Messages of each sender arrive no earlier than so many milliseconds after they were sent.
fn in_time(arrived: &[Message], delays: &[(&str, i64)]) -> Result<()> {
    for message in arrived {
        let delay = delays.iter().find(|(name, _)| *name == message.id.0);
        let delay = delay
            .with_context(|| format!("sent by nobody: {message:?}"))?
            .1;
        ensure!(
            (delay..delay + LATE_MS).contains(&message.millis),
            "delayed by {delay} ms: {message:?}"
        );
    }
    Ok(())
}

fn levels_timers_and_recalls(language: Language) -> Result<()> {
    if !available(language)? {
        return Ok(());
    }
    let (cluster, mut receiver) = prepared(language, "delayed", &[])?;
    let namesrv = cluster.namesrv.address.as_str();
    let mut ledger = Ledger::default();
    let mut senders = Vec::new();
    for (name, mode, options) in [
        ("two-seconds", "level", ("level", "2")),
        ("timers", "timer", ("delay", "2000")),
        // Long enough for a client that has just started to take back what it has just sent.
        ("taken-back", "recall", ("delay", "6000")),
    ] {
        let more = [("count", "30"), options];
        senders.push(sender(language, namesrv, name, "delayed", mode, &more)?);
    }
    for sender in &mut senders {
        all_sent(sender, &mut ledger)?;
    }
    ensure!(
        ledger.count(&[]) == 75,
        "{} acknowledged",
        ledger.count(&[])
    );
    // When these come, all others have had their time.
    let more = [("count", "3"), ("delay", "7000")];
    let mut last = sender(language, namesrv, "last", "delayed", "timer", &more)?;
    all_sent(&mut last, &mut ledger)?;
    let arrived = all_received(&mut receiver, &ledger, &[])?;
    ledger.each_once("the receiver of delayed messages", &arrived, &[])?;
    let delays = [
        ("two-seconds", 2_000),
        ("timers", 2_000),
        ("taken-back", 6_000),
        ("last", 7_000),
    ];
    in_time(&arrived, &delays)
}

#[test]
fn java_sends_levels_and_timers_and_takes_timers_back() -> Result<()> {
    levels_timers_and_recalls(Language::Java)
}

#[test]
fn rust_sends_levels_and_timers_and_takes_timers_back() -> Result<()> {
    levels_timers_and_recalls(Language::Rust)
}

#[test]
fn go_sends_delay_levels() -> Result<()> {
    if !available(Language::Go)? {
        return Ok(());
    }
    let (cluster, mut receiver) = prepared(Language::Go, "delayed-by-go", &[])?;
    let mut ledger = Ledger::default();
    let namesrv = cluster.namesrv.address.as_str();
    let more = [("count", "50"), ("level", "2")];
    let mut sender = sender(
        Language::Go,
        namesrv,
        "levels",
        "delayed-by-go",
        "level",
        &more,
    )?;
    all_sent(&mut sender, &mut ledger)?;
    let arrived = all_received(&mut receiver, &ledger, &[])?;
    ledger.each_once("the receiver of delayed messages", &arrived, &[])?;
    in_time(&arrived, &[("levels", 2_000)])
}
