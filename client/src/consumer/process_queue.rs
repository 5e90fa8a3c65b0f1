//! What a consumer holds of one message queue: pulled, not yet finished. A plain state machine that knows
//! neither time sources nor sockets; it answers how far the group may commit and whether to pull on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::MessageExt;

/// When pulling of a queue pauses because too much of it is unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowThresholds {
    /// Messages held of one queue. Default 1000.
    pub messages: usize,
    /// Bytes of bodies held of one queue. Default 100 MiB.
    pub bytes: usize,
    /// Distance between the lowest and the highest unfinished offset of one queue. Default 2000. It bounds
    /// how much is delivered again after a crash while one message hangs.
    pub span: i64,
}

impl Default for FlowThresholds {
    fn default() -> Self {
        Self {
            messages: 1000,
            bytes: 100 << 20,
            span: 2000,
        }
    }
}

/// Why pulling pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// More messages than [`FlowThresholds::messages`].
    Messages(usize),
    /// More bytes than [`FlowThresholds::bytes`].
    Bytes(usize),
    /// Offsets further apart than [`FlowThresholds::span`].
    Span(i64),
}

/// Unfinished messages of one queue by queue offset.
#[derive(Debug, Default)]
pub struct ProcessQueue {
    held: BTreeMap<i64, Held>,
    bytes: usize,
    /// One past the highest offset ever put; where the group stands once nothing is held any more.
    end: Option<i64>,
}

#[derive(Debug)]
struct Held {
    message: Arc<MessageExt>,
    /// When the listener got it, on the consumer's monotonic clock.
    started: Option<Duration>,
}

impl ProcessQueue {
    /// Takes pulled messages. An offset that is held already stays as it is.
    pub fn put(&mut self, messages: &[Arc<MessageExt>]) {
        for message in messages {
            let offset = message.queue_offset;
            self.end = self.end.max(Some(offset.saturating_add(1)));
            self.held.entry(offset).or_insert_with(|| {
                self.bytes += message.body.len();
                Held {
                    message: Arc::clone(message),
                    started: None,
                }
            });
        }
    }

    /// The first `most` messages held, of those behind `offset` if it is given.
    pub fn after(&self, offset: Option<i64>, most: usize) -> Vec<Arc<MessageExt>> {
        let from = offset.map_or(i64::MIN, |offset| offset.saturating_add(1));
        let all = self.held.range(from..).take(most);
        all.map(|(_, held)| Arc::clone(&held.message)).collect()
    }

    /// The offsets held up to `last`.
    pub fn up_to(&self, last: Option<i64>) -> Vec<i64> {
        let all = self.held.range(..=last.unwrap_or(i64::MIN));
        all.map(|(offset, _)| *offset).collect()
    }

    /// The listener failed on the message at `offset` and will get it again.
    pub fn failed(&mut self, offset: i64) {
        if let Some(held) = self.held.get_mut(&offset) {
            let message = Arc::make_mut(&mut held.message);
            message.reconsume_times = message.reconsume_times.saturating_add(1);
        }
    }

    /// Finishes `offsets` and answers up to where the group may commit now: the lowest offset still held, or
    /// one past the highest seen when nothing is left. `None` when nothing was ever put.
    pub fn finish(&mut self, offsets: impl IntoIterator<Item = i64>) -> Option<i64> {
        for offset in offsets {
            if let Some(held) = self.held.remove(&offset) {
                self.bytes -= held.message.body.len();
            }
        }
        self.first_offset().or(self.end)
    }

    /// The listener is about to get the message at `offset`. False when it is not held any more.
    pub fn start(&mut self, offset: i64, now: Duration) -> bool {
        let held = self.held.get_mut(&offset);
        held.map(|held| held.started = Some(now)).is_some()
    }

    /// Whether the message at `offset` is still unfinished.
    pub fn holds(&self, offset: i64) -> bool {
        self.held.contains_key(&offset)
    }

    /// The first message, if its listener has had it for longer than `limit`. Only the head is looked at: it
    /// is what keeps the committed offset from moving.
    pub fn overdue(&self, now: Duration, limit: Duration) -> Option<Arc<MessageExt>> {
        let (_, head) = self.held.first_key_value()?;
        let started = head.started?;
        (now.saturating_sub(started) > limit).then(|| Arc::clone(&head.message))
    }

    /// Whether pulling has to wait, and why.
    pub fn pause(&self, thresholds: &FlowThresholds) -> Option<Pause> {
        if self.held.len() > thresholds.messages {
            return Some(Pause::Messages(self.held.len()));
        }
        if self.bytes > thresholds.bytes {
            return Some(Pause::Bytes(self.bytes));
        }
        let span = self.last_offset()? - self.first_offset()?;
        (span > thresholds.span).then_some(Pause::Span(span))
    }

    /// The lowest offset held.
    pub fn first_offset(&self) -> Option<i64> {
        self.held.first_key_value().map(|(offset, _)| *offset)
    }

