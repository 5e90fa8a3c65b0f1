//! Messages with a time of their own.
//!
//! A message that asks for a time is stored in the timer topic; what its properties say is [`row::Filed`]. One thread does the
//! rest ([`worker`]): it follows that topic and files a row for each message in kv, by slot; keeps the rows whose time comes
//! next in memory ([`window`]) and delivers what is due; and appends messages again whose place in the log will be deleted
//! before they are due. A million messages that wait cost no memory.
//!
//! A message that cancels another has a row, too, in the same slot and under the same key, until its slot is over. Nothing is
//! cancelled before a delivery: whether the messages come in one order or the other, and whatever a crash leaves, the rows say
//! the same. A slot is delivered only when everything sent before it was over has been filed, so a recall that came in time
//! counts.
//!
//! Rows that are filed may be ahead of the log after a power cut: each is held against its record when its time comes. Rows go
//! only through the ledger (see `delivery`). [`files`] is what a Java broker reads and leaves.

mod delivering;
mod files;
mod filing;
mod list;
mod rolling;
mod row;
mod rules;
mod wheel;
mod window;
mod worker;

pub use files::Standing;
pub use rules::{Refusal, TimerRules};

use crate::config::BrokerConfig;
use crate::delivery::{Account, Kind, Ledger, Outbox};
use crate::kv::{Change, Kv};
use crate::thread::{Bell, Steps};
use crate::waits::Waits;
use common::clock::{Clock, Millis};
use common::ids::PhysicalOffset;
use common::message::RecordView;
use common::names::TIMER_TOPIC;
use common::wire::body::DataVersion;
use files::{HandedOver, Meta};
use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use row::{Filed, RowKey};
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use store::{StoreReader, StoreWriter};
use worker::Worker;

/// How long a message is held back for a recall that was announced, at most: longer than a recall waits for the disk.
const HELD_MS: i64 = 10_000;
/// Topics that are counted on their own; of others nobody is told.
const MAX_TOPICS: usize = 20_000;
/// Messages of so many milliseconds are counted together, where slots are not limited.
const CELL_MS: u64 = 5_000;
/// [`TimerFigures::soon`] tells how many messages are due within so many seconds.
pub const SOON_S: [u64; 8] = [5, 60, 300, 900, 3_600, 14_400, 28_800, 86_400];
/// Help, upper bounds in seconds, and labels of [`Timers::delays`].
const DELAYS_HELP: &str = "Seconds that timed messages were asked to wait when they were born.";
const DELAYS_LABELS: [(&str, &str); 2] = [("storage_type", "local"), ("storage_medium", "disk")];
const DELAYS_S: [f64; 6] = [60.0, 600.0, 3_600.0, 43_200.0, 86_400.0, 259_200.0];

/// The timed messages of this broker. Clones are handles of the same.
#[derive(Clone)]
pub struct Timers {
    shared: Arc<Shared>,
}

struct Shared {
    rules: TimerRules,
    /// See [`TimerRules::roll_ms`]; changes with how long the log is kept.
    roll_ms: AtomicI64,
    kv: Kv,
    reader: StoreReader,
    clock: Arc<dyn Clock>,
    bell: Arc<Bell>,
    /// The store's directory.
    root: PathBuf,
    state: Mutex<State>,
    /// What was found in kv and the files at the start.
    meta: Mutex<Meta>,
    /// See [`Timers::delays`].
    delays: Waits,
    /// Held while files for other brokers are written.
    handed_over: Mutex<HandedOver>,
}

/// What the thread and those who ask it share.
#[derive(Default)]
struct State {
    counts: Counts,
    /// Positions of messages that are delivered, rolled on or cancelled although kv may have their rows.
    done: HashSet<u64>,
    /// Their rows, of which the ledger has not been told.
    going: Vec<RowKey>,
    /// Rows the ledger was told of when it last asked.
    told: Vec<RowKey>,
    /// Offset in the timer topic's queue up to which messages have rows.
    filed: u64,
    /// No message that waits is before this position of the log.
    oldest: u64,
    /// Slot of the first message that waits.
    first_slot: Option<u64>,
    /// Messages that were delivered, rolled on or cancelled.
    passed: u64,
    /// How everything stood when the ledger took the changes last, and when those before were safe.
    taken: Option<Standing>,
    settled: Option<Standing>,
    /// Groups of rows that a recall is about to cancel, and when it was announced: until its message is filed, nothing of
    /// them is delivered.
    recalls: HashMap<(u64, u64), i64>,
    /// How late the last delivery was, in milliseconds.
    late_ms: i64,
    /// Messages in memory, while more are due than one delivery takes.
    overdue: i64,
}

