//! What each request does, one file per family.

mod broker;
mod kv;
mod settings;
mod topic;

pub use broker::BrokerHandler;
pub use kv::KvHandler;
pub use settings::SettingsHandler;
pub use topic::TopicHandler;

use common::wire::{Reply, response_code};

/// What is known of a request besides code, fields and body.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Version of the sender.
    pub version: i32,
}

/// How a request is answered.
pub enum Answer {
    /// At once.
    Now(Reply),
    /// After work that blocks for the disk.
    AfterDisk(Box<dyn FnOnce() -> Reply + Send>),
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Now(reply)
    }
}

/// An answer `SYSTEM_ERROR` that says what is wrong.
fn system_error(error: impl std::fmt::Display) -> Reply {
    Reply::error(response_code::SYSTEM_ERROR, error.to_string())
}
