//! The table of consumer groups: read by every pull, changed rarely, and on the disk before a change is answered.

use super::rows::{self, Forbidden};
use crate::attributes::{self, GROUP_ATTRIBUTES};
use crate::config::BrokerConfig;
use crate::error::ChangeError;
use crate::kv::{
    Document, Exported, Family, KvAtStart, KvTable, RowChange, TableError, version_row,
};
use common::clock::Clock;
use common::config::Live;
use common::names;
use common::wire::body::{DataVersion, SubscriptionGroupConfig, SubscriptionGroupWrapper};
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The bit of the forbidden map that stops pulls of a group from a topic.
const READ_FORBIDDEN: i32 = 4;

/// The consumer groups of this broker. Clones are handles of the same table.
#[derive(Clone)]
pub struct SubscriptionGroupTable {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Arc<Live<BrokerConfig>>,
    clock: Arc<dyn Clock>,
    table: KvTable,
    /// Groups of light queues need no config.
    light: bool,
    /// Held while a change is made and written, so that changes have an order. Readers never wait for it.
    changing: Mutex<()>,
    groups: RwLock<Groups>,
}

#[derive(Default)]
struct Groups {
    by_name: HashMap<Arc<str>, Arc<SubscriptionGroupConfig>>,
    forbidden: BTreeMap<String, Forbidden>,
    version: DataVersion,
}

/// Groups as they are from now on; `None`: the group goes, and what is forbidden to it.
type Change<'a> = [(&'a str, Option<&'a SubscriptionGroupConfig>)];

