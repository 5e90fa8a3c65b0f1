use super::super::rebuild::Rebuild;
use super::*;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

const RULES: Rules = Rules {
    timeout_ms: 1000,
    max_checks: 3,
    keep_ms: 100_000,
};

fn half(offset: u64) -> Half<'static> {
    Half {
        offset,
        first: offset,
        since: 0,
        immunity_s: 0,
        checks: 0,
        topic: "t",
    }
}

fn table(halves: u64) -> Table {
    let mut table = Table::new(0, 0);
    for offset in 0..halves {
        table.open(&half(offset), 0);
    }
    table
}

/// What a whole round takes.
fn taken(table: &mut Table, now: i64, rules: &Rules) -> Vec<Due> {
    let (mut from, until, mut taken) = (0, table.end(), Vec::new());
    while from < until {
        taken.extend(table.due(&mut from, until, now, rules));
    }
    taken
}

fn due(table: &mut Table, now: i64) -> Vec<(u64, Step)> {
    let taken = taken(table, now, &RULES).into_iter();
    taken.map(|due| (due.of.newest, due.step)).collect()
}

#[test]
fn a_transaction_ends_once() {
    let mut table = table(1);
    let claim = table.claim(0).unwrap();
    assert_eq!(table.claim(0), None);
    table.release(claim);
    let claim = table.claim(0).unwrap();
    table.finish(claim, Outcome::Committed, 5);
    assert_eq!(
        (table.claim(0), table.claim(7), table.len()),
        (None, None, 0)
    );
    let figures = &table.figures()[0];
    assert_eq!(
        (figures.committed, figures.open, figures.changed),
        (1, 0, 5)
    );
}

#[test]
fn a_half_is_asked_about_after_its_time_and_discarded_in_the_end() {
    let mut table = table(1);
    assert_eq!(due(&mut table, 1000), []);
    for (round, newest) in [(1_u16, 0), (2, 1), (3, 2)] {
        assert_eq!(due(&mut table, 1001), [(newest, Step::Check)]);
        assert_eq!(due(&mut table, 1001), [], "it is being renewed");
        assert!(table.renewed(0, Some((newest + 1, round)), 0));
    }
    assert_eq!(due(&mut table, 1001), [(3, Step::Discard)]);
    let claim = table.claim(0).unwrap();
    assert!(!table.renewed(0, None, 0));
    table.finish(claim, Outcome::Discarded, 0);
    assert_eq!((table.len(), table.marks()), (0, (4, 0)));
}

#[test]
fn immunity_age_and_a_clock_that_was_put_back() {
    let mut table = Table::new(0, 0);
    table.open(
        &Half {
            immunity_s: 5,
            ..half(0)
        },
        0,
    );
    table.open(
        &Half {
            since: 50_000,
            ..half(1)
        },
        0,
    );
    assert_eq!(due(&mut table, 5000), [(1, Step::Check)]);
    assert_eq!(due(&mut table, 5001), [(0, Step::Check)]);
    table.renewed(0, None, 0);
    table.renewed(1, None, 0);
    assert_eq!(
        due(&mut table, 100_001),
        [(0, Step::Discard), (1, Step::Check)]
    );
}

#[test]
fn an_end_while_a_copy_is_being_appended_counts_and_the_copy_is_written_off() {
    for finish_first in [true, false] {
        let mut table = table(2);
        assert_eq!(due(&mut table, 1001).len(), 2);
        let claim = table.claim(0).unwrap();
        assert_eq!(claim.offsets().collect::<Vec<_>>(), [0]);
        if finish_first {
            table.finish(claim, Outcome::Committed, 0);
            assert_eq!(table.marks().0, 0, "the copy is not known yet");
            assert!(!table.renewed(0, Some((2, 1)), 0));
        } else {
            assert!(!table.renewed(0, Some((2, 1)), 0));
            table.finish(claim, Outcome::Committed, 0);
        }
        assert!(table.renewed(1, Some((3, 1)), 0));
        assert_eq!(table.owed().collect::<Vec<_>>(), [2]);
        assert_eq!((table.marks().0, table.claim(0)), (2, None));
        table.recorded(0, &[2]);
        assert_eq!(table.marks().0, 3);
        let claim = table.claim(1).unwrap();
        assert_eq!(claim.offsets().collect::<Vec<_>>(), [3, 1]);
    }
}

