//! `ConsumeQueue`s: for each queue, which record is its nth message.

/// Directory of the ext units, below that of the store.
pub(crate) const EXT_DIRECTORY: &str = "consumequeue_ext";

pub(crate) mod ext;
mod queue;
mod table;
pub(crate) mod unit;

pub(crate) use queue::Home;
pub use queue::Queue;
pub(crate) use table::QueueTable;
pub use unit::{QueueKind, Unit};
