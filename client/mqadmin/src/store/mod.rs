//! `mqadmin store`: a store's files, looked at from outside. Nothing but `rebuild` writes or takes
//! the store's lock; a broker may have the store open meanwhile.

mod cat;
mod export;
mod grep;
mod line;
mod ls;
mod messages;
mod rebuild;
mod show;
mod stats;
mod verify;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Map, Value, json};
use store::offline::OfflineStore;

use crate::terminal::{Code, Out};

/// `mqadmin store`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check every byte that can be checked.
    Verify(verify::Args),
    /// List files, topics and queues.
    Ls(ls::Args),
    /// Show messages.
    Cat(cat::Args),
    /// Find messages by a pattern or a key.
    Grep(grep::Args),
    /// Count messages.
    Stats(stats::Args),
    /// Write messages as JSON lines.
    Export(export::Args),
    /// Make ConsumeQueues and key index anew from the log.
    Rebuild(rebuild::Args),
}

/// Which store.
#[derive(clap::Args)]
struct Place {
    /// The store's directory (storePathRootDir).
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// Directory of the log, if it is not DIR/commitlog (storePathCommitLog); may be repeated.
    #[arg(long, value_name = "DIR")]
    commitlog: Vec<PathBuf>,
}

impl Place {
    fn open(&self) -> Result<OfflineStore> {
        Ok(OfflineStore::open(&self.store, &self.commitlog)?)
    }
}

/// Runs a command of this family.
pub fn run(args: &Args, out: &mut Out) -> Result<Code> {
    match &args.command {
        Command::Verify(args) => verify::run(args, out),
        Command::Ls(args) => ls::run(args, out),
        Command::Cat(args) => cat::run(args, out),
        Command::Grep(args) => grep::run(args, out),
        Command::Stats(args) => stats::run(args, out),
        Command::Export(args) => export::run(args, out),
        Command::Rebuild(args) => rebuild::run(args, out),
    }
}

/// In what state the store was found.
fn state(store: &OfflineStore) -> String {
    let state = &store.state;
    match (state.live, state.holder, &state.abort) {
        (true, Some(process), _) => format!("open, by process {process}"),
        (true, None, _) => "open".to_owned(),
        (false, _, Some(process)) => format!("not closed in order by process {process}"),
        (false, _, None) => "closed in order".to_owned(),
    }
}

/// A report on a store, with what every one says of it.
fn about(store: &OfflineStore, mut report: Value) -> Value {
    report["store"] = json!(store.root);
    report["state"] = json!(state(store));
    report["live"] = json!(store.state.live);
    report["closed_in_order"] = json!(store.state.is_clean());
    report["not_read"] = json!(store.unread);
    report
}

/// Names of the topics the broker knew; `None` when that cannot be told.
fn known_topics(root: &Path) -> Option<HashSet<String>> {
    Some(topic_table(root)?.keys().cloned().collect())
}

/// Topics the broker knew whose queues are for whole batches.
fn batch_topics(root: &Path) -> HashSet<String> {
    let table = topic_table(root).unwrap_or_default().into_iter();
    let batch = table.filter(|(_, topic)| topic["attributes"]["queue.type"] == "BatchCQ");
    batch.map(|(name, _)| name).collect()
}

fn topic_table(root: &Path) -> Option<Map<String, Value>> {
    let bytes = std::fs::read(root.join("config/topics.json")).ok()?;
    match serde_json::from_slice::<Value>(&bytes).ok()?["topicConfigTable"].take() {
        Value::Object(table) => Some(table),
        _ => None,
    }
}
