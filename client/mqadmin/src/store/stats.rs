//! `mqadmin store stats`.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::Result;
use common::message::properties;
use common::message::record::RecordView;
use hashbrown::HashMap;
use serde::Serialize;
use serde_json::{Value, json};

use super::Place;
use super::messages::{Wanted, each};
use crate::terminal::{Code, Out, table};
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
#[derive(Clone, Copy, Serialize)]
struct Tally {
    messages: u64,
    bytes: u64,
    body_bytes: u64,
    smallest_body: u64,
    largest_body: u64,
    first_store_time: i64,
    last_store_time: i64,
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
        smallest_body: u64::MAX,
        largest_body: 0,
        first_store_time: i64::MAX,
        last_store_time: i64::MIN,
    };

    fn plus(self, other: &Self) -> Self {
        Self {
            messages: self.messages + other.messages,
            bytes: self.bytes + other.bytes,
            body_bytes: self.body_bytes + other.body_bytes,
            smallest_body: self.smallest_body.min(other.smallest_body),
            largest_body: self.largest_body.max(other.largest_body),
            first_store_time: self.first_store_time.min(other.first_store_time),
            last_store_time: self.last_store_time.max(other.last_store_time),
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
            smallest_body: size,
            largest_body: size,
            first_store_time: record.store_timestamp,
            last_store_time: record.store_timestamp,
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
        let second = record.store_timestamp.div_euclid(SECOND_MS);
        *self.seconds.entry(second).or_default() += 1;
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

pub fn run(args: &Args, out: &mut Out) -> Result<Code> {
    let store = args.place.open()?;
    let mut all = All::default();
    let passed = each(&store, &args.wanted, |record| {
        all.count(record);
        Ok(true)
    })?;
    if args.json {
        writeln!(out, "{}", as_json(&all))?;
    } else {
        print(out, &all)?;
    }
    Ok(passed.code(Code::Good))
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
            tally.smallest_body.to_string(),
            (tally.body_bytes / tally.messages.max(1)).to_string(),
            tally.largest_body.to_string(),
            text::time(tally.first_store_time),
            text::time(tally.last_store_time),
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
        let (first, others) = tags.split_at(tags.len().min(LISTED_TAGS));
        let said = |(tag, count): &(String, u64)| format!("{tag} {}", text::count(*count));
        let mut listed: Vec<_> = first.iter().map(said).collect();
        let others: u64 = others.iter().map(|(_, count)| count).sum();
        if others + topic.other_tags > 0 {
            listed.push(said(&("others".to_owned(), others + topic.other_tags)));
        }
        writeln!(out, "tags of {name}: {}", listed.join(", "))?;
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
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(0);
    if most == 0 {
        return Ok(());
    }
    writeln!(out, "{title}")?;
    let widths = rows.iter().map(|(name, _)| name.chars().count());
    let width = widths.max().unwrap_or(0);
    for (name, count) in rows {
        // Wide enough for any count.
        let eighths = u128::from(count) * u128::from(BAR) * 8 / u128::from(most);
        let full = usize::try_from(eighths / 8).unwrap_or(0);
        let part =
            ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][usize::try_from(eighths % 8).unwrap_or(0)];
        let (bar, count) = ("█".repeat(full), text::count(count));
        writeln!(out, "  {name:>width$} {bar}{part} {count}")?;
    }
    Ok(())
}

fn as_json(all: &All) -> Value {
    let topics = all.topics().into_iter().map(|(name, topic)| {
        let tags: BTreeMap<_, _> = topic.tags().into_iter().collect();
        let value = json!({
            "all": topic.sum(),
            "queues": topic.queues,
            "tags": tags,
            "other_tags": topic.other_tags,
        });
        (name, value)
    });
    json!({
        "topics": topics.collect::<BTreeMap<_, _>>(),
        "body_sizes_up_to": all.sizes,
    })
}
