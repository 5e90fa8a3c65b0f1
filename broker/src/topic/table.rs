//! The table of topics: read by every send and pull, changed rarely, and written to its file before a change is answered.

mod create;
mod update;

use super::entry::{Topic, TopicCounters, Traffic};
use super::{TopicRules, system};
use crate::config_file::{ConfigFile, ConfigFileError};
use common::clock::Clock;
use common::wire::body::{DataVersion, TopicConfig, TopicConfigSerializeWrapper};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// The topics of this broker. Clones are handles of the same table.
#[derive(Clone)]
pub struct TopicTable {
    shared: Arc<Shared>,
}

struct Shared {
    rules: TopicRules,
    clock: Arc<dyn Clock>,
    /// Held while a change is made and written, so that the file gets changes in their order. Readers never wait for it.
    file: Mutex<ConfigFile>,
    topics: RwLock<Topics>,
    /// Grows with every change in memory; 0 is before the first.
    generation: AtomicU64,
    /// What was stored in topics that are deleted.
    deleted: Traffic,
    version: watch::Sender<DataVersion>,
}

#[derive(Default)]
struct Topics {
    by_name: HashMap<Arc<str>, Arc<Topic>>,
    version: DataVersion,
}

/// The file, as the reference writes it.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Stored {
    data_version: DataVersion,
    topic_config_table: BTreeMap<String, TopicConfig>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Storing<'a> {
    data_version: DataVersion,
    topic_config_table: BTreeMap<&'a str, &'a TopicConfig>,
}

/// What one change does to the table.
#[derive(Default)]
struct Change {
    put: Vec<TopicConfig>,
    remove: Vec<String>,
}

impl TopicTable {
    /// The topics of the file, and those every broker has.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn open(
        path: &Path,
        rules: TopicRules,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConfigFileError> {
        let file = ConfigFile::new(path.to_owned());
        let stored = file.load::<Stored>()?;
        let version = stored.as_ref().map_or_else(
            || DataVersion::new(clock.now().0),
            |stored| stored.data_version,
        );
        let system = system::topics(&rules)
            .into_iter()
            .map(|config| (config.topic_name.clone(), config));
        let stored = stored
            .into_iter()
            .flat_map(|stored| stored.topic_config_table);
        let mut topics = Topics {
            version,
            ..Topics::default()
        };
        // What the file says about a system topic counts, as an operator may have changed it.
        for (name, config) in system.chain(stored) {
            let config = TopicConfig {
                topic_name: name,
                ..config
            };
            topics.insert(&rules, config, version.counter);
        }
        Ok(Self {
            shared: Arc::new(Shared {
                rules,
                clock,
                file: Mutex::new(file),
                topics: RwLock::new(topics),
                generation: AtomicU64::new(1),
                deleted: Traffic::default(),
                version: watch::Sender::new(version),
            }),
        })
    }

    /// The topic of that name.
    pub fn get(&self, topic: &str) -> Option<Arc<Topic>> {
        self.shared.topics.read().by_name.get(topic).cloned()
    }

    /// True when there is a topic of that name.
    pub fn contains(&self, topic: &str) -> bool {
        self.shared.topics.read().by_name.contains_key(topic)
    }

    /// All topics, by name.
    pub fn all(&self) -> BTreeMap<Arc<str>, Arc<Topic>> {
        self.snapshot().1
    }

    /// All topics, and the version they are of.
    pub fn snapshot(&self) -> (DataVersion, BTreeMap<Arc<str>, Arc<Topic>>) {
        let topics = self.shared.topics.read();
        (topics.version, topics.copy())
    }

    /// How many topics there are.
    pub fn len(&self) -> usize {
        self.shared.topics.read().by_name.len()
    }

