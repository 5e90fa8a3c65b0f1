//! What a Java broker leaves, and what it finds: `config/timercheck`, `config/timermetrics`, `timerwheel` and `timerlog`.
//!
//! They are written every few seconds while messages are filed or delivered, wheel and log the more rarely the longer that takes,
//! and at a clean stop. What they say is never ahead of the log on the disk: whoever starts on them after a crash delivers again
//! what was delivered since, and loses nothing. So does this broker when `kv` is gone. All numbers are big-endian.
//!
//! - `timercheck`, 4096 bytes, the rest zero: `0 read time · 8 end of the timer log · 16 queue offset · 24 queue offset of the
//!   master · 32 state version · 40 changed · 48 counter`. All slots before the read time are delivered; all messages before the
//!   queue offset are in the log. A Java broker that finds a log goes by what that says, and by the queue offset only when that
//!   is less: so it may be ahead of the log.
//! - `timerlog/<20 digits>`, units of 52 bytes: `0 size · 4 position of the unit before in the same slot, or -1 · 12 magic: 1, with
//!   2: to be rolled on, with 4: cancels others · 16 write time · 24 slot as milliseconds after that · 28 position of the record ·
//!   36 its bytes · 40 hash of the topic · 44 zero`. The last unit of the log tells how far the timer topic has been read, the last
//!   of each file which part of the CommitLog it needs.
//! - `timerwheel`, slots of 32 bytes, at the slot's number modulo their count: `0 number · 8 position of the first unit · 16 of the
//!   last · 24 how many · 28 zero`.

use super::row::RowKey;
use super::rules::TimerRules;
use super::wheel::Written;
use super::worker::range;
use super::{DELAYS_HELP, DELAYS_LABELS, DELAYS_S, Shared, State, Timers};
use crate::config::BrokerConfig;
use crate::config_file::{ConfigFile, ConfigFileError};
use crate::kv::{Change, Digest, Family, KvAtStart, KvError};
use crate::thread::Bell;
use crate::waits::Waits;
use common::clock::Clock;
use common::files::replace;
use common::names::TIMER_TOPIC;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};
use store::StoreReader;

/// Bytes of a check point on the wire.
pub const CHECK_BYTES: usize = 56;
const CHECK_FILE_BYTES: usize = 4_096;
const META_KEY: &[u8] = b"timers";
/// Time between two check points, at least.
const INTERVAL: Duration = Duration::from_secs(5);
/// Wheel and log are written again after so many times as long as it took.
const PAUSES: u32 = 100;

/// A check point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    pub read_ms: i64,
    pub log_position: u64,
    pub queue_offset: u64,
    pub changed: i64,
}

/// What kv knows besides the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    /// Offset in the timer topic's queue up to which messages have rows.
    filed: u64,
    /// Where another broker left off, if the rows are made from what it left.
    pub taken_over: Option<TakenOver>,
    /// The `timercheck` that says nothing new.
    known: Option<Digest>,
    /// One that is about to take its place, or has done so.
    next: Option<Digest>,
    /// Where the timer log ends.
    pub log_position: u64,
}

/// How far messages are filed and delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// All slots before are delivered; milliseconds since 1970.
    pub read_ms: i64,
    /// Offset in the timer topic's queue up to which messages have rows.
    pub filed: u64,
    /// Messages that were delivered, rolled on or cancelled since the start.
    pub passed: u64,
}

/// What other brokers find.
#[derive(Default)]
pub struct HandedOver {
    check: Option<Standing>,
    pub(super) wheel: Option<Written>,
    /// Before this, in monotonic time, wheel and log are written at the end only.
    pub(super) next_wheel: Duration,
}

/// How far another broker was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TakenOver {
    /// All slots before are delivered.
    pub read_ms: i64,
    /// It has not read messages from here on.
    pub queue_offset: u64,
}

