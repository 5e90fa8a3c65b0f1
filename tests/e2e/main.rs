//! The real binaries as an operator and an unfriendly network see them.

mod config;
mod disk_full;
mod failing_disk;
mod hostile;
mod io_errors;
mod kill;
mod life;
mod offsets;
mod pages;
mod pause;
mod power;
mod retention;

use std::time::Duration;

/// What one process does at once, with room for a busy machine.
const SOON: Duration = Duration::from_secs(20);
