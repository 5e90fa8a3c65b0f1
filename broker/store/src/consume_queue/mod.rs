//! `ConsumeQueue`s: for each queue, which record is its nth message.

pub(crate) mod ext;
mod queue;
mod table;
pub(crate) mod unit;

pub use queue::Queue;
pub(crate) use table::QueueTable;
pub use unit::Unit;
