//! The real binaries as an operator and an unfriendly network see them.

mod config;
mod dedup;
mod disk_full;
mod failing_disk;
mod hostile;
mod io_errors;
mod kill;
mod kinds;
mod later;
mod levels;
mod life;
mod offsets;
mod order;
mod pages;
mod pause;
mod power;
mod reply;
mod retention;
mod timers;
mod transactions;

use std::time::Duration;

/// What one process does at once, with room for a busy machine.
const SOON: Duration = Duration::from_mins(1);
