//! Transactions: half messages nobody sees until their producer has decided, and the question about those it says nothing of.
//!
//! A half message lies in the half queue (`RMQ_SYS_TRANS_HALF_TOPIC`). Its end is one append: the message itself when it is
//! committed, and behind it a record of the op queue that names the half. `table` knows which halves are open; `check` asks
//! about them. Both queues have the format of the reference, and so has what is kept about them: the offsets of the group
//! `CID_RMQ_SYS_TRANS`.
//!
//! A crash can cut an append off between the message and the op record. The message says in `preparedTransactionOffset` which
//! half it was: the records behind the ledger's mark are looked through at the start.

mod check;
mod ending;
mod figures;
mod half;
mod rebuild;
mod table;

pub use check::{Checks, Resumed};
pub use ending::Endings;
pub use half::{HalfMessage, immunity_seconds};
pub use table::{Half, Outcome, Rules, TopicFigures};

use crate::config::BrokerConfig;
use crate::delivery::Account;
use crate::kv::{Change, Family, KvAtStart};
use crate::offset::ConsumerOffsets;
use crate::waits::Waits;
use bytes::Bytes;
use common::clock::Clock;
use common::config::Live;
use common::ids::PhysicalOffset;
use common::message::record::{RecordParts, RecordView};
use common::message::{properties as names_of, sys_flag};
use common::names::{
    TRANS_CHECK_MAX_TIME_TOPIC, TRANS_GROUP, TRANS_HALF_TOPIC, TRANS_OP_HALF_TOPIC,
};
use parking_lot::{Mutex, MutexGuard};
use rebuild::Rebuild;
use std::net::SocketAddr;
use std::sync::Arc;
use store::{GetRequest, RecordBatch, StoreError, StoreReader, StoreWriter};
use table::Table;

/// What an op record is tagged with.
const OP_TAG: &str = "d";
/// Property of an op record whose halves are not over: newer copies have taken their places.
const RENEWED: &str = "RENEWED";
/// Row that says that this broker has kept the ledger of this store.
const KNOWN_KEY: &[u8] = b"transactions";
/// Records of a queue read at once.
const READ: u32 = 1024;
const MS_PER_HOUR: i64 = 3_600_000;
/// Halves are discarded so long before their records may be deleted.
const BEFORE_DELETION_MS: i64 = 600_000;

/// Help and upper bounds, in seconds, of [`Transactions::waits`].
const WAITS_HELP: &str = "Seconds from half messages to their commit.";
const WAITS_S: [f64; 6] = [5.0, 60.0, 600.0, 3_600.0, 43_200.0, 86_400.0];

/// All transactions. Clones are handles of the same ones.
#[derive(Clone)]
pub struct Transactions {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Arc<Live<BrokerConfig>>,
    reader: StoreReader,
    store_host: SocketAddr,
    clock: Arc<dyn Clock>,
    offsets: ConsumerOffsets,
    table: Mutex<Table>,
    /// Until [`Transactions::begin`].
    rebuild: Mutex<Option<Rebuild>>,
    /// Offsets that may be told once the ledger has settled.
    marks: Mutex<Option<(u64, u64)>>,
    /// Of half messages, until they were committed.
    waits: Waits,
}

/// Why transactions do not open.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// The log.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A name of a figure.
    #[error(transparent)]
    Figures(#[from] prometheus::Error),
}

