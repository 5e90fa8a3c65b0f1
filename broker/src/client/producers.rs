//! Members of producer groups. Knows no sockets and no clock.

use super::members::{ClientInfo, Member, Members, Memberships, beat, remove_expired};
use hashbrown::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// All producer groups with a live member.
#[derive(Debug)]
pub struct Producers<T> {
    groups: HashMap<Arc<str>, Members<T>>,
    memberships: Memberships,
    /// The connection that registered last with a client id. Some are gone: see [`Self::find`].
    by_client: HashMap<Box<str>, u64>,
}

impl<T> Default for Producers<T> {
    fn default() -> Self {
        Self {
            groups: HashMap::new(),
            memberships: Memberships::default(),
            by_client: HashMap::new(),
        }
    }
}

impl<T: Clone> Producers<T> {
    /// Takes a heartbeat of a producer.
    pub fn register(
        &mut self,
        group: &str,
        connection: u64,
        handle: &T,
        client: &ClientInfo,
        now: Duration,
    ) {
        let known = self.groups.get_key_value(group);
        let name = known.map_or_else(|| group.into(), |(name, _)| Arc::clone(name));
        let members = self.groups.entry(Arc::clone(&name)).or_default();
        let before = members.get(&connection).map(|member| &member.client);
        let renamed = before.filter(|before| before.client_id != client.client_id);
        let renamed = renamed.map(|before| before.client_id.clone());
        let joined = beat(members, connection, handle, client, now);
        if joined {
            self.memberships.join(connection, name);
        }
        let known = self.by_client.get(&*client.client_id);
        if joined || known.is_none_or(|known| !self.memberships.contains(*known)) {
            let id = client.client_id.as_str().into();
            self.by_client.insert(id, connection);
        }
        // Nobody is found under a name that the connection has in none of its groups any more.
        if let Some(before) = renamed
            && self.find(&before).is_none()
        {
            self.by_client.remove(&*before);
        }
    }

    /// The connection that joined a group last as this client, or has sent a heartbeat since that one is gone.
    pub fn find(&self, client_id: &str) -> Option<T> {
        let connection = *self.by_client.get(client_id)?;
        let groups = self.memberships.groups(connection);
        let members = groups.iter().filter_map(|group| self.groups.get(group));
        let member = members
            .filter_map(|members| members.get(&connection))
            .find(|member| member.client.client_id == client_id);
        member.map(|member| member.handle.clone())
    }

    /// Removes a connection from a group.
    pub fn unregister(&mut self, group: &str, connection: u64) {
        let Some((name, members)) = self.groups.get_key_value_mut(group) else {
            return;
        };
        self.memberships.leave(connection, name);
        members.remove(&connection);
        if members.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Removes a connection from every group.
    pub fn closed(&mut self, connection: u64) {
        for group in self.memberships.groups(connection) {
            self.unregister(&group, connection);
        }
    }

    /// Removes members that were silent for longer than `expiry`; gives their connections.
    pub fn expire(&mut self, now: Duration, expiry: Duration) -> Vec<(u64, T)> {
        let (mut expired, memberships) = (Vec::new(), &mut self.memberships);
        self.groups.retain(|group, members| {
            for (connection, handle) in remove_expired(members, now, expiry) {
                memberships.leave(connection, group);
                expired.push((connection, handle));
            }
            !members.is_empty()
        });
        self.by_client
            .retain(|_, connection| memberships.contains(*connection));
        expired
    }

    /// True when the connection is a member of any group.
    pub fn has_connection(&self, connection: u64) -> bool {
        self.memberships.contains(connection)
    }

    /// Names of all groups.
    pub fn groups(&self) -> Vec<Arc<str>> {
        self.groups.keys().cloned().collect()
    }

    /// The members of a group; none when nobody is there.
    pub fn members(&self, group: &str) -> Vec<Member<T>> {
        self.groups
            .get(group)
            .into_iter()
            .flat_map(Members::values)
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::wire::LanguageCode;

    const EXPIRY: Duration = Duration::from_mins(2);

    fn client(id: &str) -> ClientInfo {
        ClientInfo {
            client_id: id.to_owned(),
            language: LanguageCode::JAVA,
            version: 453,
        }
    }

    fn ids(table: &Producers<u32>, group: &str) -> Vec<String> {
        table
            .members(group)
            .into_iter()
            .map(|member| member.client.client_id)
            .collect()
    }

    #[test]
    fn members_are_connections() {
        let mut table = Producers::default();
        for (connection, id) in [(1, "a"), (2, "a"), (1, "b")] {
            table.register("g", connection, &7, &client(id), Duration::ZERO);
        }
        assert_eq!(ids(&table, "g"), ["b", "a"]);
        table.unregister("g", 1);
        table.unregister("never", 1);
        assert_eq!(ids(&table, "g"), ["a"]);
        assert!(!table.has_connection(1) && table.has_connection(2));
    }

    #[test]
    fn a_closed_connection_leaves_every_group() {
        let mut table = Producers::default();
        table.register("g", 1, &7, &client("a"), Duration::ZERO);
        table.register("h", 1, &7, &client("a"), Duration::ZERO);
        table.closed(1);
        assert!(
            ids(&table, "g").is_empty() && ids(&table, "h").is_empty() && table.groups.is_empty()
        );
    }

    #[test]
    fn a_client_is_found_at_the_connection_it_joined_with_last() {
        let mut table = Producers::default();
        table.register("g", 1, &7, &client("a"), Duration::ZERO);
        table.register("h", 2, &8, &client("b"), Duration::ZERO);
        assert_eq!((table.find("a"), table.find("c")), (Some(7), None));
        table.register("h", 3, &9, &client("a"), Duration::ZERO);
        assert_eq!((table.find("a"), table.find("b")), (Some(9), Some(8)));
        table.closed(3);
        assert_eq!(table.find("a"), None);
        table.register("g", 1, &7, &client("a"), Duration::ZERO);
        assert_eq!(table.find("a"), Some(7));
        table.unregister("h", 2);
        assert_eq!(table.find("b"), None);
        table.expire(Duration::ZERO, EXPIRY);
        assert!(table.by_client.len() == 1 && table.has_connection(1));
    }

    #[test]
    fn a_connection_that_changes_its_name_is_remembered_under_the_last_one() {
        let mut table = Producers::default();
        for id in ["a", "b", "c"] {
            table.register("g", 1, &7, &client(id), Duration::ZERO);
        }
        assert_eq!((table.find("b"), table.find("c")), (None, Some(7)));
        assert_eq!(table.by_client.len(), 1);
        table.register("h", 1, &7, &client("d"), Duration::ZERO);
        assert_eq!((table.find("c"), table.find("d")), (Some(7), Some(7)));
    }

    #[test]
    fn a_silent_member_expires() {
        let mut table = Producers::default();
        table.register("g", 1, &7, &client("a"), Duration::ZERO);
        assert!(table.expire(EXPIRY, EXPIRY).is_empty());
        assert_eq!(
            table.expire(EXPIRY + Duration::from_millis(1), EXPIRY),
            [(1, 7)]
        );
        assert!(ids(&table, "g").is_empty());
    }
}
