//! Starts, kills and restarts the real binaries, and checks what clients say they sent and received.
//!
//! Nothing here knows how a server is built: it sees processes, sockets, files and lines of text.
//! Every process ends with the value that stands for it.

mod binaries;
mod cluster;
mod connection;
pub mod crash;
mod deadline;
mod ledger;
mod peers;
mod ports;
mod process;

pub use binaries::{binary, toolchain};
pub use cluster::{Broker, Cluster, NameServer, Settings};
pub use connection::{Answer, CONSUMER_GROUP, Connection, Kind, Record, records};
pub use deadline::{Deadline, patiently};
pub use ledger::{Ledger, Message, in_order};
pub use peers::{Language, Peer, WARM_UP, java};
pub use ports::free_port;
pub use process::{Output, Process, http_get};
