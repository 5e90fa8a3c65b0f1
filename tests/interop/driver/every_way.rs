//! Ten thousand messages sent in every way a client has, received by two groups.

use anyhow::Result;
use tests::{Cluster, Language, Ledger, in_order};

use crate::{all_received, all_sent, available, receiver, sender, settle};

/// (mode, sizes, messages): ten thousand together. Batches are small because a batch is one request,
/// and the limit of a request's body holds for it as a whole.
const WAYS: [(&str, &str, &str); 4] = [
    ("sync", "mixed", "4000"),
    ("async", "mixed", "4000"),
    ("oneway", "mixed", "1000"),
    ("batch", "small", "1000"),
];

/// One receiver takes everything in order, one takes two tags of three concurrently.
fn each_message_once_per_group(language: Language) -> Result<()> {
    if !available(language)? {
        return Ok(());
    }
    let cluster = Cluster::start()?;
    let namesrv = cluster.namesrv.address.as_str();
    cluster.create_topic("every-way", 4)?;

    let listener = [("listener", "orderly")];
    let mut all = receiver(language, namesrv, "takes-all", "every-way", &listener)?;
    let filter = [("expression", "A || C")];
    let mut some = receiver(language, namesrv, "takes-a-and-c", "every-way", &filter)?;

    settle(&cluster, "every-way", 4, &[&all, &some])?;
    let mut ledger = Ledger::default();
    for (mode, sizes, count) in WAYS {
        let more = [("sizes", sizes), ("count", count), ("tags", "A,B,C")];
        let mut sender = sender(language, namesrv, mode, "every-way", mode, &more)?;
        all_sent(&mut sender, &mut ledger)?;
    }
    anyhow::ensure!(
        ledger.count(&[]) == 10_000,
        "{} acknowledged",
        ledger.count(&[])
    );

    let received = all_received(&mut all, &ledger, &[])?;
    ledger.each_once("the group that takes all", &received, &[])?;
    in_order("the group that takes all", &received)?;
    let received = all_received(&mut some, &ledger, &["A", "C"])?;
    ledger.each_once("the group that takes two tags", &received, &["A", "C"])
}

#[test]
fn java_sends_in_every_way_and_each_message_arrives_once_per_group() -> Result<()> {
    each_message_once_per_group(Language::Java)
}

#[test]
fn go_sends_in_every_way_and_each_message_arrives_once_per_group() -> Result<()> {
    each_message_once_per_group(Language::Go)
}

#[test]
fn rust_sends_in_every_way_and_each_message_arrives_once_per_group() -> Result<()> {
    each_message_once_per_group(Language::Rust)
}

/// The smallest message is one byte.
#[test]
fn an_empty_body_is_refused() -> Result<()> {
    let cluster = Cluster::start()?;
    let namesrv = cluster.namesrv.address.as_str();
    cluster.create_topic("empty", 1)?;
    for language in [Language::Java, Language::Go] {
        if available(language)? {
            let mut sender = sender(language, namesrv, "empty", "empty", "empty", &[])?;
            sender.finish(crate::LONG)?;
            let failures = sender.failures();
            anyhow::ensure!(failures.len() == 1, "{language:?}: {failures:?}");
            anyhow::ensure!(
                failures[0].contains("CODE: 13") || failures[0].contains("CODE: 1,"),
                "{language:?}: {failures:?}"
            );
        }
    }
    Ok(())
}
