//! The lock table behind its one lock, with a clock.

use super::table::Locks;
use common::clock::Clock;
use common::wire::body::MessageQueue;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Handle of the order locks; clones share one table. They die with the process, as in the reference.
#[derive(Clone)]
pub struct LockTable {
    table: Arc<Mutex<Locks>>,
    clock: Arc<dyn Clock>,
}

impl LockTable {
    /// No locks.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            table: Arc::default(),
            clock,
        }
    }

    /// See [`Locks::lock`].
    pub fn lock(
        &self,
        group: &str,
        client_id: &str,
        queues: BTreeSet<MessageQueue>,
    ) -> BTreeSet<MessageQueue> {
        self.table
            .lock()
            .lock(group, client_id, queues, self.clock.monotonic())
    }

    /// See [`Locks::unlock`].
    pub fn unlock(&self, group: &str, client_id: &str, queues: &BTreeSet<MessageQueue>) {
        self.table.lock().unlock(group, client_id, queues);
    }

    /// See [`Locks::has_live`].
    pub fn has_live(&self, group: &str) -> bool {
        self.table.lock().has_live(group, self.clock.monotonic())
    }

    /// Forgets the locks that are over. Nobody depends on it but the memory.
    pub fn forget_expired(&self) {
        self.table.lock().forget_expired(self.clock.monotonic());
    }
}
