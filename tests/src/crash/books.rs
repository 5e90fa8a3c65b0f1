use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use common::clock::{Clock, SystemClock};

use super::bodies::{Bodies, properties};
use crate::Record;

/// A queue of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Queue {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub id: u32,
}

impl std::fmt::Display for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.topic, self.id)
    }
}

/// What a power cut took that nobody had promised to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpromised {
    /// Messages.
    pub count: u64,
    /// How long before the cut the first word of the oldest of them had come.
    pub oldest: Duration,
}

/// What a run has found that must not be.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Acknowledged, or seen by a consumer, and gone.
    pub lost: u64,
    /// There with other bytes, or another message in its place, or there twice.
    pub altered: u64,
    /// Offsets promised for two messages.
    pub reused: u64,
    /// Everything else: gaps, offsets of groups that went back, answers that cannot be.
    pub other: u64,
    /// What the first ones were.
    pub texts: Vec<String>,
}

impl Faults {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.lost + self.altered + self.reused + self.other
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Lost,
    Altered,
    Reused,
    Other,
}

/// What is known of one place in a queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    /// Number of the message there; 0 while nobody knows.
    pub(super) number: u64,
    pub(super) acknowledged: bool,
    /// When the first word of it came, on the clock of the books.
    pub(super) since_ms: u32,
    /// Where it lies in the log, once it was read.
    pub(super) at: i64,
}

/// What is known of a queue.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) slots: Vec<Slot>,
    /// Where the queue began at the last check.
    pub(super) least: i64,
    /// Where its consumer reads on.
    pub(super) position: i64,
    /// Where the check after the last restart ended.
    pub(super) checked: i64,
    /// The offset of the group that the broker has confirmed.
    pub(super) committed: i64,
    /// The highest offset the broker was asked to keep, confirmed or not.
    pub(super) asked: i64,
}

impl Page {
    pub(super) fn slot(&mut self, offset: i64) -> Option<&mut Slot> {
        let index = usize::try_from(offset).ok()?;
        if self.slots.len() <= index {
            self.slots.resize(index + 1, Slot::default());
        }
        self.slots.get_mut(index)
    }

    pub(super) fn end(&self) -> i64 {
        i64::try_from(self.slots.len()).unwrap_or(i64::MAX)
    }
}

/// What producers were promised and consumers have seen, and what contradicted it.
#[derive(Debug)]
pub struct Books {
    pub(super) bodies: Bodies,
    pub(super) pages: BTreeMap<Queue, Mutex<Page>>,
    /// Set at the moment a power cut takes its picture: what comes later is no promise of that disk.
    closed: RwLock<bool>,
    closed_at_ms: AtomicU32,
    clock: SystemClock,
    /// A power cut may take what is not older than this.
    window: Duration,
    unpromised: Mutex<Unpromised>,
    /// What lies below has expired.
    expired: AtomicI64,
    deleted: AtomicU64,
    numbers: AtomicU64,
    acknowledged: AtomicU64,
    seen: AtomicU64,
    refused: AtomicU64,
    faults: Mutex<Faults>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Books {
    /// Books of the given topics, each with `queues` queues.
    pub fn new(seed: u64, topics: &[&str], queues: u32) -> Self {
        let of_topic = |topic: &&str| {
            let topic = (*topic).to_owned();
            (0..queues).map(move |id| Queue {
                topic: topic.clone(),
                id,
            })
        };
        let pages = topics.iter().flat_map(of_topic);
        Self {
            bodies: Bodies::new(seed),
            pages: pages.map(|queue| (queue, Mutex::default())).collect(),
            closed: RwLock::new(false),
            closed_at_ms: AtomicU32::new(0),
            clock: SystemClock::new(),
            window: Duration::ZERO,
            unpromised: Mutex::default(),
            expired: AtomicI64::new(0),
            deleted: AtomicU64::new(0),
            numbers: AtomicU64::new(1),
            acknowledged: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            faults: Mutex::default(),
        }
    }

    /// Books of a broker whose power cuts may take what is not older than `window`.
    #[must_use]
    pub fn with_window(self, window: Duration) -> Self {
        Self { window, ..self }
    }

    /// What power cuts took within that window.
    pub fn unpromised(&self) -> Unpromised {
        *lock(&self.unpromised)
    }

    /// How many messages have expired and are gone.
    pub fn deleted(&self) -> u64 {
        self.deleted.load(Ordering::Relaxed)
    }

    /// Whatever lies in the log below `at` has expired.
    pub(super) fn note_expiry(&self, at: i64) {
        self.expired.fetch_max(at, Ordering::Relaxed);
    }

    /// A queue begins at `least` now: what was in front of that has to have expired.
    pub(super) fn note_deleted(&self, queue: &Queue, page: &mut Page, least: i64) {
        let expired = self.expired.load(Ordering::Relaxed);
        for offset in page.least..least {
            let gone = page.slot(offset).copied().unwrap_or_default();
            if gone.number == 0 || gone.at >= expired {
                let text = format!(
                    "{queue} begins at {least}; message {} at {offset} lies at {} and {expired} has expired",
                    gone.number, gone.at
                );
                self.fault(Fault::Lost, text);
            }
            self.deleted.fetch_add(1, Ordering::Relaxed);
        }
        page.least = page.least.max(least);
    }

    fn now_ms(&self) -> u32 {
        u32::try_from(self.clock.monotonic().as_millis()).unwrap_or(u32::MAX)
    }

    /// Whether a power cut was free to take what is gone; it is counted if so.
    pub(super) fn is_unpromised(&self, gone: Slot) -> bool {
        let closed_at = self.closed_at_ms.load(Ordering::Relaxed);
        let age = Duration::from_millis(closed_at.saturating_sub(gone.since_ms).into());
        let unpromised = closed_at > 0 && age <= self.window && !self.window.is_zero();
        if unpromised {
            let mut all = lock(&self.unpromised);
            all.count += 1;
            all.oldest = all.oldest.max(age);
        }
        unpromised
    }

    /// All queues.
    pub fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.pages.keys()
    }

