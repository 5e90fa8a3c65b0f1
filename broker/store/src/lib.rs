//! One `CommitLog` for all topics, and a `ConsumeQueue` for each queue.
//!
//! [`open()`] recovers what is there and gives three handles: [`StoreWriter`] appends,
//! [`StoreReader`] reads, [`StoreTasks`] shuts down. The store knows no sockets, no peers and no
//! request codes. Its files have the formats of Apache RocketMQ.
//!
//! A message's way: [`RecordBatch`] encodes it, `commit_log` appends it, `flush` brings it to the
//! disk, `reput` gives it a place in its queue, `read` finds it there.

mod batch;
mod checkpoint;
mod clean;
mod commit_log;
mod config;
mod consume_queue;
mod error;
mod files;
mod flush;
mod index;
mod late;
mod mapped_file;
pub mod offline;
mod open;
mod planted;
mod query;
mod read;
mod replay;
mod reput;
mod retention;
mod schedule;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
#[cfg(test)]
mod tests;
mod write;

pub use batch::{Appended, RecordBatch};
pub use checkpoint::Checkpoint;
pub use commit_log::cut::Cut;
pub use common::message::RecordParts;
pub use config::{FlushMode, PropertyCrc, RetentionConfig, StoreConfig, TopicSet};
pub use consume_queue::{Queue, QueueKind, Unit};
pub use error::{DiskLevel, StoreError};
pub use files::{DiskFiles, Files, Space, StoreFile};
pub use flush::Syncs;
pub use open::{Recovery, RecoveryProgress, StoreTasks, open};
pub use query::{Key, KeyQuery, KeyResult};
pub use read::{Boundary, GetRequest, GetResult, GetStatus, StoreReader, StoreStatus};
pub use reput::Arrivals;
pub use schedule::{DEFAULT_DELAY_LEVELS, DelayLevels};
pub use write::StoreWriter;
