//! `mqadmin store verify`.

use std::io::Write as _;
use std::num::NonZeroUsize;

use anyhow::Result;
use serde_json::{Value, json};
use store::offline::{Finding, LogEnd, OfflineStore, Options, Part, Report, verify};

use super::{Place, known_topics, state};
use crate::terminal::{Code, Out, finish, out, table, watched};
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

pub fn run(args: &Args) -> Result<Code> {
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
    let mut out = out();
    if args.json {
        writeln!(out, "{}", as_json(&store, &report, args.limit))?;
    } else {
        print(&mut out, &store, &report, args.limit)?;
    }
    let code = match (report.stopped, report.damage) {
        (true, _) => Code::Interrupted,
        (_, 0) => Code::Good,
        _ => Code::Bad,
    };
    finish(out, code)
}

fn end_as_text(end: LogEnd) -> String {
    match end {
        LogEnd::File(at) => format!("{at}, with its last file"),
        LogEnd::Zeros(at) => format!("{at}, zeros follow"),
        LogEnd::Torn(at) => format!("{at}, what follows is nothing valid"),
        LogEnd::Leftover(at) => {
            format!("{at}, what follows was left by an earlier life of the log")
        }
    }
}

fn print(out: &mut Out, store: &OfflineStore, report: &Report, limit: usize) -> Result<()> {
    writeln!(out, "store      {}, {}", store.root.display(), state(store))?;
    writeln!(out, "log ends   {}", end_as_text(report.end))?;
    for unread in &store.unread {
        writeln!(out, "not read   {unread}")?;
    }
    let damage = |part| {
        let of_part = |finding: &&Finding| finding.part == part && !finding.mended;
        report.findings.iter().filter(of_part).count().to_string()
    };
    let sum =
        |what: fn(&store::offline::SegmentReport) -> u64| report.segments.iter().map(what).sum();
    let records: u64 = sum(|segment| segment.records);
    let record_bytes: u64 = sum(|segment| segment.record_bytes);
    let queue_files: usize = store.queues.iter().map(|queue| queue.files().0).sum();
    let queue_bytes: u64 = report.units * 20;
    let mut rows = table(&["", "files", "entries", "bytes", "damage"], &[1, 2, 3, 4]);
    rows.add_row([
        "CommitLog".to_owned(),
        store.segments.len().to_string(),
        text::count(records),
        text::bytes(record_bytes),
        damage(Part::Record),
    ]);
    rows.add_row([
        format!("ConsumeQueues ({})", store.queues.len()),
        queue_files.to_string(),
        text::count(report.units),
        text::bytes(queue_bytes),
        damage(Part::Unit),
    ]);
    let keys: u64 = store
        .indexes
        .iter()
        .map(|file| u64::from(file.entries()))
        .sum();
    rows.add_row([
        "key index".to_owned(),
        store.indexes.len().to_string(),
        text::count(keys),
        text::bytes(keys * 20),
        damage(Part::Index),
    ]);
    rows.add_row([
        "checkpoint".to_owned(),
        usize::from(store.checkpoint.is_some()).to_string(),
        String::new(),
        String::new(),
        damage(Part::Checkpoint),
    ]);
    rows.add_row([
        "names and sizes".to_owned(),
        String::new(),
        String::new(),
        String::new(),
        damage(Part::File),
    ]);
    writeln!(out, "{rows}")?;
    if report.pending > 0 {
        let records = text::count(report.pending);
        writeln!(
            out,
            "{records} records have no unit yet: the broker, or its next start, gives them one"
        )?;
    }
    if report.unindexed > 0 {
        let records = text::count(report.unindexed);
        writeln!(
            out,
            "{records} records behind the newest entry of the key index have keys"
        )?;
    }
    if report.orphans > 0 {
        let records = text::count(report.orphans);
        writeln!(out, "{records} records belong to topics that were deleted")?;
    }
    for finding in report.findings.iter().take(limit) {
        print_finding(out, report, finding)?;
    }
    let listed = report.findings.len().min(limit) as u64;
    let more = (report.damage + report.mended).saturating_sub(listed);
    if more > 0 {
        writeln!(out, "and {} more", text::count(more))?;
    }
    match (report.stopped, report.damage) {
        (true, _) => writeln!(out, "stopped before the end")?,
        (_, 0) => writeln!(out, "good")?,
        (_, damage) => writeln!(out, "DAMAGED: {} findings", text::count(damage))?,
    }
    Ok(())
}

fn print_finding(out: &mut Out, report: &Report, finding: &Finding) -> Result<()> {
    let what = match finding.part {
        Part::Record => "bad record",
        Part::Unit => "ConsumeQueue",
        Part::Index => "key index",
        Part::Checkpoint => "checkpoint",
        Part::File => "file",
    };
    let mended = if finding.mended {
        " (the next start mends this)"
    } else {
        ""
    };
    writeln!(out, "{what}{mended}: {}", finding.problem)?;
    writeln!(out, "    in {} at {}", finding.path.display(), finding.at)?;
    if let Some(at) = finding
        .physical_offset
        .filter(|_| finding.part == Part::Record)
    {
        let behind = last_byte(report).saturating_sub(at);
        writeln!(
            out,
            "    offset {at} of the log, {} of the log from there on",
            text::bytes(behind)
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
            "part": match finding.part {
                Part::Record => "record",
                Part::Unit => "unit",
                Part::Index => "index",
                Part::Checkpoint => "checkpoint",
                Part::File => "file",
            },
            "file": finding.path,
            "at": finding.at,
            "offset": finding.physical_offset,
            "problem": finding.problem,
            "mended": finding.mended,
            "behind": (finding.part == Part::Record)
                .then(|| last_byte(report).saturating_sub(finding.physical_offset.unwrap_or(0))),
        })
    };
    let end = match report.end {
        LogEnd::File(_) => "file",
        LogEnd::Zeros(_) => "zeros",
        LogEnd::Torn(_) => "torn",
        LogEnd::Leftover(_) => "leftover",
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
    json!({
        "store": store.root,
        "state": state(store),
        "live": store.state.live,
        "closed_in_order": store.state.is_clean(),
        "log_start": store.log_start(),
        "log_end": report.end.offset(),
        "ends_with": end,
        "segments": segments,
        "queues": store.queues.len(),
        "units": report.units,
        "index_entries": store.indexes.iter().map(|file| u64::from(file.entries())).sum::<u64>(),
        "unindexed": report.unindexed,
        "pending": report.pending,
        "orphans": report.orphans,
        "damage": report.damage,
        "mended": report.mended,
        "findings": report.findings.iter().take(limit).map(finding).collect::<Vec<_>>(),
        "not_read": store.unread,
        "stopped": report.stopped,
    })
}