#[test]
fn marks_pass_what_is_over_in_any_order() {
    let mut table = Table::new(10, 100);
    for offset in [12, 10, 13] {
        table.open(&half(offset), 0);
    }
    for (first, op) in [(10, 101), (13, 100), (12, 102)] {
        let claim = table.claim(first).unwrap();
        table.finish(claim, Outcome::RolledBack, 0);
        table.recorded(op, &[first]);
    }
    assert_eq!(table.marks(), (11, 100), "nobody has told of 11 yet");
    table.open(&half(11), 0);
    assert_eq!(table.marks(), (11, 100));
    let claim = table.claim(11).unwrap();
    table.finish(claim, Outcome::RolledBack, 0);
    table.recorded(103, &[11]);
    assert_eq!(table.marks(), (14, 104));
    for op in 104..104 + 3 * OPS {
        table.recorded(op, &[0]);
    }
    assert_eq!(table.marks(), (14, 104 + 3 * OPS));
    assert!(table.ops.groups.len() <= 1);
}

#[test]
fn a_half_that_keeps_many_back_is_renewed_without_a_question() {
    let mut table = Table::new(0, 0);
    table.open(
        &Half {
            immunity_s: 50,
            ..half(0)
        },
        0,
    );
    table.skip_to(2 * KEPT_BACK);
    assert_eq!(due(&mut table, 1001), [(0, Step::Renew)]);
}

#[test]
fn a_round_goes_on_where_it_was() {
    let halves = 2 * VISITED as u64 + 10;
    let mut table = Table::new(0, 0);
    for offset in 0..halves {
        let immunity_s = if offset == 5 || offset == halves - 1 {
            0
        } else {
            50
        };
        table.open(
            &Half {
                immunity_s,
                ..half(offset)
            },
            0,
        );
    }
    assert_eq!(
        due(&mut table, 1001),
        [(5, Step::Check), (halves - 1, Step::Check)]
    );
    let mut from = 6;
    assert_eq!(table.due(&mut from, halves, 0, &RULES), None);
    assert_eq!(from, 6 + VISITED as u64);
}

#[test]
fn copies_of_brokers_that_name_no_first_half_are_known_by_their_message() {
    let mut rebuild = Rebuild::new(0, 0, 0);
    for (offset, checks, message) in [(0, 0, 7), (1, 0, 8), (2, 1, 7), (3, 0, 8)] {
        rebuild.half(
            &Half {
                checks,
                ..half(offset)
            },
            message,
        );
    }
    rebuild.op(0, &[2], true);
    let table = rebuild.finish(4);
    let open: Vec<_> = table.list(0).map(|open| open.newest).collect();
    assert_eq!(open, [1, 3], "a message sent twice is two transactions");
}

/// A log, its queues, and what a broker has of it in memory.
struct World {
    rng: StdRng,
    seed: u64,
    log: Vec<Record>,
    flushed: usize,
    /// What is on the disk beside the log: marks of the queues, and of the log.
    saved: (u64, u64, usize),
    /// The same, for when the log is flushed so far.
    wanted: Option<(usize, (u64, u64, usize))>,
    table: Table,
    now: i64,
    ends: Vec<(Claim, Outcome)>,
    round: Vec<Due>,
    /// What was appended and not taken note of.
    news: Vec<News>,
}

#[derive(Clone, Debug)]
enum Record {
    Half {
        offset: u64,
        first: u64,
        checks: u16,
    },
    Op {
        offset: u64,
        halves: Vec<u64>,
        ended: bool,
    },
    /// Of the message, or of its copy in the topic of discarded ones.
    End(u64, Outcome),
}

