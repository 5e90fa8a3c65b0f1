//! `mqbroker`, the broker: takes messages, keeps them, hands them out.
//!
//! Where to start reading: `dispatch.rs` leads from a request to its handler, `broker.rs` shows what is connected to what.

mod attributes;
mod broker;
mod client;
mod config;
mod config_file;
mod dedup;
mod delivery;
mod disk;
mod dispatch;
mod error;
mod filter;
mod group_topic;
mod handler;
mod http;
mod kv;
mod lag;
mod lock;
mod metrics;
mod offset;
mod pull_hold;
mod registration;
mod schedule;
mod state;
mod subscription;
#[cfg(test)]
mod testing;
mod timer;
mod topic;
mod transaction;
mod waits;

use crate::broker::Broker;
use crate::config::BrokerConfig;
use clap::Parser;
use common::config::{Flag, Loaded};
use common::server::{CommonArgs, Failure, Shutdown, exit};
use common::thread;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// The broker: producers send to it, consumers pull from it.
#[derive(Debug, Parser)]
#[command(name = "mqbroker", version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,

    /// Name servers to register with, `host:port;host:port`
    #[arg(short = 'n', long = "namesrvAddr", value_name = "LIST")]
    namesrv_addr: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    exit("mqbroker", run(&args))
}

fn run(args: &Args) -> Result<(), Failure> {
    let flags = args.namesrv_addr.iter().map(|list| Flag {
        name: "--namesrvAddr",
        key: "namesrvAddr",
        value: list.clone(),
    });
    let Some(loaded) = args.common.start::<BrokerConfig>(flags.collect())? else {
        return Ok(());
    };
    let shutdown = Shutdown::install()?;
    // Connections have threads of their own; this one runs timers, registrations and pages.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("main-runtime")
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve(loaded, shutdown));
    // A recovery that nobody waits for any more must not hold the process.
    runtime.shutdown_background();
    served
}

async fn serve(loaded: Loaded<BrokerConfig>, shutdown: Shutdown) -> Result<(), Failure> {
    let Some(broker) = Broker::start(loaded, &shutdown).await? else {
        return Ok(());
    };
    let ready = broker.ready_line();
    tracing::info!("{ready}");
    // Whoever started the server may have closed its stdout; that is no reason to stop.
    let _ = writeln!(io::stdout(), "{ready}").and_then(|()| io::stdout().flush());
    shutdown.requested().await;
    broker.shutdown().await
}
