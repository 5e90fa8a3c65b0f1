//! What the broker sends on itself, exactly once: messages of a delay level or with a time when they are due.
//!
//! The log says what was delivered. Whoever delivers appends a *note* and behind it the messages it speaks of, as one batch:
//! whatever a crash leaves of the batch, the note and the records that follow it tell how much was delivered. What the database
//! says is always a little older: the *ledger* writes it together with a *mark*, the position of the log up to which it is true,
//! and only when the log is on the disk up to there. At the start the log is read from the mark on.
//!
//! ```text
//! … ──┬──────┬────┬────┬────┬─────────┬──────┬────┬────┬─▶ end of the log
//!     │ note │ m1 │ m2 │ m3 │ a send  │ note │ m4 │ ✗ a crash has cut m5 off: the note's first message counts
//! … ──┴──────┴────┴────┴────┴─────────┴──────┴────┴────┘
//!        ▲ mark: below, all is in the database          ◀─ replayed at the start ─▶
//! ```
//!
//! Who uses this holds a [`Ledger::enter`] guard from the append until its state in memory knows of it, gives changes of
//! rows that *forget* something (a row removed, an offset moved on) only through [`Account::take_changes`], and takes what
//! [`Account::delivered`] tells it at the start. Rows that only *add* may be written at any time.

mod ledger;
mod note;
mod outbox;

pub use ledger::{Account, Ledger};
pub use note::{Follower, Kind};
pub use outbox::{Delivery, Outbox};

#[cfg(test)]
mod tests;
