//! `mqadmin store grep`.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write as _};
use std::ops::Range;

use anyhow::Result;
use common::message::properties;
use common::message::record::RecordView;
use regex::bytes::{Regex, RegexBuilder};

use super::messages::{Wanted, each};
use super::{Place, line, show};
use crate::terminal::{Code, Out};
use crate::text;

/// Bytes shown before and behind what was found.
const AROUND_BYTES: usize = 40;

/// Finds messages by a pattern in their bodies, keys, tags and topics, or by a key.
#[derive(clap::Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true).multiple(true).args(["pattern", "key"]),
    after_help = "Exit codes: 0 found, 1 nothing found, or damage was passed over, 2 wrong arguments, 3 something cannot be read, 130 Ctrl-C.",
)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// A regular expression. Compressed bodies are inflated.
    #[arg(value_parser = Regex::new)]
    pattern: Option<Regex>,
    /// Only messages with this key, or with this id their producer gave.
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    wanted: Wanted,
    /// Upper and lower case are the same.
    #[arg(short, long)]
    ignore_case: bool,
    /// Stop after so many messages.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Only their number.
    #[arg(short, long, conflicts_with = "json")]
    count: bool,
    /// JSON lines, as `export` writes them.
    #[arg(long)]
    json: bool,
}

/// Where a pattern was found.
struct Hit<'a> {
    part: &'static str,
    text: Cow<'a, [u8]>,
    range: Range<usize>,
}

pub fn run(args: &Args, out: &mut Out) -> Result<Code> {
    let pattern = match &args.pattern {
        Some(pattern) if args.ignore_case => Some(
            RegexBuilder::new(pattern.as_str())
                .case_insensitive(true)
                .build()?,
        ),
        pattern => pattern.clone(),
    };
    let store = args.place.open()?;
    let colour = std::io::stdout().is_terminal();
    let mut found = 0;
    let passed = each(&store, &args.wanted, |record| {
        if args.limit == Some(found) {
            return Ok(false);
        }
        if args.key.as_ref().is_some_and(|key| !has_key(record, key)) {
            return Ok(true);
        }
        let hit = pattern.as_ref().map(|pattern| search(pattern, record));
        if let Some(None) = hit {
            return Ok(true);
        }
        found += 1;
        if args.json {
            line::write(record, out)?;
        } else if !args.count {
            write_hit(record, hit.flatten().as_ref(), colour, out)?;
        }
        Ok(args.limit != Some(found))
    })?;
    if args.count {
        writeln!(out, "{found}")?;
    }
    Ok(passed.code(if found > 0 { Code::Good } else { Code::Bad }))
}

fn keys<'a>(record: &RecordView<'a>) -> &'a [u8] {
    properties::get_bytes(record.properties, properties::KEYS.as_bytes()).unwrap_or_default()
}

fn has_key(record: &RecordView<'_>, key: &str) -> bool {
    let id = properties::get_bytes(record.properties, properties::UNIQUE_KEY.as_bytes());
    id == Some(key.as_bytes())
        || keys(record)
            .split(|byte| *byte == b' ')
            .any(|item| item == key.as_bytes())
}

fn search<'a>(pattern: &Regex, record: &RecordView<'a>) -> Option<Hit<'a>> {
    // What cannot be inflated is searched as it is.
    let body = match show::body(record) {
        Ok(body) if body.len() != record.body.len() => Cow::Owned(body),
        _ => Cow::Borrowed(record.body),
    };
    let tags = properties::get_bytes(record.properties, properties::TAGS.as_bytes());
    let parts = [
        ("body", body),
        ("keys", keys(record).into()),
        ("tags", tags.unwrap_or_default().into()),
        ("topic", record.topic.into()),
    ];
    parts.into_iter().find_map(|(part, text)| {
        let range = pattern.find(&text)?.range();
        Some(Hit { part, text, range })
    })
}

fn write_hit(
    record: &RecordView<'_>,
    hit: Option<&Hit<'_>>,
    colour: bool,
    out: &mut Out,
) -> Result<()> {
    write!(
        out,
        "{} {} {} queue {} offset {}",
        record.physical_offset,
        text::time(record.store_timestamp),
        text::escaped(record.topic),
        record.queue_id,
        record.queue_offset
    )?;
    if let Some(Hit { part, text, range }) = hit {
        let from = range.start.saturating_sub(AROUND_BYTES);
        let to = range.end.saturating_add(AROUND_BYTES).min(text.len());
        // Something long may have been found.
        let end = range.end.min(range.start + 4 * AROUND_BYTES);
        let (before, found) = (
            text::escaped(&text[from..range.start]),
            text::escaped(&text[range.start..end]),
        );
        let behind = if end < range.end {
            "…".to_owned()
        } else {
            text::escaped(&text[range.end..to])
        };
        let (bold, plain) = if colour {
            ("\x1b[1;31m", "\x1b[0m")
        } else {
            ("", "")
        };
        write!(out, " {part}: {before}{bold}{found}{plain}{behind}")?;
    }
    Ok(writeln!(out)?)
}
