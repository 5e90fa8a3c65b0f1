//! Which half messages are open, and what is to be done with them. Knows no store, no clock and no sockets.
//!
//! A half message that is asked about is appended again, as the reference does it; all copies are one transaction, named by
//! the offset of its first half in the half queue. The log is the truth: what is here can be made again from the half queue
//! and the op queue behind [`Table::marks`], see [`super::rebuild`]. So a mark never passes a half that is open, nor one whose end is
//! not written down yet.

use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Transactions that are looked at in one step of a round.
const VISITED: usize = 4096;
/// A half that is not asked about for long is appended again when it keeps so many others behind the mark: they would all be
/// read at the next start. Many open ones may keep more.
const KEPT_BACK: u64 = 100_000;
/// Op records are remembered by so many at once.
const OPS: u64 = 1024;

/// A record of the half queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Half<'a> {
    /// Its offset.
    pub offset: u64,
    /// Offset of the first copy.
    pub first: u64,
    /// What its age counts from, in milliseconds since 1970.
    pub since: i64,
    /// Seconds in which nobody is asked; 0: as the settings say.
    pub immunity_s: u32,
    /// How often somebody was asked before this copy was appended, and with it.
    pub checks: u16,
    /// The topic the message is meant for.
    pub topic: &'a str,
}

/// How long to wait, and for how long to go on.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Age at which a half without an immunity time of its own is asked about.
    pub timeout_ms: i64,
    /// After so many checks it is discarded.
    pub max_checks: u16,
    /// At this age, too: its record will be deleted.
    pub keep_ms: i64,
}

/// What a round does with a half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Appends it again and asks.
    Check,
    /// Appends it again.
    Renew,
    /// Moves it to the topic of those nobody could tell about.
    Discard,
}

/// A half of which a round takes care, to be given back by [`Table::renewed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The transaction and its newest half.
    pub of: Claim,
    /// What to do with it.
    pub step: Step,
    /// How often somebody was asked.
    pub checks: u16,
    /// It keeps many others behind the mark.
    pub kept_back: bool,
}

/// A transaction that is being ended: nobody else ends it until it is finished or released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Offset of its first half.
    pub first: u64,
    /// Offset of its newest half.
    pub newest: u64,
}

impl Claim {
    /// The offsets an op record names for it.
    pub fn offsets(self) -> impl Iterator<Item = u64> {
        let first = (self.first != self.newest).then_some(self.first);
        std::iter::once(self.newest).chain(first)
    }
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its message is in its topic.
    Committed,
    /// Nobody will see it.
    RolledBack,
    /// It is in the topic of those nobody could tell about.
    Discarded,
}

/// What happened to the transactions of one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicFigures {
    /// The topic.
    pub topic: Box<str>,
    /// Half messages nobody has decided about.
    pub open: u64,
    /// When that number last changed, in milliseconds since 1970.
    pub changed: i64,
    /// Since the start of the broker.
    pub committed: u64,
    /// Since the start of the broker.
    pub rolled_back: u64,
    /// Since the start of the broker.
    pub discarded: u64,
    /// Questions, since the start of the broker.
    pub checks: u64,
}

/// An open transaction as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Offset of its newest half.
    pub newest: u64,
    /// Offset of its first half.
    pub first: u64,
    /// What its age counts from.
    pub since: i64,
    /// How often somebody was asked.
    pub checks: u16,
}

#[derive(Debug)]
struct Pending {
    first: u64,
    since: i64,
    immunity_s: u32,
    /// Place in `topics`.
    topic: u32,
    checks: u16,
    /// Claimed.
    ending: bool,
    /// A round has it, and a copy of it may be on its way.
    renewing: bool,
    /// Over, but its copy is not known yet, which has to be written off.
    over: bool,
}

