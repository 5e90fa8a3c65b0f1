//! Which parked pulls wake up, decided without clocks, sockets or threads.

use crate::filter::Filter;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::collections::BTreeSet;
use std::hash::Hash;
use std::time::Duration;

/// Most pulls held at a time, in all queues together. One more is answered at once, as if its time were over.
pub const MAX_HELD_PULLS: usize = 100_000;

/// How much longer a pull is held after messages arrived that it does not want. Then it is answered with the offset
/// behind them, so that a consumer of rare tags neither reads them again and again nor falls back for long.
pub const NON_MATCHING_HOLD: Duration = Duration::from_secs(5);

/// A pull on its way into the hold.
pub struct Parked<T> {
    /// The connection it came from: it leaves with it.
    pub connection: u64,
    /// Offset it waits for. A maximum offset above it is an arrival.
    pub offset: u64,
    /// Arrivals that do not match do not wake it.
    pub filter: Filter,
    /// Monotonic time at which the wait is over.
    pub deadline: Duration,
    /// What is given back when it wakes.
    pub pull: T,
}

struct Slot<K, T> {
    queue: K,
    parked: Parked<T>,
}

/// The parked pulls of all queues. `K` names a queue, `T` is whatever wakes up.
pub struct PullHold<K, T> {
    limit: usize,
    next_id: u64,
    slots: HashMap<u64, Slot<K, T>>,
    by_queue: HashMap<K, Vec<u64>>,
    by_deadline: BTreeSet<(Duration, u64)>,
    by_connection: BTreeSet<(u64, u64)>,
}

impl<K: Hash + Eq + Clone, T> PullHold<K, T> {
    /// An empty hold for at most `limit` pulls.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            next_id: 0,
            slots: HashMap::new(),
            by_queue: HashMap::new(),
            by_deadline: BTreeSet::new(),
            by_connection: BTreeSet::new(),
        }
    }

    /// Number of parked pulls.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Parks a pull and names it, so that it can be taken out again.
    ///
    /// # Errors
    /// Gives the pull back when the hold is full.
    pub fn park(&mut self, queue: K, parked: Parked<T>) -> Result<u64, T> {
        if self.slots.len() >= self.limit {
            return Err(parked.pull);
        }
        let id = self.next_id;
        self.next_id += 1;
        self.by_queue.entry(queue.clone()).or_default().push(id);
        self.by_deadline.insert((parked.deadline, id));
        self.by_connection.insert((parked.connection, id));
        self.slots.insert(id, Slot { queue, parked });
        Ok(id)
    }

    /// Takes one pull out again; `None` when it has woken before.
    pub fn take(&mut self, id: u64) -> Option<T> {
        let slot = self.slots.remove(&id)?;
        if let Entry::Occupied(mut ids) = self.by_queue.entry(slot.queue) {
            ids.get_mut().retain(|other| *other != id);
            if ids.get().is_empty() {
                ids.remove();
            }
        }
        self.by_deadline.remove(&(slot.parked.deadline, id));
        self.by_connection.remove(&(slot.parked.connection, id));
        Some(slot.parked.pull)
    }

    /// A message arrived: the maximum offset of `queue` is now `max_offset`. Pulls that want it wake up; others that
    /// it passed wait [`NON_MATCHING_HOLD`] longer at most.
    pub fn arrived(&mut self, queue: &K, max_offset: u64, tags_code: i64, now: Duration) -> Vec<T> {
        let Some(mut ids) = self.by_queue.remove(queue) else {
            return Vec::new();
        };
        let mut woken = Vec::new();
        let Self {
            slots,
            by_deadline,
            by_connection,
            ..
        } = self;
        ids.retain(|id| {
            let Some(slot) = slots.get_mut(id) else {
                return false;
            };
            let parked = &mut slot.parked;
            if max_offset <= parked.offset {
                return true;
            }
            if !parked.filter.matches(tags_code) {
                let deadline = parked.deadline.min(now + NON_MATCHING_HOLD);
                if deadline < parked.deadline {
                    by_deadline.remove(&(parked.deadline, *id));
                    by_deadline.insert((deadline, *id));
                    parked.deadline = deadline;
                }
                return true;
            }
            by_deadline.remove(&(parked.deadline, *id));
            by_connection.remove(&(parked.connection, *id));
            woken.extend(slots.remove(id).map(|slot| slot.parked.pull));
            false
        });
        if !ids.is_empty() {
            self.by_queue.insert(queue.clone(), ids);
        }
        woken
    }

    /// The pulls whose time is over.
    pub fn expired(&mut self, now: Duration) -> Vec<T> {
        let mut over = Vec::new();
        while let Some(&(deadline, id)) = self.by_deadline.first() {
            if deadline > now {
                break;
            }
            over.extend(self.take(id));
        }
        over
    }

    /// When the next pull expires.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// The pulls of a connection that is gone.
    pub fn closed(&mut self, connection: u64) -> Vec<T> {
        let ids: Vec<u64> = self
            .by_connection
            .range((connection, 0)..=(connection, u64::MAX))
            .map(|(_, id)| *id)
            .collect();
        ids.into_iter().filter_map(|id| self.take(id)).collect()
    }

    /// Everything that is parked.
    pub fn drain(&mut self) -> Vec<T> {
        self.by_queue.clear();
        self.by_deadline.clear();
        self.by_connection.clear();
        self.slots
            .drain()
            .map(|(_, slot)| slot.parked.pull)
            .collect()
    }
}

#[cfg(test)]
mod tests;
