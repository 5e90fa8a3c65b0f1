//! Filing: a row for each message of the timer topic.

use super::row::Row;
use super::row::{Filed, RowKey};
use super::window::slot_ms;
use super::worker::{Worker, range, rows};
use crate::kv::Change;
use common::message::RecordView;
use common::names::TIMER_TOPIC;
use hashbrown::HashMap;
use std::sync::Arc;
use store::GetRequest;

/// Messages filed before something that is due gets its turn.
const FILE_MESSAGES: usize = 1_024;
/// Rows on their way to kv; then it is waited for.
const FILED_AHEAD: usize = 16 * FILE_MESSAGES;

impl Worker {
    /// Files messages of the timer topic. True when none is left.
    pub(super) fn file(&mut self, now: i64) -> bool {
        let timers = self.timers.clone();
        let shared = &*timers.shared;
        if self.rows_ahead >= FILED_AHEAD {
            if let Err(error) = shared.kv.store([]) {
                self.failed(now, "timed messages cannot be filed", &error);
                return false;
            }
            self.rows_ahead = 0;
        }
        let end = shared.reader.max_offset(TIMER_TOPIC, 0);
        let (first, mut changes) = (self.filed, Vec::new());
        while self.filed < end && changes.len() < FILE_MESSAGES {
            let got = shared.reader.get(GetRequest {
                topic: TIMER_TOPIC,
                queue_id: 0,
                offset: i64::try_from(self.filed).unwrap_or(i64::MAX),
                max_messages: 64,
                filter: &|_| true,
            });
            for record in got.messages().flatten() {
                self.file_record(&record, now, &mut changes);
            }
            match u64::try_from(got.next_begin) {
                Ok(next) if next > self.filed => self.filed = next,
                _ => {
                    self.failed(
                        now,
                        "the timer topic cannot be read",
                        &format!("{:?}", got.status),
                    );
                    break;
                }
            }
        }
        if self.filed > first {
            self.rows_ahead += changes.len();
            changes.push(shared.meta.lock().filed(self.filed));
            shared.kv.submit(changes);
        }
        self.ask_about_markers();
        self.filed >= end
    }

    pub(super) fn file_record(
        &mut self,
        record: &RecordView<'_>,
        now: i64,
        changes: &mut Vec<Change>,
    ) {
        let timers = self.timers.clone();
        let shared = &*timers.shared;
        let Some(filed) = Filed::of(record) else {
            return;
        };
        let rules = &shared.rules;
        let key = filed.key;
        let queue_offset = u64::try_from(record.queue_offset).unwrap_or(0);
        let taken_over = shared.meta.lock().taken_over;
        if let Some(over) = taken_over {
            if queue_offset < over.queue_offset && slot_ms(key.slot) < over.read_ms {
                return;
            }
            // Also where it has stopped before it had read that itself.
            if filed.rolled > 0 {
                self.supersede(key, changes);
            }
        }
        if shared.state.lock().done.contains(&key.at) {
            return;
        }
        let moment = now / rules.precision_ms * rules.precision_ms;
        let row = filed.row(record, moment, rules.precision_ms, key.at < self.old_before);
        changes.push(key.change(Some(&row)));
        self.oldest = self.oldest.min(key.at);
        if let Some(sweep) = &mut self.sweep {
            sweep.oldest = sweep.oldest.min(key.at);
        }
        if key.is_marker() {
            shared.state.lock().recalls.remove(&key.group());
            self.markers.push(key);
        } else {
            let mut state = shared.state.lock();
            state.counts.change(&row.name, key.slot, 1, now);
            if let Some(count) = state.counts.of(&row.name) {
                count.filed += 1;
                let asked = slot_ms(key.slot).saturating_sub(record.born_timestamp);
                shared.delays.observe(&row.name, asked);
            }
        }
        self.window.file(key, row);
    }

    /// Another broker has appended this message again: the row of the older one goes. Nothing of this can be lost, for the
    /// log was on the disk when the store was opened.
    pub(super) fn supersede(&mut self, key: RowKey, changes: &mut Vec<Change>) {
        // They are to be on the disk.
        self.shared().kv.submit(changes.drain(..));
        let (first, last) = key.bounds();
        let page = self.shared().kv.read(range(first, Some(last)));
        for (other, row) in rows(page.unwrap_or_default()) {
            if !other.is_marker() && other.at < key.at {
                changes.push(other.change(None));
                self.window.remove(&other);
                let mut state = self.timers.shared.state.lock();
                state.counts.change(&row.name, other.slot, -1, row.filed);
                // A page that was read before has it still.
                state.finish(other);
            }
        }
    }

    /// Asks what those that were just filed cancel: once for all that cancel the same, however often a client repeats it.
    fn ask_about_markers(&mut self) {
        let mut groups: HashMap<_, Vec<RowKey>> = HashMap::new();
        for key in std::mem::take(&mut self.markers) {
            self.asked_about.insert(key.at);
            groups.entry(key.group()).or_default().push(key);
        }
        for markers in groups.into_values() {
            let (first, last) = markers[0].bounds();
            self.read(first, Some(last), move |worker, page, now| {
                for marker in &markers {
                    worker.asked_about.remove(&marker.at);
                }
                worker.cancelled(&markers, &page.unwrap_or_default(), now);
            });
        }
    }

    /// What messages of one group that were just filed cancel waits no more.
    pub(super) fn cancelled(&mut self, markers: &[RowKey], page: &[(RowKey, Row)], now: i64) {
        let (Some(first), Some(last)) = (markers.first(), markers.last()) else {
            return;
        };
        let shared = Arc::clone(&self.timers.shared);
        let mut state = shared.state.lock();
        let before = |key: &RowKey| key.is_marker() && key.at < first.at;
        let known = page
            .iter()
            .filter(|(key, _)| before(key))
            .map(|(key, _)| key.at)
            .max();
        for (key, row) in page {
            let counted = !key.is_marker()
                && key.at < last.at
                && known.is_none_or(|known| known < key.at)
                && !state.done.contains(&key.at);
            let swept = self.sweep.as_ref();
            let in_count = swept.is_none_or(|s| key.at >= s.count_before || *key < s.next);
            if counted && in_count {
                state.counts.change(&row.name, key.slot, -1, now);
            }
        }
    }
}
