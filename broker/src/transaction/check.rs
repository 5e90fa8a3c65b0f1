//! Rounds: half messages nobody has decided about for too long are appended again and a producer of their group is asked, or
//! they are given up.

use super::half::HalfMessage;
use super::table::{Due, Half, Outcome, Step};
use super::{Endings, TRANS_CHECK_MAX_TIME_TOPIC, TRANS_HALF_TOPIC, Transactions};
use crate::client::ProducerTable;
use crate::config::BrokerConfig;
use crate::topic::TopicTable;
use bytes::Bytes;
use common::message::message_id::offset_id;
use common::message::record::{self, PHYSICAL_OFFSET_AT, QUEUE_OFFSET_AT, RecordParts, RecordView};
use common::message::{properties as names_of, sys_flag};
use common::transport::Connection;
use common::wire::header::CheckTransactionStateRequestHeader;
use common::wire::{Command, request_code};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use store::{Appended, FlushMode, RecordBatch, StoreError, StoreWriter};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How long questions wait for the disk under `SYNC_FLUSH`: answers find nothing before.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of half messages after which those that were taken are asked about before there are more: a question carries its message.
const ASKED_BYTES: usize = 4 * 1024 * 1024;
/// Records appended at once.
const STEP_RECORDS: usize = 64;
/// How long a round waits for producers to read what they were asked before it asks more.
const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause between two looks whether they have.
const READ_PAUSE: Duration = Duration::from_millis(5);

/// Asks how transactions ended.
pub struct Checks {
    transactions: Transactions,
    producers: ProducerTable,
    topics: TopicTable,
    writer: StoreWriter,
    turn: AtomicUsize,
    /// How far the round is in the half queue.
    at: AtomicU64,
    /// Discarded messages that were taken up again since the start, by their positions. Held while one is.
    taken_up: Mutex<HashSet<i64>>,
}

/// One batch of a round.
struct Work<'a> {
    batch: RecordBatch,
    copies: Vec<Renewal<'a>>,
    /// Transactions that are given up, and the record of each; none of those that have no half message any more.
    endings: Endings,
    discarded: Vec<Option<usize>>,
}

/// A half that a round has taken care of; it is given back when this goes.
pub(super) struct Taken<'a> {
    transactions: &'a Transactions,
    due: Due,
    held: bool,
}

impl<'a> Taken<'a> {
    pub(super) fn new(transactions: &'a Transactions, due: Due) -> Self {
        let held = true;
        Self {
            transactions,
            due,
            held,
        }
    }

    /// It was appended again, unless there is no `copy`. True when it is still open.
    fn give_back(&mut self, copy: Option<(u64, u16)>) -> bool {
        let (held, now) = (std::mem::take(&mut self.held), self.transactions.now());
        held && self
            .transactions
            .table()
            .renewed(self.due.of.first, copy, now)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.give_back(None);
    }
}

struct Renewal<'a> {
    /// Its place in the batch.
    at: usize,
    taken: Taken<'a>,
    checks: u16,
    record: Bytes,
    ask: Option<Arc<Connection>>,
}

/// The producers of a group have not read what they were asked before.
struct Busy;

struct Question {
    to: Arc<Connection>,
    command: Command,
    body: Bytes,
    end: u64,
}

impl Checks {
    /// Checks of `transactions`, to whom `producers` knows.
    pub fn new(
        transactions: Transactions,
        (producers, topics): (ProducerTable, TopicTable),
        writer: StoreWriter,
    ) -> Arc<Self> {
        Arc::new(Self {
            transactions,
            producers,
            topics,
            writer,
            turn: AtomicUsize::new(0),
            at: AtomicU64::new(0),
            taken_up: Mutex::default(),
        })
    }

    /// The transactions.
    pub fn transactions(&self) -> &Transactions {
        &self.transactions
    }

