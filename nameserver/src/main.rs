//! `mqnamesrv`, the name server: tells clients where topics are.
//!
//! Where to start reading: [`route`] holds the rules, `dispatch.rs` leads from a request to its handler.

mod config;
mod disk_thread;
mod dispatch;
mod handler;
mod http;
mod kv;
mod metrics;
mod nameserver;
mod route;
mod routes;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use common::config::Loaded;
use common::server::{CommonArgs, Failure, Shutdown, exit};

use crate::config::NameserverConfig;
use crate::nameserver::Nameserver;

/// The name server: brokers register here, clients find topics here.
#[derive(Debug, Parser)]
#[command(name = "mqnamesrv", version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> ExitCode {
    let args = Args::parse();
    exit("mqnamesrv", run(&args))
}

fn run(args: &Args) -> Result<(), Failure> {
    let Some(loaded) = args.common.start::<NameserverConfig>(Vec::new())? else {
        return Ok(());
    };
    let shutdown = Shutdown::install()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(loaded, shutdown))
}

async fn serve(loaded: Loaded<NameserverConfig>, shutdown: Shutdown) -> Result<(), Failure> {
    let nameserver = Nameserver::start(loaded).await?;
    let (address, http) = (nameserver.address(), nameserver.http_address());
    let ready =
        format!("The Name Server boot success. serializeType=JSON, address {address}, http {http}");
    tracing::info!("{ready}");
    // Whoever started the server may have closed its stdout; that is no reason to stop.
    let _ = writeln!(io::stdout(), "{ready}").and_then(|()| io::stdout().flush());
    shutdown.requested().await;
    nameserver.shutdown().await;
    Ok(())
}