/// Why timers do not open, or others do not find them.
#[derive(Debug, thiserror::Error)]
pub enum TimerError {
    /// Rows.
    #[error(transparent)]
    Kv(#[from] Arc<KvError>),
    /// A name of a figure.
    #[error(transparent)]
    Figures(#[from] prometheus::Error),
    /// A file for other brokers.
    #[error(transparent)]
    Config(#[from] ConfigFileError),
    /// Another file for them.
    #[error("timers of {path}: {source}")]
    File {
        /// Which, or the directory of several.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}

impl Check {
    pub fn encode(&self) -> [u8; CHECK_BYTES] {
        let mut bytes = [0; CHECK_BYTES];
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let offset = number(self.queue_offset);
        let log = number(self.log_position);
        let fields = [self.read_ms, log, offset, offset, 0, self.changed, offset];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }

    /// `None` when there is less than the reference has ever written.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let field = |at: usize| {
            let bytes = bytes.get(at..)?.first_chunk()?;
            Some(i64::from_be_bytes(*bytes).max(0))
        };
        let offset = |at| Some(field(at)?.unsigned_abs());
        Some(Self {
            read_ms: field(0)?,
            log_position: offset(8)?,
            queue_offset: offset(16)?.min(offset(24)?),
            changed: field(40).unwrap_or(0),
        })
    }
}

impl Meta {
    fn row(&self) -> Change {
        let row = serde_json::to_vec(self).unwrap_or_default();
        Change::put(Family::Exchange, META_KEY, row)
    }

    /// Notes how far messages are filed, and gives the row that says so.
    pub fn filed(&mut self, filed: u64) -> Change {
        self.filed = filed;
        if self
            .taken_over
            .is_some_and(|over| over.queue_offset < filed)
        {
            self.taken_over = None;
        }
        self.row()
    }
}

impl Timers {
    /// The timers of a store, before the ledger is opened: rows count unless another broker was here since.
    ///
    /// # Errors
    /// Rows or files cannot be read.
    pub fn open(
        start: &KvAtStart,
        config: &BrokerConfig,
        reader: StoreReader,
        bell: Arc<Bell>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TimerError> {
        let root = config.store_path_root_dir.clone();
        let path = root.join("config/timercheck");
        let file = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(read.map_err(failed(&path))?),
        };
        let digest = file.as_deref().map(Digest::of);
        let known = start
            .json::<Meta>(Family::Exchange, META_KEY)
            .map_err(Arc::new)?;
        let rules = TimerRules::new(config);
        let ours = known.filter(|meta| {
            let is_known = digest.is_none() || [meta.known, meta.next].contains(&digest);
            is_known || !rules.enabled
        });
        let mut state = State::default();
        state.counts.cell_ms = rules.slot_limit.map_or(super::CELL_MS, |_| 1);
        let shared = Shared {
            roll_ms: rules.roll_ms.into(),
            rules,
            kv: start.kv().clone(),
            clock,
            bell,
            root,
            state: Mutex::new(state),
            meta: Mutex::new(Meta::default()),
            delays: Waits::new(
                "rocketmq_delay_message_latency",
                DELAYS_HELP,
                &DELAYS_S,
                &DELAYS_LABELS,
            )?,
            handed_over: Mutex::default(),
            reader,
        };
        let mut meta = match ours {
            Some(meta) => meta,
            None => shared.take_over(file.as_deref(), digest)?,
        };
        // After a power cut the log can end before what was filed.
        let end = shared.reader.max_offset(TIMER_TOPIC, 0);
        if meta.filed > end {
            meta.filed = end;
            shared.kv.store([meta.row()])?;
        }
        shared.state.lock().filed = meta.filed;
        *shared.meta.lock() = meta;
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Writes down for other brokers how far everything is, every few seconds. Runs until it is dropped.
    pub async fn keep_handed_over(self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let settled = self.shared.state.lock().settled;
            let Some(standing) = settled.filter(|standing| self.shared.is_news(*standing)) else {
                continue;
            };
            let timers = self.clone();
            let writing = move || timers.shared.hand_over(standing, false);
            if let Ok(Err(error)) = tokio::task::spawn_blocking(writing).await {
                tracing::warn!(%error, "timed messages could not be written down for other brokers; trying again");
            }
        }
    }

    /// Writes down for a Java broker what waits, once nothing is delivered any more and everything is in kv. Blocks.
    ///
    /// # Errors
    /// A file cannot be written. The next start of this broker does not need them.
    pub fn hand_over(&self) -> Result<(), TimerError> {
        let standing = self.shared.state.lock().standing(&self.shared);
        if self.shared.rules.enabled && standing.filed > 0 {
            self.shared.hand_over(standing, true)?;
        }
        Ok(())
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> TimerError {
    let path = path.display().to_string();
    |source| TimerError::File { path, source }
}

impl Shared {
    /// Whether something was filed or has passed since it was last written down.
    fn is_news(&self, standing: Standing) -> bool {
        let told = self.handed_over.lock().check;
        let news = |told: Standing| (told.filed, told.passed) != (standing.filed, standing.passed);
        standing.filed > 0 && told.is_none_or(news)
    }

    pub(super) fn hand_over(&self, standing: Standing, end: bool) -> Result<(), TimerError> {
        let mut handed_over = self.handed_over.lock();
        let started = self.clock.monotonic();
        let wheel = handed_over.wheel.filter(|wheel| {
            // A log that does not say how far it goes goes as far as the check point.
            let is_behind = wheel.filed < standing.filed;
            !is_behind || wheel.is_told && !end && started < handed_over.next_wheel
        });
        let failed_below = failed(&self.root);
        let wheel = match wheel {
            Some(wheel) => wheel,
            None => self.write_log(standing).map_err(failed_below)?,
        };
        let config = self.root.join("config");
        if handed_over.wheel.replace(wheel) != Some(wheel) {
            let took = self.clock.monotonic().saturating_sub(started);
            handed_over.next_wheel = started + took * PAUSES;
            ConfigFile::new(config.join("timermetrics")).replace(&self.metrics_json())?;
        }
        let check = Check {
            // Who goes by the wheel has to see what it is to roll on.
            read_ms: standing.read_ms.min(wheel.rolls_ms),
            log_position: wheel.end,
            queue_offset: standing.filed,
            changed: self.now().0,
        };
        let mut file = check.encode().to_vec();
        file.resize(CHECK_FILE_BYTES, 0);
        // Known before it is there: a crash in between finds the one before, which is known, too.
        let row = |set: &dyn Fn(&mut Meta)| {
            let mut meta = self.meta.lock();
            set(&mut meta);
            meta.row()
        };
        let digest = Some(Digest::of(&file));
        self.kv.store([row(&|meta| meta.next = digest)])?;
        let path = config.join("timercheck");
        replace(&path, &file).map_err(failed(&path))?;
        let known = row(&|meta| (meta.known, meta.log_position) = (digest, wheel.end));
        self.kv.submit([known]);
        handed_over.check = Some(standing);
        self.remove_old_log(wheel.begin).map_err(failed(&self.root))
    }

    /// Starts anew from what another broker has left: everything in the timer topic is filed again, apart from what it has
    /// delivered.
    fn take_over(&self, file: Option<&[u8]>, known: Option<Digest>) -> Result<Meta, TimerError> {
        loop {
            let page = self.kv.read(range(RowKey::first_of(0), None))?;
            if page.is_empty() {
                break;
            }
            let gone = page.into_iter().map(|(key, _)| Change {
                family: Family::Timers,
                key,
                value: None,
            });
            self.kv.store(gone)?;
        }
        let check = file.and_then(Check::decode);
        let meta = Meta {
            filed: self.reader.min_offset(TIMER_TOPIC, 0),
            taken_over: check.map(|check| TakenOver {
                read_ms: check.read_ms,
                queue_offset: check.queue_offset,
            }),
            known,
            next: None,
            log_position: check.map_or(0, |check| check.log_position),
        };
        let end = self.reader.max_offset(TIMER_TOPIC, 0);
        if end > meta.filed {
            tracing::info!(messages = end - meta.filed, taken_over = ?meta.taken_over, "timed messages are read from the log");
        }
        self.kv.store([meta.row()])?;
        Ok(meta)
    }
}
