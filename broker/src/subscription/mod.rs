//! The consumer groups of this broker: one table, kept in `<store>/kv` and `config/subscriptionGroup.json`.

mod rows;
mod table;

pub use table::SubscriptionGroupTable;
