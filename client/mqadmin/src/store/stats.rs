//! `mqadmin store stats`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::ControlFlow;

use anyhow::Result;
use common::message::properties;
use common::message::record::RecordView;
use hashbrown::HashMap;
use serde_json::{Value, json};

use super::Place;
use super::messages::{Wanted, each};
use crate::terminal::{Code, Out, finish, out, table};
use crate::text;

/// Tags that are counted for a topic; more are taken together.
const COUNTED_TAGS: usize = 1000;
/// Tags that are listed for a topic.
const LISTED_TAGS: usize = 5;
/// Rows of the picture of times, and the length of its longest bar.
const ROWS: i64 = 24;
const BAR: u64 = 50;
const SECOND_MS: i64 = 1000;

/// Counts messages by topic and queue: how many, how large, when stored, with which tags.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 all is well, 1 damage was passed over, 2 wrong arguments, 3 something cannot be read, 130 Ctrl-C."
)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    wanted: Wanted,
    /// The result as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Default)]
struct Topic {
    queues: BTreeMap<i32, Tally>,
    tags: HashMap<Box<[u8]>, u64>,
    other_tags: u64,
}

/// Messages of one queue.
#[derive(Clone, Copy)]
struct Tally {
    messages: u64,
    bytes: u64,
    body_bytes: u64,
    smallest: u64,
    largest: u64,
    first: i64,
    last: i64,
}

#[derive(Default)]
struct All {
    topics: HashMap<Box<[u8]>, Topic>,
    /// By the power of two that is not below the body's size.
    sizes: BTreeMap<u64, u64>,
    seconds: BTreeMap<i64, u64>,
}

impl Tally {
    const NONE: Self = Self {
        messages: 0,
        bytes: 0,
        body_bytes: 0,
        smallest: u64::MAX,
        largest: 0,
        first: i64::MAX,
        last: i64::MIN,
    };

