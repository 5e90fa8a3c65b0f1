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
}

/// Two short names and one too long for a record of the first version.
pub fn topics() -> [String; 3] {
    ["T".into(), "Orders".into(), "L".repeat(140)]
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
            sys_flag: *rng.pick(&flags),
            ipv6: rng.one_in(4),
            body,
            properties,
        }
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
