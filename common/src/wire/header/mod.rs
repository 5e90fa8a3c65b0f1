//! Typed custom headers, one file per request family. Names follow the protocol's, fields its spelling in the text
//! behind each.

pub mod client;
pub mod group;
pub mod namesrv;
pub mod offset;
pub mod pull;
pub mod query;
pub mod reply;
pub mod send;
pub mod topic;
pub mod transaction;

pub use client::*;
pub use group::*;
pub use namesrv::*;
pub use offset::*;
pub use pull::*;
pub use query::*;
pub use reply::*;
pub use send::*;
pub use topic::*;
pub use transaction::*;
