//! Threads without which the broker is nothing.

use parking_lot::{Condvar, Mutex};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
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

/// Rung when a thread that sleeps is to look at something.
#[derive(Default)]
pub struct Bell {
    rung: Mutex<bool>,
    wake: Condvar,
}

impl Bell {
    /// Something is to be looked at.
    pub fn ring(&self) {
        let mut rung = self.rung.lock();
        if !std::mem::replace(&mut *rung, true) {
            self.wake.notify_one();
        }
    }

    /// Waits until it rings, or until `time` is over. Whether it rang since the last time.
    pub fn wait(&self, time: Duration) -> bool {
        let mut rung = self.rung.lock();
        if !*rung {
            self.wake.wait_for(&mut rung, time);
        }
        std::mem::take(&mut *rung)
    }
}
