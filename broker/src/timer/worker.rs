//! The thread that files, delivers and rolls on.

use super::rolling::Sweep;
use super::row::{Row, RowKey};
use super::window::{PAGE_ROWS, Window};
use super::{Shared, Timers};
use crate::delivery::{Ledger, Outbox};
use crate::kv::{Family, KvError, Page, Range};
use common::names::TIMER_TOPIC;
use hashbrown::HashSet;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Pause before another attempt at what has failed.
const RETRY_MS: i64 = 100;
/// Longest pause between two batches of deliveries when many are due: as long as a batch took, so that live traffic has its turn.
const LONGEST_PAUSE: Duration = Duration::from_millis(5);
/// Pause before another look at what a recall holds back: filing the recall rings, too.
const HELD_PAUSE_MS: i64 = 5;
/// Longest time without a look at the clock while something waits.
const LOOK_MS: i64 = 1_000;
/// The same while nothing does.
const IDLE_MS: i64 = 60_000;
/// Longest time without a look at what is too old.
pub(super) const LONGEST_LOOK_MS: i64 = 3_600_000;

/// What is done with rows that were asked for, unless they could not be read.
type Answer = Box<dyn FnOnce(&mut Worker, Option<Vec<(RowKey, Row)>>, i64) + Send>;

/// Pages that have come.
type Mail = Arc<Mutex<Vec<(Answer, Page)>>>;

pub(super) struct Worker {
    pub(super) timers: Timers,
    pub(super) outbox: Outbox,
    pub(super) ledger: Ledger,
    pub(super) host: SocketAddr,
    pub(super) window: Window,
    pub(super) mail: Mail,
    /// Next message of the timer topic to file.
    pub(super) filed: u64,
    /// Records before were there when the broker started.
    pub(super) old_before: u64,
    pub(super) rows_ahead: usize,
    pub(super) sweep: Option<Sweep>,
    /// Messages that cancel others and were just filed.
    pub(super) markers: Vec<RowKey>,
    /// Those whose others still count as waiting: it was asked which they are.
    pub(super) asked_about: HashSet<u64>,
    pub(super) rolling: VecDeque<RowKey>,
    /// No message that waits is before this position.
    pub(super) oldest: u64,
    pub(super) next_look: i64,
    /// Until then nothing is tried again.
    pub(super) retry_at: i64,
    /// What was tried last has failed.
    pub(super) failing: bool,
    /// Something that is due is held back for a recall.
    pub(super) held: bool,
}

/// What a step did.
struct Step {
    /// Milliseconds since 1970 when the next one has something to do.
    next: i64,
    /// It delivered, and more is due.
    storm: bool,
}

