//! Offsets that are handed over between direct access and proxies.

use super::answer::wire_offset;
use super::{Admitted, Answer, Pull, PullHandler};
use crate::client::{BroadcastPull, broadcast_group};
use common::wire::response_code;

/// `requestSource` of a proxy that pulls for a broadcast consumer.
const PROXY_FOR_BROADCAST: i32 = 1;

impl PullHandler {
    /// Where a broadcast consumer goes on that comes another way than before; `None` to take what it asks for.
    pub(super) fn handed_over(&self, pull: &Pull, admitted: &Admitted) -> Option<i64> {
        let client_id = self.broadcast_client(pull, admitted)?;
        let requested = pull.header.queue_offset;
        let offsets = self.broadcast.lock();
        offsets.handed_over(at(pull, &client_id), requested, || {
            self.start(pull, admitted)
        })
    }

    /// Where a broadcast consumer starts of which nothing is known.
    fn start(&self, pull: &Pull, admitted: &Admitted) -> i64 {
        let header = &pull.header;
        let group = broadcast_group(&header.consumer_group);
        let committed = self
            .state
            .offsets
            .committed(&group, &header.topic, header.queue_id);
        if let Some(offset) = committed {
            return offset;
        }
        let (topic, queue_id) = (header.topic.as_str(), admitted.queue_id);
        // A young queue is read from its start.
        if self.state.reader.is_in_memory(topic, queue_id, 0) {
            return 0;
        }
        wire_offset(self.state.reader.max_offset(topic, queue_id))
    }

    /// Remembers where a broadcast consumer stands.
    pub(super) fn record_broadcast(&self, pull: &Pull, admitted: &Admitted, answer: &Answer) {
        let Some(client_id) = self.broadcast_client(pull, admitted) else {
            return;
        };
        let moved = answer.code == response_code::PULL_OFFSET_MOVED;
        let offset = if moved {
            answer.next
        } else {
            pull.header.queue_offset
        };
        self.broadcast
            .lock()
            .pulled(at(pull, &client_id), offset, self.state.clock.monotonic());
    }

    /// Commits where the broadcast groups stand as a whole.
    pub fn commit_broadcast_offsets(&self) {
        let online = |group: &str, client_id: &str| {
            let ids = self.state.clients.consumers.table().client_ids(group);
            ids.is_some_and(|ids| ids.iter().any(|id| id == client_id))
        };
        let commits = self
            .broadcast
            .lock()
            .scan(self.state.clock.monotonic(), online);
        for commit in commits {
            let (group, topic) = (&commit.group, &commit.topic);
            self.state
                .offsets
                .commit(group, topic, commit.queue_id, commit.offset);
        }
    }

    /// The client whose offsets the broker keeps; `None` for consumers that share their group's messages.
    fn broadcast_client(&self, pull: &Pull, admitted: &Admitted) -> Option<String> {
        let header = &pull.header;
        if through_proxy(pull) {
            return Some(header.proxy_forward_client_id.clone().unwrap_or_default());
        }
        if !admitted.broadcast {
            return None;
        }
        self.state
            .clients
            .consumers
            .table()
            .client_id(&header.consumer_group, pull.connection.id())
    }
}

fn through_proxy(pull: &Pull) -> bool {
    pull.header.request_source == Some(PROXY_FOR_BROADCAST)
}

fn at<'a>(pull: &'a Pull, client_id: &'a str) -> BroadcastPull<'a> {
    BroadcastPull {
        topic: &pull.header.topic,
        group: &pull.header.consumer_group,
        queue_id: pull.header.queue_id,
        client_id,
        through_proxy: through_proxy(pull),
    }
}
