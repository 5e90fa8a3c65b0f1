//! How far the group is on each queue: in memory here, reported to brokers or kept in a file by others.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::MessageQueue;

/// Offsets of the next message to consume, by queue.
#[derive(Debug, Default)]
pub(crate) struct Offsets(Mutex<BTreeMap<MessageQueue, i64>>);

impl Offsets {
    /// Sets the offset, whatever it was.
    pub(crate) fn set(&self, queue: &MessageQueue, offset: i64) {
        self.0.lock().insert(queue.clone(), offset);
    }

    /// Moves the offset forward; back never. A queue that is not here was given up, or reset, and what is still reported
    /// for it must not bring it back.
    pub(crate) fn advance(&self, queue: &MessageQueue, offset: i64) {
        if let Some(known) = self.0.lock().get_mut(queue) {
            *known = offset.max(*known);
        }
    }

    pub(crate) fn get(&self, queue: &MessageQueue) -> Option<i64> {
        self.0.lock().get(queue).copied()
    }

    pub(crate) fn remove(&self, queue: &MessageQueue) -> Option<i64> {
        self.0.lock().remove(queue)
    }

    pub(crate) fn all(&self) -> BTreeMap<MessageQueue, i64> {
        self.0.lock().clone()
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
    fn a_queue_given_up_does_not_come_back_by_a_late_result() {
        let offsets = Offsets::default();
        offsets.set(&queue(), 10);
        assert_eq!(offsets.remove(&queue()), Some(10));
        offsets.advance(&queue(), 20);
        assert_eq!(offsets.get(&queue()), None);
        offsets.set(&queue(), 5);
        assert_eq!(offsets.all(), BTreeMap::from([(queue(), 5)]));
    }
}
