//! Power cuts: what is on the disk at one instant, under load, is mounted and recovered.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::crash::{Extent, Load, Moments, Trial};

use crate::kill::{clean, load};

/// Acknowledged messages before each cut, about.
const MESSAGES: u64 = 2_000;
const CUTS: usize = 3;

#[test]
fn power_cuts_under_sync_flush_lose_nothing_acknowledged() -> Result<()> {
    let seed = rand::random();
    let mut moments = Moments::new(seed);
    let Some(mut trial) = Trial::with_power_cuts(seed, &[("flushDiskType", "SYNC_FLUSH")])? else {
        return Ok(());
    };
    for _ in 0..CUTS {
        let starts = moments.killed_starts();
        trial.cut_power(load(&mut moments, MESSAGES), &starts)?;
        clean(&trial, seed)?;
    }
    trial.stop_and_start()?;
    trial.check(Extent::All)?;
    clean(&trial, seed)
}

/// Shows that the disks of these tests do forget: a broker that acknowledges what it has not synced is
/// found out. Messages are lost from the end only, and offsets go on from there.
#[test]
fn a_power_cut_takes_what_was_not_synced() -> Result<()> {
    let seed = rand::random();
    let mut moments = Moments::new(seed);
    let never = [("flushIntervalCommitLog", "600000")];
    let Some(mut trial) = Trial::with_power_cuts(seed, &never)? else {
        return Ok(());
    };
    let load = Load {
        linger: Duration::ZERO,
        ..moments.load(MESSAGES)
    };
    trial.cut_power(load, &[])?;
    let faults = trial.books.faults();
    ensure!(
        faults.lost > 0,
        "seed {seed}: nothing was lost: {faults:#?}"
    );
    ensure!(
        faults.altered + faults.reused == 0,
        "seed {seed}: {faults:#?}"
    );
    Ok(())
}