/// How many messages wait, and what has passed.
#[derive(Default)]
struct Counts {
    topics: HashMap<Box<str>, TopicCount>,
    /// By slot, slots of `cell_ms` together; each on its own where it takes no more than so many.
    slots: BTreeMap<u64, u64>,
    cell_ms: u64,
}

/// Timed messages of a topic.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct TopicCount {
    /// That wait.
    pub waiting: i64,
    /// When that last changed, in milliseconds since 1970.
    pub changed: i64,
    /// Filed since the start.
    pub filed: u64,
    /// Delivered since the start.
    pub delivered: u64,
}

/// How the timers stand, for metrics and pages.
#[derive(Debug)]
pub struct TimerFigures {
    /// By topic.
    pub topics: HashMap<Box<str>, TopicCount>,
    /// Messages in the timer topic that have no row yet.
    pub behind: u64,
    /// Age of the first of them, in milliseconds.
    pub filing_late_ms: i64,
    /// Messages in memory, while more are due than one delivery takes.
    pub overdue: i64,
    /// How late the last delivery was, in milliseconds.
    pub late_ms: i64,
    /// Messages that are due within each of [`SOON_S`] and not within the one before.
    pub soon: [u64; SOON_S.len()],
    /// How far messages are filed and delivered.
    pub standing: Standing,
}

impl Counts {
    /// The counts of a topic, unless there are too many topics already. One is there from its first delivery on, too: what
    /// was due before the first sweep came to it was never counted as waiting.
    fn of(&mut self, topic: &str) -> Option<&mut TopicCount> {
        if !self.topics.contains_key(topic) && self.topics.len() >= MAX_TOPICS {
            return None;
        }
        Some(self.topics.entry_ref(topic).or_default())
    }

    fn change(&mut self, topic: &str, slot: u64, by: i64, now: i64) {
        let Some(count) = self.of(topic) else {
            return;
        };
        count.waiting += by;
        count.changed = now;
        let cell = slot - slot % self.cell_ms.max(1);
        let count = self.slots.entry(cell).or_default();
        *count = count.saturating_add_signed(by);
        if *count == 0 {
            self.slots.remove(&cell);
        }
    }

    /// How many messages are due within each of [`SOON_S`] and not within the one before.
    fn soon(&self, now: Millis) -> [u64; SOON_S.len()] {
        let now = u64::try_from(now.0).unwrap_or(0) / CELL_MS * CELL_MS;
        let mut from = now;
        SOON_S.map(|seconds| {
            let to = now + seconds * 1_000;
            let cells = self.slots.range(std::mem::replace(&mut from, to)..to);
            cells.map(|(_, count)| count).sum()
        })
    }
}

impl State {
    /// Whether a recall of the row's group is on its way.
    fn is_recalled(&mut self, key: &RowKey, now: i64) -> bool {
        if self.recalls.is_empty() {
            return false;
        }
        self.recalls.retain(|_, since| now - *since < HELD_MS);
        self.recalls.contains_key(&key.group())
    }

    fn standing(&self, shared: &Shared) -> Standing {
        let precision = shared.rules.precision_ms;
        let now = shared.now().0;
        let first = self.first_slot.map_or(now, window::slot_ms);
        Standing {
            read_ms: now.min(first) / precision * precision,
            filed: self.filed,
            passed: self.passed,
        }
    }

    /// A message's row is to go, whatever has become of it.
    fn finish(&mut self, key: RowKey) {
        self.passed += 1;
        self.done.insert(key.at);
        self.going.push(key);
    }
}

impl Timers {
    /// The rules that messages with a time are under.
    pub fn rules(&self) -> &TimerRules {
        &self.shared.rules
    }

    /// Goes on with settings that have changed, as far as they can while messages wait: how long the log is kept.
    pub fn apply(&self, config: &BrokerConfig) {
        let roll_ms = TimerRules::new(config).roll_ms;
        self.shared.roll_ms.store(roll_ms, Ordering::Relaxed);
        self.shared.bell.ring();
    }

    /// Messages that wait in a slot, where that is limited.
    pub fn in_slot(&self, slot: u64) -> u64 {
        let state = self.shared.state.lock();
        state.counts.slots.get(&slot).copied().unwrap_or(0)
    }

    /// Announces that a message will cancel another, before it is stored: it counts from when it is filed, and on a slow
    /// disk that may be after the slot is over. Gives the time after that.
    pub fn announce(&self, slot: u64, cancels: &str) -> i64 {
        if self.rules().enabled {
            let (group, now) = ((slot, row::hash(cancels)), self.shared.now().0);
            self.shared.state.lock().recalls.insert(group, now);
        }
        self.shared.now().0
    }