impl Worker {
    pub(super) fn new(timers: Timers, outbox: Outbox, ledger: Ledger, host: SocketAddr) -> Self {
        let shared = &timers.shared;
        let filed = shared.state.lock().filed;
        let status = shared.reader.status();
        let first = shared.reader.position_of(TIMER_TOPIC, 0, filed);
        Self {
            outbox,
            ledger,
            host,
            window: Window::new(),
            mail: Mail::default(),
            filed,
            old_before: status.max_physical,
            rows_ahead: 0,
            sweep: Some(Sweep::new(first.unwrap_or(status.max_physical), 0)),
            markers: Vec::new(),
            asked_about: HashSet::new(),
            rolling: VecDeque::new(),
            oldest: 0,
            next_look: 0,
            retry_at: 0,
            failing: false,
            held: false,
            timers,
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.timers.shared
    }

    /// A step of the thread; how long to wait for the next one.
    pub(super) fn turn(&mut self) -> Duration {
        let started = self.shared().clock.monotonic();
        let step = self.step(self.shared().now().0);
        if step.storm {
            let pause = self.shared().clock.monotonic().saturating_sub(started);
            // Whatever rings.
            std::thread::sleep(pause.min(LONGEST_PAUSE));
            return Duration::ZERO;
        }
        let wait = step.next.saturating_sub(self.shared().now().0);
        Duration::from_millis(u64::try_from(wait).unwrap_or(0))
    }

    /// Files, delivers a batch, rolls some on, and asks for the pages it needs.
    fn step(&mut self, now: i64) -> Step {
        // The clock may have been set back.
        self.retry_at = self.retry_at.min(now + RETRY_MS);
        self.next_look = self.next_look.min(now + LONGEST_LOOK_MS);
        self.read_mail(now);
        let filed_all = now >= self.retry_at && self.file(now);
        let mut storm = false;
        // What was sent in time to cancel something has been seen.
        if filed_all {
            storm = self.deliver(now);
        }
        if filed_all && !storm {
            self.drop_markers(now);
            self.roll(now);
        }
        if now >= self.retry_at {
            self.ask();
        }
        if self.failing && now >= self.retry_at {
            self.failing = false;
            tracing::info!("timed messages go on");
        }
        let mut state = self.timers.shared.state.lock();
        state.filed = self.filed;
        state.oldest = if self.sweep.is_none() && self.rolling.is_empty() {
            self.oldest
        } else {
            state.oldest.min(self.oldest)
        };
        state.first_slot = self.window.first_slot();
        drop(state);
        let precision = self.shared().rules.precision_ms;
        let next = if now < self.retry_at {
            self.retry_at
        } else if !filed_all || !self.rolling.is_empty() {
            now
        } else if self.held {
            now + HELD_PAUSE_MS
        } else {
            let due = self.window.next_due(precision);
            // The clock may be set forward.
            let idle = if due.is_some() { LOOK_MS } else { IDLE_MS };
            due.unwrap_or(i64::MAX).min(self.next_look).min(now + idle)
        };
        Step { next, storm }
    }

    pub(super) fn failed(&mut self, now: i64, what: &str, error: &dyn std::fmt::Display) {
        // A disk that is full stays so for a while: it is said once.
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(%error, "{what}; trying again");
        }
        self.retry_at = now + RETRY_MS;
    }

    fn ask(&mut self) {
        if let Some(from) = self.window.ask() {
            self.read(from, None, move |worker, page, _| {
                let Some(page) = page else {
                    return worker.window.give_up();
                };
                let state = worker.timers.shared.state.lock();
                let gone = |key: &RowKey| state.done.contains(&key.at);
                worker.window.add(from, page, gone);
            });
        }
        if let Some(sweep) = &mut self.sweep
            && !sweep.asked
            && self.rolling.is_empty()
        {
            sweep.asked = true;
            let next = sweep.next;
            self.read(next, None, |worker, page, now| match page {
                Some(page) => worker.swept(page, now),
                None => worker.sweep.iter_mut().for_each(|s| s.asked = false),
            });
        }
    }

    /// Asks for a page of rows, which come with a later step.
    pub(super) fn read(
        &self,
        from: RowKey,
        to: Option<RowKey>,
        answer: impl FnOnce(&mut Self, Option<Vec<(RowKey, Row)>>, i64) + Send + 'static,
    ) {
        let (mail, bell) = (Arc::clone(&self.mail), Arc::clone(&self.shared().bell));
        self.shared().kv.read_then(range(from, to), move |page| {
            mail.lock().push((Box::new(answer), page));
            bell.ring();
        });
    }

    fn read_mail(&mut self, now: i64) {
        let mail = std::mem::take(&mut *self.mail.lock());
        for (answer, page) in mail {
            if let Err(error) = &page
                && !matches!(**error, KvError::Stopping)
            {
                self.failed(now, "timed messages cannot be read from kv", error);
            }
            answer(self, page.map(rows).ok(), now);
        }
    }
}

pub(super) fn range(from: RowKey, to: Option<RowKey>) -> Range {
    Range {
        family: Family::Timers,
        from: from.encode(),
        to: to.map(|to| to.encode()),
        limit: PAGE_ROWS,
    }
}

/// The rows of a page. What is no row was written by nobody we know, and says nothing.
pub(super) fn rows(page: Vec<crate::kv::Row>) -> Vec<(RowKey, Row)> {
    let row =
        |(key, value): (Box<[u8]>, Box<[u8]>)| Some((RowKey::decode(&key)?, Row::decode(&value)?));
    page.into_iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests;
