//! Rolling on: messages whose place in the log will be deleted before they are due are appended again.

use super::delivering::{DELIVER_MESSAGES, Timer};
use super::row::{Row, RowKey};
use super::window::{PAGE_ROWS, slot_ms};
use super::worker::{LONGEST_LOOK_MS, Worker};
use crate::delivery::Kind;
use common::ids::PhysicalOffset;
use common::names::TIMER_TOPIC;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use store::Boundary;

/// A walk over all rows: counts them at the start, and finds messages that have to be appended again.
pub(super) struct Sweep {
    pub(super) next: RowKey,
    pub(super) asked: bool,
    /// Rows of messages before this position are counted: those behind it were when they were filed.
    pub(super) count_before: u64,
    /// Messages before this position are rolled on.
    pub(super) roll_before: u64,
    /// The first position of all that was seen or filed meanwhile, and is neither rolled on nor cancelled.
    pub(super) oldest: u64,
    /// The message that cancels others which was seen last.
    pub(super) marker: Option<RowKey>,
}

impl Sweep {
    pub(super) fn new(count_before: u64, roll_before: u64) -> Self {
        Self {
            next: RowKey::first_of(0),
            asked: false,
            count_before,
            roll_before,
            oldest: u64::MAX,
            marker: None,
        }
    }
}

impl Worker {
    /// Looks whether messages are about to lose their place in the log, and appends some of them again.
    pub(super) fn roll(&mut self, now: i64) {
        let shared = Arc::clone(&self.timers.shared);
        let roll_ms = shared.roll_ms.load(Ordering::Relaxed);
        if now >= self.next_look && self.sweep.is_none() && self.rolling.is_empty() {
            self.next_look = now + (roll_ms / 8).clamp(1_000, LONGEST_LOOK_MS);
            let (reader, kept_since) = (&shared.reader, now - roll_ms);
            let oldest = reader.offset_by_time(TIMER_TOPIC, 0, kept_since, Boundary::Lower);
            // Without one all are older.
            let roll_before = reader.position_of(TIMER_TOPIC, 0, oldest);
            let roll_before = roll_before.unwrap_or_else(|| reader.status().max_physical);
            if roll_before > self.oldest {
                self.sweep = Some(Sweep::new(0, roll_before));
            }
        }
        let count = self.rolling.len().min(DELIVER_MESSAGES);
        let stays = |key: &&RowKey| !shared.state.lock().done.contains(&key.at);
        let record = |key: &RowKey| {
            let bytes = shared.reader.record_at(PhysicalOffset(key.at))?;
            let Timer { view, filed } = Timer::read(&bytes, key)?;
            let row = filed.row(&view, 0, shared.rules.precision_ms, false);
            Some((*key, row, bytes))
        };
        let next = self.rolling.iter().take(count).filter(stays);
        let batch: Vec<_> = next.filter_map(record).collect();
        if self.append(Kind::Roll, &batch, now) == Some(batch.len()) {
            self.rolling.drain(..count);
        }
    }

    pub(super) fn swept(&mut self, page: Vec<(RowKey, Row)>, now: i64) {
        let Some(mut sweep) = self.sweep.take() else {
            return;
        };
        let last = page.last().filter(|_| page.len() >= PAGE_ROWS);
        let next = last.map(|(last, _)| last.next());
        let margin = self.shared().roll_ms.load(Ordering::Relaxed) / 2;
        let shared = Arc::clone(&self.timers.shared);
        let mut state = shared.state.lock();
        for (key, row) in page {
            if state.done.contains(&key.at) {
                continue;
            }
            if key.is_marker() {
                sweep.marker = Some(key);
                continue;
            }
            let marker = sweep.marker.filter(|marker| marker.group() == key.group());
            if key.at < sweep.count_before && marker.is_none_or(|marker| marker.at < key.at) {
                state.counts.change(&row.name, key.slot, 1, now);
            }
            // What is due soon needs no other place, nor does what is cancelled.
            let stays = slot_ms(key.slot) > now.saturating_add(margin) && marker.is_none();
            if key.at < sweep.roll_before && stays {
                self.rolling.push_back(key);
            } else if marker.is_none() {
                sweep.oldest = sweep.oldest.min(key.at);
            }
        }
        drop(state);
        match next {
            Some(next) => {
                (sweep.next, sweep.asked) = (next, false);
                self.sweep = Some(sweep);
            }
            None => self.oldest = sweep.oldest,
        }
    }
}
