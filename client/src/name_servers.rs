//! The name servers: one is used until it fails, then the next.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::transport::RemotingClient;
use common::wire::Command;

use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::instance::succeeded;

/// Name servers know the same; a client asks one of them and changes only when that one does not answer.
pub(crate) struct NameServers {
    remoting: RemotingClient,
    timeout: Duration,
    pub(crate) addresses: Vec<String>,
    /// Index of the one in use, counted on without bound.
    chosen: AtomicUsize,
}

impl NameServers {
    /// Starts with any: clients shall not all begin with the same.
    pub(crate) fn new(remoting: RemotingClient, config: &ClientConfig) -> Self {
        Self {
            remoting,
            timeout: config.request_timeout,
            addresses: config.name_servers.clone(),
            chosen: AtomicUsize::new(rand::random::<u16>().into()),
        }
    }

    /// Asks the one in use, and each other once if it cannot be reached; answers who answered, and the body. An answer,
    /// also a refusal, is final.
    pub(crate) async fn ask(&self, command: &Command) -> Result<(String, Bytes), ClientError> {
        let mut last = ClientError::NoNameServer;
        for _ in &self.addresses {
            let chosen = self.chosen.load(Ordering::Relaxed);
            let address = &self.addresses[chosen % self.addresses.len()];
            let (command, body) = (command.clone(), Bytes::new());
            match (self.remoting.call(address, command, body, self.timeout)).await {
                Ok(answer) => {
                    return succeeded(address, answer).map(|answer| (address.clone(), answer.body));
                }
                Err(error) => {
                    tracing::warn!(name_server = %address, %error, "name server does not answer, trying the next");
                    last = error.into();
                    // Another task may have moved on already; then its choice stands.
                    let (next, relaxed) = (chosen.wrapping_add(1), Ordering::Relaxed);
                    let _ = (self.chosen).compare_exchange(chosen, next, relaxed, relaxed);
                }
            }
        }
        Err(last)
    }
}
