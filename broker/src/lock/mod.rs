//! Order locks: which client of a group may consume a queue in order.

mod service;
mod table;

pub use service::LockTable;
pub use table::LOCK_LIFETIME;
