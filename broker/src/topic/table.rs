//! The table of topics: read by every send and pull, changed rarely, and on the disk before a change is answered.

mod create;
mod update;

pub use update::MAX_QUEUES;

use super::entry::{Topic, TopicCounters, Traffic};
use super::rows::{self, TopicsDocument};
use super::{perm, system};
use crate::config::BrokerConfig;
use crate::error::ChangeError;
use crate::kv::{
    Document, Exported, Family, KvAtStart, KvTable, RowChange, TableError, version_row,
};
use common::clock::Clock;
use common::config::Live;
use common::names;
use common::wire::body::{DataVersion, TopicConfig, TopicConfigSerializeWrapper};
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::collections::{BTreeMap, VecDeque};
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
    settings: Arc<Live<BrokerConfig>>,
    clock: Arc<dyn Clock>,
    table: KvTable,
    /// Topics of light queues need no config.
    light: bool,
    /// Held while a change is made and written, so that changes have an order. Readers never wait for it.
    changing: Mutex<()>,
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
    /// The topics changed last, oldest change first. All that changed after the version with the counter `forgotten` are
    /// there, and some of them may have changed again or be gone.
    recent: VecDeque<Arc<Topic>>,
    forgotten: i64,
}

/// Changes remembered for name servers that follow at some distance. Others are looked for among all topics.
const RECENT_CHANGES: usize = 1_024;

