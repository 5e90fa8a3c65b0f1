//! Delivering what is due.

use super::row::{Filed, Row, RowKey};
use super::worker::Worker;
use crate::delivery::{Delivery, Kind};
use bytes::Bytes;
use common::ids::PhysicalOffset;
use common::message::RecordView;
use common::message::properties::{self as names, MAX_PROPERTIES_BYTES};
use common::message::record::RecordParts;
use common::names::TIMER_TOPIC;
use std::net::SocketAddr;

/// Messages delivered with one note.
pub(super) const DELIVER_MESSAGES: usize = 256;
/// Bytes of their records, after which no further one is added.
const DELIVER_BYTES: usize = 512 * 1024;

impl Worker {
    /// Delivers a batch of what is due. True when something was delivered and more is due.
    pub(super) fn deliver(&mut self, now: i64) -> bool {
        let timers = self.timers.clone();
        let shared = &*timers.shared;
        let rules = &shared.rules;
        let due = self.window.due(now, rules.precision_ms, DELIVER_MESSAGES);
        let more = due.len() == DELIVER_MESSAGES;
        let mut bytes = 0;
        let mut batch = Vec::with_capacity(due.len());
        let mut gone = Vec::new();
        self.held = false;
        for (key, row) in due {
            if shared.state.lock().is_recalled(&key, now) {
                self.held = true;
                continue;
            }
            let record = shared.reader.record_at(PhysicalOffset(key.at));
            let timer = record.as_deref().and_then(|bytes| Timer::read(bytes, &key));
            let mut markers = self.window.markers(&key).peekable();
            if timer.is_none() && markers.peek().is_none() {
                let (topic, at) = (&row.name, key.at);
                tracing::error!(%topic, at, "the log has no timed message there any more; it is not delivered");
            }
            let mut cancelled = |timer: &Timer<'_>| {
                let cancels = |(_, key)| timer.filed.is_cancelled_by(key, rules.topic_in_key);
                markers.any(cancels)
            };
            let stays = timer.is_some_and(|timer| !cancelled(&timer));
            let Some(record) = record.filter(|_| stays) else {
                gone.push((key, row));
                continue;
            };
            bytes += record.len();
            batch.push((key, row, record));
            if bytes >= DELIVER_BYTES {
                break;
            }
        }
        for (key, row) in gone {
            let counted = self.is_counted(&key);
            self.finish(key, &row, counted, now);
        }
        let delivered = self.append(Kind::Timer, &batch, now);
        let mut state = shared.state.lock();
        let last = batch.last().filter(|_| delivered.is_some());
        state.late_ms = last.map_or(0, |(_, row, _)| now - row.due);
        let overdue = if more { self.window.len() } else { 0 };
        state.overdue = i64::try_from(overdue).unwrap_or(i64::MAX);
        more && delivered == Some(batch.len())
    }

    /// Appends messages, to their topics or to the timer topic again; how many of them, unless that has failed.
    pub(super) fn append(
        &mut self,
        kind: Kind,
        batch: &[(RowKey, Row, Bytes)],
        now: i64,
    ) -> Option<usize> {
        if batch.is_empty() {
            return Some(0);
        }
        let timers = batch.iter().map(|(key, row, bytes)| {
            let timer = Timer::read(bytes, key);
            (
                key.at,
                timer.map(|timer| (timer.text(kind, row, now), timer)),
            )
        });
        let timers: Vec<_> = timers.collect();
        let deliveries = timers.iter().map(|(origin, timer)| Delivery {
            origin: *origin,
            message: timer
                .as_ref()
                .map(|(text, timer)| timer.parts(kind, text, self.host)),
        });
        let deliveries: Vec<_> = deliveries.collect();
        let ledger = self.ledger.clone();
        let entered = ledger.enter();
        let outcome = self.outbox.deliver(&entered, kind, &deliveries);
        let (done, error) = (outcome.done, outcome.error);
        for (key, row, _) in &batch[..done.min(batch.len())] {
            self.finish(*key, row, true, now);
            if kind == Kind::Timer {
                let mut state = self.timers.shared.state.lock();
                if let Some(count) = state.counts.of(&row.name) {
                    count.delivered += 1;
                }
            }
        }
        drop(entered);
        if let Some(error) = error {
            self.failed(now, "timed messages cannot be delivered", &error);
            return None;
        }
        Some(done)
    }

    /// Forgets a message. `counted`: it was one of those that wait.
    pub(super) fn finish(&mut self, key: RowKey, row: &Row, counted: bool, now: i64) {
        self.window.remove(&key);
        let swept = self.sweep.as_ref();
        // What the first sweep has not come to is not in the count.
        let in_count = swept.is_none_or(|sweep| key.at >= sweep.count_before || key < sweep.next);
        let mut state = self.timers.shared.state.lock();
        if counted && in_count && !key.is_marker() {
            state.counts.change(&row.name, key.slot, -1, now);
        }
        state.finish(key);
    }

    /// A message counts as waiting until one that came later has cancelled it.
    pub(super) fn is_counted(&self, key: &RowKey) -> bool {
        let mut markers = self.window.markers(key);
        markers.all(|(at, _)| at < key.at || self.asked_about.contains(&at))
    }

    pub(super) fn drop_markers(&mut self, now: i64) {
        let precision = self.shared().rules.precision_ms;
        let over = self.window.over(now, precision, DELIVER_MESSAGES);
        let mut state = self.timers.shared.state.lock();
        for key in over {
            self.window.remove(&key);
            state.finish(key);
        }
    }
}

/// A record of the timer topic.
pub(super) struct Timer<'a> {
    pub(super) view: RecordView<'a>,
    pub(super) filed: Filed<'a>,
}

impl<'a> Timer<'a> {
    /// The record of a row, if these are its bytes: after a power cut another one may stand in its place.
    pub(super) fn read(bytes: &'a [u8], key: &RowKey) -> Option<Self> {
        let view = RecordView::parse(bytes).ok()?;
        let filed = Filed::of(&view).filter(|_| view.topic == TIMER_TOPIC.as_bytes())?;
        (filed.key == *key).then_some(Self { view, filed })
    }

    /// The properties of the message when it is delivered or rolled on.
    fn text(&self, kind: Kind, row: &Row, now: i64) -> String {
        let text = self.view.properties_text();
        if kind == Kind::Roll {
            let text = names::without(&text, &[names::CRC32]);
            let rolled = self.filed.rolled + 1;
            return names::with(&text, names::TIMER_ROLL_TIMES, &rolled.to_string());
        }
        let set = [
            (names::TIMER_ENQUEUE_MS, row.filed),
            (names::TIMER_DEQUEUE_MS, now),
        ];
        let mut text = names::without(&text, &[names::CRC32, set[0].0, set[1].0]);
        let plain = text.len();
        for (name, time) in set {
            names::write(&mut text, name, &time.to_string());
        }
        // Better without these than not at all.
        if text.len() > MAX_PROPERTIES_BYTES {
            text.truncate(plain);
        }
        text
    }

    fn parts<'b>(&self, kind: Kind, text: &'b str, host: SocketAddr) -> RecordParts<'b>
    where
        'a: 'b,
    {
        let place = match kind {
            Kind::Roll => (TIMER_TOPIC, 0),
            _ => (self.filed.topic, self.filed.queue_id),
        };
        self.view.moved_to(place, text, host)
    }
}
