//! The rows whose time comes next. All others are on the disk only.

use super::row::{Row, RowKey, WIDEST_SLOT_MS};
use std::collections::BTreeMap;

/// Rows read from the disk at once.
pub const PAGE_ROWS: usize = 4_096;
/// With fewer messages in memory a page is read: what they take to be delivered is time for a disk that is slow.
const AHEAD_ROWS: usize = 3 * PAGE_ROWS;
/// Most rows in memory; those due last go back to being on the disk only.
const MAX_ROWS: usize = 5 * PAGE_ROWS;

/// The first rows of the table.
pub struct Window {
    rows: BTreeMap<RowKey, Row>,
    /// Of those, messages that wait.
    waiting: usize,
    /// Every row before this is here.
    bound: RowKey,
    /// A page from the bound on was asked for; these were filed meanwhile, and it may not have them.
    asked: Option<Vec<(RowKey, Row)>>,
}

impl Window {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self {
            rows: BTreeMap::new(),
            waiting: 0,
            bound: RowKey::first_of(0),
            asked: None,
        }
    }

    /// Takes a row that is on its way to the disk.
    pub fn file(&mut self, key: RowKey, row: Row) {
        if key < self.bound {
            self.insert(key, row);
            self.shrink();
        } else if let Some(filed) = &mut self.asked {
            filed.push((key, row));
        }
    }

    /// Where the page begins that has to be read now, if one has to.
    pub fn ask(&mut self) -> Option<RowKey> {
        let enough = self.waiting >= AHEAD_ROWS || self.bound == RowKey::LAST;
        if enough || self.asked.is_some() {
            return None;
        }
        self.asked = Some(Vec::new());
        Some(self.bound)
    }

    /// Takes the page from `from` on that was asked for: [`PAGE_ROWS`] rows, or all there are. `gone`: of rows that are done,
    /// although the disk has them still.
    pub fn add(&mut self, from: RowKey, page: Vec<(RowKey, Row)>, gone: impl Fn(&RowKey) -> bool) {
        if from != self.bound {
            return;
        }
        let Some(filed) = self.asked.take() else {
            return;
        };
        let last = page.last().filter(|_| page.len() >= PAGE_ROWS);
        self.bound = last.map_or(RowKey::LAST, |(last, _)| last.next());
        for (key, row) in page.into_iter().chain(filed) {
            if key < self.bound && !gone(&key) {
                self.insert(key, row);
            }
        }
        self.shrink();
    }

    /// The page that was asked for cannot be read.
    pub fn give_up(&mut self) {
        self.asked = None;
    }

    /// Messages to deliver, in the order of their slots. `precision_ms`: slots that are not over by this hold none.
    pub fn due(&self, now: i64, precision_ms: i64, limit: usize) -> Vec<(RowKey, Row)> {
        let over = self.rows.range(..first_after(now - precision_ms));
        let due = over.filter(|(key, row)| !key.is_marker() && row.due <= now);
        due.take(limit)
            .map(|(key, row)| (*key, row.clone()))
            .collect()
    }

    /// When the next message is due.
    pub fn next_due(&self, precision_ms: i64) -> Option<i64> {
        let mut next: Option<i64> = None;
        for (key, row) in self.rows.iter().filter(|(key, _)| !key.is_marker()) {
            // No row is due before its slot is over.
            if next.is_some_and(|next| slot_ms(key.slot) + precision_ms >= next) {
                break;
            }
            next = Some(next.map_or(row.due, |next| next.min(row.due)));
        }
        next
    }

    /// Slot of the first message that waits here or on the disk.
    pub fn first_slot(&self) -> Option<u64> {
        let first = self.rows.keys().find(|key| !key.is_marker());
        let first = first.unwrap_or(&self.bound);
        (*first != RowKey::LAST).then_some(first.slot)
    }

    /// What the messages of a group that cancel others carry, each with its position.
    pub fn markers(&self, key: &RowKey) -> impl Iterator<Item = (u64, &str)> {
        let (first, _) = key.bounds();
        self.rows
            .range(first..*key)
            .filter(|(key, _)| key.is_marker())
            .map(|(key, row)| (key.at, &*row.name))
    }

    /// Messages that cancel others and have nothing left to cancel.
    pub fn over(&self, now: i64, precision_ms: i64, limit: usize) -> Vec<RowKey> {
        let end = first_after(now - precision_ms - WIDEST_SLOT_MS).min(self.bound);
        let over = self.rows.range(..end).map(|(key, _)| *key);
        let idle = |key: &RowKey| {
            let (_, last) = key.bounds();
            let group = self.rows.range(*key..last);
            key.is_marker()
                && last < self.bound
                && group.into_iter().all(|(key, _)| key.is_marker())
        };
        over.filter(idle).take(limit).collect()
    }

    /// Forgets a row.
    pub fn remove(&mut self, key: &RowKey) {
        if self.rows.remove(key).is_some() {
            self.waiting -= usize::from(!key.is_marker());
        }
    }

    /// Rows in memory.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    fn insert(&mut self, key: RowKey, row: Row) {
        if self.rows.insert(key, row).is_none() {
            self.waiting += usize::from(!key.is_marker());
        }
    }

    fn shrink(&mut self) {
        while self.rows.len() > MAX_ROWS
            && let Some((key, _)) = self.rows.pop_last()
        {
            self.waiting -= usize::from(!key.is_marker());
            // What was filed beyond the old bound is beyond the new one: on the disk it is, but not in a page on its way.
            self.bound = key;
            self.asked = None;
        }
    }
}

/// A slot as a time.
pub fn slot_ms(slot: u64) -> i64 {
    i64::try_from(slot).unwrap_or(i64::MAX / 2)
}

fn first_after(slot_ms: i64) -> RowKey {
    RowKey::first_of(u64::try_from(slot_ms).map_or(0, |slot| slot + 1))
}

#[cfg(test)]
mod tests;