    /// Messages stored in all topics since the start, and their bytes.
    pub fn stored(&self) -> (u64, u64) {
        let deleted = (self.shared.deleted.messages(), self.shared.deleted.bytes());
        let topics = self.shared.topics.read();
        let each = topics
            .by_name
            .values()
            .map(|topic| topic.counters().total());
        each.fold(deleted, |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Takes the rate at which each topic is written, as the mean of the `seconds` since it was last taken.
    pub fn sample_rates(&self, seconds: f64) {
        for topic in self.shared.topics.read().by_name.values() {
            topic.counters().sample_rate(seconds);
        }
    }

    /// A number that is another one after every change: what was remembered of the table under an older one may be wrong.
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// The version of the table, and word of every change.
    pub fn changes(&self) -> watch::Receiver<DataVersion> {
        self.shared.version.subscribe()
    }

    /// What the settings say about topics.
    pub fn rules(&self) -> &TopicRules {
        &self.shared.rules
    }

    /// Topics changed after the version with this counter, with the version they are of, as a registration tells it.
    pub fn changed_since(&self, counter: i64) -> TopicConfigSerializeWrapper {
        let (version, topics) = self.snapshot();
        wrap(
            version,
            topics.into_values().filter(|topic| topic.since > counter),
        )
    }

    /// All topics as requests are told them.
    pub fn wrapper(&self) -> TopicConfigSerializeWrapper {
        let (version, topics) = self.snapshot();
        wrap(version, topics.into_values())
    }

    /// Takes a step of the version without a change: a name server that has seen the version before would not look at what
    /// comes with it again.
    pub fn step_version(&self) -> DataVersion {
        let _file = self.shared.file.lock();
        let mut topics = self.shared.topics.write();
        topics.version.advance(0, self.shared.clock.now().0);
        topics.version
    }

    /// Writes the table as it is.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn persist(&self) -> Result<(), ConfigFileError> {
        let file = self.shared.file.lock();
        let (version, topics) = self.snapshot();
        write(&file, version, &topics)
    }

    /// Writes the table as it will be, then lets everybody see it. `file` is the lock under which the change was decided.
    fn make(&self, file: &ConfigFile, change: Change) -> Result<Vec<Arc<Topic>>, ConfigFileError> {
        if change.put.is_empty() && change.remove.is_empty() {
            return Ok(Vec::new());
        }
        let shared = &*self.shared;
        let (mut version, mut topics) = self.snapshot();
        version.advance(0, shared.clock.now().0);
        let mut made = Vec::with_capacity(change.put.len());
        for config in change.put {
            let name: Arc<str> = config.topic_name.as_str().into();
            let topic = shared
                .rules
                .topic(config, version.counter, topics.get(&name));
            topics.insert(name, Arc::clone(&topic));
            made.push(topic);
        }
        let removed: Vec<_> = change
            .remove
            .iter()
            .filter_map(|topic| topics.remove(topic.as_str()))
            .collect();
        write(file, version, &topics)?;
        for topic in removed {
            let (messages, bytes) = topic.counters().total();
            shared.deleted.add(messages, bytes);
        }
        {
            let mut topics = shared.topics.write();
            for topic in &change.remove {
                topics.by_name.remove(topic.as_str());
            }
            for topic in &made {
                let name = topic.topic_name.as_str().into();
                topics.by_name.insert(name, Arc::clone(topic));
            }
            topics.version = version;
        }
        shared.generation.fetch_add(1, Ordering::AcqRel);
        shared.version.send_replace(version);
        Ok(made)
    }
}

impl TopicRules {
    fn topic(&self, config: TopicConfig, since: i64, before: Option<&Arc<Topic>>) -> Arc<Topic> {
        let counters = before.map_or_else(
            || Arc::new(TopicCounters::default()),
            |before| before.shared_counters(),
        );
        let system = self.is_system_topic(&config.topic_name);
        Arc::new(Topic::new(config, system, since, counters))
    }
}

impl Topics {
    fn insert(&mut self, rules: &TopicRules, config: TopicConfig, since: i64) -> Arc<Topic> {
        let name: Arc<str> = config.topic_name.as_str().into();
        let topic = rules.topic(config, since, self.by_name.get(&name));
        self.by_name.insert(name, Arc::clone(&topic));
        topic
    }

    fn copy(&self) -> BTreeMap<Arc<str>, Arc<Topic>> {
        self.by_name
            .iter()
            .map(|(name, topic)| (Arc::clone(name), Arc::clone(topic)))
            .collect()
    }
}

fn wrap(
    version: DataVersion,
    topics: impl Iterator<Item = Arc<Topic>>,
) -> TopicConfigSerializeWrapper {
    TopicConfigSerializeWrapper {
        data_version: version,
        topic_config_table: topics
            .map(|topic| (topic.topic_name.clone(), TopicConfig::clone(&topic)))
            .collect(),
        ..TopicConfigSerializeWrapper::default()
    }
}

fn write(
    file: &ConfigFile,
    data_version: DataVersion,
    topics: &BTreeMap<Arc<str>, Arc<Topic>>,
) -> Result<(), ConfigFileError> {
    let topic_config_table = topics
        .iter()
        .map(|(name, topic)| (&**name, &***topic))
        .collect();
    file.replace(&file.encode(&Storing {
        data_version,
        topic_config_table,
    })?)
}

#[cfg(test)]
mod tests;
