//! What can go wrong between two peers.

use std::io;
use std::time::Duration;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The address does not resolve or nobody accepts there.
    #[error("connect to {address}")]
    Connect {
        /// `host:port` as given.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No answer, or no connection, within the time allowed.
    #[error("no answer from {address} to request code {code} within {timeout:?}")]
    Timeout {
        /// The peer.
        address: String,
        /// Request code.
        code: i32,
        /// The time allowed.
        timeout: Duration,
    },
    /// The connection ended before the answer came.
    #[error("connection to {address} closed while request code {code} waited for its answer")]
    Closed {
        /// The peer.
        address: String,
        /// Request code.
        code: i32,
    },
    /// The request is larger than a frame may be.
    #[error("request code {code} of {bytes} bytes exceeds the frame limit of {limit}")]
    TooLarge {
        /// Request code.
        code: i32,
        /// Bytes of header and body.
        bytes: usize,
        /// Largest frame.
        limit: usize,
    },
}
