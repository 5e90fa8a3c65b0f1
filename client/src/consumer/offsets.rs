//! How far the group is on each queue: in memory here, reported to brokers or kept in a file by others.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::MessageQueue;

/// Offsets of the next message to consume, by queue.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    table: Mutex<BTreeMap<MessageQueue, Entry>>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    offset: i64,
    /// A reset decided this value; results of older deliveries do not count any more.
    frozen: bool,
}

impl Offsets {
    /// Sets the offset, whatever it was.
    pub(crate) fn set(&self, queue: &MessageQueue, offset: i64) {
        self.table.lock().insert(
            queue.clone(),
            Entry {
                offset,
                frozen: false,
            },
        );
    }

    /// Moves the offset forward; back never, and not at all once frozen. A queue that is not here was given
    /// up, and what is still reported for it must not bring it back.
    pub(crate) fn advance(&self, queue: &MessageQueue, offset: i64) {
        if let Some(entry) = self.table.lock().get_mut(queue)
            && !entry.frozen
        {
            entry.offset = entry.offset.max(offset);
        }
    }

    /// Sets the offset and keeps it so until the queue is removed.
    pub(crate) fn freeze(&self, queue: &MessageQueue, offset: i64) {
        self.table.lock().insert(
            queue.clone(),
            Entry {
                offset,
                frozen: true,
            },
        );
    }

    pub(crate) fn get(&self, queue: &MessageQueue) -> Option<i64> {
        self.table.lock().get(queue).map(|entry| entry.offset)
    }

    pub(crate) fn remove(&self, queue: &MessageQueue) -> Option<i64> {
        self.table.lock().remove(queue).map(|entry| entry.offset)
    }

    pub(crate) fn all(&self) -> BTreeMap<MessageQueue, i64> {
        let table = self.table.lock();
        table
            .iter()
            .map(|(queue, entry)| (queue.clone(), entry.offset))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> MessageQueue {
        MessageQueue::new("T", "broker-a", 0)
    }

    #[test]
    fn only_moves_forward() {
        let offsets = Offsets::default();
        offsets.set(&queue(), 10);
        offsets.advance(&queue(), 7);
        assert_eq!(offsets.get(&queue()), Some(10));
        offsets.advance(&queue(), 12);
        assert_eq!(offsets.get(&queue()), Some(12));
    }

    #[test]
    fn frozen_stays_until_removed() {
        let offsets = Offsets::default();
        offsets.set(&queue(), 10);
        offsets.freeze(&queue(), 3);
        offsets.advance(&queue(), 20);
        assert_eq!(offsets.remove(&queue()), Some(3));
        offsets.advance(&queue(), 20);
        assert_eq!(
            offsets.get(&queue()),
            None,
            "a queue given up does not come back by a late result"
        );
        offsets.set(&queue(), 5);
        assert_eq!(offsets.all(), BTreeMap::from([(queue(), 5)]));
    }
}
