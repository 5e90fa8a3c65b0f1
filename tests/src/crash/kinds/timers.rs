use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use rand::Rng;
use rand::rngs::StdRng;

use super::{
    Journal, Kind, Shift, Window, Wrong, body_of, follow, now, number_of, properties, property,
    read_on,
};
use crate::{Answer, Connection, Record};

const TOPIC: &str = "crash-timers";
const QUEUES: u32 = 2;
/// The delay levels of `SETTINGS`, in milliseconds.
const LEVELS_MS: [i64; 3] = [1_000, 2_000, 3_000];
/// The longest time a timer is set for: several lives of the broker, and several rolls.
const LONGEST_MS: i64 = 9_000;
/// Requests of one client that are in flight together.
const TOGETHER: usize = 8;
/// Response code: what is asked for cannot be done (any more).
const ILLEGAL_OPERATION: i64 = 604;

/// Messages with a delay level, timers of all forms, and recalls.
///
/// Whatever was acknowledged comes once and not before its time; what was recalled does not come.
#[derive(Debug)]
pub struct Timers {
    seed: u64,
    next: AtomicU64,
    journal: Journal<BTreeMap<u64, Delayed>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Recall {
    #[default]
    No,
    Asked,
    /// Acknowledged.
    Done,
}

/// What is known of a delayed message.
#[derive(Clone, Debug)]
pub struct Delayed {
    /// As what it was sent, and when.
    sent: String,
    /// Before this it must not be delivered.
    due: i64,
    promised: bool,
    recall: Recall,
    /// Queue, offset and store time at which it was delivered.
    delivered: Option<(u32, i64, i64)>,
}

/// A request, and which message it is about.
enum Purpose {
    Send(u64),
    Recall(u64),
}

/// A timer that can be recalled.
struct Handle {
    number: u64,
    handle: String,
}

impl Timers {
    /// The request for one more delayed message.
    fn send(&self, connection: &mut Connection, rng: &mut StdRng) -> (Vec<u8>, Purpose) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let at = now();
        let (name, value, due) = match rng.random_range(0..10) {
            0..4 => {
                let level = rng.random_range(0..LEVELS_MS.len());
                ("DELAY", (level + 1).to_string(), at + LEVELS_MS[level])
            }
            4..6 => {
                let due = at + rng.random_range(1..2_500);
                ("TIMER_DELIVER_MS", due.to_string(), due)
            }
            // Many at one time, on and beside a full second.
            6 => {
                let due = at / 1_000 * 1_000 + 2_000 + rng.random_range(0..2);
                ("TIMER_DELIVER_MS", due.to_string(), due)
            }
            7..9 => {
                let delay = rng.random_range(1..LONGEST_MS);
                ("TIMER_DELAY_MS", delay.to_string(), at + delay)
            }
            _ => {
                let seconds = rng.random_range(1..=LONGEST_MS / 1_000);
                ("TIMER_DELAY_SEC", seconds.to_string(), at + seconds * 1_000)
            }
        };
        let (key, user_key) = (format!("U{:x}N{number}", self.seed), format!("K{number}"));
        let properties = properties(&[
            ("UNIQ_KEY", &key),
            ("KEYS", &user_key),
            ("WAIT", "true"),
            (name, &value),
        ]);
        let delayed = Delayed {
            sent: format!("{number} ({name} {value}, sent at {at}, due at {due})"),
            due,
            promised: false,
            recall: Recall::No,
            delivered: None,
        };
        self.journal
            .ask(|pages| _ = pages.notes.insert(number, delayed));
        let queue = u32::try_from(number % u64::from(QUEUES)).unwrap_or(0);
        let body = body_of(self.seed, number);
        let frame = connection.send_frame(TOPIC, queue, &properties, body.as_bytes());
        (frame, Purpose::Send(number))
    }

    fn recall(&self, connection: &mut Connection, handle: &Handle) -> (Vec<u8>, Purpose) {
        self.journal.ask(|pages| {
            if let Some(delayed) = pages.notes.get_mut(&handle.number) {
                delayed.recall = Recall::Asked;
            }
        });
        let fields = [
            ("producerGroup", "crash"),
            ("topic", TOPIC),
            ("recallHandle", handle.handle.as_str()),
        ];
        let frame = connection.frame(370, &fields, &[]);
        (frame, Purpose::Recall(handle.number))
    }

    /// Notes an answer; a timer that can be recalled gives a handle.
    fn answered(&self, purpose: &Purpose, answer: &Answer) -> Result<Option<Handle>> {
        let number = match purpose {
            Purpose::Send(number) | Purpose::Recall(number) => *number,
        };
        let recalls = matches!(purpose, Purpose::Recall(_));
        match answer.code {
            0 => self.journal.note(|pages| {
                pages.acknowledged += 1;
                let Some(delayed) = pages.notes.get_mut(&number) else {
                    return;
                };
                if recalls {
                    delayed.recall = Recall::Done;
                    unwanted(number, pages);
                } else {
                    delayed.promised = true;
                }
            }),
            // It is due, or was delivered.
            ILLEGAL_OPERATION if recalls => self.journal.note(|pages| {
                if let Some(delayed) = pages.notes.get_mut(&number) {
                    delayed.recall = Recall::No;
                }
            }),
            code => bail!("message {number}: code {code}: {}", answer.remark),
        }
        let handle = answer.field("recallHandle");
        Ok((!recalls && !handle.is_empty()).then(|| Handle {
            number,
            handle: handle.to_owned(),
        }))
    }

