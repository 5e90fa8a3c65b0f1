//! How far each level is.

use crate::delivery::{Account, Kind};
use crate::kv::{Change, Document, Exported, Family, KvAtStart, KvTable, Row, TableError};
use common::clock::Clock;
use common::message::record::RecordView;
use common::names::SCHEDULE_TOPIC;
use common::wire::body::{DataVersion, DelayOffsetSerializeWrapper};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use store::StoreReader;

const VERSION_KEY: &[u8] = b"";

/// The next offset of each level. Clones are handles of the same table.
///
/// Rows are written by the ledger, and the file says only what they say: nothing that a power cut takes back counts as delivered.
#[derive(Clone)]
pub struct DelayOffsets {
    shared: Arc<Shared>,
}

struct Shared {
    table: KvTable,
    clock: Arc<dyn Clock>,
    deliveries_per_version: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    now: DelayOffsetSerializeWrapper,
    /// Queues that may hold messages.
    queues: u32,
    changed: BTreeSet<i32>,
    deliveries: u64,
    /// As the ledger took it last, and as it was when that was safe.
    taken: DelayOffsetSerializeWrapper,
    settled: DelayOffsetSerializeWrapper,
}

impl DelayOffsets {
    /// The offsets of the rows or of the file at `path`. The version takes a step with every `deliveries_per_version` deliveries.
    ///
    /// # Errors
    /// What is there cannot be read.
    pub fn open(
        start: &mut KvAtStart,
        path: &Path,
        deliveries_per_version: u32,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TableError> {
        let (table, stored) = KvTable::open(start, Family::DelayOffsets, path)?;
        let now = stored.unwrap_or_else(|| DelayOffsetSerializeWrapper {
            data_version: DataVersion::new(clock.now().0),
            ..DelayOffsetSerializeWrapper::default()
        });
        let state = State {
            taken: now.clone(),
            settled: now.clone(),
            now,
            ..State::default()
        };
        Ok(Self {
            shared: Arc::new(Shared {
                table,
                clock,
                deliveries_per_version: deliveries_per_version.max(1).into(),
                state: Mutex::new(state),
            }),
        })
    }

    /// The offset of the next message of a level.
    pub fn next(&self, level: i32) -> u64 {
        let state = self.shared.state.lock();
        let next = state.now.offset_table.get(&level).copied();
        next.and_then(|next| u64::try_from(next).ok()).unwrap_or(0)
    }

    /// `delivered` messages of the level are done, and it goes on at `next`.
    pub fn advance(&self, level: i32, next: u64, delivered: usize) {
        let mut state = self.shared.state.lock();
        let next = i64::try_from(next).unwrap_or(i64::MAX);
        state.now.offset_table.insert(level, next);
        state.changed.insert(level);
        let (step, before) = (self.shared.deliveries_per_version, state.deliveries);
        state.deliveries += delivered as u64;
        if state.deliveries / step > before / step {
            let now = self.shared.clock.now().0;
            state.now.data_version.advance(0, now);
        }
    }

    /// At the start: takes offsets that lie outside of their `queues` back into them. Files of other brokers may say anything.
    pub fn correct(&self, queues: u32, queue: impl Fn(i32) -> Option<RangeInclusive<u64>>) {
        self.shared.state.lock().queues = queues;
        for (level, saved) in self.wrapper().offset_table {
            let queue = queue(level).unwrap_or(0..=0);
            let next = self.next(level).clamp(*queue.start(), *queue.end());
            if i64::try_from(next) != Ok(saved) {
                tracing::warn!(
                    level,
                    saved,
                    next,
                    "the delay level goes on at another offset"
                );
                self.advance(level, next, 0);
            }
        }
    }

    /// The table as it is.
    pub fn wrapper(&self) -> DelayOffsetSerializeWrapper {
        self.shared.state.lock().now.clone()
    }
}

impl Account for DelayOffsets {
    fn delivered(&self, kind: Kind, origin: u64, _record: Option<&RecordView<'_>>) {
        let Kind::Level(level) = kind else { return };
        if let Ok(level) = i32::try_from(level)
            && origin >= self.next(level)
        {
            self.advance(level, origin + 1, 1);
        }
    }

    fn take_changes(&self) -> Vec<Change> {
        let mut state = self.shared.state.lock();
        if state.changed.is_empty() {
            return Vec::new();
        }
        let changed = std::mem::take(&mut state.changed);
        let offsets = changed.iter().filter_map(|level| {
            let next = state.now.offset_table.get(level)?;
            Some(offset_row(*level, *next))
        });
        let rows = offsets.chain([version_row(state.now.data_version)]);
        let rows: Vec<_> = rows.map(|(key, value)| (key, Some(value))).collect();
        state.taken = state.now.clone();
        self.shared.table.changes(rows).collect()
    }

    fn needed_from(&self, reader: &StoreReader) -> u64 {
        let queues = self.shared.state.lock().queues;
        let waiting = (1..).zip(0..queues).filter_map(|(level, queue_id)| {
            let next = self
                .next(level)
                .max(reader.min_offset(SCHEDULE_TOPIC, queue_id));
            reader.position_of(SCHEDULE_TOPIC, queue_id, next)
        });
        waiting.min().unwrap_or(u64::MAX)
    }

    fn settled(&self) {
        let mut state = self.shared.state.lock();
        if state.settled != state.taken {
            state.settled = state.taken.clone();
            self.shared.table.touch();
        }
    }
}

impl Exported for DelayOffsets {
    fn table(&self) -> &KvTable {
        &self.shared.table
    }

    fn document(&self) -> impl Document {
        self.shared.state.lock().settled.clone()
    }
}

fn offset_row(level: i32, next: i64) -> Row {
    (level.to_be_bytes().into(), next.to_be_bytes().into())
}

fn version_row(version: DataVersion) -> Row {
    (VERSION_KEY.into(), version.encode_standard().into())
}

impl Document for DelayOffsetSerializeWrapper {
    fn rows(&self) -> Vec<Row> {
        let offsets = self.offset_table.iter();
        let offsets = offsets.map(|(level, next)| offset_row(*level, *next));
        std::iter::once(version_row(self.data_version))
            .chain(offsets)
            .collect()
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        if key == VERSION_KEY {
            let version = DataVersion::decode(value);
            self.data_version = version.map_err(|error| error.to_string())?;
            return Ok(());
        }
        let level = key.try_into().map_err(|_| "its key is no level")?;
        let next = value.try_into().map_err(|_| "its value is no offset")?;
        self.offset_table
            .insert(i32::from_be_bytes(level), i64::from_be_bytes(next));
        Ok(())
    }
}
