//! The store on a simulated disk that dies at every step.
//!
//! A run is a seeded life of a store: messages are sent, flushed and indexed, files roll, topics are
//! deleted, the disk fills up and fails, the store is closed, killed and opened again. Before every
//! step of the disk the process is killed and the power cut in every way there is, and what is left
//! is recovered and compared with a model that knows what was promised.
//!
//! `SIM_STATES` states are looked at, beginning with the run of `SIM_SEED`; `scripts/sim.sh` runs it
//! for hours.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test: whatever cannot be ends it"
)]

mod check;
mod crash;
mod message;
mod model;
mod recorder;
mod rng;
mod workload;

use std::io::IsTerminal as _;

use common::clock::{Clock as _, SystemClock};
use store::sim::{Fault, plant};
use workload::Violation;

/// Crash states one test run looks at.
const STATES: u64 = 100_000;
const SEED: u64 = 1;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// States after which a planted fault counts as not found.
const FAULT_STATES: u64 = 400_000;

/// Runs from `seed` on until `budget` states were looked at, or the first violation; the number of
/// states and of runs.
fn look(seed: u64, budget: u64, fleeting: bool) -> Result<(u64, u64), (u64, Box<Violation>)> {
    let (mut states, mut runs) = (0, 0);
    while states < budget {
        match workload::run(seed + runs, budget - states, fleeting) {
            Ok(more) => states += more,
            Err(violation) => return Err((states, violation)),
        }
        runs += 1;
    }
    Ok((states, runs))
}

#[test]
fn no_crash_fools_the_store() {
    let (seed, budget) = (number("SIM_SEED", SEED), number("SIM_STATES", STATES));
    match look(seed, budget, false) {
        Ok((states, runs)) => {
            println!("{states} crash states of {runs} runs from seed {seed}, 0 violations");
        }
        Err((states, violation)) => panic!("after {states} states: {violation}"),
    }
}

/// `SIM_SECONDS` or `SIM_RUNS` say how long; a violation does not end it.
#[test]
#[ignore = "runs as long as scripts/sim.sh says"]
fn for_hours() {
    let (first, runs) = (number("SIM_SEED", SEED), number("SIM_RUNS", u64::MAX));
    let seconds = number("SIM_SECONDS", u64::MAX);
    let (clock, terminal) = (SystemClock::new(), std::io::stderr().is_terminal());
    let (mut states, mut violations, mut told) = (0, 0, 0);
    for run in 0..runs {
        let elapsed = clock.monotonic().as_secs();
        if elapsed >= seconds {
            break;
        }
        // A terminal sees it move, a log grows by a line a minute.
        if elapsed >= told + if terminal { 1 } else { 60 } {
            told = elapsed;
            eprint!(
                "{}{elapsed} s, {run} runs from seed {first}, {states} crash states, {}/s, {violations} violations{}",
                if terminal { "\r" } else { "" },
                states / elapsed,
                if terminal { "" } else { "\n" }
            );
        }
        match workload::run(first + run, u64::MAX, (first + run) % 2 == 1) {
            Ok(more) => states += more,
            Err(violation) => {
                states += violation.states;
                violations += 1;
                eprintln!("\n{violation}");
            }
        }
    }
    let seconds = clock.monotonic().as_secs().max(1);
    println!(
        "\n{states} crash states from seed {first} in {seconds} s, {}/s, {violations} violations",
        states / seconds
    );
    assert_eq!(violations, 0, "violations");
}

#[test]
fn every_planted_fault_is_reported() {
    let seed = number("SIM_SEED", SEED);
    let only = std::env::var("SIM_FAULT").ok();
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for fault in Fault::ALL {
        let name = format!("{fault:?}");
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        plant(Some(*fault));
        let found = look(seed, number("SIM_STATES", FAULT_STATES), true);
        plant(None);
        match found {
            Err((states, violation)) => {
                let last = violation.problem.lines().nth_back(1).unwrap_or_default();
                println!(
                    "{name}: reported after {} states: {}",
                    states + violation.states,
                    last.trim()
                );
            }
            Ok(_) => missed.push(name),
        }
    }
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not reported: {missed:?}");
}
