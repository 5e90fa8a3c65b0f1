use std::time::Duration;

use common::clock::{Clock, SystemClock};

/// A moment after which waiting is pointless.
#[derive(Debug)]
pub struct Deadline {
    clock: SystemClock,
    allowed: Duration,
}

impl Deadline {
    /// A deadline `allowed` from now.
    pub fn after(allowed: Duration) -> Self {
        Self {
            clock: SystemClock::new(),
            allowed,
        }
    }

    /// What is left; zero once it has passed.
    pub fn left(&self) -> Duration {
        self.allowed.saturating_sub(self.clock.monotonic())
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        self.left().is_zero()
    }

    /// Time since it was set.
    pub fn elapsed(&self) -> Duration {
        self.clock.monotonic()
    }
}

/// Asks until the answer is `Some` or `allowed` has passed: for what another process does in its own
/// time and nobody announces (a consume queue following the log, a route reaching a name server).
///
/// # Errors
/// The last error of `ask`, or that `what` did not happen in time.
pub fn patiently<T>(
    what: &str,
    allowed: Duration,
    mut ask: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    /// Between two questions: short against what is waited for, long against the cost of asking.
    const PAUSE: Duration = Duration::from_millis(10);
    let deadline = Deadline::after(allowed);
    loop {
        let answer = ask();
        match answer {
            Ok(Some(value)) => return Ok(value),
            Err(error) if deadline.passed() => {
                return Err(error.context(format!("{what}: not within {allowed:?}")));
            }
            Ok(None) if deadline.passed() => anyhow::bail!("{what}: not within {allowed:?}"),
            Ok(None) | Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
