//! Which brokers live, which topics they have, and where clients find them.
//!
//! All of it is one [`RouteTable`], because a route is a join over all of its maps: they change together. The table is
//! pure; time and connection ids are passed in, and what has to be told to others comes back as a value.

mod broker;
mod join;
mod lists;
mod registration;
mod table;

pub use broker::{
    BrokerAddress, ConnectionId, LiveBroker, Lost, MinBrokerIdChange, Registered, Registration,
    SingleTopicFirst, Unregistration,
};
pub use registration::read_body;
pub use table::RouteTable;
