//! Remoting over TCP: a server on its own I/O threads and a pooled client, both built on one connection loop.
//!
//! A **turn** is the unit of work: one read of all that has arrived, every complete request handled in place, one
//! write of all answers. Batches form by load, never by waiting. What has to wait answers later through its
//! [`Connection`], from any thread.

mod client;
mod connection;
mod error;
mod in_flight;
mod io_threads;
mod outgoing;
mod server;
#[cfg(test)]
mod tests;
mod turn;

pub use client::{ClientConfig, PeerRequests, RemotingClient};
pub use connection::Connection;
pub use error::TransportError;
pub use in_flight::Response;
pub use io_threads::IoThreads;
pub use server::{Listener, Server};
pub use turn::{Replies, Requests, Service};