enum News {
    Half(u64),
    Op(u64, Vec<u64>),
    Finished(Claim, Outcome),
    Renewed(u64, u64, u16),
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            seed,
            log: Vec::new(),
            flushed: 0,
            saved: (0, 0, 0),
            wanted: None,
            table: Table::new(0, 0),
            now: 0,
            ends: Vec::new(),
            round: Vec::new(),
            news: Vec::new(),
        }
    }

    fn halves(&self) -> u64 {
        let halves = self.log.iter().filter(|r| matches!(r, Record::Half { .. }));
        halves.count() as u64
    }

    fn ops(&self) -> u64 {
        let ops = self.log.iter().filter(|r| matches!(r, Record::Op { .. }));
        ops.count() as u64
    }

    fn push_half(&mut self, first: Option<u64>, checks: u16) -> u64 {
        let offset = self.halves();
        let first = first.unwrap_or(offset);
        self.log.push(Record::Half {
            offset,
            first,
            checks,
        });
        offset
    }

    fn push_op(&mut self, halves: Vec<u64>, ended: bool) {
        let offset = self.ops();
        self.log.push(Record::Op {
            offset,
            halves: halves.clone(),
            ended,
        });
        self.news.push(News::Op(offset, halves));
    }

    fn outcomes(&self, first: u64) -> Vec<Outcome> {
        let of = |record: &Record| match record {
            Record::End(of, outcome) if *of == first => Some(*outcome),
            _ => None,
        };
        self.log.iter().filter_map(of).collect()
    }

    fn rolled_back(&self, first: u64) -> bool {
        let names = |record: &Record| match record {
            Record::Op {
                halves,
                ended: true,
                ..
            } => halves.contains(&first),
            _ => false,
        };
        self.log.iter().any(names)
    }

    fn step(&mut self) {
        self.now += 100;
        match self.rng.random_range(0..14) {
            0..3 => {
                let offset = self.push_half(None, 0);
                self.news.push(News::Half(offset));
            }
            3..5 => self.claim(),
            5..7 => self.end(),
            7 => {
                if self.round.is_empty() {
                    let rules = Rules {
                        keep_ms: 3000,
                        ..RULES
                    };
                    self.round = taken(&mut self.table, self.now, &rules);
                }
            }
            8 => self.renew(),
            9..11 => self.take_note(),
            11 => {
                let (halves, ops) = self.table.marks();
                self.wanted = Some((self.log.len(), (halves, ops, self.log.len())));
            }
            12 => {
                self.flushed = self.log.len();
                if let Some((_, marks)) = self.wanted.take_if(|(end, _)| *end <= self.flushed) {
                    self.saved = marks;
                }
            }
            _ => {
                if self.rng.random_bool(0.1) {
                    self.crash();
                }
            }
        }
    }

    fn claim(&mut self) {
        let firsts: Vec<u64> = self.table.list(0).map(|open| open.first).collect();
        let first = match firsts.choose(&mut self.rng) {
            Some(first) if self.rng.random_bool(0.8) => *first,
            _ => self.rng.random_range(0..=self.halves()),
        };
        if let Some(claim) = self.table.claim(first) {
            let outcomes = [Outcome::Committed, Outcome::RolledBack];
            let outcome = *outcomes.choose(&mut self.rng).unwrap();
            self.ends.push((claim, outcome));
        }
    }

    fn end(&mut self) {
        if self.rng.random_bool(0.1) {
            for (claim, _) in self.ends.drain(..) {
                self.table.release(claim);
            }
        }
        let ends = std::mem::take(&mut self.ends);
        let mut named: Vec<u64> = self.table.owed().collect();
        for (claim, outcome) in ends {
            if outcome == Outcome::Committed {
                self.log.push(Record::End(claim.first, outcome));
            }
            named.extend(claim.offsets());
            self.news.push(News::Finished(claim, outcome));
        }
        if !named.is_empty() {
            self.push_op(named, true);
        }
    }

    fn renew(&mut self) {
        let mut replaced = Vec::new();
        let mut over: Vec<u64> = self.table.owed().collect();
        for due in std::mem::take(&mut self.round) {
            if due.step == Step::Discard {
                if let Some(claim) = self.table.claim(due.of.first) {
                    self.log.push(Record::End(claim.first, Outcome::Discarded));
                    over.extend(claim.offsets());
                    self.news.push(News::Finished(claim, Outcome::Discarded));
                }
                self.table.renewed(due.of.first, None, self.now);
            } else if self.rng.random_bool(0.1) {
                self.table.renewed(due.of.first, None, self.now);
            } else {
                let offset = self.push_half(Some(due.of.first), due.checks + 1);
                replaced.push(due.of.newest);
                self.news
                    .push(News::Renewed(due.of.first, offset, due.checks + 1));
            }
        }
        if !replaced.is_empty() {
            self.push_op(replaced, false);
        }
        if !over.is_empty() {
            self.push_op(over, true);
        }
    }

    /// Threads tell in any order.
    fn take_note(&mut self) {
        while !self.news.is_empty() && self.rng.random_bool(0.8) {
            let at = self.rng.random_range(0..self.news.len());
            match self.news.swap_remove(at) {
                News::Half(offset) => {
                    let since = self.now;
                    self.table.open(
                        &Half {
                            since,
                            ..half(offset)
                        },
                        since,
                    );
                }
                News::Op(offset, halves) => self.table.recorded(offset, &halves),
                News::Finished(claim, outcome) => {
                    self.table.finish(claim, outcome, self.now);
                }
                News::Renewed(first, offset, checks) => {
                    self.table.renewed(first, Some((offset, checks)), self.now);
                }
            }
        }
    }

    /// The process ends; with the power the end of the log may go, too.
    fn crash(&mut self) {
        if self.rng.random_bool(0.7) {
            let end = self.rng.random_range(self.flushed..=self.log.len());
            self.log.truncate(end);
        }
        (self.flushed, self.wanted) = (self.log.len(), None);
        self.ends.clear();
        self.round.clear();
        self.news.clear();
        let (halves, ops, mark) = self.saved;
        let mut rebuild = Rebuild::new(halves, ops, self.now);
        for record in &self.log {
            if let Record::Half {
                offset,
                first,
                checks,
            } = *record
                && offset >= halves
            {
                let since = self.now;
                rebuild.half(
                    &Half {
                        first,
                        since,
                        checks,
                        ..half(offset)
                    },
                    offset,
                );
            }
        }
        for record in &self.log {
            if let Record::Op {
                offset,
                halves,
                ended,
            } = record
                && *offset >= ops
            {
                rebuild.op(*offset, halves, *ended);
            }
        }
        for record in &self.log[mark..] {
            if let Record::End(first, _) = record {
                rebuild.ended(*first);
            }
        }
        self.table = rebuild.finish(self.halves());
        let owed: Vec<u64> = self.table.owed().collect();
        if !owed.is_empty() {
            self.push_op(owed, true);
            self.flushed = self.log.len();
            self.take_all_notes();
        }
        self.check();
    }

    fn take_all_notes(&mut self) {
        while !self.news.is_empty() {
            self.take_note();
        }
    }

    /// Whoever can be asked about is open, and nobody else.
    fn check(&self) {
        let seed = self.seed;
        let open: BTreeSet<u64> = self.table.list(0).map(|open| open.first).collect();
        for record in &self.log {
            let Record::Half { first, .. } = *record else {
                continue;
            };
            let outcomes = self.outcomes(first);
            assert!(
                outcomes.len() <= 1,
                "seed {seed}: {first} ended as {outcomes:?}"
            );
            let over = !outcomes.is_empty() || self.rolled_back(first);
            assert_eq!(over, !open.contains(&first), "seed {seed}: {first}");
        }
    }
}

#[test]
fn no_transaction_is_lost_or_ended_twice_whatever_happens() {
    for seed in 0..400 {
        let mut world = World::new(seed);
        for _ in 0..600 {
            world.step();
        }
        world.end();
        world.renew();
        world.take_all_notes();
        world.check();
        world.crash();
        let first = world
            .log
            .iter()
            .position(|r| matches!(r, Record::Half { .. }));
        assert!(first.is_some(), "seed {seed} did nothing");
    }
}
