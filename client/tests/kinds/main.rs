//! Every kind of message with the client against real servers: Apache RocketMQ when `ROCKETMQ_JARS` names its jars,
//! Arugula when `ARUGULA_BIN` names its binaries. What is not there is skipped and said so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what is wrong by stopping there"
)]

#[path = "../cluster/mod.rs"]
mod cluster;

mod batches;
mod later;
mod order;
mod requests;
mod transactions;

use cluster::fixture::Fixture;
use cluster::{Cluster, Kind};

/// Transactions that nobody ended are asked about after five seconds, and recalling is allowed. The reference keeps in mind for a
/// while which ones were ended before it writes that down, and asks about those too once they are old enough.
const SETTINGS: &str = "transactionCheckInterval=1000\ntransactionTimeOut=5000\n\
                        transactionOpBatchInterval=100\nrecallMessageEnable=true\n";

/// The same test at both kinds of servers.
macro_rules! at_both {
    ($($kind:ident),*) => {
        mod apache_rocketmq {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $kind() {
                if let Some(fixture) = super::fixture(super::Kind::reference(), "ROCKETMQ_JARS").await {
                    super::$kind::run(&fixture.0).await;
                }
            })*
        }
        mod arugula {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $kind() {
                if let Some(fixture) = super::fixture(super::Kind::arugula(), "ARUGULA_BIN").await {
                    super::$kind::run(&fixture.0).await;
                }
            })*
        }
    };
}
at_both!(batches, later, order, requests, transactions);

async fn fixture(kind: Option<Kind>, variable: &str) -> Option<(Fixture, Cluster)> {
    let Some(kind) = kind else {
        eprintln!("skipped: message kinds at real servers (set {variable})");
        return None;
    };
    let cluster = Cluster::start_with(kind, SETTINGS).await;
    Some((Fixture::new(&cluster).await, cluster))
}
