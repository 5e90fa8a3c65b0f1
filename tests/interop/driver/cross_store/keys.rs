//! Messages by their keys.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use common::message::record::RecordView;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use tests::Connection;

use super::model::{DELAYED, HALVES, LATER, Model, store_time};
use super::site::{End, Maker};
use super::wire;

/// Keys that are asked for in each topic.
const ASKED: usize = 16;
/// Files note times in seconds, counted from their first message.
const AROUND_MS: i64 = 2_000;

/// The records of each topic by key, in the order of the log.
type ByKey<'a> = BTreeMap<&'a str, BTreeMap<String, Vec<&'a [u8]>>>;

/// Asks for some keys of every topic. After a kill the reference finds no more what was in files that were not full;
/// we find everything.
pub fn verify(
    model: &Model,
    connection: &mut Connection,
    maker: Maker,
    before: End,
    rng: &mut StdRng,
) -> Result<()> {
    let all = maker == Maker::Arugula || before == End::Clean;
    for (topic, keys) in by_key(model)? {
        for (key, expected) in keys.iter().choose_multiple(rng, ASKED) {
            let what = || format!("{key} of {topic} at {maker:?}");
            let found = having(wire::by_key(connection, topic, key, 0..=i64::MAX)?, key)?;
            let missing = expected
                .iter()
                .filter(|record| !found.iter().any(|one| one == *record))
                .count();
            ensure!(
                missing == 0 || !all,
                "{}: {missing} of {} are missing",
                what(),
                expected.len()
            );
            // The reference may have delivered one more by now.
            let grows = [LATER, DELAYED, HALVES].contains(&topic);
            let known = found
                .iter()
                .all(|record| expected.contains(&record.as_slice()));
            let known = known || (grows && maker == Maker::Apache);
            ensure!(known, "{}: {found:?}", what());
            if let (true, Some(first)) = (all, expected.first()) {
                let time = store_time(first)?;
                let times = time - AROUND_MS..=time + AROUND_MS;
                let found = wire::by_key(connection, topic, key, times)?;
                ensure!(
                    found.iter().any(|record| record == first),
                    "{} by time",
                    what()
                );
            }
        }
        let none = wire::by_key(connection, topic, "no such key", 0..=i64::MAX)?;
        ensure!(having(none, "no such key")?.is_empty(), "a key nobody has");
    }
    Ok(())
}

/// Of what was found those that have the key: a hash may belong to several.
fn having(found: Vec<Vec<u8>>, key: &str) -> Result<Vec<Vec<u8>>> {
    let mut having = Vec::new();
    for record in found {
        if keys_of(&RecordView::parse(&record)?).any(|one| one == key) {
            having.push(record);
        }
    }
    Ok(having)
}

fn keys_of<'a>(record: &RecordView<'a>) -> impl Iterator<Item = &'a str> {
    let keys = record.property("KEYS").unwrap_or_default().split(' ');
    keys.chain(record.property("UNIQ_KEY"))
        .filter(|key| !key.is_empty())
}

fn by_key(model: &Model) -> Result<ByKey<'_>> {
    let mut topics = ByKey::new();
    for ((topic, _), queue) in &model.queues {
        let keys = topics.entry(topic).or_default();
        for record in &queue.records {
            let view = RecordView::parse(record).context("a record of the model")?;
            for key in keys_of(&view) {
                keys.entry(key.to_owned())
                    .or_default()
                    .push(record.as_slice());
            }
        }
    }
    Ok(topics)
}
