//! The topics of this broker: one table, kept in `<store>/kv` and `config/topics.json`.

mod batch;
mod entry;
mod rows;
mod system;
mod table;

pub use batch::BatchTopics;
pub use entry::{MessageType, Topic, Traffic};
pub use table::{MAX_QUEUES, TopicTable};

/// Permission bits of topics and brokers.
pub mod perm {
    /// May be the template of new topics.
    pub const INHERIT: i32 = 1;
    /// Producers may write.
    pub const WRITE: i32 = 2;
    /// Consumers may read.
    pub const READ: i32 = 4;
    /// Both.
    pub const READ_WRITE: i32 = READ | WRITE;
}
