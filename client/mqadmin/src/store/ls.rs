//! `mqadmin store ls`.

use std::io::Write as _;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use store::offline::{Ends, Look, OfflineQueue, OfflineStore, Segment};

use super::{Place, about, state};
use crate::terminal::{Code, Out, Usage, table};
use crate::text;

/// Lists the files of a store with what they hold, and its topics and queues with their offsets.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Only this topic.
    #[arg(long)]
    topic: Option<String>,
    /// The result as one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, out: &mut Out) -> Result<Code> {
    let store = args.place.open()?;
    let wanted = |queue: &&OfflineQueue| {
        args.topic
            .as_ref()
            .is_none_or(|topic| *topic == queue.topic)
    };
    let (mut queues, mut newest) = (Vec::new(), None);
    for queue in store.queues.iter().filter(wanted) {
        let opened = queue.open()?;
        let ends = opened.ends(store.log_start())?;
        if let Some(last) = ends.max.checked_sub(1).filter(|last| *last >= ends.min) {
            let unit = opened.units(last, 1)?;
            newest = newest.max(unit.first().map(|unit| unit.physical_offset));
        }
        queues.push((queue, ends));
    }
    if let Some(topic) = &args.topic
        && queues.is_empty()
    {
        return Err(unknown_topic(&store, topic).into());
    }
    let mut segments = Vec::new();
    for segment in &store.segments {
        segments.push((segment, store.look(segment, newest)?));
    }
    if args.json {
        writeln!(out, "{}", as_json(&store, &segments, &queues))?;
    } else {
        print(out, &store, &segments, &queues)?;
    }
    Ok(Code::Good)
}

/// A topic without a queue, and those whose names are near.
pub(super) fn unknown_topic(store: &OfflineStore, topic: &str) -> Usage {
    let mut names: Vec<&str> = store.queues.iter().map(|queue| &*queue.topic).collect();
    names.dedup();
    let near = |name: &&&str| {
        let (a, b) = (name.to_lowercase(), topic.to_lowercase());
        a.contains(&b) || b.contains(&a)
    };
    let mut shown: Vec<&str> = names.iter().filter(near).copied().collect();
    if shown.is_empty() {
        shown = names;
    }
    let more = if shown.len() > 10 { ", …" } else { "" };
    shown.truncate(10);
    let list = if shown.is_empty() {
        "none".to_owned()
    } else {
        shown.join(", ") + more
    };
    Usage(format!(
        "no ConsumeQueue of a topic {topic:?} in {}; there are: {list}",
        store.root.display()
    ))
}

fn print(
    out: &mut Out,
    store: &OfflineStore,
    segments: &[(&Segment, Look)],
    queues: &[(&OfflineQueue, Ends)],
) -> Result<()> {
    writeln!(out, "{}, {}", store.root.display(), state(store))?;
    let head = [
        "CommitLog",
        "offset",
        "size",
        "used",
        "first stored",
        "last stored",
    ];
    let mut rows = table(&head, &[1, 2, 3]);
    let name = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    let times = |(first, last)| (text::time(first), text::time(last));
    for (segment, look) in segments {
        let (first, last) = look.times.map(times).unwrap_or_default();
        rows.add_row([
            name(&segment.path),
            segment.base.to_string(),
            text::bytes(segment.bytes),
            text::bytes(look.end - segment.base),
            first,
            last,
        ]);
    }
    writeln!(out, "{rows}")?;
    if !store.indexes.is_empty() {
        let head = ["key index", "size", "keys", "first stored", "last stored"];
        let mut rows = table(&head, &[1, 2]);
        for file in &store.indexes {
            let (size, keys) = (text::bytes(file.bytes), text::count(file.entries().into()));
            let (first, last) = times(file.times());
            rows.add_row([name(&file.path), size, keys, first, last]);
        }
        writeln!(out, "{rows}")?;
    }
    if let Some(checkpoint) = &store.checkpoint {
        let stored = text::time(checkpoint.physic_timestamp);
        let queues = text::time(checkpoint.logics_timestamp);
        let mark = checkpoint
            .indexed
            .map_or("none".to_owned(), |at| at.to_string());
        writeln!(
            out,
            "checkpoint: log stored until {stored}, queues until {queues}, mark {mark}"
        )?;
    }
    for unread in &store.unread {
        writeln!(out, "not read: {unread}")?;
    }
    let mut rows = table(
        &["topic", "queue", "min", "max", "messages", "files", "size"],
        &[1, 2, 3, 4, 5, 6],
    );
    for (queue, ends) in queues {
        let (files, bytes) = queue.files();
        rows.add_row([
            queue.topic.clone(),
            queue.id.to_string(),
            ends.min.to_string(),
            ends.max.to_string(),
            text::count(ends.max.saturating_sub(ends.min)),
            files.to_string(),
            text::bytes(bytes),
        ]);
    }
    writeln!(out, "{rows}")?;
    for finding in &store.findings {
        writeln!(out, "{}: {}", finding.path.display(), finding.problem)?;
    }
    Ok(())
}

fn as_json(
    store: &OfflineStore,
    segments: &[(&Segment, Look)],
    queues: &[(&OfflineQueue, Ends)],
) -> Value {
    let segments: Vec<_> = segments
        .iter()
        .map(|(segment, look)| {
            json!({
                "file": segment.path,
                "base": segment.base,
                "bytes": segment.bytes,
                "used": look.end - segment.base,
                "first_store_time": look.times.map(|times| times.0),
                "last_store_time": look.times.map(|times| times.1),
            })
        })
        .collect();
    let queues: Vec<_> = queues
        .iter()
        .map(|(queue, ends)| {
            json!({
                "topic": queue.topic,
                "queue": queue.id,
                "min": ends.min,
                "max": ends.max,
                "files": queue.files().0,
                "bytes": queue.files().1,
            })
        })
        .collect();
    let index = store.indexes.iter().map(|file| {
        json!({
            "file": file.path,
            "bytes": file.bytes,
            "keys": file.entries(),
            "first_store_time": file.times().0,
            "last_store_time": file.times().1,
            "first_offset": file.offsets().0,
            "last_offset": file.offsets().1,
        })
    });
    let checkpoint = store.checkpoint.map(|checkpoint| {
        json!({
            "physic_timestamp": checkpoint.physic_timestamp,
            "logics_timestamp": checkpoint.logics_timestamp,
            "logics_physical_offset": checkpoint.logics_physical_offset,
            "mark": checkpoint.indexed,
        })
    });
    let findings = store.findings.iter();
    let findings = findings.map(|found| json!({"file": found.path, "problem": found.problem}));
    about(
        store,
        json!({
            "checkpoint": checkpoint,
            "segments": segments,
            "queues": queues,
            "index": index.collect::<Vec<_>>(),
            "findings": findings.collect::<Vec<_>>(),
        }),
    )
}