/// All open transactions.
#[derive(Debug, Default)]
pub struct Table {
    /// By the offset of their newest half.
    halves: BTreeMap<u64, Pending>,
    /// From the first half to the newest, where that is another.
    renewed: HashMap<u64, u64>,
    seen: Frontier,
    ops: Ops,
    /// Halves that are over without an op record that says so.
    owed: BTreeSet<u64>,
    topics: Vec<TopicFigures>,
    by_name: HashMap<Box<str>, u32>,
}

impl Table {
    /// An empty table whose half queue goes on at `halves` and whose op queue at `ops`.
    pub fn new(halves: u64, ops: u64) -> Self {
        let mut table = Self::default();
        table.seen.next = halves;
        (table.ops.start, table.ops.next) = (ops, ops);
        table
    }

    /// Takes a half that was appended. One that is a copy takes the place of the one it was made of.
    pub fn open(&mut self, half: &Half<'_>, now: i64) {
        self.seen.note(half.offset);
        if let Some((older, _)) = self.pending(half.first) {
            self.remove(older, now);
        }
        let topic = self.topic(half.topic);
        let figures = self.figures_mut(topic);
        (figures.open, figures.changed) = (figures.open + 1, now);
        let pending = Pending {
            first: half.first,
            since: half.since,
            immunity_s: half.immunity_s,
            topic,
            checks: half.checks,
            ending: false,
            renewing: false,
            over: false,
        };
        if half.first != half.offset {
            self.renewed.insert(half.first, half.offset);
        }
        self.halves.insert(half.offset, pending);
    }

    /// All records of the half queue before `end` were taken, or are no half messages.
    pub(super) fn skip_to(&mut self, end: u64) {
        self.seen.next = self.seen.next.max(end);
        self.seen.ahead.retain(|offset| *offset > end);
    }

    /// Begins to end a transaction; `None` when it is over, or somebody else is ending it.
    pub fn claim(&mut self, first: u64) -> Option<Claim> {
        let (newest, pending) = self.pending(first)?;
        let taken = std::mem::replace(&mut pending.ending, true);
        (!taken).then_some(Claim { first, newest })
    }

    /// It was not ended after all.
    pub fn release(&mut self, claim: Claim) {
        if let Some((_, pending)) = self.pending(claim.first) {
            pending.ending = false;
        }
    }

    /// It was ended, and the end is in the log. Gives its topic and what its age counted from.
    pub fn finish(&mut self, claim: Claim, outcome: Outcome, now: i64) -> Option<(&str, i64)> {
        let (newest, pending) = self.pending(claim.first)?;
        let (topic, since) = (pending.topic, pending.since);
        if pending.renewing {
            pending.over = true;
        } else {
            self.remove(newest, now);
            if newest != claim.newest {
                // A copy came between; the op record of the end does not name it.
                self.owed.insert(newest);
            }
        }
        let figures = self.figures_mut(topic);
        match outcome {
            Outcome::Committed => figures.committed += 1,
            Outcome::RolledBack => figures.rolled_back += 1,
            Outcome::Discarded => figures.discarded += 1,
        }
        Some((&figures.topic, since))
    }

    /// Halves that are over without an op record that says so: the next one should.
    pub fn owed(&self) -> impl Iterator<Item = u64> {
        self.owed.iter().copied()
    }

    /// Takes a transaction out that was over before.
    pub(super) fn forget(&mut self, first: u64, now: i64) -> Option<Claim> {
        let (newest, _) = self.pending(first)?;
        self.remove(newest, now);
        Some(Claim { first, newest })
    }

    /// These are over, and no op record says so.
    pub fn owe(&mut self, offsets: impl IntoIterator<Item = u64>) {
        self.owed.extend(offsets);
    }

    /// An op record at `offset` of its queue names these halves.
    pub fn recorded(&mut self, offset: u64, named: &[u64]) {
        for half in named {
            self.owed.remove(half);
        }
        self.ops
            .note(offset, named.iter().copied().max().unwrap_or(0));
    }

