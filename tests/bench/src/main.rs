//! `mqbench`: load for RocketMQ brokers and name servers over the remoting protocol, with every answer checked.
//!
//! The generator shares its machine with the server it measures, so it is small and direct: request frames are
//! copied from templates, replies are scanned for the few fields that are checked, and one thread drives any number of
//! connections. It speaks to any broker; the stub is the only part that uses the broker's own codec and transport.

mod args;
mod compare;
mod control;
mod engine;
mod frame;
mod ledger;
mod load;
mod process;
mod produce;
mod read;
mod record;
mod reply;
mod report;
mod route;
mod runs;
mod stamp;
mod startup;
mod stub;
mod tables;
mod tally;
mod timers;
mod transact;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Produce(args) => runs::produce(&args),
        Command::Consume(args) => runs::consume(&args),
        Command::E2e(args) => runs::e2e(&args),
        Command::Transactions(args) => transact::transactions(&args),
        Command::Timers(args) => timers::timers(&args),
        Command::Route(args) => runs::route(&args),
        Command::Stub(args) => stub::serve(&args),
        Command::Commit(args) => tables::commit(&args),
        Command::Topics(args) => tables::topics(&args),
        Command::Startup(args) => startup::measure(&args),
        Command::Compare(args) => compare::compare(&args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mqbench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
