//! The consumer groups of this broker: one table, kept in `config/subscriptionGroup.json`.

mod error;
mod table;

pub use error::GroupError;
pub use table::SubscriptionGroupTable;
