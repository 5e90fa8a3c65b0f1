//! `mqadmin`: tools for those who run a broker. One module for each family of commands.

mod broker;
mod store;
mod terminal;
mod text;
mod timer;
mod transaction;

use std::io::Write as _;
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
    /// Messages that wait for their time, on running brokers.
    Timer(timer::Args),
    /// Half messages nobody has decided about, on running brokers.
    Transaction(transaction::Args),
}

fn main() -> ExitCode {
    let family = Args::parse().family;
    let mut out = terminal::out();
    let done = match &family {
        Family::Store(args) => store::run(args, &mut out),
        Family::Timer(args) => timer::run(args, &mut out),
        Family::Transaction(args) => transaction::run(args, &mut out),
    };
    // Also what was shown before something went wrong.
    let shown = out.flush().map_err(anyhow::Error::from);
    match done.and_then(|code| shown.map(|()| code)) {
        Ok(code) => code.into(),
        Err(error) => terminal::code_of(&error).into(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn no_arguments_of_any_command_are_in_the_way_of_each_other() {
        super::Args::command().debug_assert();
    }
}
