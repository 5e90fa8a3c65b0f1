//! What is sent in a turn.

use anyhow::Result;
use common::clock::{Clock, SystemClock};
use rand::Rng;
use rand::rngs::StdRng;
use tests::Connection;

use super::model::{BURST, Model, TAG};
use super::wire::{self, Content, Sending};

/// Topics every turn adds to, and their queues.
const TOPICS: [(&str, u32); 2] = [("orders", 4), ("events", 2)];
/// Consumers whose offsets move in every turn.
const GROUPS: [&str; 3] = ["billing", "shipping", "audit"];
const SINGLES: usize = 300;
const BATCHES: usize = 12;
const BATCH: usize = 8;
/// Sends in flight when a broker is killed, and how many of them are answered before.
const IN_FLIGHT: usize = 200;
const ANSWERED: usize = 100;

/// Milliseconds since 1970.
pub fn now() -> i64 {
    SystemClock::new().now().0
}

/// A group of a former version's length, whose retry topic has a name that only the newer record can hold.
pub fn long_group() -> String {
    "long-".repeat(35)
}

fn long_topic() -> String {
    format!("%RETRY%{}", long_group())
}

/// Everything a turn of either maker does.
#[derive(Debug)]
pub struct Turn<'a> {
    pub number: usize,
    pub connection: &'a mut Connection,
    pub model: &'a mut Model,
    pub rng: &'a mut StdRng,
}

impl Turn<'_> {
    /// Tables, messages, offsets.
    pub fn run(&mut self) -> Result<()> {
        let (topic, group) = self.settings()?;
        let mut sendings = Vec::new();
        for index in 0..SINGLES {
            sendings.push(self.single(index, &topic));
        }
        for index in 0..BATCHES {
            sendings.push(self.batch(index));
        }
        let sent = wire::send_all(self.connection, sendings, now())?;
        self.model.absorb(self.connection, &sent)?;
        self.offsets(&topic, &group)
    }

    /// A topic and a group of this turn's own.
    fn settings(&mut self) -> Result<(String, String)> {
        let (topic, group) = (
            format!("topic-{}", self.number),
            format!("group-{}", self.number),
        );
        let (read, write) = (self.rng.random_range(2..9), self.rng.random_range(2..9));
        wire::create_topic(self.connection, &topic, read, write)?;
        wire::create_group(self.connection, &group, self.rng.random_range(1..100))?;
        if self.number == 0 {
            for (topic, queues) in TOPICS {
                wire::create_topic(self.connection, topic, queues, queues)?;
            }
            wire::create_topic(self.connection, BURST, 1, 1)?;
            for group in GROUPS {
                wire::create_group(self.connection, group, 16)?;
            }
        }
        self.model.keep_settings(self.connection, &topic, &group)?;
        Ok((topic, group))
    }

    fn id(&self, kind: &str, index: usize) -> String {
        format!("{kind}-{}-{index}", self.number)
    }

    fn body(&mut self) -> Vec<u8> {
        // Most are small; some fill a tenth of a file of the log.
        let bytes = match self.rng.random_range(0..40) {
            0 => self.rng.random_range(50_000..100_000),
            1..4 => self.rng.random_range(3_000..20_000),
            _ => self.rng.random_range(1..600),
        };
        (0..bytes).map(|_| self.rng.random()).collect()
    }

    fn content(&mut self, id: &str) -> Content {
        let mut properties = vec![
            ("UNIQ_KEY".to_owned(), id.to_owned()),
            ("WAIT".to_owned(), "true".to_owned()),
            ("note".to_owned(), "rúcula 芝麻菜".to_owned()),
        ];
        match self.rng.random_range(0..4) {
            0 => properties.push(("TAGS".to_owned(), "new".to_owned())),
            1 => properties.push(("TAGS".to_owned(), TAG.to_owned())),
            2 => properties.push(("TAGS".to_owned(), format!("tag-{id}"))),
            _ => {}
        }
        if self.rng.random() {
            let shared = self.rng.random_range(0..40);
            properties.push((
                "KEYS".to_owned(),
                format!("key-{id} shared-{}-{shared}", self.number),
            ));
        }
        Content {
            properties,
            body: self.body(),
        }
    }

    /// Where the `index`th message goes.
    fn queue(&mut self, index: usize, own: &str) -> (String, u32) {
        match index % 10 {
            0 => (own.to_owned(), self.rng.random_range(0..2)),
            1 => (long_topic(), 0),
            _ => {
                let (topic, queues) = TOPICS[self.rng.random_range(0..TOPICS.len())];
                (topic.to_owned(), self.rng.random_range(0..queues))
            }
        }
    }

    fn single(&mut self, index: usize, own: &str) -> Sending {
        /// A compressed body, in one of the three ways; a broker looks at none of them.
        const COMPRESSED: [i32; 4] = [0x1, 0x101, 0x201, 0x301];
        let id = self.id("single", index);
        let (topic, queue) = self.queue(index, own);
        let sys_flag = if index.is_multiple_of(7) {
            COMPRESSED[self.rng.random_range(0..COMPRESSED.len())]
        } else {
            0
        };
        Sending {
            topic,
            queue,
            sys_flag,
            messages: vec![self.content(&id)],
        }
    }

    fn batch(&mut self, index: usize) -> Sending {
        let (topic, queues) = TOPICS[index % TOPICS.len()];
        let mut messages = Vec::new();
        for part in 0..BATCH {
            let id = self.id(&format!("batch-{index}"), part);
            let mut message = self.content(&id);
            message.body.truncate(20_000);
            messages.push(message);
        }
        Sending {
            topic: topic.to_owned(),
            queue: self.rng.random_range(0..queues),
            sys_flag: 0,
            messages,
        }
    }

    /// Every group moves in some queues, this turn's group too.
    fn offsets(&mut self, own_topic: &str, own_group: &str) -> Result<()> {
        self.model
            .offsets
            .commit(self.connection, (own_group, own_topic, 0), 1)?;
        for group in GROUPS {
            for (topic, queues) in TOPICS {
                for queue in 0..queues {
                    let end = self.model.records(topic, queue).len();
                    let offset = self.rng.random_range(0..=end);
                    let key = (group, topic, queue);
                    self.model
                        .offsets
                        .commit(self.connection, key, i64::try_from(offset)?)?;
                }
            }
        }
        Ok(())
    }

    /// Sends that are not all answered when this returns.
    pub fn burst(&mut self) -> Result<Vec<wire::Acknowledged>> {
        let mut sendings = Vec::new();
        for index in 0..IN_FLIGHT {
            let id = self.id("burst", index);
            let mut message = self.content(&id);
            message.body.truncate(2_000);
            sendings.push(Sending {
                topic: BURST.to_owned(),
                queue: 0,
                sys_flag: 0,
                messages: vec![message],
            });
        }
        self.model.watch(BURST, 0);
        wire::send_and_leave(self.connection, sendings, ANSWERED, now())
    }
}