impl SubscriptionGroupTable {
    /// The groups of the rows or of the file at `path`, and those every broker has.
    ///
    /// # Errors
    /// What is there cannot be read.
    pub fn open(
        start: &mut KvAtStart,
        path: &Path,
        settings: Arc<Live<BrokerConfig>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TableError> {
        let (table, stored) = KvTable::open(start, Family::Groups, path)?;
        let stored = stored.unwrap_or_else(|| SubscriptionGroupWrapper {
            data_version: DataVersion::new(clock.now().0),
            ..SubscriptionGroupWrapper::default()
        });
        let mut groups = Groups {
            forbidden: stored.forbidden_table,
            version: stored.data_version,
            ..Groups::default()
        };
        for name in names::WELL_KNOWN_GROUPS {
            groups.insert(SubscriptionGroupConfig::new(name));
        }
        for (group_name, config) in stored.subscription_group_table {
            groups.insert(SubscriptionGroupConfig {
                group_name,
                ..config
            });
        }
        let light = settings.now().enable_lmq;
        Ok(Self {
            shared: Arc::new(Shared {
                light,
                settings,
                clock,
                table,
                changing: Mutex::default(),
                groups: RwLock::new(groups),
            }),
        })
    }

    /// The group of that name, if it is there already. That of light queues is made up.
    pub fn get(&self, group: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        let known = self.shared.groups.read().by_name.get(group).cloned();
        known.or_else(|| {
            self.is_light(group)
                .then(|| Arc::new(SubscriptionGroupConfig::new(group)))
        })
    }

    /// True when the group is there already.
    pub fn contains(&self, group: &str) -> bool {
        self.shared.groups.read().by_name.contains_key(group) || self.is_light(group)
    }

    fn is_light(&self, group: &str) -> bool {
        self.shared.light && names::is_light_queue(group)
    }

    /// The group of that name, created with default values if it may be.
    ///
    /// It is on the disk a moment later, and nobody waits for that: a group that a crash takes back comes with its next use, and
    /// a full disk must not keep consumers from reading.
    pub fn find_or_create(&self, group: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        if let Some(known) = self.get(group) {
            return Some(known);
        }
        let allowed = self.shared.settings.now().auto_create_subscription_group
            || names::has_system_group_prefix(group);
        if !allowed || names::validate_group(group).is_err() {
            return None;
        }
        let changing = self.shared.changing.lock();
        if let Some(known) = self.get(group) {
            return Some(known);
        }
        tracing::info!("group {group} created by its first use");
        let created = SubscriptionGroupConfig::new(group);
        let (change, version) = ([(group, Some(&created))], self.next_version());
        self.shared.table.submit(rows_of(&change, version));
        self.apply(&changing, &change, version);
        self.get(group)
    }

    /// Creates or changes a group as a request asks. `config` has the changes of attributes by prefixed name. Nothing happens
    /// when nothing would differ.
    ///
    /// # Errors
    /// See [`ChangeError`]; then nothing was changed.
    pub fn update(&self, config: SubscriptionGroupConfig) -> Result<(), ChangeError> {
        self.update_all(vec![config])
    }

    /// Creates or changes several groups, or none of them.
    ///
    /// # Errors
    /// See [`ChangeError`]; then nothing was changed.
    pub fn update_all(&self, configs: Vec<SubscriptionGroupConfig>) -> Result<(), ChangeError> {
        for config in &configs {
            names::validate_group(&config.group_name)?;
        }
        let changing = self.shared.changing.lock();
        let mut changed = Vec::new();
        for mut config in configs {
            let current = self.get(&config.group_name);
            let before = current.as_ref().map(|group| &group.attributes);
            config.attributes = attributes::alter(GROUP_ATTRIBUTES, before, &config.attributes)?;
            if current.is_none_or(|current| *current != config) {
                tracing::info!("group {} is {config:?}", config.group_name);
                changed.push(config);
            }
        }
        if !changed.is_empty() {
            let change = changed
                .iter()
                .map(|config| (config.group_name.as_str(), Some(config)));
            self.make(&changing, &change.collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Deletes a group; says whether there was one.
    ///
    /// # Errors
    /// The change cannot be written; then nothing was changed.
    pub fn delete(&self, group: &str) -> Result<bool, ChangeError> {
        let changing = self.shared.changing.lock();
        let existed = self.contains(group);
        let was_forbidden = self.shared.groups.read().forbidden.contains_key(group);
        if existed || was_forbidden {
            self.make(&changing, &[(group, None)])?;
            tracing::info!("group {group} deleted");
        }
        Ok(existed)
    }

    /// True when the group may not pull from the topic.
    pub fn is_read_forbidden(&self, group: &str, topic: &str) -> bool {
        let groups = self.shared.groups.read();
        let bits = groups
            .forbidden
            .get(group)
            .and_then(|topics| topics.get(topic));
        bits.is_some_and(|bits| bits & READ_FORBIDDEN != 0)
    }

    /// All groups with the version of the table, as requests are told them.
    pub fn wrapper(&self) -> SubscriptionGroupWrapper {
        self.shared.groups.read().wrapper()
    }

    /// Names of all groups.
    pub fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.shared.groups.read().by_name.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.shared.groups.read().by_name.len()
    }

    /// Brings a change to the disk, then lets everybody see it. The guard is of the lock under which it was decided.
    fn make(&self, changing: &MutexGuard<'_, ()>, change: &Change<'_>) -> Result<(), ChangeError> {
        let before = self.shared.groups.read().rows(change);
        let version = self.next_version();
        let written = self.shared.table.change(rows_of(change, version), before);
        written.map_err(|source| ChangeError::Kv {
            table: "group",
            source,
        })?;
        self.apply(changing, change, version);
        Ok(())
    }

    fn apply(&self, _: &MutexGuard<'_, ()>, change: &Change<'_>, version: DataVersion) {
        let mut groups = self.shared.groups.write();
        for (name, config) in change {
            if let Some(config) = config {
                groups.insert(SubscriptionGroupConfig::clone(config));
            } else {
                groups.by_name.remove(*name);
                groups.forbidden.remove(*name);
            }
        }
        groups.version = version;
        drop(groups);
        self.shared.table.touch();
    }

    fn next_version(&self) -> DataVersion {
        let mut version = self.shared.groups.read().version;
        version.advance(0, self.shared.clock.now().0);
        version
    }
}

/// The rows of a change.
fn rows_of(change: &Change<'_>, version: DataVersion) -> impl Iterator<Item = RowChange> {
    let rows = change.iter().flat_map(|(name, config)| {
        let forbidden = config.is_none().then(|| rows::forbidden(name, None));
        std::iter::once(rows::group(name, *config)).chain(forbidden)
    });
    rows.chain([version_row(version)])
}

impl Exported for SubscriptionGroupTable {
    fn table(&self) -> &KvTable {
        &self.shared.table
    }

    fn document(&self) -> impl Document {
        self.wrapper()
    }
}

impl Groups {
    fn insert(&mut self, config: SubscriptionGroupConfig) {
        let name = config.group_name.as_str().into();
        self.by_name.insert(name, Arc::new(config));
    }

    /// The rows that a change touches, as they are now.
    fn rows(&self, change: &Change<'_>) -> Vec<RowChange> {
        let mut rows = Vec::new();
        for (name, config) in change {
            let known = self.by_name.get(*name);
            rows.push(rows::group(name, known.map(|known| &**known)));
            if config.is_none() {
                rows.push(rows::forbidden(name, self.forbidden.get(*name)));
            }
        }
        rows.push(version_row(self.version));
        rows
    }

    fn wrapper(&self) -> SubscriptionGroupWrapper {
        let groups = self.by_name.iter();
        let groups = groups.map(|(name, group)| (name.to_string(), (**group).clone()));
        SubscriptionGroupWrapper {
            data_version: self.version,
            forbidden_table: self.forbidden.clone(),
            subscription_group_table: groups.collect(),
        }
    }
}

#[cfg(test)]
mod tests;