    /// Hands out the first half from `from` on and before `until` for which a round has to do something, and moves `from` behind
    /// it. `None` when there is none, or when many were looked at: until `from` has come to `until` there may be more.
    pub fn due(&mut self, from: &mut u64, until: u64, now: i64, rules: &Rules) -> Option<Due> {
        let room = KEPT_BACK.saturating_add(4 * self.halves.len() as u64);
        let end = self.seen.next;
        let begin = std::mem::replace(from, until).min(until);
        for (visited, (&newest, pending)) in self.halves.range_mut(begin..until).enumerate() {
            if visited == VISITED {
                *from = newest;
                return None;
            }
            let kept_back = end.saturating_sub(newest) > room;
            if let Some(step) = rules.step(pending, now, kept_back) {
                *from = newest + 1;
                pending.renewing = true;
                return Some(Due {
                    of: Claim {
                        first: pending.first,
                        newest,
                    },
                    step,
                    checks: pending.checks,
                    kept_back,
                });
            }
        }
        None
    }

    /// Takes one open transaction out of turn, to be checked from the beginning, for [`Self::renewed`] to give back.
    pub fn renew(&mut self, first: u64) -> Option<Due> {
        let (newest, pending) = self.pending(first)?;
        if pending.ending || std::mem::replace(&mut pending.renewing, true) {
            return None;
        }
        Some(Due {
            of: Claim { first, newest },
            step: Step::Renew,
            checks: 0,
            kept_back: false,
        })
    }

    /// The half was appended again as `copy`, with this number of checks; or it was not. True when it is still open.
    pub fn renewed(&mut self, first: u64, copy: Option<(u64, u16)>, now: i64) -> bool {
        if let Some((offset, _)) = copy {
            self.seen.note(offset);
        }
        let Some((mut newest, pending)) = self.pending(first) else {
            return false;
        };
        pending.renewing = false;
        let (over, open) = (pending.over, !pending.ending);
        if let Some((offset, checks)) = copy
            && let Some(mut pending) = self.halves.remove(&newest)
        {
            pending.checks = checks;
            self.renewed.insert(first, offset);
            self.halves.insert(offset, pending);
            newest = offset;
            if over {
                self.owed.insert(offset);
            }
        }
        if over {
            self.remove(newest, now);
        }
        open
    }

    /// Counts a question.
    pub fn asked(&mut self, first: u64) {
        if let Some(topic) = self.pending(first).map(|(_, pending)| pending.topic) {
            self.figures_mut(topic).checks += 1;
        }
    }

    /// From where on the half queue and the op queue have to be read to make the table again.
    pub fn marks(&mut self) -> (u64, u64) {
        let open = self.halves.keys().next().copied();
        let owed = self.owed.first().copied();
        let low = [open, owed].into_iter().flatten().min();
        let low = low.map_or(self.seen.next, |low| low.min(self.seen.next));
        (low, self.ops.low(low))
    }

    /// End of the half queue, as far as it was taken without a gap.
    pub fn end(&self) -> u64 {
        self.seen.next
    }

    /// Open transactions.
    pub fn len(&self) -> usize {
        self.halves.len()
    }

    /// What the age of the oldest one counts from, of some from the half `from` on, and where the next ones begin. Those that
    /// come first are not always the oldest, but asked about in turn; nobody should wait until all were looked at.
    pub fn oldest(&self, from: u64) -> (Option<i64>, Option<u64>) {
        let mut some = self.halves.range(from..);
        let oldest = some
            .by_ref()
            .take(VISITED)
            .map(|(_, half)| half.since)
            .min();
        (oldest, some.next().map(|(newest, _)| *newest))
    }

    /// What happened, by topic.
    pub fn figures(&self) -> &[TopicFigures] {
        &self.topics
    }

    /// Open transactions from the half `from` on.
    pub fn list(&self, from: u64) -> impl Iterator<Item = Open> {
        self.halves.range(from..).map(|(&newest, pending)| Open {
            newest,
            first: pending.first,
            since: pending.since,
            checks: pending.checks,
        })
    }

