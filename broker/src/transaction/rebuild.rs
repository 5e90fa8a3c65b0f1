//! The table made again from what the log holds: the half queue and the op queue behind their marks, and the records that were
//! appended after the last mark of the log, which a crash may have cut off from the op record behind them.

use super::table::{Claim, Half, Table};
use std::collections::{HashMap, HashSet};

/// Gathers what is there, in the order of the methods.
pub struct Rebuild {
    table: Table,
    /// Copies of other halves: their transaction.
    copies: HashMap<u64, u64>,
    /// Newest copy of each message, by what tells it from others, and its transaction.
    messages: HashMap<u64, (u64, u64)>,
    /// Halves that op records name.
    named: HashSet<u64>,
    /// Transactions that are over.
    over: HashSet<u64>,
    now: i64,
}

impl Rebuild {
    /// Begins with the first records that count.
    pub fn new(halves: u64, ops: u64, now: i64) -> Self {
        Self {
            table: Table::new(halves, ops),
            copies: HashMap::new(),
            messages: HashMap::new(),
            named: HashSet::new(),
            over: HashSet::new(),
            now,
        }
    }

    /// The next record of the half queue. `message` is the same for copies of one message and else for no others: brokers
    /// that asked do not all write down which half they have copied.
    pub fn half(&mut self, half: &Half<'_>, message: u64) {
        let mut half = half.clone();
        let known = self.messages.get(&message).copied();
        if let Some((first, checks)) = known
            && half.first == half.offset
            && u64::from(half.checks) > checks
        {
            half.first = first;
        }
        self.messages
            .insert(message, (half.first, half.checks.into()));
        if half.first != half.offset {
            self.copies.insert(half.offset, half.first);
        }
        self.table.open(&half, self.now);
    }

    /// The next record of the op queue. Without `ended` it names halves that have a newer copy.
    pub fn op(&mut self, offset: u64, halves: &[u64], ended: bool) {
        self.table.recorded(offset, halves);
        self.named.extend(halves);
        if ended {
            for half in halves {
                let first = self.copies.get(half).copied().unwrap_or(*half);
                self.over.insert(first);
            }
        }
    }

    /// The end of the transaction of this half was found in the log.
    pub fn ended(&mut self, first: u64) {
        let first = self.copies.get(&first).copied().unwrap_or(first);
        self.over.insert(first);
    }

    /// The table of a half queue that ends at `end`. What it owes has to be written down.
    pub fn finish(mut self, end: u64) -> Table {
        self.table.skip_to(end);
        for first in self.over {
            if let Some(Claim { newest, .. }) = self.table.forget(first, self.now)
                && !self.named.contains(&newest)
            {
                self.table.owe([newest]);
            }
        }
        self.table
    }
}
