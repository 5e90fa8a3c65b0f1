//! The name servers: one is used until it fails, then the next.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::transport::{RemotingClient, Response};
use common::wire::Command;

use crate::error::ClientError;

/// Name servers know the same; a client asks one of them and changes only when that one does not answer.
#[derive(Debug)]
pub(crate) struct NameServers {
    addresses: Vec<String>,
    /// Index of the one in use, counted on without bound.
    chosen: AtomicUsize,
}

impl NameServers {
    /// Starts with the one at `first`, counted round: clients shall not all begin with the same.
    pub(crate) fn new(addresses: Vec<String>, first: usize) -> Self {
        Self {
            addresses,
            chosen: AtomicUsize::new(first),
        }
    }

    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Asks the one in use, and each other once if it cannot be reached. An answer, also a refusal, is final.
    pub(crate) async fn call(
        &self,
        remoting: &RemotingClient,
        command: &Command,
        body: &Bytes,
        timeout: Duration,
    ) -> Result<(String, Response), ClientError> {
        let mut last = ClientError::NoNameServer;
        for _ in 0..self.addresses.len() {
            let chosen = self.chosen.load(Ordering::Relaxed);
            let Some(address) = self.addresses.get(chosen % self.addresses.len()) else {
                break;
            };
            match remoting
                .call(address, command.clone(), body.clone(), timeout)
                .await
            {
                Ok(response) => return Ok((address.clone(), response)),
                Err(error) => {
                    tracing::warn!(name_server = %address, %error, "name server does not answer, trying the next");
                    last = error.into();
                    // Another task may have moved on already; then its choice stands.
                    let next = chosen.wrapping_add(1);
                    let _ = self.chosen.compare_exchange(
                        chosen,
                        next,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    );
                }
            }
        }
        Err(last)
    }
}
