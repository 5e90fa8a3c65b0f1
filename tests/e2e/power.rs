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
    trial.verify_files()?;
    clean(&trial, seed)
}

/// Shows also that the disks of these tests do forget.
#[test]
fn power_cuts_under_async_flush_take_little_and_from_the_end_only() -> Result<()> {
    let seed = rand::random();
    let mut moments = Moments::new(seed);
    let Some(mut trial) = Trial::with_power_cuts(seed, &[])? else {
        return Ok(());
    };
    for _ in 0..CUTS {
        let load = Load {
            linger: Duration::ZERO,
            ..moments.load(MESSAGES)
        };
        trial.cut_power(load, &moments.killed_starts())?;
        clean(&trial, seed)?;
    }
    let taken = trial.books.unpromised();
    ensure!(
        taken.count > 0,
        "seed {seed}: the disk has forgotten nothing"
    );
    trial.stop_and_start()?;
    trial.check(Extent::All)?;
    trial.verify_files()?;
    clean(&trial, seed)
}
