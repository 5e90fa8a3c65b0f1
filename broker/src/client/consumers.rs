//! Members and subscriptions of consumer groups. Knows no sockets and no clock.
//!
//! All members of a group share one set of subscriptions: per topic the one with the newest version, and only the
//! topics that the last full heartbeat named.

use super::members::{self, ClientInfo, Member, Members, Memberships};
use crate::filter::Filter;
use common::wire::body::{
    ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel, SubscriptionData,
};
use hashbrown::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What a group wants of one topic.
#[derive(Debug, PartialEq, Eq)]
pub struct Subscription {
    /// As the heartbeat stated it.
    pub data: SubscriptionData,
    /// The same, ready to be asked.
    pub filter: Filter,
}

#[derive(Debug)]
struct Group<T> {
    consume_type: ConsumeType,
    message_model: MessageModel,
    consume_from_where: ConsumeFromWhere,
    /// False when the group's configuration asks for no notifications.
    notified: bool,
    members: Members<T>,
    subscriptions: HashMap<String, Arc<Subscription>>,
    /// A full heartbeat has come; before that an empty set of subscriptions means that they are unknown.
    subscribed: bool,
    /// Of the last heartbeat: 0 for the first kind, `None` before any.
    fingerprint: Option<i32>,
}

/// One consumer group of a heartbeat, with what the broker adds.
pub struct Beat<'a, T> {
    /// Id of the connection.
    pub connection: u64,
    /// Handle of the connection.
    pub handle: &'a T,
    /// The client.
    pub client: &'a ClientInfo,
    /// The short form: subscriptions are left out and stay as they are.
    pub without_sub: bool,
    /// Fingerprint of the full heartbeat; 0 for heartbeats of the first kind.
    pub fingerprint: i32,
    /// Whether the group's configuration lets its members be notified.
    pub notified: bool,
}

/// What a heartbeat changed.
#[derive(Debug, PartialEq, Eq)]
pub struct Registered<T> {
    /// Members to notify: all of the group, if its members or topics changed.
    pub notify: Vec<T>,
    /// The client shall send its subscriptions: the group's heartbeats differ, or the broker does not have them.
    pub sub_change: bool,
}

/// What a search for silent members removed.
#[derive(Debug, PartialEq, Eq)]
pub struct Expired<T> {
    /// Connections of the silent members, each once per group.
    pub silent: Vec<(u64, T)>,
    /// Whom to notify that a member is missing.
    pub notify: Vec<ToNotify<T>>,
}

/// A group that changed, and the members to tell.
pub type ToNotify<T> = (Arc<str>, Vec<T>);

/// What a pull needs to know of its group.
#[derive(Debug, Clone)]
pub struct PullView {
    /// Pull, push or pop.
    pub consume_type: ConsumeType,
    /// Clustering or broadcasting.
    pub message_model: MessageModel,
    /// The subscription to the topic, if there is one.
    pub subscription: Option<Arc<Subscription>>,
}

/// A group with its members and subscriptions.
#[derive(Debug, Clone)]
pub struct GroupConnections<T> {
    /// Pull, push or pop.
    pub consume_type: ConsumeType,
    /// Clustering or broadcasting.
    pub message_model: MessageModel,
    /// Where the group starts without offsets.
    pub consume_from_where: ConsumeFromWhere,
    /// Its members.
    pub members: Vec<Member<T>>,
    /// Its subscriptions, in no order.
    pub subscriptions: Vec<Arc<Subscription>>,
}

/// All consumer groups with a live member.
#[derive(Debug)]
pub struct Consumers<T> {
    groups: HashMap<Arc<str>, Group<T>>,
    memberships: Memberships,
}

impl<T> Default for Consumers<T> {
    fn default() -> Self {
        Self {
            groups: HashMap::new(),
            memberships: Memberships::default(),
        }
    }
}

impl<T: Clone> Consumers<T> {
    /// Takes the part of a heartbeat that speaks of one group.
    pub fn register(
        &mut self,
        beat: &Beat<'_, T>,
        data: ConsumerData,
        now: Duration,
    ) -> Registered<T> {
        let known = self.groups.get_key_value(data.group_name.as_str());
        let name = known.map_or_else(
            || data.group_name.as_str().into(),
            |(name, _)| Arc::clone(name),
        );
        let group = self
            .groups
            .entry(Arc::clone(&name))
            .or_insert_with(Group::new);
        group.consume_type = data.consume_type;
        group.message_model = data.message_model;
        group.consume_from_where = data.consume_from_where;
        group.notified = beat.notified;
        let members = &mut group.members;
        let joined = members::beat(members, beat.connection, beat.handle, beat.client, now);
        if joined {
            self.memberships.join(beat.connection, name);
        }
        let topics_changed = !beat.without_sub && group.subscribe(data.subscription_data_set);
        let known = group.fingerprint.replace(beat.fingerprint);
        let differs = known.is_some_and(|known| known != beat.fingerprint);
        Registered {
            notify: if joined || topics_changed {
                group.to_notify()
            } else {
                Vec::new()
            },
            sub_change: beat.fingerprint == 0 || differs || !group.subscribed,
        }
    }

    /// Removes a connection from a group; gives the members to notify.
    pub fn unregister(&mut self, group: &str, connection: u64) -> Vec<T> {
        let Some((name, found)) = self.groups.get_key_value_mut(group) else {
            return Vec::new();
        };
        if found.members.remove(&connection).is_none() {
            return Vec::new();
        }
        self.memberships.leave(connection, name);
        let notify = found.to_notify();
        if found.members.is_empty() {
            self.groups.remove(group);
        }
        notify
    }