    /// A round each time the interval is over, and the file of figures; for as long as the task lives.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.rounds(), self.transactions.write_metrics());
    }

    async fn rounds(self: &Arc<Self>) {
        let mut last = Instant::now();
        loop {
            let interval = self.config().transaction_check_interval;
            sleep_until(last + Duration::from_millis(interval)).await;
            last = Instant::now();
            self.round().await;
        }
    }

    async fn round(self: &Arc<Self>) {
        let until = self.transactions.table().end();
        self.at.store(0, Relaxed);
        while self.at.load(Relaxed) < until {
            let this = Arc::clone(self);
            // Halves may have to come from the disk.
            match spawn_blocking(move || this.step(until)).await {
                Ok(Ok(questions)) => self.ask(questions).await,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "a round of transaction checks ends early");
                    return;
                }
                // Those behind it have their turn all the same.
                Err(error) if error.is_panic() => {
                    tracing::error!(%error, "a round of transaction checks");
                }
                Err(_) => return,
            }
        }
        let this = Arc::clone(self);
        let owed = move || this.transactions.write_owed(&this.writer);
        if let Ok(Err(error)) = spawn_blocking(owed).await {
            tracing::warn!(%error, "an op record is written later");
        }
    }

    async fn ask(&self, questions: Vec<Question>) {
        let (writer, end) = (
            &self.writer,
            questions.iter().map(|question| question.end).max(),
        );
        if let (FlushMode::Sync, Some(end)) = (writer.flush_mode(), end) {
            writer.ask_for_flush();
            let mut flushed = writer.flushed();
            let passed = timeout(FLUSH_TIMEOUT, flushed.wait_for(|flushed| *flushed >= end)).await;
            if !matches!(passed, Ok(Ok(_))) {
                tracing::warn!("checks are not asked: their half messages are not on the disk");
                return;
            }
        }
        let mut asked = Vec::with_capacity(questions.len());
        for Question {
            to, command, body, ..
        } in questions
        {
            to.send_oneway(command, body);
            asked.push(to);
        }
        let read = async {
            while asked.iter().any(|to| to.is_congested() && !to.is_closed()) {
                sleep(READ_PAUSE).await;
            }
        };
        // Whoever does not read is asked in a later round.
        let _ = timeout(READ_TIMEOUT, read).await;
    }
}

/// What became of a half message that was to be checked from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// It is open, and nobody was asked yet.
    Open,
    /// Its transaction is over.
    Over,
    /// It was discarded, and taken up again before.
    Again,
    /// The message is no half message.
    NoHalf,
    /// There is no message.
    Missing,
}

impl Checks {
    fn config(&self) -> impl Deref<Target = Arc<BrokerConfig>> {
        self.transactions.shared.settings.now()
    }

