//! Sends to topics that do not store a message twice: the batch is appended without those that were stored before, and these
//! are answered as the first was.

use super::reply::Pending;
use super::{SendHandler, SendSession, remember};
use crate::dedup::{Fingerprint, First, Recent};
use crate::topic::Topic;
use common::message::batch;
use common::message::properties::{UNIQUE_KEY, get};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use store::{Appended, RecordBatch, StoreError};

/// What a turn has to look up. Empty as long as no topic with a window is sent to.
#[derive(Default)]
pub(super) struct Once {
    keyed: Vec<Keyed>,
    /// Those of `keyed` that are stored by this turn.
    fresh: HashMap<Fingerprint, usize>,
    /// By record of the batch: what it repeats. Empty when nothing is repeated.
    repeats: Vec<Option<Repeat>>,
}

/// A message that may have been sent before.
struct Keyed {
    fingerprint: Fingerprint,
    /// Its record in the batch.
    record: usize,
    /// Of the turn's sends the one it belongs to.
    send: usize,
    /// Milliseconds in which it is not stored again.
    window: i64,
}

#[derive(Clone)]
enum Repeat {
    /// A message that was stored before.
    Stored(First),
    /// One of the same turn, by its place in `keyed`.
    Turn(usize),
}

impl Once {
    /// Forgets the records from the `len`th on.
    pub(super) fn truncate(&mut self, len: usize) {
        let kept = self.keyed.partition_point(|keyed| keyed.record < len);
        self.keyed.truncate(kept);
    }

    /// Whether a record of the batch was not stored again.
    pub(super) fn is_repeat(&self, record: usize) -> bool {
        self.repeats.get(record).is_some_and(Option::is_some)
    }

    /// What happens to the next turn is not known yet.
    pub(super) fn clear(&mut self) {
        self.keyed.clear();
        self.fresh.clear();
        self.repeats.clear();
    }

    /// Finds out which of `records` records repeat others.
    fn look_up(&mut self, recent: &Recent, now: i64, records: usize) {
        for (at, keyed) in self.keyed.iter().enumerate() {
            let known = recent.find(&keyed.fingerprint, now - keyed.window);
            let repeat = match (known, self.fresh.entry(keyed.fingerprint)) {
                (Some(first), _) => Repeat::Stored(first.clone()),
                (None, Entry::Occupied(first)) => Repeat::Turn(*first.get()),
                (None, Entry::Vacant(entry)) => {
                    entry.insert(at);
                    continue;
                }
            };
            self.repeats.resize(records, None);
            self.repeats[keyed.record] = Some(repeat);
        }
    }

    /// Puts together what was stored now and before, by record. Behind one that was not stored there is nothing.
    fn merge(&self, stored: Vec<Appended>, appended: &mut Vec<Appended>) {
        let mut stored = stored.into_iter();
        for repeat in &self.repeats {
            let one = match repeat {
                None => stored.next(),
                Some(Repeat::Stored(first)) => Some(first.appended),
                Some(Repeat::Turn(at)) => appended.get(self.keyed[*at].record).copied(),
            };
            let Some(one) = one else { return };
            appended.push(one);
        }
    }

    /// Sends whose (first) message repeats another are answered with its queue and handle.
    fn answer_as_first(&self, sends: &mut [Pending], texts: &mut String) {
        for keyed in &self.keyed {
            let Some(Some(repeat)) = self.repeats.get(keyed.record) else {
                continue;
            };
            let (queue_id, recall_handle) = match repeat {
                Repeat::Stored(first) => {
                    let handle = first.recall_handle.as_deref();
                    (first.queue_id, handle.map(|handle| remember(texts, handle)))
                }
                Repeat::Turn(at) => {
                    let first = &sends[self.keyed[*at].send];
                    (first.queue_id, first.recall_handle.clone())
                }
            };
            let send = &mut sends[keyed.send];
            if send.records.start == keyed.record {
                (send.queue_id, send.recall_handle) = (queue_id, recall_handle);
            }
        }
    }

    /// What was stored now is recognized from now on.
    fn remember(&self, recent: &mut Recent, sends: &[Pending], texts: &str, all: &[Appended]) {
        for keyed in self
            .keyed
            .iter()
            .filter(|keyed| !self.is_repeat(keyed.record))
        {
            let Some(appended) = all.get(keyed.record) else {
                return;
            };
            let send = &sends[keyed.send];
            let handle = send.recall_handle.clone();
            let first = First {
                appended: *appended,
                queue_id: send.queue_id,
                recall_handle: handle.map(|handle| texts[handle].into()),
            };
            let until = appended.store_timestamp + keyed.window;
            recent.remember(keyed.fingerprint, first, until);
        }
    }
}

impl SendHandler {
    /// Notes a send whose records are in the batch from the `first` on, if its topic has a window. It is a batch, or one
    /// message with its key and body. What has no unique key is never a repeat.
    pub(super) fn note(
        &self,
        once: &mut Once,
        topic: &Topic,
        batch: &RecordBatch,
        (first, send): (usize, usize),
        (is_batch, key, body): (bool, Option<&str>, &[u8]),
    ) {
        let default = self.settings().config.deduplication_window_ms.into();
        let Some(window) = topic.deduplication_window(default) else {
            return;
        };
        let mut note = |record: usize, key: &str, body: &[u8]| {
            let fingerprint = Fingerprint {
                hash: self.state.deduplication.hash(topic, key),
                body_crc: batch.body_crc(record),
                body_bytes: u32::try_from(body.len()).unwrap_or(u32::MAX),
            };
            once.keyed.push(Keyed {
                fingerprint,
                record,
                send,
                window,
            });
        };
        if !is_batch {
            return key.map_or((), |key| note(first, key, body));
        }
        let messages = batch::split(body).map_while(Result::ok);
        for (record, message) in (first..batch.len()).zip(messages) {
            if let Some(key) = get(message.properties, UNIQUE_KEY) {
                note(record, key, message.body);
            }
        }
    }

    /// Appends the turn's batch. Where each of its records is stored is in `appended`, in order, also on an error.
    pub(super) fn append(&self, session: &mut SendSession) -> Result<(), StoreError> {
        let SendSession {
            once,
            batch,
            appended,
            pending,
            unique_keys,
            ..
        } = session;
        if once.keyed.is_empty() {
            return self.state.writer.append_batch(batch, appended);
        }
        // Held over the append: no other thread can store the same message in between.
        let mut recent = self.state.deduplication.lock();
        let now = self.state.clock.now().0;
        recent.expire(now);
        once.look_up(&recent, now, batch.len());
        let outcome = if once.repeats.is_empty() {
            self.state.writer.append_batch(batch, appended)
        } else {
            let records = batch.len();
            batch.retain(|record| !once.is_repeat(record));
            self.state.deduplication.count(records - batch.len());
            let mut stored = Vec::new();
            let outcome = self.state.writer.append_batch(batch, &mut stored);
            once.merge(stored, appended);
            once.answer_as_first(pending, unique_keys);
            outcome
        };
        once.remember(&mut recent, pending, unique_keys, appended);
        outcome
    }
}
