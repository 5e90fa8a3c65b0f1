use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many faults are described.
const TEXTS: usize = 12;

/// What must not happen to a message that was to come later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Acknowledged and never delivered.
    Lost,
    /// Delivered before its time, or before its transaction was ended.
    Early,
    /// Delivered again.
    Twice,
    /// Delivered although recalled or rolled back.
    Unwanted,
    /// Before one that had to come first.
    Disorder,
    /// Anything else.
    Other,
}

/// What a run has found.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Acknowledged and never delivered.
    pub lost: u64,
    /// Delivered before its time, or before its transaction was ended.
    pub early: u64,
    /// Delivered more than once.
    pub twice: u64,
    /// Delivered although recalled or rolled back.
    pub unwanted: u64,
    /// Out of order.
    pub disorder: u64,
    /// Everything else.
    pub other: u64,
    /// What the first ones were.
    pub texts: Vec<String>,
}

impl Verdict {
    /// How many faults there are.
    pub fn count(&self) -> u64 {
        self.lost + self.early + self.twice + self.unwanted + self.disorder + self.other
    }

    /// Takes over what another store has shown.
    pub fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.early += other.early;
        self.twice += other.twice;
        self.unwanted += other.unwanted;
        self.disorder += other.disorder;
        self.other += other.other;
        self.texts.extend(other.texts.iter().cloned());
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} lost, {} early, {} twice, {} unwanted, {} out of order, {} other faults",
            self.lost, self.early, self.twice, self.unwanted, self.disorder, self.other
        )?;
        self.texts
            .iter()
            .try_for_each(|text| write!(f, "\n  {text}"))
    }
}

/// What clients asked for, were promised and have seen.
#[derive(Debug, Default)]
pub struct Journal<N> {
    pages: Mutex<Pages<N>>,
}

/// What is behind a journal's lock.
#[derive(Debug, Default)]
pub(super) struct Pages<N> {
    /// What its kind notes.
    pub(super) notes: N,
    /// Where each queue is read on.
    pub(super) positions: HashMap<(&'static str, u32), i64>,
    /// Acknowledged actions.
    pub(super) acknowledged: u64,
    /// Deliveries that were seen.
    pub(super) delivered: u64,
    /// The longest time from when a message could be delivered to when it was, in milliseconds.
    pub(super) latest_ms: i64,
    /// When the broker was ready the last time, in milliseconds since 1970.
    pub(super) ready: i64,
    /// A power cut is taking its picture: what comes from now on was never promised.
    pub(super) closed: bool,
    pub(super) verdict: Verdict,
}

impl<N> Pages<N> {
    pub(super) fn fault(&mut self, wrong: Wrong, text: impl FnOnce() -> String) {
        let verdict = &mut self.verdict;
        let count = match wrong {
            Wrong::Lost => &mut verdict.lost,
            Wrong::Early => &mut verdict.early,
            Wrong::Twice => &mut verdict.twice,
            Wrong::Unwanted => &mut verdict.unwanted,
            Wrong::Disorder => &mut verdict.disorder,
            Wrong::Other => &mut verdict.other,
        };
        *count += 1;
        if verdict.texts.len() < TEXTS {
            verdict.texts.push(format!("{wrong:?}: {}", text()));
        }
    }
}

impl<N> Journal<N> {
    pub(super) fn pages(&self) -> MutexGuard<'_, Pages<N>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is about to be asked for: it may happen whatever becomes of the answer.
    pub(super) fn ask(&self, entry: impl FnOnce(&mut Pages<N>)) {
        entry(&mut self.pages());
    }

    /// Notes what has happened, unless that counts no more.
    pub(super) fn note(&self, entry: impl FnOnce(&mut Pages<N>)) {
        let mut pages = self.pages();
        if !pages.closed {
            entry(&mut pages);
        }
    }

    pub(super) fn fault(&self, wrong: Wrong, text: impl FnOnce() -> String) {
        self.note(|pages| pages.fault(wrong, text));
    }

    /// Where a queue is read on.
    pub(super) fn position(&self, queue: (&'static str, u32)) -> i64 {
        self.pages().positions.get(&queue).copied().unwrap_or(0)
    }
}
