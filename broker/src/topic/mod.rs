//! The topics of this broker: one table, kept in `<store>/kv` and `config/topics.json`.

mod entry;
mod error;
mod rows;
mod rules;
mod system;
mod table;

pub use entry::{MessageType, Topic, Traffic};
pub use error::TopicError;
pub use rules::TopicRules;
pub use table::TopicTable;

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
