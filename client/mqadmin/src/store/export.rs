//! `mqadmin store export`.

use anyhow::Result;

use super::messages::{Wanted, each};
use super::{Place, line};
use crate::terminal::{Code, Out};

/// Writes every message as one line of JSON to standard output, in the order in which they were
/// stored, with everything its record says: the body in base64, as stored.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 all is well, 1 damage was passed over, 2 wrong arguments, 3 something cannot be read, 130 Ctrl-C."
)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    wanted: Wanted,
}

pub fn run(args: &Args, out: &mut Out) -> Result<Code> {
    let store = args.place.open()?;
    let passed = each(&store, &args.wanted, |record| {
        line::write(record, out)?;
        Ok(true)
    })?;
    Ok(passed.code(Code::Good))
}
