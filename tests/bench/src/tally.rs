//! What one thread of a run counts: messages, times, faults, and which offsets were promised and read.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::ledger::Ledger;

/// Longest time a histogram holds, in nanoseconds; longer ones count as this.
const LONGEST_NS: u64 = 120_000_000_000;

/// How many faults are described; the others are only counted.
const EXAMPLES: usize = 8;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A reply with another code than success.
    Refused,
    /// No reply in time, or the connection ended.
    Unanswered,
    /// A reply that makes no sense: unknown opaque, missing fields, a wrong queue.
    Unexpected,
    /// Acknowledged offsets leave a hole or were given twice.
    Offset,
    /// A message that was acknowledged and not read.
    Lost,
    /// A timer that was delivered before its time.
    Early,
    /// A message read at two offsets, or an offset read twice.
    Doubled,
    /// A message at another place than promised.
    Reordered,
    /// A message whose body is not what was sent, or a record that cannot be read.
    Altered,
}

/// Faults by kind, with a few examples.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    counts: BTreeMap<Fault, u64>,
    codes: BTreeMap<i32, u64>,
    examples: Vec<String>,
}

impl Faults {
    /// Counts `count` faults; `example` is asked only while examples are still collected.
    pub fn add(&mut self, fault: Fault, count: u64, example: impl FnOnce() -> String) {
        if count == 0 {
            return;
        }
        *self.counts.entry(fault).or_default() += count;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }

    /// Counts a reply whose code is not success.
    pub fn refused(&mut self, code: i32, remark: &[u8]) {
        *self.codes.entry(code).or_default() += 1;
        let first_of_its_code = self.codes[&code] == 1;
        *self.counts.entry(Fault::Refused).or_default() += 1;
        if first_of_its_code && self.examples.len() < EXAMPLES {
            self.examples
                .push(format!("code {code}: {}", String::from_utf8_lossy(remark)));
        }
    }

    /// Takes over the faults of another thread.
    pub fn merge(&mut self, other: Self) {
        for (fault, count) in other.counts {
            *self.counts.entry(fault).or_default() += count;
        }
        for (code, count) in other.codes {
            *self.codes.entry(code).or_default() += count;
        }
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES);
    }

    /// Counts by kind; kinds without a fault are absent.
    pub fn counts(&self) -> &BTreeMap<Fault, u64> {
        &self.counts
    }

    /// Refused requests by response code.
    pub fn codes(&self) -> &BTreeMap<i32, u64> {
        &self.codes
    }

    /// Descriptions of the first ones.
    pub fn examples(&self) -> &[String] {
        &self.examples
    }

    /// Nothing went wrong.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// A histogram of nanoseconds with three significant digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3)
        .unwrap_or_else(|_| unreachable!("these bounds are valid"))
}

/// The counters of a thread, and their sum at the end.
pub struct Tally {
    /// The warm-up is over and the end has not come.
    pub measuring: bool,
    /// Messages (or routes) since the thread began, also outside the measured time.
    pub messages: u64,
    /// Their body bytes.
    pub bytes: u64,
    /// Time per request or message of what the run is about, while measuring.
    pub latency: Histogram<u64>,
    /// End to end only: time from send to acknowledgement.
    pub acknowledged_after: Histogram<u64>,
    /// What went wrong, over the whole run.
    pub faults: Faults,
    /// Which message each acknowledged offset holds.
    pub acknowledged: Ledger,
    /// Which message was read at each offset.
    pub read: Ledger,
    /// When the last reply came, in nanoseconds.
    pub last_reply_ns: u64,
}

impl Tally {
    /// Empty counters; `bases` is at which offset each queue begins.
    pub fn new(bases: &[u64]) -> Self {
        Self {
            measuring: false,
            messages: 0,
            bytes: 0,
            latency: histogram(),
            acknowledged_after: histogram(),
            faults: Faults::default(),
            acknowledged: Ledger::new(bases),
            read: Ledger::new(bases),
            last_reply_ns: 0,
        }
    }

    /// Counts `messages` of `bytes` in all.
    pub fn count(&mut self, messages: u64, bytes: usize) {
        self.messages += messages;
        self.bytes += bytes as u64;
    }

    /// Notes a time of the main kind.
    pub fn time(&mut self, nanoseconds: u64) {
        if self.measuring {
            self.latency.saturating_record(nanoseconds);
        }
    }

    /// Notes a time from send to acknowledgement of an end-to-end run.
    pub fn time_acknowledged(&mut self, nanoseconds: u64) {
        if self.measuring {
            self.acknowledged_after.saturating_record(nanoseconds);
        }
    }

    /// Adds the counters of another thread.
    pub fn merge(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.last_reply_ns = self.last_reply_ns.max(other.last_reply_ns);
        self.faults.merge(other.faults);
        // The bounds are equal, so every value fits.
        let _ = self.latency.add(&other.latency);
        let _ = self.acknowledged_after.add(&other.acknowledged_after);
        let twice = self.acknowledged.merge(&other.acknowledged);
        self.faults.add(Fault::Offset, twice, || {
            format!("{twice} offsets were given to two connections")
        });
        let twice = self.read.merge(&other.read);
        self.faults.add(Fault::Doubled, twice, || {
            format!("{twice} offsets were read on two connections")
        });
    }
}
