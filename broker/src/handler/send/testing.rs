//! For tests of the handler.

use super::SendHandler;
use crate::testing::Stored;
use std::net::{Ipv4Addr, SocketAddr};

/// A handler that stores in `stored`.
pub fn handler(stored: &Stored) -> SendHandler {
    let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let later = (stored.transactions.clone(), stored.timers.clone());
    SendHandler::new(stored.state.clone(), later, host)
}
