//! `mqadmin store cat`.

use std::io::Write as _;

use anyhow::{Result, bail};
use common::message::message_id;
use common::message::properties;
use common::message::record::RecordView;
use store::offline::{Judged, OfflineQueue, OfflineStore, RecordReader};

use super::ls::unknown_topic;
use super::messages::{Wanted, each};
use super::show::{self, Form};
use super::{Place, line};
use crate::terminal::{Code, Out, Usage};

/// Units read at a time.
const PIECE_UNITS: u64 = 512;

/// Shows messages: of a topic, queue by queue, or one by its place or id.
#[derive(clap::Args)]
#[command(
    group = clap::ArgGroup::new("which").required(true).args(["topic", "physical", "msg_id"]),
    after_help = "Exit codes: 0 shown, 1 no such message, or damage, 2 wrong arguments, 3 something cannot be read, 130 Ctrl-C.",
)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// The topic.
    topic: Option<String>,
    /// Only this queue of it.
    #[arg(long, value_name = "N", requires = "topic")]
    queue: Option<u32>,
    /// Only messages with these queue offsets: A..B (without B), A.., ..B or A alone.
    #[arg(long, value_name = "A..B", requires = "topic", value_parser = parse_range)]
    offset: Option<(u64, u64)>,
    /// The message at this position of the log.
    #[arg(long, value_name = "OFFSET")]
    physical: Option<u64>,
    /// The message with this id: the one a broker answers, or the one its producer gave.
    #[arg(long, value_name = "ID")]
    msg_id: Option<String>,
    /// Messages to show at most.
    #[arg(long, value_name = "N", default_value_t = 32)]
    limit: u64,
    /// How bodies are shown.
    #[arg(long, value_enum, default_value_t = Form::Auto)]
    body: Form,
    /// Bytes of a body to show at most.
    #[arg(long, value_name = "N", default_value_t = 4096)]
    bytes: usize,
    /// JSON lines, as `export` writes them.
    #[arg(long)]
    json: bool,
}

fn parse_range(text: &str) -> Result<(u64, u64), String> {
    let number = |part: &str, missing: u64| match part {
        "" => Some(missing),
        part => part.parse().ok(),
    };
    let range = match text.split_once("..") {
        Some((from, to)) => number(from, 0).zip(number(to, u64::MAX)),
        None => text.parse().ok().map(|at: u64| (at, at.saturating_add(1))),
    };
    range
        .filter(|(from, to)| from < to && !text.is_empty())
        .ok_or_else(|| {
            format!("{text:?} is no range of offsets: 5..8 (5, 6 and 7), 5.., ..8 and 5 are")
        })
}

pub fn run(args: &Args, out: &mut Out) -> Result<Code> {
    let store = args.place.open()?;
    let code = if let Some(offset) = args.physical {
        let found = at(args, &store, offset, out)?;
        if let Some(what) = found {
            bail!(Usage(format!(
                "no message begins at position {offset} of the log: {what}"
            )));
        }
        Code::Good
    } else if let Some(id) = &args.msg_id {
        by_id(args, &store, id, out)?
    } else {
        of_topic(args, &store, args.topic.as_deref().unwrap_or_default(), out)?
    };
    Ok(code)
}

fn show(args: &Args, record: &RecordView<'_>, out: &mut Out) -> Result<()> {
    if args.json {
        line::write(record, out)?;
    } else {
        show::write(record, args.body, args.bytes, out)?;
    }
    Ok(())
}

/// Shows the message at a position of the log, or says why there is none.
fn at(args: &Args, store: &OfflineStore, offset: u64, out: &mut Out) -> Result<Option<String>> {
    match RecordReader::new(store).read(offset)? {
        Judged::Record(record) => {
            show(args, &record, out)?;
            Ok(None)
        }
        Judged::Blank => Ok(Some("the rest of the file is blank".to_owned())),
        Judged::Zeros => Ok(Some("there are zeros".to_owned())),
        Judged::Bad(problem) => Ok(Some(problem.to_string())),
        Judged::Outside => {
            let end = store
                .segments
                .last()
                .map_or(0, store::offline::Segment::end);
            Ok(Some(format!(
                "its files hold {} to {end}",
                store.log_start()
            )))
        }
    }
}

fn by_id(args: &Args, store: &OfflineStore, id: &str, out: &mut Out) -> Result<Code> {
    if let Ok((host, offset)) = message_id::parse_offset_id(id)
        && let Judged::Record(record) = RecordReader::new(store).read(offset.0)?
        && record.store_host == host
    {
        show(args, &record, out)?;
        return Ok(Code::Good);
    }
    let (mut left, mut found) = (args.limit, false);
    let passed = each(store, &Wanted::default(), |record| {
        if left > 0 && record.property(properties::UNIQUE_KEY) == Some(id) {
            found = true;
            left -= 1;
            show(args, record, out)?;
        }
        Ok(left > 0)
    })?;
    if !found && !passed.stopped {
        eprintln!("mqadmin: no message has the id {id}");
    }
    Ok(passed.code(if found { Code::Good } else { Code::Bad }))
}

fn of_topic(args: &Args, store: &OfflineStore, topic: &str, out: &mut Out) -> Result<Code> {
    let of_topic: Vec<_> = store
        .queues
        .iter()
        .filter(|queue| queue.topic == topic)
        .collect();
    if of_topic.is_empty() {
        return Err(unknown_topic(store, topic).into());
    }
    let is_wanted = |queue: &&&OfflineQueue| args.queue.is_none_or(|id| queue.id == id);
    let queues: Vec<_> = of_topic.iter().filter(is_wanted).copied().collect();
    if queues.is_empty() {
        let ids: Vec<_> = of_topic.iter().map(|queue| queue.id.to_string()).collect();
        bail!(Usage(format!(
            "{topic} has no queue {}; there are: {}",
            args.queue.unwrap_or(0),
            ids.join(", ")
        )));
    }
    let (from, to) = args.offset.unwrap_or((0, u64::MAX));
    let mut ranges = Vec::new();
    let mut reader = RecordReader::new(store);
    let (mut left, mut damage, mut in_range) = (args.limit, false, false);
    for queue in queues {
        let (id, queue) = (queue.id, queue.open()?);
        let ends = queue.ends(store.log_start())?;
        let (min, max) = (ends.min, ends.max);
        ranges.push(format!("queue {id} has {min} to {max}"));
        let mut offset = from.max(ends.min);
        let end = to.min(ends.max);
        in_range |= offset < end;
        while offset < end && left > 0 {
            let count = PIECE_UNITS.min(end - offset).min(left);
            let mut units = queue.units(offset, usize::try_from(count).unwrap_or(0))?;
            units.retain(|unit| unit.base < end);
            let Some(last) = units.last() else {
                break;
            };
            offset = last.next();
            for unit in &units {
                if let Judged::Record(record) = reader.read(unit.physical_offset)? {
                    show(args, &record, out)?;
                } else {
                    damage = true;
                    out.flush()?;
                    let (offset, at) = (unit.base, unit.physical_offset);
                    eprintln!(
                        "mqadmin: queue {id} offset {offset}: no good record at position {at} of the log"
                    );
                }
            }
            left -= units.len() as u64;
        }
    }
    if !in_range && args.offset.is_some() {
        bail!(Usage(format!(
            "no such offset in {topic}: {}",
            ranges.join(", ")
        )));
    }
    Ok(if damage { Code::Bad } else { Code::Good })
}
