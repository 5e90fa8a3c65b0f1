//! Who holds which queue, and until when. Knows no clock: the time is passed in.

use common::wire::body::MessageQueue;
use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a lock lives without being renewed. Clients renew every 20 seconds.
pub const LOCK_LIFETIME: Duration = Duration::from_mins(1);

/// Most locks in memory, those included that are over but not yet forgotten. One more is not granted.
pub const MAX_LOCKS: usize = 1_000_000;

struct Lock {
    client_id: Box<str>,
    renewed: Duration,
}

impl Lock {
    fn is_live(&self, now: Duration) -> bool {
        now.saturating_sub(self.renewed) <= LOCK_LIFETIME
    }
}

/// The locks of all groups. Neither topics nor groups nor members are checked, and locks outlive connections.
#[derive(Default)]
pub struct Locks {
    groups: HashMap<String, HashMap<MessageQueue, Lock>>,
    len: usize,
}

impl Locks {
    /// Locks or renews the queues for a client; gives those back that it now holds.
    pub fn lock(
        &mut self,
        group: &str,
        client_id: &str,
        queues: BTreeSet<MessageQueue>,
        now: Duration,
    ) -> BTreeSet<MessageQueue> {
        if queues.is_empty() {
            return queues;
        }
        let locks = self.groups.entry_ref(group).or_default();
        let len = &mut self.len;
        queues
            .into_iter()
            .filter(|queue| Self::lock_one(locks, len, client_id, queue, now))
            .collect()
    }

    fn lock_one(
        locks: &mut HashMap<MessageQueue, Lock>,
        len: &mut usize,
        client_id: &str,
        queue: &MessageQueue,
        now: Duration,
    ) -> bool {
        if let Some(lock) = locks.get_mut(queue) {
            if *lock.client_id != *client_id {
                if lock.is_live(now) {
                    return false;
                }
                lock.client_id = client_id.into();
            }
            lock.renewed = now;
            return true;
        }
        if *len >= MAX_LOCKS {
            return false;
        }
        locks.insert(
            queue.clone(),
            Lock {
                client_id: client_id.into(),
                renewed: now,
            },
        );
        *len += 1;
        true
    }

    /// Frees those of the queues that this client holds.
    pub fn unlock(&mut self, group: &str, client_id: &str, queues: &BTreeSet<MessageQueue>) {
        let Some(locks) = self.groups.get_mut(group) else {
            return;
        };
        for queue in queues {
            if locks
                .get(queue)
                .is_some_and(|lock| *lock.client_id == *client_id)
            {
                locks.remove(queue);
                self.len -= 1;
            }
        }
        if locks.is_empty() {
            self.groups.remove(group);
        }
    }

    /// True while any client of the group holds a queue: then its failed messages count as failed in order.
    pub fn has_live(&self, group: &str, now: Duration) -> bool {
        self.groups
            .get(group)
            .is_some_and(|locks| locks.values().any(|lock| lock.is_live(now)))
    }

    /// Forgets the locks that are over.
    pub fn forget_expired(&mut self, now: Duration) {
        let mut len = 0;
        self.groups.retain(|_, locks| {
            locks.retain(|_, lock| lock.is_live(now));
            len += locks.len();
            !locks.is_empty()
        });
        self.len = len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn queues(ids: &[i32]) -> BTreeSet<MessageQueue> {
        ids.iter()
            .map(|id| MessageQueue::new("t", "broker-a", *id))
            .collect()
    }

    #[test]
    fn a_lock_belongs_to_one_client_of_a_group() {
        let mut table = Locks::default();
        assert_eq!(
            table.lock("g", "c1", queues(&[0, 1]), s(0)),
            queues(&[0, 1])
        );
        assert_eq!(table.lock("g", "c1", queues(&[0]), s(1)), queues(&[0]));
        assert_eq!(
            table.lock("g", "c2", queues(&[0, 1, 2]), s(1)),
            queues(&[2])
        );
        assert_eq!(
            table.lock("h", "c2", queues(&[0, 1]), s(1)),
            queues(&[0, 1])
        );
        assert_eq!(table.lock("g", "c1", queues(&[]), s(1)), queues(&[]));
    }

    #[test]
    fn a_lock_not_renewed_is_free_after_sixty_seconds() {
        let mut table = Locks::default();
        table.lock("g", "c1", queues(&[0, 1]), s(0));
        table.lock("g", "c1", queues(&[1]), s(30));
        assert_eq!(table.lock("g", "c2", queues(&[0, 1]), s(60)), queues(&[]));
        let later = s(60) + Duration::from_millis(1);
        assert_eq!(table.lock("g", "c2", queues(&[0, 1]), later), queues(&[0]));
        assert_eq!(table.lock("g", "c1", queues(&[0]), later), queues(&[]));
    }

    #[test]
    fn only_the_owner_unlocks() {
        let mut table = Locks::default();
        table.lock("g", "c1", queues(&[0]), s(0));
        table.unlock("g", "c2", &queues(&[0]));
        assert_eq!(table.lock("g", "c2", queues(&[0]), s(0)), queues(&[]));
        table.unlock("g", "c1", &queues(&[0, 5]));
        assert_eq!(table.len, 0);
        assert_eq!(table.lock("g", "c2", queues(&[0]), s(0)), queues(&[0]));
        table.unlock("never", "c2", &queues(&[0]));
    }

    #[test]
    fn a_group_has_live_locks_until_the_last_is_freed_or_over() {
        let mut table = Locks::default();
        assert!(!table.has_live("g", s(0)));
        table.lock("g", "c1", queues(&[0]), s(0));
        assert!(
            table.has_live("g", s(60)) && !table.has_live("g", s(61)) && !table.has_live("h", s(0))
        );
        table.unlock("g", "c1", &queues(&[0]));
        assert!(!table.has_live("g", s(0)));
    }

    #[test]
    fn locks_that_are_over_are_forgotten() {
        let mut table = Locks::default();
        table.lock("g", "c1", queues(&[0, 1]), s(0));
        table.lock("g", "c1", queues(&[1]), s(50));
        table.forget_expired(s(61));
        assert_eq!(table.len, 1);
        table.forget_expired(s(111));
        assert_eq!(table.len, 0);
    }
}
