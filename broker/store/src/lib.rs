//! One CommitLog for all topics, and a ConsumeQueue for each queue.
//!
//! [`open`] recovers what is there and gives three handles: one to append, one to read, one to shut down. The store knows
//! no sockets, no peers and no requests. Files have the formats of Apache RocketMQ.

mod batch;
mod checkpoint;
mod commit_log;
mod config;
mod consume_queue;
mod error;
mod files;
mod flush;
mod mapped_file;
mod open;
mod read;
mod reput;
#[cfg(test)]
mod tests;
mod write;

pub use batch::{Appended, RecordBatch};
pub use common::message::RecordParts;
pub use config::{FlushMode, StoreConfig};
pub use consume_queue::Queue;
pub use error::StoreError;
pub use files::{DiskFiles, Files, StoreFile};
pub use open::{StoreTasks, open};
pub use read::{Boundary, GetRequest, GetResult, GetStatus, StoreReader, StoreStatus};
pub use reput::Arrivals;
pub use write::StoreWriter;
