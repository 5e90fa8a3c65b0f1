//! Threads without which a process is nothing.

use parking_lot::{Condvar, Mutex};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Starts a thread of this name. Should it panic, the process ends.
///
/// # Errors
/// The system has no thread.
pub fn spawn_critical(
    name: &'static str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let work = move || {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            tracing::error!("the thread {name} panicked; ending the process");
            std::process::abort();
        }
    };
    Builder::new().name(name.to_owned()).spawn(work)
}

/// A thread that works step by step until it is stopped.
pub struct Steps {
    bell: Arc<Bell>,
    thread: JoinHandle<()>,
}

impl Steps {
    /// Starts the thread: a step, then a pause for as long as that has said, unless `bell` rings.
    ///
    /// # Errors
    /// The system has no thread.
    pub fn start(
        name: &'static str,
        bell: Arc<Bell>,
        mut step: impl FnMut() -> Duration + Send + 'static,
    ) -> io::Result<Self> {
        let told = Arc::clone(&bell);
        let work = move || while told.wait(step()) {};
        let thread = spawn_critical(name, work)?;
        Ok(Self { bell, thread })
    }

    /// Ends the thread between two steps. Blocks for that.
    pub fn stop(self) {
        self.bell.stop();
        // A panic there has ended the process.
        let _ = self.thread.join();
    }
}

/// Rung when a thread that sleeps is to look at something.
#[derive(Default)]
pub struct Bell {
    state: Mutex<Rung>,
    wake: Condvar,
}

#[derive(Default)]
struct Rung {
    rung: bool,
    /// For the last time.
    last: bool,
}

impl Bell {
    /// Something is to be looked at.
    pub fn ring(&self) {
        self.ring_for(false);
    }

    /// It rings for the last time: whoever waits is to end.
    pub fn stop(&self) {
        self.ring_for(true);
    }

    fn ring_for(&self, last: bool) {
        let mut state = self.state.lock();
        state.last |= last;
        if !std::mem::replace(&mut state.rung, true) {
            self.wake.notify_one();
        }
    }

    /// Waits until it rings, or until `time` is over. False when it has rung for the last time.
    pub fn wait(&self, time: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.rung && !state.last && !time.is_zero() {
            self.wake.wait_for(&mut state, time);
        }
        state.rung = false;
        !state.last
    }
}