    fn work(&self, address: &str, mut rng: StdRng, shift: &Shift) -> Result<()> {
        let mut connection = Connection::open(address)?;
        let mut handles: Vec<Handle> = Vec::new();
        while shift.begins() {
            let mut window = Window::new();
            for _ in 0..rng.random_range(1..=TOGETHER) {
                let (frame, purpose) = if !handles.is_empty() && rng.random_ratio(1, 8) {
                    let handle = handles.swap_remove(rng.random_range(0..handles.len()));
                    self.recall(&mut connection, &handle)
                } else {
                    self.send(&mut connection, &mut rng)
                };
                window.add(&connection, frame, purpose);
            }
            window.exchange(&mut connection, |purpose, answer| {
                handles.extend(self.answered(&purpose, &answer)?);
                Ok(())
            })?;
            thread::sleep(Duration::from_millis(rng.random_range(0..20)));
        }
        Ok(())
    }

    fn arrived(&self, record: &Record, queue: u32) {
        let number = number_of(self.seed, &record.body);
        let place = (queue, record.offset, record.stored);
        self.journal.note(|pages| {
            pages.positions.insert((TOPIC, queue), record.offset + 1);
            pages.delivered += 1;
            let ready = pages.ready;
            let known = number.and_then(|number| Some((number, pages.notes.get_mut(&number)?)));
            let Some((number, delayed)) = known else {
                return pages.fault(Wrong::Other, || format!("nobody sent {record:?}"));
            };
            let before = delayed.delivered.replace(place);
            let delayed = delayed.clone();
            pages.latest_ms = pages.latest_ms.max(record.stored - delayed.due.max(ready));
            if let Some(before) = before {
                pages.fault(Wrong::Twice, || {
                    format!("{} at {before:?} and at {place:?}", delayed.sent)
                });
            }
            if record.stored < delayed.due {
                pages.fault(Wrong::Early, || format!("{} at {place:?}", delayed.sent));
            }
            let key = format!("U{:x}N{number}", self.seed);
            if property(record, "UNIQ_KEY") != Some(&key) {
                pages.fault(Wrong::Other, || format!("properties of {record:?}"));
            }
            unwanted(number, pages);
        });
    }
}

/// A fault when `number` was recalled and is there.
fn unwanted(number: u64, pages: &mut super::journal::Pages<BTreeMap<u64, Delayed>>) {
    let delayed = pages.notes.get(&number);
    let delayed = delayed.filter(|it| it.recall == Recall::Done && it.delivered.is_some());
    if let Some(delayed) = delayed.cloned() {
        pages.fault(Wrong::Unwanted, || {
            format!("{} at {:?}", delayed.sent, delayed.delivered)
        });
    }
}

impl Kind for Timers {
    type Notes = BTreeMap<u64, Delayed>;
    const NAME: &'static str = "timers";
    const TOPICS: &'static [(&'static str, u32, &'static str)] = &[(TOPIC, QUEUES, "")];
    const CLIENTS: usize = 4;
    const SETTINGS: &'static [(&'static str, &'static str)] = &[
        ("messageDelayLevel", "1s 2s 3s"),
        ("recallMessageEnable", "true"),
        ("timerPrecisionMs", "100"),
        // Two seconds: the longer timers are rolled over and over.
        ("timerRollWindowSlot", "20"),
    ];
    // Rolled on after two seconds, at a look each second, unless due within one more.
    const MOVED_ON: Option<Duration> = Some(Duration::from_millis(6_500));

    fn new(seed: u64) -> Self {
        Self {
            seed,
            next: AtomicU64::new(1),
            journal: Journal::default(),
        }
    }

    fn journal(&self) -> &Journal<Self::Notes> {
        &self.journal
    }

    fn client(&self, number: usize, address: &str, rng: StdRng, shift: &Shift) -> Result<()> {
        match number {
            0 => follow(self, address, shift),
            _ => self.work(address, rng, shift),
        }
    }

    fn read(&self, connection: &mut Connection) -> Result<()> {
        read_on(self, connection, |record, queue| {
            self.arrived(record, queue);
        })
    }

    fn awaited(&self) -> Vec<String> {
        let pages = self.journal.pages();
        let awaited = pages.notes.values().filter(|delayed| {
            delayed.promised && delayed.recall == Recall::No && delayed.delivered.is_none()
        });
        awaited.map(|delayed| delayed.sent.clone()).collect()
    }
}
