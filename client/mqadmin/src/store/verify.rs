//! `mqadmin store verify`.

use std::io::Write as _;
use std::num::NonZeroUsize;

use anyhow::Result;
use serde_json::{Value, json};
use store::offline::{Finding, LogEnd, OfflineStore, Options, Part, Report, verify};

use super::messages::Passed;
use super::{Place, about, known_topics, state};
use crate::terminal::{Code, Out, table, watched};
use crate::text;

/// Checks every record, every ConsumeQueue unit, the key index and the checkpoint of a store against
/// each other.
/// Writes nothing and takes no lock; a broker may have the store open.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 all is well, 1 damage, 2 wrong arguments, 3 something cannot be read, 130 Ctrl-C."
)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Threads that read the log, a file at a time each. Default: one for each core.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Slots of the key index's files (maxHashSlotNum), if maxIndexNum is not four times as many.
    #[arg(long, value_name = "N")]
    index_slots: Option<u32>,
    /// Findings to list at most.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// The result as one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, out: &mut Out) -> Result<Code> {
    let store = args.place.open()?;
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let options = Options {
        threads: args.threads.map_or(cores, NonZeroUsize::get),
        topics: known_topics(&store.root),
        index_slots: args.index_slots,
    };
    let log_bytes: u64 = store.segments.iter().map(|segment| segment.bytes).sum();
    // The index is held against the log in a second pass.
    let passes = if store.indexes.is_empty() { 1 } else { 2 };
    let report = watched(log_bytes * passes, |progress| {
        verify(&store, &options, progress)
    })??;
    if args.json {
        writeln!(out, "{}", as_json(&store, &report, args.limit))?;
    } else {
        print(out, &store, &report, args.limit)?;
    }
    let (damage, stopped) = (report.findings.damage, report.stopped);
    Ok(Passed { damage, stopped }.code(Code::Good))
}

/// How the log ends, for programs and for people.
fn end_as_text(end: LogEnd) -> (&'static str, &'static str) {
    match end {
        LogEnd::File(_) => ("file", "with its last file"),
        LogEnd::Zeros(_) => ("zeros", "zeros follow"),
        LogEnd::Torn(_) => ("torn", "what follows is nothing valid"),
        LogEnd::Leftover(_) => (
            "leftover",
            "what follows was left by an earlier life of the log",
        ),
    }
}

/// A part of the store, for programs and for people.
fn part_as_text(part: Part) -> (&'static str, &'static str) {
    match part {
        Part::Record => ("record", "bad record"),
        Part::Unit => ("unit", "ConsumeQueue"),
        Part::Index => ("index", "key index"),
        Part::Checkpoint => ("checkpoint", "checkpoint"),
        Part::File => ("file", "file"),
    }
}

fn index_entries(store: &OfflineStore) -> u64 {
    let entries = store.indexes.iter().map(|file| u64::from(file.entries()));
    entries.sum()
}