impl Transactions {
    /// What the half queue and the op queue say. The ledger adds to it before [`Self::begin`].
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn open(
        settings: Arc<Live<BrokerConfig>>,
        start: &KvAtStart,
        offsets: &ConsumerOffsets,
        (reader, store_host): (StoreReader, SocketAddr),
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TransactionError> {
        let mark = |topic| {
            let saved = offsets.committed(TRANS_GROUP, topic, 0);
            let saved = saved
                .and_then(|saved| u64::try_from(saved).ok())
                .unwrap_or(0);
            let ends = (reader.min_offset(topic, 0), reader.max_offset(topic, 0));
            saved.clamp(ends.0, ends.1.max(ends.0))
        };
        let (halves, ops) = (mark(TRANS_HALF_TOPIC), mark(TRANS_OP_HALF_TOPIC));
        let rules = rules(&settings.now());
        let mut rebuild = Rebuild::new(halves, ops, clock.now().0);
        let mut oldest = None;
        read(&reader, TRANS_HALF_TOPIC, halves, |record| {
            if let Some(half) = HalfMessage::of(record) {
                oldest.get_or_insert(record.physical_offset);
                rebuild.half(&half.entry(&rules), half.identity());
            }
        });
        read(&reader, TRANS_OP_HALF_TOPIC, ops, |record| {
            if let Ok(offset) = u64::try_from(record.queue_offset) {
                let ended = record.property(RENEWED).is_none();
                rebuild.op(offset, &op_offsets(record.body), ended);
            }
        });
        let transactions = Self {
            shared: Arc::new(Shared {
                settings,
                reader,
                store_host,
                clock,
                offsets: offsets.clone(),
                table: Mutex::default(),
                rebuild: Mutex::new(Some(rebuild)),
                marks: Mutex::default(),
                waits: Waits::new("rocketmq_finish_message_latency", WAITS_HELP, &WAITS_S, &[])?,
            }),
        };
        transactions.take_over(start, oldest)?;
        Ok(transactions)
    }

    /// A broker of another make, or one whose `kv` was deleted, may have committed what its op records do not tell: they come
    /// seconds later there.
    fn take_over(&self, start: &KvAtStart, oldest: Option<i64>) -> Result<(), StoreError> {
        if let Ok(Some(_)) = start.number(Family::Exchange, KNOWN_KEY) {
            return Ok(());
        }
        if let Some(from) = oldest.and_then(|from| u64::try_from(from).ok()) {
            let reader = &self.shared.reader;
            reader.replay(from, &mut |record| self.replayed(record))?;
        }
        let known = Change::put(Family::Exchange, KNOWN_KEY, 1_u64.to_be_bytes());
        if let Err(error) = start.kv().store([known]) {
            tracing::warn!(%error, "transactions are taken over again at the next start");
        }
        Ok(())
    }

    /// The table is complete; writes down what a crash kept from being written.
    ///
    /// # Errors
    /// The store takes nothing.
    pub fn begin(&self, writer: &StoreWriter) -> Result<(), StoreError> {
        if let Some(rebuild) = self.shared.rebuild.lock().take() {
            let table = rebuild.finish(self.visible());
            if table.len() > 0 {
                tracing::info!("{} transactions are open", table.len());
            }
            *self.shared.table.lock() = table;
        }
        self.write_owed(writer)
    }

    /// How long half messages waited for their commit.
    pub fn waits(&self) -> &Waits {
        &self.shared.waits
    }

    /// How long to wait before and between questions.
    pub fn rules(&self) -> Rules {
        rules(&self.shared.settings.now())
    }

    /// The record that starts at a position of the log.
    pub fn record_at(&self, physical_offset: i64) -> Option<Bytes> {
        let offset = PhysicalOffset::from_wire(physical_offset)?;
        self.shared.reader.record_at(offset)
    }

    /// End of the half queue as readers see it.
    fn visible(&self) -> u64 {
        self.shared.reader.max_offset(TRANS_HALF_TOPIC, 0)
    }

    /// The record of a half.
    fn half_at(&self, offset: u64) -> Option<Bytes> {
        self.shared.reader.record_of(TRANS_HALF_TOPIC, 0, offset)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock()
    }

    fn now(&self) -> i64 {
        self.shared.clock.now().0
    }

    /// Takes halves that were stored.
    pub fn opened<'a>(&self, halves: impl Iterator<Item = Half<'a>>) {
        let mut halves = halves.peekable();
        if halves.peek().is_some() {
            let (now, mut table) = (self.now(), self.table());
            halves.for_each(|half| table.open(&half, now));
        }
    }

    fn push_op_record(
        &self,
        batch: &mut RecordBatch,
        writer: &StoreWriter,
        named: &[u64],
        ended: bool,
    ) -> Result<(), StoreError> {
        let (mut body, mut text) = (String::with_capacity(named.len() * 8), String::new());
        let mut digits = itoa::Buffer::new();
        for offset in named {
            body.push_str(digits.format(*offset));
            body.push(',');
        }
        names_of::write(&mut text, names_of::TAGS, OP_TAG);
        if !ended {
            names_of::write(&mut text, RENEWED, "true");
        }
        let queue = (TRANS_OP_HALF_TOPIC, 0);
        let (host, now) = (self.shared.store_host, self.now());
        let parts = RecordParts::of_broker(host, now, queue, body.as_bytes(), &text);
        batch.push(&writer.queue(queue.0, queue.1), &parts)
    }

