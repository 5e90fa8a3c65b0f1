//! The consumer groups of this broker: one table, kept in `<store>/kv` and `config/subscriptionGroup.json`.

mod error;
mod rows;
mod table;

pub use error::GroupError;
pub use table::SubscriptionGroupTable;