fn print(out: &mut Out, store: &OfflineStore, report: &Report, limit: usize) -> Result<()> {
    writeln!(out, "store      {}, {}", store.root.display(), state(store))?;
    let (at, (_, end)) = (report.end.offset(), end_as_text(report.end));
    writeln!(out, "log ends   {at}, {end}")?;
    for unread in &store.unread {
        writeln!(out, "not read   {unread}")?;
    }
    let damage = |part| {
        let of_part = |finding: &&Finding| finding.part == part && !finding.mended;
        report
            .findings
            .list
            .iter()
            .filter(of_part)
            .count()
            .to_string()
    };
    let sum =
        |what: fn(&store::offline::SegmentReport) -> u64| report.segments.iter().map(what).sum();
    let records: u64 = sum(|segment| segment.records);
    let record_bytes: u64 = sum(|segment| segment.record_bytes);
    let queue_files: usize = store.queues.iter().map(|queue| queue.files().0).sum();
    let keys = index_entries(store);
    let mut rows = table(&["", "files", "entries", "bytes", "damage"], &[1, 2, 3, 4]);
    let mut row = |name: &str, files: Option<usize>, content: Option<(u64, u64)>, part| {
        let files = files.map_or_else(String::new, |files| files.to_string());
        let (entries, bytes) = content.map_or_else(Default::default, |(entries, bytes)| {
            (text::count(entries), text::bytes(bytes))
        });
        rows.add_row([name, &files, &entries, &bytes, &damage(part)]);
    };
    let (files, log) = (store.segments.len(), (records, record_bytes));
    row("CommitLog", Some(files), Some(log), Part::Record);
    let name = format!("ConsumeQueues ({})", store.queues.len());
    let units = (report.units, report.units * 20);
    row(&name, Some(queue_files), Some(units), Part::Unit);
    let (files, index) = (store.indexes.len(), (keys, keys * 20));
    row("key index", Some(files), Some(index), Part::Index);
    let checkpoints = usize::from(store.checkpoint.is_some());
    row("checkpoint", Some(checkpoints), None, Part::Checkpoint);
    row("names and sizes", None, None, Part::File);
    writeln!(out, "{rows}")?;
    for (records, what) in [
        (
            report.pending,
            "have no unit yet: the broker, or its next start, gives them one",
        ),
        (
            report.unindexed,
            "behind the newest entry of the key index have keys",
        ),
        (report.orphans, "belong to topics that were deleted"),
    ] {
        if records > 0 {
            writeln!(out, "{} records {what}", text::count(records))?;
        }
    }
    for finding in report.findings.list.iter().take(limit) {
        print_finding(out, report, finding)?;
    }
    let listed = report.findings.list.len().min(limit) as u64;
    let more = (report.findings.damage + report.findings.mended).saturating_sub(listed);
    if more > 0 {
        writeln!(out, "and {} more", text::count(more))?;
    }
    match (report.stopped, report.findings.damage) {
        (true, _) => writeln!(out, "stopped before the end")?,
        (_, 0) => writeln!(out, "good")?,
        (_, damage) => writeln!(out, "DAMAGED: {} findings", text::count(damage))?,
    }
    Ok(())
}

fn print_finding(out: &mut Out, report: &Report, finding: &Finding) -> Result<()> {
    let (_, what) = part_as_text(finding.part);
    let mended = if finding.mended {
        " (the next start mends this)"
    } else {
        ""
    };
    writeln!(out, "{what}{mended}: {}", finding.problem)?;
    writeln!(out, "    in {} at {}", finding.path.display(), finding.at)?;
    if let (Part::Record, Some(at)) = (finding.part, finding.physical_offset) {
        let behind = text::bytes(last_byte(report).saturating_sub(at));
        writeln!(
            out,
            "    offset {at} of the log, {behind} of the log from there on"
        )?;
    }
    Ok(())
}

/// Position behind everything in the log that is not zero.
fn last_byte(report: &Report) -> u64 {
    let used = report
        .segments
        .iter()
        .rev()
        .find(|segment| segment.records > 0 || !segment.bad.is_empty());
    used.map_or(0, |last| last.zeros_from.unwrap_or(last.segment.end()))
}

fn as_json(store: &OfflineStore, report: &Report, limit: usize) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "part": part_as_text(finding.part).0,
            "file": finding.path,
            "at": finding.at,
            "offset": finding.physical_offset,
            "problem": finding.problem,
            "mended": finding.mended,
            "behind": (finding.part == Part::Record)
                .then(|| last_byte(report).saturating_sub(finding.physical_offset.unwrap_or(0))),
        })
    };
    let segments: Vec<_> = report
        .segments
        .iter()
        .map(|segment| {
            json!({
                "file": segment.segment.path,
                "base": segment.segment.base,
                "records": segment.records,
                "record_bytes": segment.record_bytes,
                "first_store_time": segment.times.map(|times| times.0),
                "last_store_time": segment.times.map(|times| times.1),
                "bad": segment.bad.len(),
                "zeros_from": segment.zeros_from,
            })
        })
        .collect();
    let findings = report.findings.list.iter().take(limit).map(finding);
    about(
        store,
        json!({
            "log_start": store.log_start(),
            "log_end": report.end.offset(),
            "ends_with": end_as_text(report.end).0,
            "segments": segments,
            "queues": store.queues.len(),
            "units": report.units,
            "index_entries": index_entries(store),
            "unindexed": report.unindexed,
            "pending": report.pending,
            "orphans": report.orphans,
            "damage": report.findings.damage,
            "mended": report.findings.mended,
            "findings": findings.collect::<Vec<_>>(),
            "stopped": report.stopped,
        }),
    )
}
