//! Messages as clients send them, in all shapes that matter to the disk.

use std::fmt::Write as _;
use std::net::SocketAddr;

use common::message::{properties, sys_flag, tags_code};
use store::RecordParts;

use crate::rng::Rng;

pub type QueueName = (String, u32);

#[derive(Debug)]
pub struct Message {
    pub queue: QueueName,
    pub sys_flag: i32,
    pub ipv6: bool,
    pub body: Vec<u8>,
    pub properties: String,
    /// Light queues it goes into, too.
    pub light: Vec<String>,
    /// Messages it stands for.
    pub count: u64,
}

/// Whose queues are for whole batches.
pub const BATCH_TOPIC: &str = "B";

/// Two short names, one too long for a record of the first version, and one of whole batches.
pub fn topics() -> [String; 4] {
    [
        "T".into(),
        "Orders".into(),
        "L".repeat(140),
        BATCH_TOPIC.into(),
    ]
}

/// Topics that can be deleted: light ones, too.
pub fn deletable(rng: &mut Rng) -> String {
    let light = ["%LMQ%a".into(), "%LMQ%b".into()];
    rng.pick(&[&topics()[..], &light].concat()).clone()
}

impl Message {
    /// The `number`th message of a run, at most about `bytes` long.
    pub fn new(rng: &mut Rng, topic: &str, number: u64, bytes: usize) -> Self {
        // One queue gets more than the others, so that it has several files.
        let queue = (topic.to_owned(), u32::from(rng.one_in(3)));
        let flags = [
            0,
            0,
            0,
            0,
            0,
            0,
            sys_flag::TRANSACTION_PREPARED,
            sys_flag::TRANSACTION_COMMIT,
            sys_flag::TRANSACTION_ROLLBACK,
        ];
        let mut properties = match rng.below(10) {
            0 => String::new(),
            // Longer than two sectors, so that one in the middle can be lost.
            1 => format!("LONG\u{1}{}\u{2}", "p".repeat(1100)),
            _ => format!("UNIQ_KEY\u{1}ID{number:08}\u{2}"),
        };
        if rng.one_in(2) {
            write!(properties, "TAGS\u{1}tag{}\u{2}", rng.below(3)).unwrap();
        }
        if rng.one_in(3) {
            write!(properties, "KEYS\u{1}order{} o{number}\u{2}", rng.below(5)).unwrap();
        }
        let (light, count, inner) = Self::places(rng, topic, &mut properties);
        let left = bytes.saturating_sub(properties.len() + topic.len() + 130);
        let length = match rng.below(8) {
            0 => 0,
            1 => left,
            2..5 => rng.index(left.min(40) + 1),
            _ => rng.index(left + 1),
        };
        let mut body = format!("{number} ").into_bytes();
        while body.len() < length {
            body.extend_from_slice(&rng.next().to_be_bytes());
        }
        body.truncate(length);
        Self {
            queue,
            sys_flag: *rng.pick(&flags) | inner,
            ipv6: rng.one_in(4),
            body,
            properties,
            light,
            count,
        }
    }

    /// Some are whole batches, some go into light queues; their properties say so. The last is a flag.
    fn places(rng: &mut Rng, topic: &str, properties: &mut String) -> (Vec<String>, u64, i32) {
        let light: Vec<String> = match rng.below(12) {
            0 => vec!["%LMQ%a".into()],
            1 => vec!["%LMQ%b".into(), "plain".into(), "%LMQ%a".into()],
            _ => Vec::new(),
        };
        if !light.is_empty() {
            let names = light.join(",");
            write!(properties, "INNER_MULTI_DISPATCH\u{1}{names}\u{2}").unwrap();
        }
        if topic != BATCH_TOPIC || rng.one_in(3) {
            return (light, 1, 0);
        }
        let count = 1 + rng.below(12);
        write!(properties, "INNER_NUM\u{1}{count}\u{2}").unwrap();
        let flag = sys_flag::INNER_BATCH | sys_flag::NEED_UNWRAP;
        (light, count, flag)
    }

    /// Its properties once it has an offset, and one in each light queue.
    pub fn stored_properties(&self, offset: u64, light: &[(QueueName, u64)]) -> String {
        let mut text = self.properties.clone();
        if !self.is_queued() {
            return text;
        }
        if self.sys_flag & sys_flag::INNER_BATCH != 0 {
            write!(text, "INNER_BASE\u{1}{offset}\u{2}").unwrap();
        }
        if !self.light.is_empty() {
            let of = |name: &String| light.iter().find(|((light, _), _)| light == name);
            let offsets = self.light.iter().map(|name| {
                let offset = of(name).map(|(_, offset)| offset.to_string());
                offset.unwrap_or_default()
            });
            let offsets = offsets.collect::<Vec<_>>().join(",");
            write!(text, "INNER_MULTI_QUEUE_OFFSET\u{1}{offsets}\u{2}").unwrap();
        }
        text
    }

    /// The light queues among those it names, if consumers see it.
    pub fn light_queues(&self) -> impl Iterator<Item = QueueName> {
        let light = self.light.iter().filter(|name| name.starts_with("%LMQ%"));
        light
            .filter(|_| self.is_queued())
            .map(|name| (name.clone(), 0))
    }

    pub fn parts(&self) -> RecordParts<'_> {
        let host: SocketAddr = if self.ipv6 {
            "[2001:db8::7]:4000".parse().unwrap()
        } else {
            "10.0.0.7:4000".parse().unwrap()
        };
        RecordParts {
            topic: &self.queue.0,
            queue_id: self.queue.1,
            flag: 7,
            sys_flag: self.sys_flag,
            born_timestamp: 5,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &self.body,
            properties: &self.properties,
        }
    }

    /// What it can be found by.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let get = |name| properties::get(&self.properties, name);
        let keys = get(properties::KEYS).into_iter();
        get(properties::UNIQUE_KEY)
            .into_iter()
            .chain(keys.flat_map(|keys| keys.split(' ')))
    }

    pub fn tags_code(&self) -> i64 {
        properties::get(&self.properties, properties::TAGS).map_or(0, tags_code)
    }

    /// Whether consumers see it.
    pub fn is_queued(&self) -> bool {
        sys_flag::is_queued(self.sys_flag)
    }
}