impl TopicTable {
    /// The topics of the rows or of the file at `path`, and those every broker has.
    ///
    /// # Errors
    /// What is there cannot be read.
    pub fn open(
        start: &mut KvAtStart,
        path: &Path,
        settings: Arc<Live<BrokerConfig>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TableError> {
        let (table, stored) = KvTable::open::<TopicsDocument>(start, Family::Topics, path)?;
        let version = stored.as_ref().map_or_else(
            || DataVersion::new(clock.now().0),
            |stored| stored.data_version,
        );
        let config = settings.get();
        let system = system::topics(&config)
            .into_iter()
            .map(|config| (config.topic_name.clone(), config));
        let stored = stored
            .into_iter()
            .flat_map(|stored| stored.topic_config_table);
        let mut topics = Topics {
            version,
            forgotten: version.counter,
            ..Topics::default()
        };
        // What is stored about a system topic counts, as an operator may have changed it.
        for (topic_name, stored) in system.chain(stored) {
            let topic = TopicConfig {
                topic_name,
                ..stored
            };
            topics.insert(&config, topic, version.counter);
        }
        Ok(Self {
            shared: Arc::new(Shared {
                light: config.enable_lmq,
                settings,
                clock,
                table,
                changing: Mutex::default(),
                topics: RwLock::new(topics),
                generation: AtomicU64::new(1),
                deleted: Traffic::default(),
                version: watch::Sender::new(version),
            }),
        })
    }

    /// The topic of that name. That of a light queue is made up: there may be very many, and nobody configures them.
    pub fn get(&self, topic: &str) -> Option<Arc<Topic>> {
        let known = self.shared.topics.read().by_name.get(topic).cloned();
        known.or_else(|| {
            let config = || TopicConfig::new(topic, 1, perm::READ_WRITE);
            self.is_light(topic)
                .then(|| topic_of(&self.shared.settings.now(), config(), 0, None))
        })
    }

    /// True when there is a topic of that name.
    pub fn contains(&self, topic: &str) -> bool {
        self.shared.topics.read().by_name.contains_key(topic) || self.is_light(topic)
    }

    fn is_light(&self, topic: &str) -> bool {
        self.shared.light && names::is_light_queue(topic)
    }

    /// All topics, by name.
    pub fn all(&self) -> BTreeMap<Arc<str>, Arc<Topic>> {
        self.snapshot().1
    }

    /// All topics, and the version they are of.
    pub fn snapshot(&self) -> (DataVersion, BTreeMap<Arc<str>, Arc<Topic>>) {
        let topics = self.shared.topics.read();
        let all = topics.by_name.iter();
        let all = all.map(|(name, topic)| (Arc::clone(name), Arc::clone(topic)));
        (topics.version, all.collect())
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

    /// The settings are other ones: what somebody has remembered of topics is looked up again.
    pub fn settings_changed(&self) {
        self.shared.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Topics changed after the version with this counter, with the version they are of, as a registration tells it.
    pub fn changed_since(&self, counter: i64) -> TopicConfigSerializeWrapper {
        let topics = self.shared.topics.read();
        wrap(topics.version, topics.since(counter).into_iter())
    }

    /// All topics as requests are told them.
    pub fn wrapper(&self) -> TopicConfigSerializeWrapper {
        let (version, topics) = self.snapshot();
        wrap(version, topics.into_values())
    }

    /// Takes a step of the version without a change: a name server that has seen the version before would not look at what
    /// comes with it again.
    pub fn step_version(&self) -> DataVersion {
        let _changing = self.shared.changing.lock();
        let mut topics = self.shared.topics.write();
        topics.version.advance(0, self.shared.clock.now().0);
        topics.version
    }

    /// Brings a change to the disk, then lets everybody see it: topics that are so from now on, and topics that go. The guard is of
    /// the lock under which it was decided.
    fn make(
        &self,
        changing: &MutexGuard<'_, ()>,
        put: Vec<TopicConfig>,
        remove: &[&str],
    ) -> Result<Vec<Arc<Topic>>, ChangeError> {
        if put.is_empty() && remove.is_empty() {
            return Ok(Vec::new());
        }
        let before = self.shared.topics.read().rows(&put, remove);
        let (made, version) = self.plan(put);
        let written = self
            .shared
            .table
            .change(rows_of(&made, remove, version), before);
        written.map_err(|source| ChangeError::Kv {
            table: "topic",
            source,
        })?;
        self.show(changing, &made, remove, version);
        Ok(made)
    }

    /// Lets everybody see a change.
    fn show(
        &self,
        _: &MutexGuard<'_, ()>,
        made: &[Arc<Topic>],
        remove: &[&str],
        version: DataVersion,
    ) {
        let shared = &*self.shared;
        {
            let mut topics = shared.topics.write();
            for topic in remove {
                if let Some(removed) = topics.by_name.remove(*topic) {
                    let (messages, bytes) = removed.counters().total();
                    shared.deleted.add(messages, bytes);
                }
            }
            for topic in made {
                let name = topic.topic_name.as_str().into();
                topics.by_name.insert(name, Arc::clone(topic));
                topics.note(topic);
            }
            topics.version = version;
        }
        shared.table.touch();
        shared.generation.fetch_add(1, Ordering::AcqRel);
        shared.version.send_replace(version);
    }

    /// The topics of these configurations, and the version they come with.
    fn plan(&self, configs: Vec<TopicConfig>) -> (Vec<Arc<Topic>>, DataVersion) {
        let shared = &*self.shared;
        let topics = shared.topics.read();
        let mut version = topics.version;
        version.advance(0, shared.clock.now().0);
        let made = configs.into_iter().map(|config| {
            let known = topics.by_name.get(config.topic_name.as_str());
            topic_of(&shared.settings.now(), config, version.counter, known)
        });
        (made.collect(), version)
    }
}

impl Exported for TopicTable {
    fn table(&self) -> &KvTable {
        &self.shared.table
    }

    fn document(&self) -> impl Document {
        let topics = self.shared.topics.read();
        TopicsDocument::new(topics.version, topics.by_name.values())
    }
}

/// The rows of a change.
fn rows_of(
    made: &[Arc<Topic>],
    remove: &[&str],
    version: DataVersion,
) -> impl Iterator<Item = RowChange> {
    let after = made.iter().map(|topic| rows::put(topic));
    let gone = remove.iter().map(|topic| rows::gone(topic));
    after.chain(gone).chain([version_row(version)])
}

/// The topic of a configuration, with the counters of the one it takes the place of.
fn topic_of(
    settings: &BrokerConfig,
    config: TopicConfig,
    since: i64,
    before: Option<&Arc<Topic>>,
) -> Arc<Topic> {
    let counters = before.map_or_else(
        || Arc::new(TopicCounters::default()),
        |before| before.shared_counters(),
    );
    let system = settings.is_system_topic(&config.topic_name);
    Arc::new(Topic::new(config, system, since, counters))
}

impl Topics {
    fn insert(&mut self, settings: &BrokerConfig, config: TopicConfig, since: i64) -> Arc<Topic> {
        let name: Arc<str> = config.topic_name.as_str().into();
        let topic = topic_of(settings, config, since, self.by_name.get(&name));
        self.by_name.insert(name, Arc::clone(&topic));
        topic
    }

    fn note(&mut self, changed: &Arc<Topic>) {
        self.recent.push_back(Arc::clone(changed));
        if self.recent.len() > RECENT_CHANGES {
            let oldest = self.recent.pop_front();
            self.forgotten = oldest.map_or(self.forgotten, |topic| topic.since);
        }
    }

    /// Topics changed after the version with this counter. As a rule that is one of ten thousand.
    fn since(&self, counter: i64) -> Vec<Arc<Topic>> {
        let is_newer = |topic: &&Arc<Topic>| topic.since > counter;
        if counter < self.forgotten {
            return self.by_name.values().filter(is_newer).cloned().collect();
        }
        let is_current = |topic: &&Arc<Topic>| {
            let current = self.by_name.get(topic.topic_name.as_str());
            current.is_some_and(|current| Arc::ptr_eq(current, topic))
        };
        let newer = self.recent.iter().rev().take_while(is_newer);
        newer.filter(is_current).cloned().collect()
    }

    /// The rows that a change touches, as they are now.
    fn rows(&self, put: &[TopicConfig], remove: &[&str]) -> Vec<RowChange> {
        let put = put.iter().map(|config| config.topic_name.as_str());
        let touched = put.chain(remove.iter().copied());
        let rows = touched.map(|name| match self.by_name.get(name) {
            Some(topic) => rows::put(topic),
            None => rows::gone(name),
        });
        rows.chain([version_row(self.version)]).collect()
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

#[cfg(test)]
mod tests;
