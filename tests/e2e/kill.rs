//! `kill -9` under load, with consumers attached: what was acknowledged or seen is there afterwards, at
//! its place, and the broker counts on from there. `scripts/crash.sh` does the same a few hundred times.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::crash::{Extent, Load, Moments, Trial};

/// Acknowledged messages before each kill, about.
const MESSAGES: u64 = 2_000;
const KILLS: usize = 4;

/// A load as long runs have it, without their long waits.
pub(crate) fn load(moments: &mut Moments, messages: u64) -> Load {
    const MOST: Duration = Duration::from_millis(1_500);
    let load = moments.load(messages);
    Load {
        linger: load.linger.min(MOST),
        ..load
    }
}

pub(crate) fn clean(trial: &Trial, seed: u64) -> Result<()> {
    let faults = trial.books.faults();
    ensure!(faults.count() == 0, "seed {seed}: {faults:#?}");
    Ok(())
}

fn kills_lose_nothing(settings: &[(&str, &str)]) -> Result<()> {
    let seed = rand::random();
    let mut moments = Moments::new(seed);
    let mut trial = Trial::new(seed, settings)?;
    for _ in 0..KILLS {
        let starts = moments.killed_starts();
        trial.kill(load(&mut moments, MESSAGES), &starts)?;
        clean(&trial, seed)?;
    }
    trial.stop_and_start()?;
    trial.check(Extent::All)?;
    trial.verify_files()?;
    clean(&trial, seed)?;
    ensure!(trial.books.seen() > 0, "no consumer was handed anything");
    Ok(())
}

#[test]
fn kill_9_under_load_loses_nothing_acknowledged() -> Result<()> {
    kills_lose_nothing(&[])
}

#[test]
fn kill_9_under_load_loses_nothing_acknowledged_with_sync_flush() -> Result<()> {
    kills_lose_nothing(&[("flushDiskType", "SYNC_FLUSH")])
}

/// Everything lies in one file of each kind.
#[test]
fn kill_9_under_load_loses_nothing_acknowledged_within_a_segment() -> Result<()> {
    kills_lose_nothing(&[
        ("mappedFileSizeCommitLog", "268435456"),
        ("mappedFileSizeConsumeQueue", "6000000"),
    ])
}

#[test]
fn kills_during_recovery_lose_nothing() -> Result<()> {
    let seed = rand::random();
    let mut moments = Moments::new(seed);
    let mut trial = Trial::new(seed, &[])?;
    for _ in 0..2 {
        let starts: Vec<Duration> = (0..10).map(|_| moments.start()).collect();
        // Enough for a recovery that takes its time.
        trial.kill(load(&mut moments, 10 * MESSAGES), &starts)?;
        trial.check(Extent::All)?;
        clean(&trial, seed)?;
    }
    Ok(())
}

/// Shows that the checks of these tests find something: a disk that gives back other bytes than were
/// written is nothing that a broker can make good.
#[test]
fn changed_bytes_of_the_log_are_found_out() -> Result<()> {
    let seed = rand::random();
    let mut moments = Moments::new(seed);
    let mut trial = Trial::new(seed, &[])?;
    let (books, broker) = (&trial.books, &mut trial.site.cluster.broker);
    let (address, log) = (broker.address.clone(), broker.store.join("commitlog"));
    load(&mut moments, MESSAGES).until(books, &address, || {
        broker.process.kill()?;
        let first = File::options()
            .read(true)
            .write(true)
            .open(log.join("00000000000000000000"))?;
        // More than everything of a record that is not its body.
        let mut bytes = [0; 256];
        let at = 300_000 + moments.number(100_000);
        first.read_exact_at(&mut bytes, at)?;
        Ok(first.write_all_at(&bytes.map(|byte| byte ^ 0x10), at)?)
    })?;
    clean(&trial, seed)?;
    trial.site.cluster.broker.start_again()?;
    trial.check(Extent::All)?;
    let faults = trial.books.faults();
    ensure!(
        faults.lost + faults.altered > 0,
        "seed {seed}: nothing was found: {faults:#?}"
    );
    Ok(())
}