    /// How many messages were acknowledged and are promised.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// How many messages consumers were handed.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// How many sends were answered without a promise.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// What was found so far.
    pub fn faults(&self) -> Faults {
        lock(&self.faults).clone()
    }

    /// From here on nothing counts, until [`Books::open`].
    pub fn close(&self) {
        *self.closed.write().unwrap_or_else(PoisonError::into_inner) = true;
        self.closed_at_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Everything counts again, and nothing more is gone with a power cut.
    pub fn open(&self) {
        self.closed_at_ms.store(0, Ordering::Relaxed);
        *self.closed.write().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Does `note` unless the books are closed, and keeps them as they are meanwhile.
    fn while_open(&self, note: impl FnOnce()) {
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        if !*closed {
            note();
        }
    }

    pub(super) fn fault(&self, kind: Fault, text: String) {
        /// The first ones say what is wrong; a broken disk makes millions.
        const TEXTS: usize = 20;
        let mut faults = lock(&self.faults);
        match kind {
            Fault::Lost => faults.lost += 1,
            Fault::Altered => faults.altered += 1,
            Fault::Reused => faults.reused += 1,
            Fault::Other => faults.other += 1,
        }
        if faults.texts.len() < TEXTS {
            faults.texts.push(text);
        }
    }

    /// Something is wrong with the files of the store.
    pub(super) fn note_damage(&self, text: &str) {
        self.fault(Fault::Other, text.to_owned());
    }

    /// The first of `count` numbers nobody else gets.
    pub(super) fn next_numbers(&self, count: u64) -> u64 {
        self.numbers.fetch_add(count, Ordering::Relaxed)
    }

    pub(super) fn page(&self, queue: &Queue) -> MutexGuard<'_, Page> {
        // Every queue anybody asks for was taken from these books.
        lock(&self.pages[queue])
    }

    pub(super) fn note_refusal(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// The broker has promised that message `number` is at `offset`.
    pub(super) fn note_promise(&self, queue: &Queue, offset: i64, number: u64) {
        self.while_open(|| {
            let mut page = self.page(queue);
            let Some(slot) = page.slot(offset) else {
                let text = format!("{queue}: message {number} acknowledged at {offset}");
                return self.fault(Fault::Other, text);
            };
            if slot.acknowledged || (slot.number != 0 && slot.number != number) {
                let text = format!(
                    "{queue} {offset} acknowledged for message {number}, there is {}",
                    slot.number
                );
                return self.fault(Fault::Reused, text);
            }
            if slot.number == 0 {
                slot.since_ms = self.now_ms();
            }
            slot.number = number;
            slot.acknowledged = true;
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        });
    }

    /// A consumer was handed `records` when it asked for what begins at its position.
    pub(super) fn note_seen(&self, queue: &Queue, records: &[Record]) {
        self.while_open(|| {
            let mut page = self.page(queue);
            for record in records {
                if record.offset != page.position {
                    let text = format!(
                        "{queue}: a consumer at {} was handed {}",
                        page.position, record.offset
                    );
                    self.fault(Fault::Other, text);
                }
                self.compare(queue, &mut page, record);
                page.position = record.offset + 1;
            }
            self.seen.fetch_add(records.len() as u64, Ordering::Relaxed);
        });
    }

    /// The broker is about to be asked to keep `offset` for the group.
    pub(super) fn note_asked(&self, queue: &Queue, offset: i64) {
        let mut page = self.page(queue);
        page.asked = page.asked.max(offset);
    }

    /// The broker has confirmed that it keeps `offset` for the group.
    pub(super) fn note_committed(&self, queue: &Queue, offset: i64) {
        self.while_open(|| self.page(queue).committed = offset);
    }

    /// `record` has to be the message at its place, as far as anything is known about that.
    pub(super) fn compare(&self, queue: &Queue, page: &mut Page, record: &Record) {
        let offset = record.offset;
        let number = match self.bodies.number(&record.body) {
            Ok(number) => number,
            Err(error) => {
                return self.fault(Fault::Altered, format!("{queue} {offset}: {error}"));
            }
        };
        if (&record.topic, record.queue) != (&queue.topic, queue.id)
            || !record.properties.contains(&properties(number))
        {
            let text = format!(
                "{queue} {offset}: message {number} says {}/{} {:?}",
                record.topic, record.queue, record.properties
            );
            self.fault(Fault::Altered, text);
        }
        let Some(slot) = page.slot(offset) else {
            return;
        };
        slot.at = record.at;
        if slot.number == 0 {
            slot.number = number;
            slot.since_ms = self.now_ms();
        } else if slot.number != number {
            let text = format!(
                "{queue} {offset}: message {number} instead of {}{}",
                slot.number,
                if slot.acknowledged {
                    ", acknowledged"
                } else {
                    ""
                }
            );
            self.fault(Fault::Altered, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books() -> (Books, Queue) {
        let books = Books::new(5, &["t"], 1);
        let queue = books.queues().next().unwrap().clone();
        (books, queue)
    }

    fn record(books: &Books, offset: i64, number: u64) -> Record {
        Record {
            stored: 0,
            queue: 0,
            offset,
            at: 0,
            body: books.bodies.body(number),
            topic: "t".to_owned(),
            properties: properties(number),
        }
    }

    fn counts(books: &Books) -> [u64; 4] {
        let faults = books.faults();
        [faults.lost, faults.altered, faults.reused, faults.other]
    }

    #[test]
    fn promises_and_sights_that_agree_are_no_faults() {
        let (books, queue) = books();
        books.note_promise(&queue, 1, 11);
        books.note_seen(&queue, &[record(&books, 0, 10), record(&books, 1, 11)]);
        books.note_promise(&queue, 0, 10);
        assert_eq!(counts(&books), [0; 4]);
        assert_eq!((books.acknowledged(), books.seen()), (2, 2));
    }

    #[test]
    fn an_offset_promised_twice_is_reused() {
        let (books, queue) = books();
        books.note_promise(&queue, 0, 10);
        books.note_promise(&queue, 0, 11);
        assert_eq!(counts(&books), [0, 0, 1, 0]);
    }

    #[test]
    fn a_promise_for_what_a_consumer_saw_as_another_message_is_a_reused_offset() {
        let (books, queue) = books();
        books.note_seen(&queue, &[record(&books, 0, 10)]);
        books.note_promise(&queue, 0, 11);
        assert_eq!(counts(&books), [0, 0, 1, 0]);
    }

    #[test]
    fn other_bytes_and_other_messages_are_alterations() {
        let (books, queue) = books();
        books.note_promise(&queue, 0, 10);
        books.note_seen(&queue, &[record(&books, 0, 11)]);
        let mut torn = record(&books, 1, 12);
        torn.body.pop();
        books.note_seen(&queue, &[torn]);
        let mut stray = record(&books, 2, 13);
        stray.properties = properties(14);
        books.note_seen(&queue, &[stray]);
        // The torn one has no number to look for at its place.
        assert_eq!(counts(&books), [0, 3, 0, 0]);
    }

    #[test]
    fn a_gap_is_found() {
        let (books, queue) = books();
        books.note_seen(&queue, &[record(&books, 0, 10), record(&books, 2, 12)]);
        assert_eq!(counts(&books), [0, 0, 0, 1]);
    }

    #[test]
    fn closed_books_take_no_notes() {
        let (books, queue) = books();
        books.close();
        books.note_promise(&queue, 0, 10);
        books.note_seen(&queue, &[record(&books, 0, 10)]);
        books.open();
        books.note_promise(&queue, 0, 11);
        assert_eq!(counts(&books), [0; 4]);
        assert_eq!((books.acknowledged(), books.seen()), (1, 0));
    }
}