    /// How long the messages that were filed were asked to wait when they were born.
    pub fn delays(&self) -> &Waits {
        &self.shared.delays
    }

    /// How the timers stand.
    pub fn figures(&self) -> TimerFigures {
        let shared = &*self.shared;
        let end = shared.reader.max_offset(TIMER_TOPIC, 0);
        let state = shared.state.lock();
        let first = || shared.reader.store_time_of(TIMER_TOPIC, 0, state.filed);
        let first = (state.filed < end).then(first).flatten();
        let filing_late_ms = first.map_or(0, |stored| (shared.now().0 - stored).max(0));
        TimerFigures {
            topics: state.counts.topics.clone(),
            behind: end.saturating_sub(state.filed),
            filing_late_ms,
            overdue: state.overdue,
            late_ms: state.late_ms,
            soon: state.counts.soon(shared.now()),
            standing: state.standing(shared),
        }
    }

    /// The body of `GET_TIMER_METRICS`.
    pub fn metrics_json(&self) -> Vec<u8> {
        self.shared.metrics_json()
    }

    /// The body of `GET_TIMER_CHECK_POINT`.
    pub fn check_point(&self) -> [u8; files::CHECK_BYTES] {
        let standing = self.shared.state.lock().standing(&self.shared);
        files::Check {
            read_ms: standing.read_ms,
            log_position: self.shared.meta.lock().log_position,
            queue_offset: standing.filed,
            changed: self.shared.now().0,
        }
        .encode()
    }

    /// Begins to file and to deliver, after the ledger was opened; messages are stored as from `host`.
    ///
    /// # Errors
    /// The thread does not start.
    pub fn start(
        &self,
        store: &StoreWriter,
        outbox: Outbox,
        ledger: Ledger,
        host: SocketAddr,
    ) -> io::Result<Option<Steps>> {
        if !self.rules().enabled {
            return Ok(None);
        }
        store.queue(TIMER_TOPIC, 0).watch();
        let mut worker = Worker::new(self.clone(), outbox, ledger, host);
        // What was delivered before it was filed is forgotten once the ledger has settled.
        while !self.shared.state.lock().done.is_empty() && !worker.file(self.shared.now().0) {}
        let bell = Arc::clone(&self.shared.bell);
        Steps::start("timers", bell, move || worker.turn()).map(Some)
    }
}

impl Shared {
    /// As in the file `timermetrics`.
    fn metrics_json(&self) -> Vec<u8> {
        let state = self.state.lock();
        let topics = &state.counts.topics;
        let filed: u64 = topics.values().map(|count| count.filed).sum();
        let mut version = DataVersion::new(self.now().0);
        version.counter = i64::try_from(filed).unwrap_or(i64::MAX);
        let counts: serde_json::Map<_, _> = topics
            .iter()
            .map(|(topic, count)| {
                let waiting = count.waiting.max(0);
                (
                    topic.to_string(),
                    json!({"count": waiting, "timeStamp": count.changed}),
                )
            })
            .collect();
        let metrics = json!({"dataVersion": version, "timingCount": counts});
        metrics.to_string().into_bytes()
    }

    fn now(&self) -> Millis {
        self.clock.now()
    }
}

impl Account for Timers {
    fn delivered(&self, kind: Kind, origin: u64, _: Option<&RecordView<'_>>) {
        if !matches!(kind, Kind::Timer | Kind::Roll) {
            return;
        }
        let shared = &*self.shared;
        let record = shared.reader.record_at(PhysicalOffset(origin));
        let record = record
            .as_deref()
            .and_then(|bytes| RecordView::parse(bytes).ok());
        let filed = record.as_ref().and_then(Filed::of);
        let mut state = shared.state.lock();
        match filed {
            Some(filed) => state.finish(filed.key),
            // The log has deleted it; its row is dropped when its time comes.
            None => _ = state.done.insert(origin),
        }
    }

    fn take_changes(&self) -> Vec<Change> {
        let mut state = self.shared.state.lock();
        state.taken = Some(state.standing(&self.shared));
        // What the ledger was told before is in kv by now.
        for key in std::mem::take(&mut state.told) {
            state.done.remove(&key.at);
        }
        state.told = std::mem::take(&mut state.going);
        state.told.iter().map(|key| key.change(None)).collect()
    }

    fn settled(&self) {
        let mut state = self.shared.state.lock();
        state.settled = state.taken;
    }

    fn needed_from(&self, reader: &StoreReader) -> u64 {
        if !self.rules().enabled {
            return u64::MAX;
        }
        let state = self.shared.state.lock();
        let unfiled = reader.position_of(TIMER_TOPIC, 0, state.filed);
        unfiled.map_or(state.oldest, |unfiled| unfiled.min(state.oldest))
    }
}
