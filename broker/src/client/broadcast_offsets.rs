//! How far the members of broadcast groups have pulled.
//!
//! Broadcast consumers keep their offsets themselves. The broker remembers them to hand them over when a client moves
//! from direct access to a proxy or back: the other side does not have what the first one kept.

use hashbrown::HashMap;
use std::time::Duration;

/// A member that is not connected is forgotten after this time.
pub const OFFLINE_EXPIRY: Duration = Duration::from_mins(2);
/// A member that is connected but pulls nothing is forgotten after this time.
pub const IDLE_EXPIRY: Duration = Duration::from_mins(5);
/// Ends the name of the group under which the smallest offset of all members is committed.
const GROUP_SUFFIX: &str = "@broadcast";

/// Which offset is meant.
#[derive(Debug, Clone, Copy)]
pub struct BroadcastPull<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Group.
    pub group: &'a str,
    /// Queue of the topic.
    pub queue_id: i32,
    /// The client, or the one a proxy speaks for.
    pub client_id: &'a str,
    /// The pull came through a proxy.
    pub through_proxy: bool,
}

/// An offset to commit for a group as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BroadcastCommit {
    /// Name of the group it is committed for.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// Queue of the topic.
    pub queue_id: i32,
    /// Smallest offset of all members.
    pub offset: i64,
}

#[derive(Debug)]
struct ClientOffsets {
    through_proxy: bool,
    seen: Duration,
    queues: HashMap<i32, i64>,
}

/// The name a broadcast group's own offset is committed under.
pub fn broadcast_group(group: &str) -> String {
    format!("{group}{GROUP_SUFFIX}")
}

/// Offsets of all broadcast groups.
#[derive(Debug, Default)]
pub struct BroadcastOffsets {
    topics: HashMap<(String, String), HashMap<String, ClientOffsets>>,
}

impl BroadcastOffsets {
    /// Where the client has to go on instead of the offset it asked for; `None` to take that. `otherwise` gives the
    /// offset for a client of which nothing is known.
    pub fn handed_over(
        &self,
        pull: BroadcastPull<'_>,
        requested: i64,
        otherwise: impl FnOnce() -> i64,
    ) -> Option<i64> {
        let key = (pull.topic.to_owned(), pull.group.to_owned());
        let wants_start = pull.through_proxy && requested < 0;
        let Some(client) = self
            .topics
            .get(&key)
            .and_then(|clients| clients.get(pull.client_id))
        else {
            return wants_start.then(otherwise);
        };
        if client.through_proxy == pull.through_proxy && !wants_start {
            return None;
        }
        client
            .queues
            .get(&pull.queue_id)
            .copied()
            .or_else(|| Some(otherwise()))
    }

    /// The client has pulled up to `offset`.
    pub fn pulled(&mut self, pull: BroadcastPull<'_>, offset: i64, now: Duration) {
        let key = (pull.topic.to_owned(), pull.group.to_owned());
        let clients = self.topics.entry(key).or_default();
        let client = clients
            .entry_ref(pull.client_id)
            .or_insert_with(|| ClientOffsets {
                through_proxy: pull.through_proxy,
                seen: now,
                queues: HashMap::new(),
            });
        client.through_proxy = pull.through_proxy;
        client.seen = now;
        let known = client.queues.entry(pull.queue_id).or_insert(offset);
        *known = offset.max(*known);
    }

    /// Forgets silent clients and gives the smallest offset of each queue among the others.
    pub fn scan(
        &mut self,
        now: Duration,
        online: impl Fn(&str, &str) -> bool,
    ) -> Vec<BroadcastCommit> {
        let mut commits = Vec::new();
        self.topics.retain(|(topic, group), clients| {
            clients.retain(|client_id, client| {
                let expiry = if online(group, client_id) {
                    IDLE_EXPIRY
                } else {
                    OFFLINE_EXPIRY
                };
                now.saturating_sub(client.seen) <= expiry
            });
            let mut smallest: HashMap<i32, i64> = HashMap::new();
            for (queue_id, offset) in clients.values().flat_map(|client| &client.queues) {
                let known = smallest.entry(*queue_id).or_insert(*offset);
                *known = (*offset).min(*known);
            }
            commits.extend(
                smallest
                    .into_iter()
                    .map(|(queue_id, offset)| BroadcastCommit {
                        group: broadcast_group(group),
                        topic: topic.clone(),
                        queue_id,
                        offset,
                    }),
            );
            !clients.is_empty()
        });
        commits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(client_id: &str, through_proxy: bool) -> BroadcastPull<'_> {
        BroadcastPull {
            topic: "t",
            group: "g",
            queue_id: 0,
            client_id,
            through_proxy,
        }
    }

    #[test]
    fn an_offset_is_handed_over_when_the_way_of_access_changes() {
        let mut offsets = BroadcastOffsets::default();
        assert_eq!(offsets.handed_over(pull("c", true), -1, || 7), Some(7));
        assert_eq!(offsets.handed_over(pull("c", true), 0, || 7), None);
        offsets.pulled(pull("c", true), 2, Duration::ZERO);
        assert_eq!(offsets.handed_over(pull("c", true), 0, || 7), None);
        assert_eq!(offsets.handed_over(pull("c", true), -1, || 7), Some(2));
        assert_eq!(offsets.handed_over(pull("c", false), 0, || 7), Some(2));
        offsets.pulled(pull("c", false), 2, Duration::ZERO);
        assert_eq!(offsets.handed_over(pull("c", false), 0, || 7), None);
        assert_eq!(offsets.handed_over(pull("c", true), 9, || 7), Some(2));
        assert_eq!(offsets.handed_over(pull("other", false), 0, || 7), None);
    }

    #[test]
    fn the_group_as_a_whole_stands_at_its_slowest_member() {
        let mut offsets = BroadcastOffsets::default();
        for (client, offset) in [("a", 5), ("b", 3), ("b", 2)] {
            offsets.pulled(pull(client, false), offset, Duration::ZERO);
        }
        let commit = |offset| {
            vec![BroadcastCommit {
                group: "g@broadcast".into(),
                topic: "t".into(),
                queue_id: 0,
                offset,
            }]
        };
        assert_eq!(offsets.scan(Duration::ZERO, |_, _| true), commit(3));
        let later = OFFLINE_EXPIRY + Duration::from_secs(1);
        assert_eq!(offsets.scan(later, |_, client| client == "a"), commit(5));
        assert_eq!(
            offsets.scan(IDLE_EXPIRY + Duration::from_secs(1), |_, _| true),
            []
        );
    }
}
