//! The table of consumer groups: read by every pull, changed rarely, and written to its file before a change is answered.

use super::GroupError;
use crate::attributes::{self, GROUP_ATTRIBUTES};
use crate::config_file::{ConfigFile, ConfigFileError};
use common::clock::Clock;
use common::names;
use common::wire::body::{DataVersion, SubscriptionGroupConfig, SubscriptionGroupWrapper};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
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
    auto_create: bool,
    clock: Arc<dyn Clock>,
    /// Held while a change is made and written, so that the file gets changes in their order. Readers never wait for it.
    file: Mutex<ConfigFile>,
    groups: RwLock<Groups>,
}

#[derive(Clone, Default)]
struct Groups {
    by_name: HashMap<Arc<str>, Arc<SubscriptionGroupConfig>>,
    forbidden: BTreeMap<String, BTreeMap<String, i32>>,
    version: DataVersion,
}

impl SubscriptionGroupTable {
    /// The groups of the file, and those every broker has. `auto_create`: groups come into being when they are first used.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn open(
        path: &Path,
        auto_create: bool,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConfigFileError> {
        let file = ConfigFile::new(path.to_owned());
        let stored = file.load::<SubscriptionGroupWrapper>()?;
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
        Ok(Self {
            shared: Arc::new(Shared {
                auto_create,
                clock,
                file: Mutex::new(file),
                groups: RwLock::new(groups),
            }),
        })
    }

    /// The group of that name, if it is there already.
    pub fn get(&self, group: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        self.shared.groups.read().by_name.get(group).cloned()
    }

    /// True when the group is there already.
    pub fn contains(&self, group: &str) -> bool {
        self.shared.groups.read().by_name.contains_key(group)
    }

    /// The group of that name, created with default values if it may be.
    ///
    /// When the table cannot be written the group is there all the same, until the next start: a full disk must not keep
    /// consumers from reading.
    pub fn find_or_create(&self, group: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        if let Some(known) = self.get(group) {
            return Some(known);
        }
        let allowed = self.shared.auto_create || names::has_system_group_prefix(group);
        if !allowed || names::validate_group(group).is_err() {
            return None;
        }
        let file = self.shared.file.lock();
        if let Some(known) = self.get(group) {
            return Some(known);
        }
        let mut next = self.next();
        let created = next.insert(SubscriptionGroupConfig::new(group));
        tracing::info!("group {group} created by its first use");
        if let Err(error) = write(&file, &next) {
            tracing::warn!("group {group} will be forgotten when the broker stops: {error}");
        }
        *self.shared.groups.write() = next;
        Some(created)
    }

    /// Creates or changes a group as a request asks. `config` has the changes of attributes by prefixed name. Nothing happens
    /// when nothing would differ.
    ///
    /// # Errors
    /// See [`GroupError`]; then nothing was changed.
    pub fn update(&self, config: SubscriptionGroupConfig) -> Result<(), GroupError> {
        self.update_all(vec![config])
    }

    /// Creates or changes several groups, or none of them.
    ///
    /// # Errors
    /// See [`GroupError`]; then nothing was changed.
    pub fn update_all(&self, configs: Vec<SubscriptionGroupConfig>) -> Result<(), GroupError> {
        for config in &configs {
            names::validate_group(&config.group_name)?;
        }
        let file = self.shared.file.lock();
        let mut next = self.next();
        let mut changed = false;
        for mut config in configs {
            let current = next.by_name.get(config.group_name.as_str());
            let before = current.map(|group| &group.attributes);
            config.attributes = attributes::alter(GROUP_ATTRIBUTES, before, &config.attributes)?;
            if current.is_none_or(|current| **current != config) {
                tracing::info!("group {} is {config:?}", config.group_name);
                next.insert(config);
                changed = true;
            }
        }
        if changed {
            self.make(&file, next)?;
        }
        Ok(())
    }

    /// Deletes a group; says whether there was one.
    ///
    /// # Errors
    /// The file cannot be written; then nothing was changed.
    pub fn delete(&self, group: &str) -> Result<bool, GroupError> {
        let file = self.shared.file.lock();
        let mut next = self.next();
        let existed = next.by_name.remove(group).is_some();
        let was_forbidden = next.forbidden.remove(group).is_some();
        if existed || was_forbidden {
            self.make(&file, next)?;
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

    /// Writes the table as it is.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn persist(&self) -> Result<(), ConfigFileError> {
        let file = self.shared.file.lock();
        let groups = self.shared.groups.read().clone();
        write(&file, &groups)
    }

    /// The table, one version on.
    fn next(&self) -> Groups {
        let mut next = self.shared.groups.read().clone();
        next.version.advance(0, self.shared.clock.now().0);
        next
    }

    fn make(&self, file: &ConfigFile, next: Groups) -> Result<(), ConfigFileError> {
        write(file, &next)?;
        *self.shared.groups.write() = next;
        Ok(())
    }
}

impl Groups {
    fn insert(&mut self, config: SubscriptionGroupConfig) -> Arc<SubscriptionGroupConfig> {
        let config = Arc::new(config);
        self.by_name
            .insert(config.group_name.as_str().into(), Arc::clone(&config));
        config
    }

    fn wrapper(&self) -> SubscriptionGroupWrapper {
        let groups = self.by_name.values();
        SubscriptionGroupWrapper {
            data_version: self.version,
            forbidden_table: self.forbidden.clone(),
            subscription_group_table: groups
                .map(|group| {
                    (
                        group.group_name.clone(),
                        SubscriptionGroupConfig::clone(group),
                    )
                })
                .collect(),
        }
    }
}

fn write(file: &ConfigFile, groups: &Groups) -> Result<(), ConfigFileError> {
    file.replace(&file.encode(&groups.wrapper())?)
}

#[cfg(test)]
mod tests;
