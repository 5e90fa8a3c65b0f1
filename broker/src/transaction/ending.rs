//! Transactions on their way to their end.

use super::Transactions;
use super::table::{Claim, Outcome};
use store::{Appended, RecordBatch, StoreError, StoreWriter};

/// Transactions that one thread is ending, and nobody else meanwhile. Those that are not finished are open again.
pub struct Endings {
    transactions: Transactions,
    claims: Vec<Claim>,
    /// What the op record names.
    named: Vec<u64>,
}

impl Endings {
    /// None of `transactions` yet.
    pub fn new(transactions: Transactions) -> Self {
        Self {
            transactions,
            claims: Vec::new(),
            named: Vec::new(),
        }
    }

    /// Begins to end a transaction, given its first half; false when it is over or about to be.
    pub fn claim(&mut self, first: u64) -> bool {
        let claim = self.transactions.table().claim(first);
        self.claims.extend(claim);
        claim.is_some()
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.claims.len()
    }

    /// Those from the `len`th on are open again.
    pub fn truncate(&mut self, len: usize) {
        if self.claims.len() > len {
            let mut table = self.transactions.table();
            for claim in self.claims.drain(len..) {
                table.release(claim);
            }
        }
    }

    /// Adds the op record that says that these are over, and others that nothing says so of; gives its place in the batch,
    /// `None` when there is nothing to say.
    ///
    /// # Errors
    /// [`StoreError::Record`]: it is too long.
    pub fn push_op(
        &mut self,
        batch: &mut RecordBatch,
        writer: &StoreWriter,
    ) -> Result<Option<usize>, StoreError> {
        self.named.clear();
        let named = self.claims.iter().copied().flat_map(Claim::offsets);
        self.named.extend(named);
        self.named.extend(self.transactions.table().owed());
        if self.named.is_empty() {
            return Ok(None);
        }
        let place = batch.len();
        self.transactions
            .push_op_record(batch, writer, &self.named, true)?;
        Ok(Some(place))
    }

    /// What became of them, in the order in which they were claimed: those with an outcome are over, and that is in the log;
    /// in an op record, too, if it was stored.
    pub fn finish(
        &mut self,
        op: Option<&Appended>,
        outcomes: impl Iterator<Item = Option<Outcome>>,
    ) {
        if self.claims.is_empty() && op.is_none() {
            return;
        }
        let (now, mut table) = (self.transactions.now(), self.transactions.table());
        if let Some(op) = op {
            table.recorded(op.queue_offset.0, &self.named);
        }
        let outcomes = outcomes.chain(std::iter::repeat(None));
        for (claim, outcome) in self.claims.drain(..).zip(outcomes) {
            let Some(outcome) = outcome else {
                table.release(claim);
                continue;
            };
            let finished = table.finish(claim, outcome, now);
            if let (Outcome::Committed, Some((topic, since))) = (outcome, finished) {
                let waits = &self.transactions.shared.waits;
                waits.observe(topic, now.saturating_sub(since));
            }
            if op.is_none() {
                table.owe(claim.offsets());
            }
        }
    }
}

impl Drop for Endings {
    fn drop(&mut self) {
        self.truncate(0);
    }
}
