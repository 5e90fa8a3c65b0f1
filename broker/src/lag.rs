//! How far groups are behind.

use crate::offset::ConsumerOffsets;
use store::StoreReader;

/// How far a group is on one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLag {
    /// The queue.
    pub queue_id: u32,
    /// Offset of the oldest message.
    pub min: u64,
    /// Offset behind the newest message.
    pub max: u64,
    /// Offset the group consumes next; never outside the queue.
    pub committed: u64,
    /// Offset the group pulls next; never before the one it consumes next.
    pub pulled: u64,
    /// Store time of the oldest message that is not yet consumed.
    pub waiting_since: Option<i64>,
}

impl QueueLag {
    /// Messages not yet consumed.
    pub fn messages(&self) -> u64 {
        self.max - self.committed
    }

    /// Messages pulled and not yet consumed.
    pub fn inflight(&self) -> u64 {
        self.pulled - self.committed
    }

    /// Messages not yet pulled.
    pub fn ready(&self) -> u64 {
        self.max - self.pulled
    }
}

/// How far `group` is on every queue of `topic` it has committed an offset of.
pub fn queue_lags(
    offsets: &ConsumerOffsets,
    store: &StoreReader,
    group: &str,
    topic: &str,
) -> Vec<QueueLag> {
    let committed = offsets.queues(group, topic).into_iter();
    committed
        .filter_map(|(queue_id, committed)| {
            let queue = u32::try_from(queue_id).ok()?;
            let (min, max) = (
                store.min_offset(topic, queue),
                store.max_offset(topic, queue),
            );
            let committed = u64::try_from(committed).unwrap_or(0).clamp(min, max);
            let pulled = offsets
                .pull_offset(group, topic, queue_id)
                .and_then(|offset| u64::try_from(offset).ok());
            let pulled = pulled.unwrap_or(0).clamp(committed, max);
            let waiting_since = if committed < max {
                store.store_time_of(topic, queue, committed)
            } else {
                None
            };
            Some(QueueLag {
                queue_id: queue,
                min,
                max,
                committed,
                pulled,
                waiting_since,
            })
        })
        .collect()
}
