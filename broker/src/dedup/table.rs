//! The messages that would be recognized. Knows no clock, no log and no topics.

use hashbrown::HashMap;
use std::collections::VecDeque;
use store::Appended;

/// What makes two messages the same: the hash of topic and unique key, the body's checksum and length. 128 bits in all, so
/// that no two different messages are ever taken for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// See [`super::Deduplication::hash`].
    pub hash: u64,
    /// CRC-32 of the body, as its record has it.
    pub body_crc: u32,
    /// Length of the body.
    pub body_bytes: u32,
}

/// The first of several sends of a message: what it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct First {
    /// Where it is stored.
    pub appended: Appended,
    /// The queue that the answer named.
    pub queue_id: u32,
    /// The handle that the answer had.
    pub recall_handle: Option<Box<str>>,
}

/// A message in the order of storing.
struct Kept {
    fingerprint: Fingerprint,
    physical_offset: u64,
    /// End of its window, in milliseconds since 1970.
    until: i64,
}

/// The messages stored within their windows.
pub struct Recent {
    by_fingerprint: HashMap<Fingerprint, First>,
    order: VecDeque<Kept>,
    limit: usize,
    forgotten: u64,
}

impl Recent {
    /// Room for `limit` messages.
    pub fn new(limit: usize) -> Self {
        Self {
            by_fingerprint: HashMap::new(),
            order: VecDeque::new(),
            limit,
            forgotten: 0,
        }
    }

    /// The message stored first, if that was at `oldest` or later, in milliseconds since 1970.
    pub fn find(&self, fingerprint: &Fingerprint, oldest: i64) -> Option<&First> {
        let first = self.by_fingerprint.get(fingerprint)?;
        (first.appended.store_timestamp >= oldest).then_some(first)
    }

    /// Remembers a message until `until`, in milliseconds since 1970; its offset in the log is larger than that of all before.
    pub fn remember(&mut self, fingerprint: Fingerprint, first: First, until: i64) {
        self.order.push_back(Kept {
            fingerprint,
            physical_offset: first.appended.physical_offset.0,
            until,
        });
        self.by_fingerprint.insert(fingerprint, first);
        if self.order.len() > self.limit {
            self.forgotten += u64::from(self.forget_oldest());
        }
    }

    /// Forgets what was stored longest ago, as far as the windows are over. One that is longer keeps those behind it.
    pub fn expire(&mut self, now: i64) {
        while self.order.front().is_some_and(|kept| kept.until < now) {
            self.forget_oldest();
        }
    }

    /// True when a message was forgotten, and not only an older send of one that was stored again since.
    fn forget_oldest(&mut self) -> bool {
        let Some(kept) = self.order.pop_front() else {
            return false;
        };
        let known = self.by_fingerprint.get(&kept.fingerprint);
        let same =
            known.is_some_and(|first| first.appended.physical_offset.0 == kept.physical_offset);
        if same {
            self.by_fingerprint.remove(&kept.fingerprint);
        }
        same
    }

    /// After a storm its memory goes back.
    pub fn give_back_memory(&mut self) {
        if self.by_fingerprint.capacity() > 4 * self.order.len() + 1024 {
            self.by_fingerprint.shrink_to(2 * self.order.len());
            self.order.shrink_to(2 * self.order.len());
        }
    }

    /// Messages remembered.
    pub fn len(&self) -> usize {
        self.by_fingerprint.len()
    }

    /// Messages that had to go before their window was over.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::{PhysicalOffset, QueueOffset};

    const WINDOW: i64 = 100;

    fn print(hash: u64) -> Fingerprint {
        Fingerprint {
            hash,
            body_crc: 1,
            body_bytes: 2,
        }
    }

    /// A message stored at a time, which is its offset as well.
    fn stored(time: i64) -> First {
        First {
            appended: Appended {
                physical_offset: PhysicalOffset(time.unsigned_abs()),
                queue_offset: QueueOffset(0),
                store_timestamp: time,
                bytes: 10,
            },
            queue_id: 0,
            recall_handle: None,
        }
    }

    fn remember(recent: &mut Recent, hash: u64, time: i64) {
        recent.expire(time);
        recent.remember(print(hash), stored(time), time + WINDOW);
    }

    fn find(recent: &Recent, hash: u64, now: i64) -> Option<i64> {
        let found = recent.find(&print(hash), now - WINDOW);
        found.map(|first| first.appended.store_timestamp)
    }

    #[test]
    fn a_message_is_recognized_within_its_window() {
        let mut recent = Recent::new(10);
        remember(&mut recent, 1, 1000);
        assert_eq!(find(&recent, 1, 1000), Some(1000));
        assert_eq!(find(&recent, 1, 1100), Some(1000));
        assert_eq!(find(&recent, 1, 1101), None);
        assert_eq!(find(&recent, 2, 1000), None);
        let other_body = Fingerprint {
            body_crc: 9,
            ..print(1)
        };
        assert_eq!(recent.find(&other_body, 0), None);
    }

    #[test]
    fn what_is_over_goes_and_a_message_stored_again_stays() {
        let mut recent = Recent::new(10);
        remember(&mut recent, 1, 1000);
        remember(&mut recent, 2, 1050);
        // Its window was longer once, or the clock was set: it is remembered twice.
        remember(&mut recent, 1, 1090);
        recent.expire(1101);
        assert_eq!(find(&recent, 1, 1150), Some(1090));
        recent.expire(1151);
        assert_eq!(recent.len(), 1);
        recent.expire(1191);
        assert!(recent.len() == 0 && recent.order.is_empty() && recent.forgotten() == 0);
        recent.give_back_memory();
    }

    #[test]
    fn with_too_many_the_oldest_are_forgotten_and_counted() {
        let mut recent = Recent::new(3);
        for hash in 0..5 {
            remember(&mut recent, hash, 1000);
        }
        let found: Vec<u64> = (0..5)
            .filter(|hash| find(&recent, *hash, 1000).is_some())
            .collect();
        assert_eq!((found, recent.forgotten()), (vec![2, 3, 4], 2));
    }
}