    /// Removes a connection from every group.
    pub fn closed(&mut self, connection: u64) -> Vec<ToNotify<T>> {
        let groups = self.memberships.groups(connection);
        let left = groups.into_iter().map(|group| {
            let members = self.unregister(&group, connection);
            (group, members)
        });
        left.filter(|(_, members)| !members.is_empty()).collect()
    }

    /// Removes members that were silent for longer than `expiry`.
    pub fn expire(&mut self, now: Duration, expiry: Duration) -> Expired<T> {
        let Self {
            groups,
            memberships,
        } = self;
        let mut expired = Expired {
            silent: Vec::new(),
            notify: Vec::new(),
        };
        groups.retain(|name, group| {
            let silent = members::remove_expired(&mut group.members, now, expiry);
            if !silent.is_empty() {
                for (connection, _) in &silent {
                    memberships.leave(*connection, name);
                }
                expired.silent.extend(silent);
                let members = group.to_notify();
                if !members.is_empty() {
                    expired.notify.push((Arc::clone(name), members));
                }
            }
            !group.members.is_empty()
        });
        expired
    }

    /// True when the connection is a member of any group.
    pub fn has_connection(&self, connection: u64) -> bool {
        self.memberships.contains(connection)
    }

    /// Members to tell that their group changed.
    pub fn to_notify(&self, group: &str) -> Vec<T> {
        self.groups
            .get(group)
            .map(Group::to_notify)
            .unwrap_or_default()
    }

    /// What a pull needs to know; `None` when the group has no live member.
    pub fn pull_view(&self, group: &str, topic: &str) -> Option<PullView> {
        let group = self.groups.get(group)?;
        let subscription = group.subscriptions.get(topic).cloned();
        Some(PullView {
            consume_type: group.consume_type,
            message_model: group.message_model,
            subscription,
        })
    }

    /// Groups that subscribe to a topic.
    pub fn groups_of(&self, topic: &str) -> Vec<String> {
        let groups = self.groups.iter();
        let subscribed = groups.filter(|(_, group)| group.subscriptions.contains_key(topic));
        subscribed.map(|(name, _)| name.to_string()).collect()
    }

    /// True when a group is online and does not subscribe to the topic.
    pub fn has_left(&self, group: &str, topic: &str) -> bool {
        let subscriptions = self.groups.get(group).map(|group| &group.subscriptions);
        subscriptions.is_some_and(|list| !list.is_empty() && !list.contains_key(topic))
    }

    /// The client behind a connection of a group.
    pub fn client_id(&self, group: &str, connection: u64) -> Option<String> {
        let member = self.groups.get(group)?.members.get(&connection)?;
        Some(member.client.client_id.clone())
    }

    /// One entry per member; `None` when the group has no live member.
    pub fn client_ids(&self, group: &str) -> Option<Vec<String>> {
        let group = self.groups.get(group)?;
        let members = group.members.values();
        Some(
            members
                .map(|member| member.client.client_id.clone())
                .collect(),
        )
    }

    /// Members and subscriptions of a group; `None` when it has no live member.
    pub fn connections(&self, group: &str) -> Option<GroupConnections<T>> {
        let group = self.groups.get(group)?;
        Some(GroupConnections {
            consume_type: group.consume_type,
            message_model: group.message_model,
            consume_from_where: group.consume_from_where,
            members: group.members.values().cloned().collect(),
            subscriptions: group.subscriptions.values().cloned().collect(),
        })
    }
}

impl<T: Clone> Group<T> {
    fn new() -> Self {
        Self {
            consume_type: ConsumeType::default(),
            message_model: MessageModel::default(),
            consume_from_where: ConsumeFromWhere::default(),
            notified: true,
            members: Members::default(),
            subscriptions: HashMap::new(),
            subscribed: false,
            fingerprint: None,
        }
    }

    /// Takes the subscriptions of a full heartbeat; true when a topic came or went. A changed expression is no
    /// change of this kind: it moves no queue from one member to another.
    fn subscribe(&mut self, stated: Vec<SubscriptionData>) -> bool {
        self.subscribed = true;
        let topics = self.subscriptions.len();
        self.subscriptions
            .retain(|topic, _| stated.iter().any(|data| data.topic == *topic));
        let mut changed = self.subscriptions.len() != topics;
        for data in stated {
            match self.subscriptions.get_mut(&data.topic) {
                Some(known) if data.sub_version > known.data.sub_version => {
                    *known = Subscription::new(data);
                }
                Some(_) => {}
                None => {
                    changed = true;
                    self.subscriptions
                        .insert(data.topic.clone(), Subscription::new(data));
                }
            }
        }
        changed
    }

    /// Who is told of a change: everybody, unless the group shares no queues or asked for silence.
    fn to_notify(&self) -> Vec<T> {
        if self.notified && self.message_model != MessageModel::Broadcasting {
            let members = self.members.values();
            members.map(|member| member.handle.clone()).collect()
        } else {
            Vec::new()
        }
    }
}

impl Subscription {
    fn new(data: SubscriptionData) -> Arc<Self> {
        Arc::new(Self {
            filter: Filter::registered(&data),
            data,
        })
    }
}

#[cfg(test)]
mod tests;
