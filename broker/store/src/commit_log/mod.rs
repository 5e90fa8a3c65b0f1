//! The log: one tail, one lock.

mod append;
pub(crate) mod cut;
pub(crate) mod place;
mod prepare;
pub(crate) mod recover;
pub(crate) mod segments;

pub(crate) use append::CommitLog;
