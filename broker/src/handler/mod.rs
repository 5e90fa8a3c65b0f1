//! One file per request family.

pub mod clean;
pub mod client;
mod cold;
pub mod group;
pub mod lock;
pub mod offset;
mod page;
pub mod pull;
pub mod query;
pub mod send;
pub mod topic;
pub mod view;
