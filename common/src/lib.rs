//! What every part of Arugula shares: the remoting protocol, message records, names, time and configuration.
//!
//! Nothing here knows about queues, stores or routes. Without the feature `transport` the crate does no
//! network I/O, which keeps the store free of sockets.

pub mod clock;
pub mod config;
pub mod files;
pub mod ids;
pub mod message;
pub mod names;
mod scan;
pub mod thread;
pub mod wire;

#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "transport")]
pub mod transport;
