//! What each request does, one file per family.

mod broker;
mod kv;
mod settings;
mod topic;

use std::sync::Arc;

use common::config::Live;
use common::wire::{Reply, response_code};

use crate::config::NameserverConfig;
use crate::kv::KvConfig;
use crate::routes::Routes;

/// Serves the requests, and the pages.
#[derive(Clone)]
pub struct Handler {
    /// Brokers and topics.
    pub routes: Arc<Routes>,
    /// Key-value configuration.
    pub kv: Arc<KvConfig>,
    /// Settings.
    pub settings: Arc<Live<NameserverConfig>>,
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
