//! `crash`: kills and power cuts under load in great number; see `scripts/crash.sh`.

mod kinds;
mod options;
mod report;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::Deadline;
use tests::crash::{
    Cycle, Extent, Kind, Load, Moments, Order, Repeats, Spread, Timers, Transactions, Trial,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::kinds::KindStage;
use crate::options::{Options, USAGE};
use crate::report::{Stage, Summary};

/// Kills and power cuts a store lives through before a new one takes its place: enough to grow
/// old, few enough for it to be read again and again in full.
const STORE_CYCLES: u32 = 50;

/// Between two checks that read everything.
const FULL_CHECK: u32 = 25;

/// An orderly stop and start follows on one recovery in so many.
const ORDERLY: u32 = 15;

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--help" || argument == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("seed {}: {error:#}", options.seed);
            ExitCode::FAILURE
        }
    }
}

/// Set by signals, which must not end this process with disks mounted and brokers running.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Notes the first signal that asks for the end; a second one ends the process.
fn watch_signals() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let (mut terminate, mut interrupt) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        )
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if INTERRUPTED.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
            }
        });
    });
    Ok(())
}

/// Whether everything was as promised.
fn run(options: &Options) -> Result<bool> {
    watch_signals()?;
    println!("seed {}", options.seed);
    let mut summary = Summary::default();
    let wants = |load: &str| options.loads.iter().any(|wanted| wanted == load);
    let flushes = options.flush.iter().filter(|_| wants("store"));
    for flush in flushes {
        let kills = Stage::new(flush, "kill -9");
        summary.add(series(options, kills, options.cycles, Trial::kill)?);
        let cuts = Stage::new(flush, "power cut");
        summary.add(series(options, cuts, options.images, Trial::cut_power)?);
    }
    for (count, cuts) in [(options.kind_cycles, false), (options.kind_images, true)] {
        for (name, series) in KINDS {
            if wants(name) && count > 0 {
                summary.add_kind(series(options, count, cuts)?);
            }
        }
    }
    println!("\n{summary}");
    if let Some(path) = &options.record {
        summary.record(path, options)?;
    }
    Ok(summary.is_clean())
}

type KindSeries = fn(&Options, u32, bool) -> Result<KindStage>;

const KINDS: [(&str, KindSeries); 5] = [
    (Timers::NAME, kinds::series::<Timers>),
    (Transactions::NAME, kinds::series::<Transactions>),
    (Order::NAME, kinds::series::<Order>),
    (Repeats::NAME, kinds::series::<Repeats>),
    (Spread::NAME, kinds::series::<Spread>),
];

type Blow = fn(&mut Trial, Load, &[Duration]) -> Result<Cycle>;

/// `count` times a load and a blow, on one store after the other.
fn series(options: &Options, mut stage: Stage, count: u32, blow: Blow) -> Result<Stage> {
    let clock = Deadline::after(Duration::ZERO);
    let mut moments = Moments::new(options.seed ^ stage.salt());
    let settings = [("flushDiskType", stage.flush)];
    let mut trial: Option<Trial> = None;
    for number in 1..=count {
        if (number - 1).is_multiple_of(STORE_CYCLES) {
            if let Some(mut old) = trial.take() {
                stage.close(&mut old)?;
            }
            let seed = moments.number(u64::MAX);
            trial = if stage.cuts_power() {
                let Some(trial) = Trial::with_power_cuts(seed, &settings)? else {
                    stage.skipped = true;
                    return Ok(stage);
                };
                Some(trial)
            } else {
                Some(Trial::new(seed, &settings)?)
            };
        }
        let trial = trial.as_mut().context("a store")?;
        ensure!(!interrupted(), "interrupted");
        let (load, starts) = (moments.load(options.messages), moments.killed_starts());
        let what = || format!("{} {} {number} of {count}", stage.flush, stage.blow);
        let cycle = blow(trial, load, &starts).with_context(what)?;
        let mut read = cycle.read;
        if moments.once_in(ORDERLY) {
            trial.stop_and_start().with_context(what)?;
        }
        if number.is_multiple_of(FULL_CHECK) {
            read += trial.check(Extent::All).with_context(what)?;
        }
        stage.note(&cycle, read);
        println!("{}", stage.progress(number, count, &cycle, trial));
        if trial.books.faults().count() > 0 {
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