    fn plus(self, other: &Self) -> Self {
        Self {
            messages: self.messages + other.messages,
            bytes: self.bytes + other.bytes,
            body_bytes: self.body_bytes + other.body_bytes,
            smallest: self.smallest.min(other.smallest),
            largest: self.largest.max(other.largest),
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}

impl All {
    fn count(&mut self, record: &RecordView<'_>) {
        let size = record.body.len() as u64;
        let one = Tally {
            messages: 1,
            bytes: u64::from(record.total_size),
            body_bytes: size,
            smallest: size,
            largest: size,
            first: record.store_timestamp,
            last: record.store_timestamp,
        };
        let topic = self.topics.entry_ref(record.topic).or_default();
        let queue = topic.queues.entry(record.queue_id).or_insert(Tally::NONE);
        *queue = queue.plus(&one);
        if let Some(tags) = properties::get_bytes(record.properties, properties::TAGS.as_bytes()) {
            let known = topic.tags.len();
            match topic.tags.get_mut(tags) {
                Some(count) => *count += 1,
                None if known < COUNTED_TAGS => {
                    topic.tags.insert(tags.into(), 1);
                }
                None => topic.other_tags += 1,
            }
        }
        *self.sizes.entry(size.next_power_of_two()).or_default() += 1;
        *self
            .seconds
            .entry(record.store_timestamp.div_euclid(SECOND_MS))
            .or_default() += 1;
    }

    /// By name.
    fn topics(&self) -> Vec<(String, &Topic)> {
        let named = self
            .topics
            .iter()
            .map(|(name, topic)| (text::escaped(name), topic));
        let mut topics: Vec<_> = named.collect();
        topics.sort_by(|a, b| a.0.cmp(&b.0));
        topics
    }
}

impl Topic {
    fn sum(&self) -> Tally {
        self.queues.values().fold(Tally::NONE, Tally::plus)
    }

    /// The most frequent first.
    fn tags(&self) -> Vec<(String, u64)> {
        let mut tags: Vec<_> = self
            .tags
            .iter()
            .map(|(tag, count)| (text::escaped(tag), *count))
            .collect();
        tags.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        tags
    }
}

pub fn run(args: &Args) -> Result<Code> {
    let store = args.place.open()?;
    let mut all = All::default();
    let passed = each(&store, &args.wanted, |_, record| {
        all.count(record);
        Ok(ControlFlow::Continue(()))
    })?;
    let mut out = out();
    if args.json {
        writeln!(out, "{}", as_json(&all))?;
    } else {
        print(&mut out, &all)?;
    }
    finish(out, passed.code(Code::Good))
}

fn print(out: &mut Out, all: &All) -> Result<()> {
    let head = [
        "topic",
        "queue",
        "messages",
        "bytes",
        "body min",
        "mean",
        "max",
        "first stored",
        "last stored",
    ];
    let mut rows = table(&head, &[1, 2, 3, 4, 5, 6]);
    let row = |name: &str, queue: String, tally: &Tally| {
        [
            name.to_owned(),
            queue,
            text::count(tally.messages),
            text::bytes(tally.bytes),
            tally.smallest.to_string(),
            (tally.body_bytes / tally.messages.max(1)).to_string(),
            tally.largest.to_string(),
            text::time(tally.first),
            text::time(tally.last),
        ]
    };
    let topics = all.topics();
    for (name, topic) in &topics {
        for (queue, tally) in &topic.queues {
            rows.add_row(row(name, queue.to_string(), tally));
        }
        if topic.queues.len() > 1 {
            rows.add_row(row(name, "all".to_owned(), &topic.sum()));
        }
    }
    writeln!(out, "{rows}")?;
    for (name, topic) in topics.iter().filter(|(_, topic)| !topic.tags.is_empty()) {
        let tags = topic.tags();
        let listed = tags
            .iter()
            .take(LISTED_TAGS)
            .map(|(tag, count)| format!("{tag} {}", text::count(*count)));
        let listed: Vec<_> = listed.collect();
        let rest: u64 = tags
            .iter()
            .skip(LISTED_TAGS)
            .map(|(_, count)| count)
            .sum::<u64>()
            + topic.other_tags;
        let rest = if rest > 0 {
            format!(", others {}", text::count(rest))
        } else {
            String::new()
        };
        writeln!(out, "tags of {name}: {}{rest}", listed.join(", "))?;
    }
    let sizes = all
        .sizes
        .iter()
        .map(|(size, count)| (format!("≤ {}", text::bytes(*size)), *count));
    bars(out, "body sizes", sizes)?;
    bars(out, "stored from", over_time(&all.seconds))
}

/// Messages by time, in equal steps of whole seconds.
fn over_time(seconds: &BTreeMap<i64, u64>) -> impl Iterator<Item = (String, u64)> {
    let first = seconds.keys().next().copied().unwrap_or(0);
    let last = seconds.keys().last().copied().unwrap_or(0);
    let step = (last - first) / ROWS + 1;
    let rows = if seconds.is_empty() {
        0
    } else {
        (last - first) / step + 1
    };
    (0..rows).map(move |row| {
        let from = first + row * step;
        let count = seconds
            .range(from..from + step)
            .map(|(_, count)| count)
            .sum();
        (text::time(from * SECOND_MS), count)
    })
}

fn bars(out: &mut Out, title: &str, rows: impl Iterator<Item = (String, u64)>) -> Result<()> {
    let rows: Vec<_> = rows.collect();
    let Some(most) = rows
        .iter()
        .map(|(_, count)| *count)
        .max()
        .filter(|most| *most > 0)
    else {
        return Ok(());
    };
    writeln!(out, "{title}")?;
    let width = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    for (name, count) in rows {
        // Wide enough for any count.
        let eighths = u128::from(count) * u128::from(BAR) * 8 / u128::from(most);
        let full = usize::try_from(eighths / 8).unwrap_or(0);
        let part =
            ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][usize::try_from(eighths % 8).unwrap_or(0)];
        writeln!(
            out,
            "  {name:>width$} {}{part} {}",
            "█".repeat(full),
            text::count(count)
        )?;
    }
    Ok(())
}

fn as_json(all: &All) -> Value {
    let tally = |tally: &Tally| {
        json!({
            "messages": tally.messages,
            "bytes": tally.bytes,
            "body_bytes": tally.body_bytes,
            "smallest_body": tally.smallest,
            "largest_body": tally.largest,
            "first_store_time": tally.first,
            "last_store_time": tally.last,
        })
    };
    let topics = all.topics().into_iter().map(|(name, topic)| {
        let queues = topic.queues.iter().map(|(id, queue)| (id.to_string(), tally(queue)));
        let value = json!({
            "all": tally(&topic.sum()),
            "queues": queues.collect::<serde_json::Map<_, _>>(),
            "tags": topic.tags().into_iter().map(|(tag, count)| (tag, count.into())).collect::<serde_json::Map<_, _>>(),
            "other_tags": topic.other_tags,
        });
        (name, value)
    });
    let sizes = all
        .sizes
        .iter()
        .map(|(size, count)| (size.to_string(), Value::from(*count)));
    json!({
        "topics": topics.collect::<serde_json::Map<_, _>>(),
        "body_sizes_up_to": sizes.collect::<serde_json::Map<_, _>>(),
    })
}
