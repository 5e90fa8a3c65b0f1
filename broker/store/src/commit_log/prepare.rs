//! The next segment, reserved by a helper thread before it is needed.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::segments::{Segment, Segments};
use crate::error::StoreError;

/// The helper's work: at most one segment ahead.
#[derive(Debug, Default)]
pub(crate) struct Prepare {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    wanted: Option<u64>,
    ready: Option<Arc<Segment>>,
    busy: bool,
    /// Could not be made ahead; whoever needs it tries again.
    failed: Option<u64>,
    stop: bool,
}

impl Prepare {
    /// Asks for the segment at `base`, as often as one likes.
    pub(crate) fn want(&self, base: u64) {
        let mut state = self.state.lock();
        let there = state.ready.as_ref().is_some_and(|ready| ready.base == base);
        if !there && !state.busy && state.wanted != Some(base) && state.failed != Some(base) {
            state.wanted = Some(base);
            self.changed.notify_all();
        }
    }

    /// The segment at `base`: the prepared one, also if it is just being made, or else a new one.
    pub(crate) fn take(&self, segments: &Segments, base: u64) -> Result<Arc<Segment>, StoreError> {
        let mut state = self.state.lock();
        while state.busy {
            self.changed.wait(&mut state);
        }
        state.wanted = None;
        match state.ready.take_if(|ready| ready.base == base) {
            Some(segment) => Ok(segment),
            None => segments.create(base),
        }
    }

    /// The helper's loop, until [`Self::stop`].
    pub(crate) fn run(&self, segments: &Segments) {
        let mut state = self.state.lock();
        while !state.stop {
            if !self.make_wanted(&mut state, segments) {
                self.changed.wait(&mut state);
            }
        }
    }

    /// One turn of the helper.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn run_once(&self, segments: &Segments) {
        self.make_wanted(&mut self.state.lock(), segments);
    }

    /// False when no segment is wanted.
    fn make_wanted(&self, state: &mut MutexGuard<'_, State>, segments: &Segments) -> bool {
        let Some(base) = state.wanted.take() else {
            return false;
        };
        state.busy = true;
        let made = MutexGuard::unlocked(state, || segments.create(base));
        state.busy = false;
        match made {
            Ok(segment) => state.ready = Some(segment),
            Err(error) => {
                state.failed = Some(base);
                tracing::warn!(%error, "the next CommitLog file cannot be reserved ahead");
            }
        }
        self.changed.notify_all();
        true
    }

    /// Ends the helper's loop and leaves everything as it is.
    #[cfg(test)]
    pub(crate) fn abandon(&self) {
        self.state.lock().stop = true;
        self.changed.notify_all();
    }

    /// Ends the helper's loop; a segment nobody took is deleted.
    pub(crate) fn stop(&self, segments: &Segments) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        while state.busy {
            self.changed.wait(&mut state);
        }
        state.stop = true;
        self.changed.notify_all();
        match state.ready.take() {
            Some(unused) => segments.discard(&unused),
            None => Ok(()),
        }
    }
}