    /// The highest offset held.
    pub fn last_offset(&self) -> Option<i64> {
        self.held.last_key_value().map(|(offset, _)| *offset)
    }

    /// Messages held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Bytes of the bodies held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_messages::message_at;

    fn filled(offsets: &[i64]) -> ProcessQueue {
        let mut queue = ProcessQueue::default();
        let messages: Vec<_> = offsets
            .iter()
            .map(|offset| message_at(*offset, b"0123456789"))
            .collect();
        queue.put(&messages);
        queue
    }

    #[test]
    fn the_lowest_unfinished_offset_pins_the_commit() {
        let mut queue = filled(&[5, 6, 7, 8]);
        assert_eq!(queue.finish([6, 7]), Some(5));
        assert_eq!(queue.finish([5]), Some(8));
        assert_eq!(queue.finish([8]), Some(9));
    }

    #[test]
    fn offsets_the_broker_filtered_out_count_as_finished() {
        let mut queue = filled(&[3, 9, 20]);
        assert_eq!(queue.finish([3]), Some(9));
        assert_eq!(queue.finish([20]), Some(9));
        assert_eq!(queue.finish([9]), Some(21));
    }

    #[test]
    fn a_queue_that_never_held_anything_commits_nothing() {
        let mut queue = ProcessQueue::default();
        assert_eq!(queue.finish([]), None);
        assert_eq!(queue.finish([1, 2]), None);
    }

    #[test]
    fn finishing_twice_counts_once() {
        let mut queue = filled(&[1, 2]);
        queue.finish([1]);
        queue.finish([1]);
        assert_eq!((queue.len(), queue.bytes()), (1, 10));
    }

    #[test]
    fn messages_in_order_are_given_again_until_they_are_done() {
        let mut queue = filled(&[3, 5, 9]);
        let offsets = |messages: Vec<Arc<MessageExt>>| -> Vec<i64> {
            messages
                .iter()
                .map(|message| message.queue_offset)
                .collect()
        };
        assert_eq!(offsets(queue.after(None, 2)), [3, 5]);
        assert_eq!(offsets(queue.after(Some(5), 2)), [9]);
        queue.failed(3);
        assert_eq!(queue.after(None, 1)[0].reconsume_times, 1);
        let done = queue.up_to(Some(5));
        assert_eq!((done.clone(), queue.finish(done)), (vec![3, 5], Some(9)));
        assert!(queue.after(Some(9), 2).is_empty() && queue.up_to(None).is_empty());
    }

    #[test]
    fn a_message_put_twice_is_held_once() {
        let mut queue = filled(&[1, 2]);
        queue.put(&[message_at(2, b"other")]);
        assert_eq!((queue.len(), queue.bytes()), (2, 20));
    }

    #[test]
    fn pauses_beyond_each_threshold_and_not_at_it() {
        let queue = filled(&[10, 11, 15]);
        let open = FlowThresholds {
            messages: 3,
            bytes: 30,
            span: 5,
        };
        assert_eq!(queue.pause(&open), None);
        assert_eq!(
            queue.pause(&FlowThresholds {
                messages: 2,
                ..open
            }),
            Some(Pause::Messages(3))
        );
        assert_eq!(
            queue.pause(&FlowThresholds { bytes: 29, ..open }),
            Some(Pause::Bytes(30))
        );
        assert_eq!(
            queue.pause(&FlowThresholds { span: 4, ..open }),
            Some(Pause::Span(5))
        );
    }

    #[test]
    fn only_an_overdue_head_is_reported() {
        let mut queue = filled(&[1, 2]);
        let limit = Duration::from_mins(15);
        assert!(queue.start(2, Duration::ZERO));
        assert!(
            queue.overdue(Duration::from_secs(901), limit).is_none(),
            "the head was not started"
        );
        assert!(queue.start(1, Duration::from_secs(1)));
        assert!(queue.overdue(Duration::from_secs(901), limit).is_none());
        let overdue = queue.overdue(Duration::from_secs(902), limit);
        assert_eq!(overdue.map(|message| message.queue_offset), Some(1));
        assert!(!queue.start(3, Duration::ZERO), "not held");
    }

    #[test]
    fn any_order_of_finishing_never_commits_past_an_unfinished_message() {
        // A fixed multiplicative walk visits all residues: every order is different, none is random.
        for step in [3_i64, 7, 11, 13, 17, 19] {
            let offsets: Vec<i64> = (0..23).collect();
            let mut queue = filled(&offsets);
            let mut open: std::collections::BTreeSet<i64> = offsets.iter().copied().collect();
            for n in 0..23 {
                let offset = (n * step + 5) % 23;
                open.remove(&offset);
                let expected = open.first().copied().unwrap_or(23);
                assert_eq!(queue.finish([offset]), Some(expected));
            }
            assert!(queue.is_empty());
            assert_eq!(queue.bytes(), 0);
        }
    }
}
