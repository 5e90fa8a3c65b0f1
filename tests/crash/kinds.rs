//! The same broker with messages that wait: one row of the report for each kind.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::Deadline;
use tests::crash::{Kind, KindTrial, Moments, Stop, Verdict};

use crate::interrupted;
use crate::options::Options;

/// Blows a store lives through before everything promised has to have come and a new one takes its
/// place.
const STORE_BLOWS: u32 = 25;

/// A stop and a start follow on one recovery in so many.
const STOPPED: u32 = 6;

/// Before one blow in so many the log is deleted below what was moved on.
const EXPIRED: u32 = 6;

/// Blows to brokers that keep one kind of message.
#[derive(Debug)]
pub(crate) struct KindStage {
    name: &'static str,
    blow: &'static str,
    skipped: bool,
    blows: u32,
    killed_starts: usize,
    stops: u32,
    expired: i64,
    acknowledged: u64,
    delivered: u64,
    latest_ms: i64,
    longest_recovery: Duration,
    verdict: Verdict,
    took: Duration,
}

impl KindStage {
    pub(crate) const HEADER: &'static str = "\
| Messages | Blow | Blows | Starts killed | Stops | Expired | Acknowledged actions | Delivered | Lost | Early | Twice | Unwanted | Out of order | Other faults | Latest | Longest start |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
";

    pub(crate) fn is_clean(&self) -> bool {
        self.verdict.count() == 0
    }

    pub(crate) fn texts(&self) -> impl Iterator<Item = String> {
        let (name, blow) = (self.name, self.blow);
        let texts = self.verdict.texts.iter();
        texts.map(move |text| format!("FAULT {name} {blow}: {text}"))
    }

    pub(crate) fn took(&self) -> Duration {
        self.took
    }

    fn close<K: Kind>(&mut self, trial: &mut KindTrial<K>) -> Result<()> {
        if trial.verdict().count() == 0 {
            trial.settle().context("until everything has come")?;
        }
        let (delivered, latest_ms) = trial.delivered();
        self.delivered += delivered;
        self.latest_ms = self.latest_ms.max(latest_ms);
        self.expired += trial.expired();
        self.verdict.add(&trial.verdict());
        Ok(())
    }
}

impl fmt::Display for KindStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, blow, .. } = self;
        if self.skipped {
            return write!(f, "| {name} | {blow} | skipped: not permitted here |");
        }
        let verdict = &self.verdict;
        write!(
            f,
            "| {name} | {blow} | {} | {} | {} | {} KiB | {} | {} | {} | {} | {} | {} | {} | {} | {} ms | {} ms |",
            self.blows,
            self.killed_starts,
            self.stops,
            self.expired >> 10,
            self.acknowledged,
            self.delivered,
            verdict.lost,
            verdict.early,
            verdict.twice,
            verdict.unwanted,
            verdict.disorder,
            verdict.other,
            self.latest_ms,
            self.longest_recovery.as_millis(),
        )
    }
}

/// `count` blows, on one store after the other: kills under the flush modes in turn, power cuts under
/// `SYNC_FLUSH`.
pub(crate) fn series<K: Kind>(options: &Options, count: u32, cuts: bool) -> Result<KindStage> {
    let clock = Deadline::after(Duration::ZERO);
    let salt = K::NAME
        .bytes()
        .fold(u64::from(cuts), |salt, byte| salt * 31 + u64::from(byte));
    let mut moments = Moments::new(options.seed ^ salt);
    let mut stage = KindStage {
        name: K::NAME,
        blow: if cuts { "power cut" } else { "kill -9" },
        skipped: false,
        blows: 0,
        killed_starts: 0,
        stops: 0,
        expired: 0,
        acknowledged: 0,
        delivered: 0,
        latest_ms: 0,
        longest_recovery: Duration::ZERO,
        verdict: Verdict::default(),
        took: Duration::ZERO,
    };
    let mut trial: Option<KindTrial<K>> = None;
    for number in 1..=count {
        ensure!(!interrupted(), "interrupted");
        if (number - 1).is_multiple_of(STORE_BLOWS) {
            if let Some(mut old) = trial.take() {
                stage.close(&mut old)?;
            }
            let seed = moments.number(u64::MAX);
            let turn = usize::try_from((number - 1) / STORE_BLOWS)?;
            let flush = options.flush[turn % options.flush.len()];
            trial = if cuts {
                KindTrial::with_power_cuts(seed)?
            } else {
                Some(KindTrial::new(seed, &[("flushDiskType", flush)])?)
            };
        }
        let Some(trial) = &mut trial else {
            stage.skipped = true;
            return Ok(stage);
        };
        let what = || format!("{} {} {number} of {count}", stage.name, stage.blow);
        let expiry = moments.once_in(EXPIRED);
        let cycle = trial.blow(&mut moments, expiry).with_context(what)?;
        if moments.once_in(STOPPED) {
            let stop = Stop::ALL[usize::try_from(moments.number(3))?];
            trial
                .stop_and_start(&mut moments, stop)
                .with_context(what)?;
            stage.stops += 1;
        }
        stage.blows += 1;
        stage.killed_starts += cycle.killed_starts;
        stage.acknowledged += cycle.acknowledged;
        stage.longest_recovery = stage.longest_recovery.max(cycle.recovery);
        let (delivered, latest_ms) = trial.delivered();
        println!(
            "{} {} {number}/{count}: {} acknowledged, {delivered} delivered, latest {latest_ms} ms, \
             ready after {} ms, {} faults",
            stage.name,
            stage.blow,
            cycle.acknowledged,
            cycle.recovery.as_millis(),
            trial.verdict().count()
        );
        if trial.verdict().count() > 0 {
            // What follows a fault is mostly its echo.
            break;
        }
    }
    if let Some(mut last) = trial {
        stage.close(&mut last)?;
    }
    stage.took = clock.elapsed();
    Ok(stage)
}
