//! One file per request family.

pub mod client;
pub mod group;
pub mod later;
pub mod lock;
pub mod offset;
mod page;
pub mod progress;
pub mod pull;
pub mod query;
pub mod reset;
pub mod send;
pub mod settings;
pub mod timer;
pub mod topic;
pub mod transaction;
pub mod view;

use common::wire::{Reply, response_code};

/// The answer to a body that is no `name`.
fn malformed(name: &str, error: &dyn std::fmt::Display) -> Reply {
    let text = format!("the body is no {name}: {error}");
    Reply::error(response_code::SYSTEM_ERROR, text)
}