    fn work(&self) -> Work<'_> {
        Work {
            batch: self.writer.batch(),
            copies: Vec::new(),
            endings: Endings::new(self.transactions.clone()),
            discarded: Vec::new(),
        }
    }

    /// Appends what has to be appended for the next halves that are due, and gives the questions.
    fn step(&self, until: u64) -> Result<Vec<Question>, StoreError> {
        let (mut work, rules) = (self.work(), self.transactions.rules());
        while work.batch.bytes() < ASKED_BYTES && work.batch.len() < STEP_RECORDS {
            let (mut at, now) = (self.at.load(Relaxed), self.transactions.now());
            if at >= until {
                break;
            }
            let due = self.transactions.table().due(&mut at, until, now, &rules);
            self.at.store(at, Relaxed);
            let Some(due) = due else { continue };
            let half = due.of.newest;
            if let Err(error) = self.push(&mut work, Taken::new(&self.transactions, due)) {
                tracing::warn!(half, %error, "a half message cannot be appended again");
            }
        }
        self.append(work)
    }

    fn push<'a>(&'a self, work: &mut Work<'a>, taken: Taken<'a>) -> Result<(), StoreError> {
        let Due { of, step, .. } = taken.due;
        // Nobody can read it before it is flushed; a later round can.
        if of.newest >= self.transactions.visible() {
            return Ok(());
        }
        let Some(record) = self.transactions.half_at(of.newest) else {
            let half = of.newest;
            tracing::warn!(half, "a half message is gone, and its transaction with it");
            if work.endings.claim(of.first) {
                work.discarded.push(None);
            }
            return Ok(());
        };
        let view = RecordView::parse(&record);
        let Some(half) = view.ok().as_ref().and_then(HalfMessage::of) else {
            return Ok(());
        };
        if step == Step::Discard {
            if work.endings.claim(of.first) {
                let pushed = self.push_discarded(&mut work.batch, &half);
                pushed.inspect_err(|_| work.endings.truncate(work.discarded.len()))?;
                work.discarded.push(Some(work.batch.len() - 1));
            }
            return Ok(());
        }
        let (mut checks, mut ask) = (taken.due.checks, None);
        if step == Step::Check {
            let producer = self.producer(half.group.unwrap_or(""));
            let counts = match &producer {
                Ok(Some(_)) => true,
                Ok(None) => !self.config().transaction_check_only_when_producer_online,
                Err(Busy) => false,
            };
            ask = producer.ok().flatten();
            if counts {
                checks += 1;
            } else if !taken.due.kept_back {
                return Ok(());
            }
        }
        self.push_copy(work, &half, (taken, checks), (&record, ask))
    }

    /// A live producer of the group that takes what is sent to it; they take turns.
    ///
    /// # Errors
    /// None of those there are reads what was sent before.
    fn producer(&self, group: &str) -> Result<Option<Arc<Connection>>, Busy> {
        let members = self.producers.table().members(group);
        let turn = self.turn.fetch_add(1, Relaxed);
        let at = |nth: usize| members.get(turn.wrapping_add(nth) % members.len());
        let mut live = (0..members.len())
            .filter_map(at)
            .map(|member| &member.handle)
            .filter(|connection| !connection.is_closed())
            .peekable();
        if live.peek().is_none() {
            return Ok(None);
        }
        let reads = live.find(|connection| !connection.is_congested());
        reads
            .map(|connection| Some(Arc::clone(connection)))
            .ok_or(Busy)
    }

    /// Adds a half again, with this number of checks; `ask` is asked about it.
    fn push_copy<'a>(
        &self,
        work: &mut Work<'a>,
        half: &HalfMessage<'_>,
        (taken, checks): (Taken<'a>, u16),
        (record, ask): (&Bytes, Option<Arc<Connection>>),
    ) -> Result<(), StoreError> {
        let text = checked(half.text, checks);
        let first = taken.due.of.first.to_string();
        let text = names_of::with(&text, names_of::TRANSACTION_PREPARED_QUEUE_OFFSET, &first);
        let parts = self.parts(half, TRANS_HALF_TOPIC, &text);
        let at = work.batch.len();
        work.batch
            .push(&self.writer.queue(TRANS_HALF_TOPIC, 0), &parts)?;
        work.copies.push(Renewal {
            at,
            taken,
            checks,
            record: record.clone(),
            ask,
        });
        Ok(())
    }

    fn push_discarded(
        &self,
        batch: &mut RecordBatch,
        half: &HalfMessage<'_>,
    ) -> Result<(), StoreError> {
        let topic = TRANS_CHECK_MAX_TIME_TOPIC;
        if let Err(error) = self.topics.ensure_with_one_queue(topic) {
            tracing::warn!("{topic}: {error}");
        }
        let parts = RecordParts {
            prepared_transaction_offset: half.record.physical_offset,
            ..self.parts(half, topic, half.text)
        };
        tracing::warn!(
            topic = half.topic,
            group = half.group,
            key = half.unique_key,
            checks = half.checks,
            "nobody could tell how a transaction ended: its message goes to TRANS_CHECK_MAX_TIME_TOPIC"
        );
        batch.push(&self.writer.queue(topic, 0), &parts)
    }

    fn parts<'a>(
        &self,
        half: &HalfMessage<'a>,
        topic: &'a str,
        properties: &'a str,
    ) -> RecordParts<'a> {
        let store_host = self.transactions.shared.store_host;
        RecordParts {
            sys_flag: half.record.sys_flag & !sys_flag::TRANSACTION_TYPE,
            ..half.record.moved_to((topic, 0), properties, store_host)
        }
    }

    fn append(&self, work: Work<'_>) -> Result<Vec<Question>, StoreError> {
        let Work {
            mut batch,
            copies,
            mut endings,
            discarded,
        } = work;
        let (transactions, writer) = (&self.transactions, &self.writer);
        let replaced: Vec<u64> = copies.iter().map(|copy| copy.taken.due.of.newest).collect();
        let (replaced_at, mut appended) = (batch.len(), Vec::new());
        let (ended_at, outcome) = match self.push_ops(&mut batch, &replaced, &mut endings) {
            Ok(ended_at) => (ended_at, writer.append_batch(&mut batch, &mut appended)),
            Err(error) => (None, Err(error)),
        };
        let op = appended.get(replaced_at).filter(|_| !replaced.is_empty());
        if let Some(op) = op {
            transactions.table().recorded(op.queue_offset.0, &replaced);
        }
        let is_stored = |record: &usize| appended.get(*record).is_some();
        let outcome_of = |record: &Option<usize>| {
            let over = record.as_ref().is_none_or(is_stored);
            over.then_some(Outcome::Discarded)
        };
        let op = ended_at.and_then(|at| appended.get(at));
        endings.finish(op, discarded.iter().map(outcome_of));
        let renewed = |copy: Renewal<'_>| {
            let stored = appended.get(copy.at);
            self.renewed(copy, stored)
        };
        let questions = copies.into_iter().filter_map(renewed).collect();
        outcome.map(|()| questions)
    }

    /// Adds the records that say what was replaced and what is over; gives the place of the latter.
    fn push_ops(
        &self,
        batch: &mut RecordBatch,
        replaced: &[u64],
        endings: &mut Endings,
    ) -> Result<Option<usize>, StoreError> {
        if !replaced.is_empty() {
            self.transactions
                .push_op_record(batch, &self.writer, replaced, false)?;
        }
        endings.push_op(batch, &self.writer)
    }

    fn renewed(&self, mut renewal: Renewal<'_>, copy: Option<&Appended>) -> Option<Question> {
        let (copy, checks) = (copy?, renewal.checks);
        let place = (copy.queue_offset.0, checks);
        if !renewal.taken.give_back(Some(place)) {
            return None;
        }
        let question = self.question(renewal.ask?, &renewal.record, copy, checks)?;
        let first = renewal.taken.due.of.first;
        self.transactions.table().asked(first);
        Some(question)
    }

    /// The question about the half that now lies at `copy`; the message looks as its consumers would see it.
    fn question(
        &self,
        to: Arc<Connection>,
        record: &[u8],
        copy: &Appended,
        checks: u16,
    ) -> Option<Question> {
        let view = RecordView::parse(record).ok()?;
        let half = HalfMessage::of(&view)?;
        let text = names_of::with(&checked(half.text, checks), names_of::WAIT, "false");
        let parts = RecordParts {
            queue_id: half.queue_id,
            ..self.parts(&half, half.topic, &text)
        };
        let mut body = Vec::new();
        let encoded = record::encode(&parts, &mut body).ok()?;
        let physical = copy.physical_offset.0;
        let time_at = usize::try_from(encoded.store_timestamp_at).ok()?;
        for (at, value) in [
            (QUEUE_OFFSET_AT, copy.queue_offset.0),
            (PHYSICAL_OFFSET_AT, physical),
            (time_at, copy.store_timestamp.cast_unsigned()),
        ] {
            body.get_mut(at..at + 8)?
                .copy_from_slice(&value.to_be_bytes());
        }
        let key = half.unique_key.map(str::to_owned);
        let header = CheckTransactionStateRequestHeader {
            topic: Some(TRANS_HALF_TOPIC.to_owned()),
            tran_state_table_offset: i64::try_from(copy.queue_offset.0).ok()?,
            commit_log_offset: copy.physical_offset.to_wire(),
            msg_id: key.clone(),
            transaction_id: key,
            offset_msg_id: Some(offset_id(parts.store_host, copy.physical_offset)),
            broker_name: Some(self.config().broker_name.clone()),
        };
        Some(Question {
            to,
            command: Command::request(request_code::CHECK_TRANSACTION_STATE).with(&header),
            body: body.into(),
            end: copy.end(),
        })
    }

    /// `RESUME_CHECK_HALF_MESSAGE`: has an open transaction checked from the beginning, or one that was discarded.
    ///
    /// # Errors
    /// The store does not take it. Blocks for a page of the log.
    pub fn resume(&self, physical_offset: i64) -> Result<Resumed, StoreError> {
        let Some(record) = self.transactions.record_at(physical_offset) else {
            return Ok(Resumed::Missing);
        };
        let view = RecordView::parse(&record).ok();
        let Some(half) = view.as_ref().and_then(HalfMessage::of_any) else {
            return Ok(Resumed::NoHalf);
        };
        if half.record.topic == TRANS_CHECK_MAX_TIME_TOPIC.as_bytes() {
            return self.take_up(&half);
        }
        if half.record.topic != TRANS_HALF_TOPIC.as_bytes() {
            return Ok(Resumed::NoHalf);
        }
        let Some(due) = self.transactions.table().renew(half.first) else {
            return Ok(Resumed::Over);
        };
        let taken = Taken::new(&self.transactions, due);
        let mut work = self.work();
        self.push_copy(&mut work, &half, (taken, 0), (&record, None))?;
        self.append(work).map(|_| Resumed::Open)
    }

    /// Opens a discarded transaction again, once: the new half message names the position of the discarded one as that of what
    /// it was before.
    fn take_up(&self, half: &HalfMessage<'_>) -> Result<Resumed, StoreError> {
        let from = half.record.physical_offset;
        let mut taken_up = self.taken_up.lock();
        if taken_up.contains(&from) || self.was_taken_up(from) {
            return Ok(Resumed::Again);
        }
        let (mut batch, mut appended) = (self.writer.batch(), Vec::new());
        let names = [
            names_of::TRANSACTION_CHECK_TIMES,
            names_of::TRANSACTION_PREPARED_QUEUE_OFFSET,
        ];
        let text = names_of::without(half.text, &names);
        let parts = RecordParts {
            prepared_transaction_offset: from,
            ..self.parts(half, TRANS_HALF_TOPIC, &text)
        };
        batch.push(&self.writer.queue(TRANS_HALF_TOPIC, 0), &parts)?;
        self.writer.append_batch(&mut batch, &mut appended)?;
        taken_up.insert(from);
        let entry = half.entry(&self.transactions.rules());
        let opened = appended.iter().map(|stored| Half {
            offset: stored.queue_offset.0,
            first: stored.queue_offset.0,
            since: stored.store_timestamp,
            checks: 0,
            ..entry.clone()
        });
        self.transactions.opened(opened);
        Ok(Resumed::Open)
    }

    /// Whether a half message behind this position of the log says that it lay there before.
    fn was_taken_up(&self, from: i64) -> bool {
        let transactions = &self.transactions;
        let begin = transactions.shared.reader.min_offset(TRANS_HALF_TOPIC, 0);
        let mut newer = (begin..transactions.visible())
            .rev()
            .filter_map(|offset| transactions.half_at(offset))
            .filter_map(|bytes| {
                let view = RecordView::parse(&bytes).ok()?;
                Some((view.physical_offset, view.prepared_transaction_offset))
            })
            .take_while(|(at, _)| *at > from);
        newer.any(|(_, before)| before == from)
    }
}

/// The properties with the number of this check.
fn checked(text: &str, checks: u16) -> String {
    let checks = checks.to_string();
    names_of::with(text, names_of::TRANSACTION_CHECK_TIMES, &checks)
}
