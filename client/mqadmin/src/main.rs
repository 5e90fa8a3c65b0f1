//! `mqadmin`: tools for those who run a broker. One module for each family of commands.

mod store;
mod terminal;
mod text;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tools for those who run RocketMQ brokers.
#[derive(Parser)]
#[command(name = "mqadmin", version)]
struct Args {
    #[command(subcommand)]
    family: Family,
}

#[derive(Subcommand)]
enum Family {
    /// Look into a store's files, check them, rebuild what can be rebuilt.
    Store(store::Args),
}

fn main() -> ExitCode {
    let done = match Args::parse().family {
        Family::Store(args) => store::run(args),
    };
    match done {
        Ok(code) => code.into(),
        Err(error) => terminal::code_of(&error).into(),
    }
}
