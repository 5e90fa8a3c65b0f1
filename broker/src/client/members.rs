//! The members of one group, by connection. The client id does not count: two connections with the same id are two
//! members, and a connection that changes its id stays one.

use common::wire::LanguageCode;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What a heartbeat says about its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    /// Client id, `ip@instance[@unit]`.
    pub client_id: String,
    /// Language of the client.
    pub language: LanguageCode,
    /// Version ordinal of the client.
    pub version: i32,
}

/// One member: a connection and the client behind it. `T` is how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<T> {
    /// The client, as its last heartbeat describes it.
    pub client: ClientInfo,
    /// Handle of the connection.
    pub handle: T,
    /// Monotonic time of the last heartbeat.
    pub seen: Duration,
}

/// Members by connection id.
pub(super) type Members<T> = BTreeMap<u64, Member<T>>;

/// Takes a heartbeat; true when the connection is new in the group.
pub(super) fn beat<T: Clone>(
    members: &mut Members<T>,
    connection: u64,
    handle: &T,
    client: &ClientInfo,
    now: Duration,
) -> bool {
    if let Some(member) = members.get_mut(&connection) {
        member.seen = now;
        if member.client != *client {
            member.client = client.clone();
        }
        return false;
    }
    let member = Member {
        client: client.clone(),
        handle: handle.clone(),
        seen: now,
    };
    members.insert(connection, member);
    true
}

/// Removes the members that were silent for longer than `expiry`; gives their connections.
pub(super) fn remove_expired<T>(
    members: &mut Members<T>,
    now: Duration,
    expiry: Duration,
) -> Vec<(u64, T)> {
    let expired = members.extract_if(.., |_, member| now.saturating_sub(member.seen) > expiry);
    let expired = expired.map(|(connection, member)| (connection, member.handle));
    expired.collect()
}

/// Which groups a connection is a member of, so that a connection that goes costs no look at all groups.
#[derive(Debug, Default)]
pub(super) struct Memberships(BTreeSet<(u64, Arc<str>)>);

impl Memberships {
    pub(super) fn join(&mut self, connection: u64, group: Arc<str>) {
        self.0.insert((connection, group));
    }

    pub(super) fn leave(&mut self, connection: u64, group: &Arc<str>) {
        self.0.remove(&(connection, Arc::clone(group)));
    }

    pub(super) fn groups(&self, connection: u64) -> Vec<Arc<str>> {
        let entries = self
            .from(connection)
            .take_while(|(of, _)| *of == connection);
        entries.map(|(_, group)| Arc::clone(group)).collect()
    }

    pub(super) fn contains(&self, connection: u64) -> bool {
        self.from(connection)
            .next()
            .is_some_and(|(of, _)| *of == connection)
    }

    fn from(&self, connection: u64) -> impl Iterator<Item = &(u64, Arc<str>)> {
        self.0.range((connection, Arc::from(""))..)
    }
}
