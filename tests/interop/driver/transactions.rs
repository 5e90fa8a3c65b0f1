//! Transactions that end at once, at a check, and by another producer of their group.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use tests::{Language, Ledger, Message, Peer, patiently};

use crate::{LONG, all_received, all_sent, available, page, prepared, prepared_with, sender};

/// Of a transactional sender, those that end with a commit.
fn committed(transactor: &Peer) -> Result<Vec<Message>> {
    let failures = transactor.failures();
    ensure!(failures.is_empty(), "refused: {failures:?}");
    let mut messages = transactor.messages("ack")?;
    messages.retain(|message| message.id.1.is_multiple_of(2));
    Ok(messages)
}

/// The messages a transactional sender was asked about, by their index.
fn checked(transactor: &Peer) -> BTreeSet<u32> {
    let lines = transactor.process.stdout.lines();
    let indexes = lines.iter().filter_map(|line| {
        let (_, index) = line.strip_prefix("checked ")?.split_once(' ')?;
        index.parse().ok()
    });
    indexes.collect()
}

fn transactor(
    language: Language,
    namesrv: &str,
    topic: &str,
    name: &str,
    options: &[(&str, &str)],
) -> Result<Peer> {
    let mut arguments = vec![("topic", topic), ("sender", name), ("group", "deciders")];
    arguments.extend(options);
    Peer::start(language, "transact", namesrv, &arguments)
}

fn transactions_end_as_their_producers_say(language: Language) -> Result<()> {
    const COUNT: u32 = 40;
    if !available(language)? {
        return Ok(());
    }
    let topic = "transactions";
    // Who decides at once is not asked, even if it stops and starts in between: a stock client's first transactions take their
    // time.
    let patient = [("transactionTimeOut", "6000")];
    let (cluster, mut receiver) = prepared_with(&patient, language, topic, &[])?;
    let namesrv = cluster.namesrv.address.as_str();
    let count = COUNT.to_string();
    let mut decider = transactor(language, namesrv, topic, "decider", &[("count", &count)])?;
    decider.wait_for("ack", COUNT as usize, LONG)?;
    let undecided: BTreeSet<u32> = (0..COUNT).filter(|index| index % 4 >= 2).collect();
    patiently("every undecided one is asked about", LONG, || {
        Ok(undecided.is_subset(&checked(&decider)).then_some(()))
    })?;
    let mut ledger = Ledger::default();
    ledger.add(committed(&decider)?)?;
    receiver.wait_for("got", ledger.count(&[]), LONG)?;
    // A rollback that was taken for something else would have come before this.
    let mut last = sender(language, namesrv, "last", topic, "sync", &[("count", "4")])?;
    all_sent(&mut last, &mut ledger)?;
    let arrived = all_received(&mut receiver, &ledger, &[])?;
    ledger.each_once("the receiver of transactions", &arrived, &[])?;
    ensure!(checked(&decider) == undecided, "{:?}", checked(&decider));
    decider.stop()
}

#[test]
fn java_transactions_commit_roll_back_and_answer_checks() -> Result<()> {
    transactions_end_as_their_producers_say(Language::Java)
}

#[test]
fn go_transactions_commit_roll_back_and_answer_checks() -> Result<()> {
    transactions_end_as_their_producers_say(Language::Go)
}

#[test]
fn rust_transactions_commit_roll_back_and_answer_checks() -> Result<()> {
    transactions_end_as_their_producers_say(Language::Rust)
}

/// Where a producer dies.
#[derive(Clone, Copy)]
enum DiesIn {
    /// Between the half message and the end of its local transaction.
    Local,
    /// While its listener is asked how that ended.
    Check,
}

/// What a dead producer leaves undecided ends once, as another one of its group says.
fn another_producer_of_the_group_answers(
    dead: Language,
    alive: Language,
    dies_in: DiesIn,
) -> Result<()> {
    if !available(dead)? || !available(alive)? {
        return Ok(());
    }
    let topic = "orphans";
    let (cluster, mut receiver) = prepared(alive, topic, &[])?;
    let namesrv = cluster.namesrv.address.as_str();
    // Who hangs in its first transaction begins no second one.
    let (hang, said, count) = match dies_in {
        DiesIn::Local => ("local", "half", 1_u32),
        DiesIn::Check => ("check", "checked", 2),
    };
    let options = [("hang", hang), ("count", &count.to_string())];
    let mut dies = transactor(dead, namesrv, topic, "dies", &options)?;
    dies.wait_for("half", count as usize, LONG)?;
    dies.wait_for(said, 1, LONG)?;
    dies.process.kill()?;
    let mut heir = transactor(alive, namesrv, topic, "heir", &[("count", "0")])?;
    patiently("the other one is asked about all", LONG, || {
        Ok((checked(&heir) == (0..count).collect()).then_some(()))
    })?;
    patiently("no transaction is open", LONG, || {
        let page = page(&cluster, "/api/v1/transactions")?;
        Ok(page.is_none_or(|page| page["open"] == 0).then_some(()))
    })?;
    // What comes twice, or in spite of its rollback, comes before this.
    let mut ledger = Ledger::default();
    let mut last = sender(alive, namesrv, "last", topic, "sync", &[("count", "4")])?;
    all_sent(&mut last, &mut ledger)?;
    receiver.wait_for("got", 1 + ledger.count(&[]), LONG)?;
    heir.stop()?;
    receiver.stop()?;
    let (of_last, got): (Vec<_>, Vec<_>) =
        (receiver.messages("got")?.into_iter()).partition(|message| message.id.0 == "last");
    ledger.each_once("the receiver of transactions", &of_last, &[])?;
    ensure!(
        got.len() == 1 && got[0].id == ("dies".to_owned(), 0),
        "{got:?}"
    );
    Ok(())
}

#[test]
fn a_java_producer_whose_check_is_cut_off_leaves_it_to_another_java_one() -> Result<()> {
    another_producer_of_the_group_answers(Language::Java, Language::Java, DiesIn::Check)
}

#[test]
fn a_java_producer_whose_check_is_cut_off_leaves_it_to_a_rust_one() -> Result<()> {
    another_producer_of_the_group_answers(Language::Java, Language::Rust, DiesIn::Check)
}

#[test]
fn a_rust_producer_whose_check_is_cut_off_leaves_it_to_a_java_one() -> Result<()> {
    another_producer_of_the_group_answers(Language::Rust, Language::Java, DiesIn::Check)
}

#[test]
fn another_java_producer_of_the_group_answers_for_a_dead_one() -> Result<()> {
    another_producer_of_the_group_answers(Language::Java, Language::Java, DiesIn::Local)
}

#[test]
fn a_rust_producer_answers_for_a_dead_java_one() -> Result<()> {
    another_producer_of_the_group_answers(Language::Java, Language::Rust, DiesIn::Local)
}

#[test]
fn a_java_producer_answers_for_a_dead_rust_one() -> Result<()> {
    another_producer_of_the_group_answers(Language::Rust, Language::Java, DiesIn::Local)
}