    /// Writes an op record for halves that are over and named by none.
    fn write_owed(&self, writer: &StoreWriter) -> Result<(), StoreError> {
        let (mut batch, mut appended) = (writer.batch(), Vec::new());
        let mut none = Endings::new(self.clone());
        none.push_op(&mut batch, writer)?;
        writer.append_batch(&mut batch, &mut appended)?;
        none.finish(appended.first(), std::iter::empty());
        Ok(())
    }
}

impl Account for Transactions {
    fn replayed(&self, record: &RecordView<'_>) {
        let committed =
            record.sys_flag & sys_flag::TRANSACTION_TYPE == sys_flag::TRANSACTION_COMMIT;
        let discarded = record.topic == TRANS_CHECK_MAX_TIME_TOPIC.as_bytes();
        if !(committed || discarded) {
            return;
        }
        let Some(half) = self.record_at(record.prepared_transaction_offset) else {
            return;
        };
        let Ok(half) = RecordView::parse(&half) else {
            return;
        };
        // Clients can send records with the flag of committed ones, which name position 0.
        if let (Some(half), Some(rebuild)) =
            (HalfMessage::of(&half), &mut *self.shared.rebuild.lock())
            && half.unique_key == record.property(names_of::UNIQUE_KEY)
        {
            rebuild.ended(half.first);
        }
    }

    fn take_changes(&self) -> Vec<Change> {
        let marks = self.table().marks();
        if self.shared.marks.lock().replace(marks) == Some(marks) {
            return Vec::new();
        }
        let change = |(topic, offset)| ConsumerOffsets::change(TRANS_GROUP, topic, 0, offset);
        told(marks).map(change).into()
    }

    fn needed_from(&self, reader: &StoreReader) -> u64 {
        let marks = *self.shared.marks.lock();
        let first = marks.and_then(|(half, _)| reader.position_of(TRANS_HALF_TOPIC, 0, half));
        first.unwrap_or(u64::MAX)
    }

    fn settled(&self) {
        let marks = *self.shared.marks.lock();
        for (topic, offset) in marks.into_iter().flat_map(told) {
            self.shared.offsets.commit(TRANS_GROUP, topic, 0, offset);
        }
    }
}

/// The marks as offsets of a group.
fn told((halves, ops): (u64, u64)) -> [(&'static str, i64); 2] {
    [(TRANS_HALF_TOPIC, halves), (TRANS_OP_HALF_TOPIC, ops)]
        .map(|(topic, mark)| (topic, i64::try_from(mark).unwrap_or(i64::MAX)))
}

fn rules(config: &BrokerConfig) -> Rules {
    let kept = i64::from(config.file_reserved_time).saturating_mul(MS_PER_HOUR);
    let kept = kept.saturating_sub(BEFORE_DELETION_MS);
    Rules {
        timeout_ms: i64::try_from(config.transaction_time_out).unwrap_or(i64::MAX),
        max_checks: u16::try_from(config.transaction_check_max).unwrap_or(u16::MAX),
        keep_ms: kept.max(BEFORE_DELETION_MS),
    }
}

/// Reads queue 0 of a topic from an offset to its end.
fn read(reader: &StoreReader, topic: &str, from: u64, mut take: impl FnMut(&RecordView<'_>)) {
    let mut offset = i64::try_from(from).unwrap_or(i64::MAX);
    let end = i64::try_from(reader.max_offset(topic, 0)).unwrap_or(i64::MAX);
    while offset < end {
        let found = reader.get(GetRequest {
            topic,
            queue_id: 0,
            offset,
            max_messages: READ,
            filter: &|_| true,
        });
        for record in found.messages().flatten() {
            take(&record);
        }
        if found.next_begin <= offset {
            break;
        }
        offset = found.next_begin;
    }
}

/// The halves an op record names.
fn op_offsets(body: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(body).unwrap_or("");
    let numbers = text
        .split(',')
        .filter_map(|number| number.trim().parse().ok());
    numbers.collect()
}

#[cfg(test)]
mod tests;
