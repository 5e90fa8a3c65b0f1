//! The consumer groups behind their one lock, with a clock and the notifications that changes cause.

use super::consumers::{Beat, Consumers, ToNotify};
use bytes::Bytes;
use common::clock::Clock;
use common::transport::Connection;
use common::wire::body::ConsumerData;
use common::wire::header::ConsumerGroupRequestHeader;
use common::wire::{Command, request_code};
use hashbrown::HashSet;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use std::sync::Arc;
use std::time::Duration;

/// When consumers are told that their group changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notification {
    /// Never: they find out when they look, every 20 seconds.
    Off,
    /// At every change.
    AtOnce,
    /// Every 15 seconds, once for all changes since.
    Collected,
}

/// Handle of the consumer groups; clones share the table.
#[derive(Clone)]
pub struct ConsumerTable {
    shared: Arc<SharedConsumers>,
}

struct SharedConsumers {
    table: RwLock<Consumers<Arc<Connection>>>,
    notification: Notification,
    /// Groups whose members have to be told of a change; at most the live groups and those that died since.
    changed: Mutex<HashSet<String>>,
    clock: Arc<dyn Clock>,
}

impl ConsumerTable {
    /// Nobody is connected.
    pub fn new(notification: Notification, clock: Arc<dyn Clock>) -> Self {
        let (table, changed) = (RwLock::default(), Mutex::default());
        Self {
            shared: Arc::new(SharedConsumers {
                table,
                notification,
                changed,
                clock,
            }),
        }
    }

    fn now(&self) -> Duration {
        self.shared.clock.monotonic()
    }

    /// Tells the members that their group changed, so that they share the queues anew.
    fn notify(&self, group: &str, members: &[Arc<Connection>]) {
        if members.is_empty() {
            return;
        }
        match self.shared.notification {
            Notification::Off => {}
            Notification::AtOnce => send_notification(group, members),
            Notification::Collected => {
                self.shared.changed.lock().insert(group.to_owned());
            }
        }
    }

    fn notify_all(&self, changed: Vec<ToNotify<Arc<Connection>>>) {
        for (group, members) in changed {
            self.notify(&group, &members);
        }
    }

    /// Tells the members of all groups that changed since the last call.
    pub fn notify_collected(&self) {
        let changed = std::mem::take(&mut *self.shared.changed.lock());
        for group in changed {
            let members = self.shared.table.read().to_notify(&group);
            send_notification(&group, &members);
        }
    }

    /// Takes what a heartbeat says of one group and notifies its members if that changed something. True when the
    /// client shall send its subscriptions.
    pub fn register(&self, beat: &Beat<'_, Arc<Connection>>, data: ConsumerData) -> bool {
        let group = data.group_name.clone();
        let now = self.now();
        let registered = self.shared.table.write().register(beat, data, now);
        self.notify(&group, &registered.notify);
        registered.sub_change
    }

    /// Removes a connection from a group and notifies the members that stay.
    pub fn unregister(&self, group: &str, connection: &Connection) {
        let members = self.shared.table.write().unregister(group, connection.id());
        self.notify(group, &members);
    }

    /// Removes a connection that is gone from every group and notifies the members that stay.
    pub fn closed(&self, connection: &Connection) {
        let changed = self.shared.table.write().closed(connection.id());
        self.notify_all(changed);
    }

    /// Removes silent members and notifies those that stay; gives the connections of the silent.
    pub(super) fn expire(&self, expiry: Duration) -> Vec<(u64, Arc<Connection>)> {
        let now = self.now();
        let expired = self.shared.table.write().expire(now, expiry);
        self.notify_all(expired.notify);
        expired.silent
    }

    /// The table, to be read at once: whoever changes it waits.
    pub fn table(&self) -> RwLockReadGuard<'_, Consumers<Arc<Connection>>> {
        self.shared.table.read()
    }
}

fn send_notification(group: &str, members: &[Arc<Connection>]) {
    let header = ConsumerGroupRequestHeader {
        consumer_group: group.to_owned(),
    };
    let command = Command::request(request_code::NOTIFY_CONSUMER_IDS_CHANGED).with(&header);
    for member in members {
        member.send_oneway(command.clone(), Bytes::new());
    }
}