    /// A transaction, and its newest half.
    fn pending(&mut self, first: u64) -> Option<(u64, &mut Pending)> {
        let newest = self.renewed.get(&first).copied().unwrap_or(first);
        let pending = self.halves.get_mut(&newest)?;
        (pending.first == first).then_some((newest, pending))
    }

    fn remove(&mut self, newest: u64, now: i64) {
        if let Some(pending) = self.halves.remove(&newest) {
            self.renewed.remove(&pending.first);
            let figures = self.figures_mut(pending.topic);
            (figures.open, figures.changed) = (figures.open.saturating_sub(1), now);
        }
    }

    fn topic(&mut self, name: &str) -> u32 {
        if let Some(known) = self.by_name.get(name) {
            return *known;
        }
        let place = u32::try_from(self.topics.len()).unwrap_or(u32::MAX);
        self.topics.push(TopicFigures {
            topic: name.into(),
            ..TopicFigures::default()
        });
        self.by_name.insert(name.into(), place);
        place
    }

    fn figures_mut(&mut self, topic: u32) -> &mut TopicFigures {
        let place = usize::try_from(topic).unwrap_or(usize::MAX);
        &mut self.topics[place]
    }
}

impl Rules {
    fn step(&self, pending: &Pending, now: i64, kept_back: bool) -> Option<Step> {
        if pending.ending || pending.renewing {
            return None;
        }
        let age = now.saturating_sub(pending.since);
        if pending.checks >= self.max_checks || age > self.keep_ms {
            return Some(Step::Discard);
        }
        // A clock that was put back far makes an age below zero; nobody should wait for it to come round again.
        if age.saturating_abs() <= self.immunity_ms(pending.immunity_s) {
            return kept_back.then_some(Step::Renew);
        }
        Some(Step::Check)
    }

    /// The time in which nobody is asked about a half with this property, 0 for none.
    pub fn immunity_ms(&self, seconds: u32) -> i64 {
        match seconds {
            0 => self.timeout_ms,
            seconds => i64::from(seconds) * 1000,
        }
    }
}

/// Offsets of a queue that come in nearly their order, from several threads.
#[derive(Debug, Default)]
struct Frontier {
    /// All before it were there.
    next: u64,
    ahead: BTreeSet<u64>,
}

impl Frontier {
    fn note(&mut self, offset: u64) {
        if offset > self.next {
            self.ahead.insert(offset);
            return;
        }
        if offset == self.next {
            self.next += 1;
        }
        while self.ahead.first().is_some_and(|first| *first <= self.next) {
            if self.ahead.pop_first() == Some(self.next) {
                self.next += 1;
            }
        }
    }
}

/// What the op records name, so far as it matters.
#[derive(Debug, Default)]
struct Ops {
    /// Offset of the first record of the first group.
    start: u64,
    /// Behind the last record.
    next: u64,
    groups: VecDeque<OpGroup>,
}

#[derive(Debug, Default, Clone)]
struct OpGroup {
    records: u64,
    highest: u64,
}

impl Ops {
    fn note(&mut self, offset: u64, highest: u64) {
        let Some(place) = offset.checked_sub(self.start) else {
            return;
        };
        let group = usize::try_from(place / OPS).unwrap_or(usize::MAX);
        if self.groups.len() <= group {
            self.groups.resize(group + 1, OpGroup::default());
        }
        let group = &mut self.groups[group];
        group.records += 1;
        group.highest = group.highest.max(highest);
        self.next = self.next.max(offset + 1);
    }

    /// The first record that may name a half at or behind `half`.
    fn low(&mut self, half: u64) -> u64 {
        let passed = |group: &OpGroup| group.highest < half;
        while self
            .groups
            .front()
            .is_some_and(|group| group.records == OPS && passed(group))
        {
            self.groups.pop_front();
            self.start += OPS;
        }
        match self.groups.front() {
            Some(last) if last.records == self.next - self.start && passed(last) => self.next,
            _ => self.start,
        }
    }
}

#[cfg(test)]
mod tests;
