//! All queues by topic and number.

use std::hash::BuildHasher;
use std::path::PathBuf;
use std::sync::Arc;

use common::names::{self, is_file_name};
use hashbrown::{DefaultHashBuilder, HashSet, HashTable};
use parking_lot::{Mutex, RwLock};

use super::EXT_DIRECTORY;
use super::ext::Ext;
use super::queue::{Home, Queue};
use super::unit::{QueueKind, Unit};
use crate::config::{StoreConfig, TopicSet};
use crate::error::StoreError;
use crate::files::FileSystem;
use crate::planted::{Fault, planted};
use crate::schedule::DelayLevels;

/// Every queue the store knows.
#[derive(Debug)]
pub(crate) struct QueueTable {
    /// Of plain queues, and of those for whole batches.
    homes: [Arc<Home>; 2],
    batch_topics: TopicSet,
    /// While recovery runs: topics with a directory among the queues for whole batches.
    marked: RwLock<HashSet<String>>,
    /// Whether messages are dispatched to the light queues they name.
    pub(crate) light: bool,
    pub(crate) delays: DelayLevels,
    ext: ExtFolder,
    queues: RwLock<Queues>,
    /// Queues with units that are in no file yet, or with memory or files to give back.
    dirty: Mutex<Vec<Arc<Queue>>>,
}

/// Where ext units are, and which queues have some.
#[derive(Debug)]
struct ExtFolder {
    directory: PathBuf,
    file_bytes: u64,
    /// Whether all queues get them.
    writes: bool,
    /// Topics with queues that had some when the store was opened.
    topics: HashSet<String>,
}

/// Queues by topic and number. They are many: nothing is kept twice.
#[derive(Debug, Default)]
struct Queues {
    table: HashTable<Arc<Queue>>,
    /// How many are light.
    light: usize,
    hasher: DefaultHashBuilder,
}

impl Queues {
    fn hash(&self, topic: &str, id: u32) -> u64 {
        self.hasher.hash_one((topic, id))
    }

    fn get(&self, topic: &str, id: u32) -> Option<&Arc<Queue>> {
        let hash = self.hash(topic, id);
        self.table
            .find(hash, |queue| queue.id() == id && queue.topic() == topic)
    }

    /// The name of a topic, shared with its other queues if there are some.
    fn topic(&self, topic: &str, id: u32) -> Arc<str> {
        let neighbours = [Some(0), id.checked_sub(1), id.checked_add(1)];
        let there = neighbours
            .into_iter()
            .flatten()
            .find_map(|id| self.get(topic, id));
        there.map_or_else(|| topic.into(), |queue| queue.shared_topic())
    }

    fn insert(&mut self, queue: &Arc<Queue>) {
        let hash = self.hash(queue.topic(), queue.id());
        let hasher = &self.hasher;
        self.light += usize::from(names::is_light_queue(queue.topic()));
        self.table.insert_unique(hash, Arc::clone(queue), |queue| {
            hasher.hash_one((queue.topic(), queue.id()))
        });
    }
}

impl QueueTable {
    /// Opens the queues of `config`, with all units their files hold.
    /// Nothing was left unfinished if the last owner left it in order (`clean`).
    pub(crate) fn open(
        files: &FileSystem,
        config: &StoreConfig,
        clean: bool,
    ) -> Result<Self, StoreError> {
        let table = Self {
            delays: config.delay_levels.clone(),
            ext: ExtFolder::open(files, config)?,
            homes: QueueKind::ALL.map(|kind| {
                Arc::new(Home {
                    files: files.clone(),
                    kind,
                    directory: config.root.join(kind.directory()),
                    file_bytes: match kind {
                        QueueKind::Simple => config.consume_queue_file_bytes,
                        QueueKind::Batch => config.batch_consume_queue_file_bytes,
                    },
                })
            }),
            batch_topics: config.batch_topics.clone(),
            marked: RwLock::default(),
            light: config.light_queues,
            queues: RwLock::default(),
            dirty: Mutex::default(),
        };
        for home in &table.homes {
            table.load(home, clean)?;
        }
        Ok(table)
    }

    fn load(&self, home: &Home, clean: bool) -> Result<(), StoreError> {
        for topic in home.files.directories(&home.directory)? {
            if home.kind == QueueKind::Batch {
                self.marked.write().insert(topic.clone());
            }
            let path = home.directory.join(&topic);
            for name in home.files.directories(&path)? {
                let Ok(id) = name.parse() else {
                    let path = path.join(&name);
                    tracing::warn!(path = %path.display(), "not a queue: its name is no number");
                    continue;
                };
                let queue = self.get_or_create_as(&topic, id, || home.kind);
                if queue.kind() == home.kind {
                    queue.load(clean)?;
                } else {
                    let path = path.join(&name);
                    tracing::warn!(path = %path.display(), "left alone: the queue has units of both kinds");
                }
            }
        }
        Ok(())
    }

    /// The file system below.
    pub(crate) fn files(&self) -> &FileSystem {
        &self.homes[0].files
    }

    pub(crate) fn get(&self, topic: &str, id: u32) -> Option<Arc<Queue>> {
        self.queues.read().get(topic, id).cloned()
    }

    pub(crate) fn get_or_create(&self, topic: &str, id: u32) -> Arc<Queue> {
        self.get_or_create_as(topic, id, || {
            if !self.batch_topics.contains(topic) && !self.marked.read().contains(topic) {
                return QueueKind::Simple;
            }
            self.mark(topic);
            QueueKind::Batch
        })
    }

    /// Sees to it that recovery knows what queues the topic has, before there is a message. Without
    /// that it depends on who knows the topics.
    fn mark(&self, topic: &str) {
        let [_, batch] = &self.homes;
        let path = batch.directory.join(topic);
        if is_file_name(topic)
            && !planted(Fault::KindNotMarked)
            && let Err(error) = batch.files.create_directories(&path, true)
        {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, cause, "the kind of a topic's queues cannot be marked");
        }
    }

    /// From now on only who knows the topics says what queues new ones get.
    pub(crate) fn end_recovery(&self) {
        self.marked.write().clear();
        self.all().iter().for_each(|queue| queue.settle());
    }

    /// As [`Self::get_or_create`], of that kind if it is not there.
    fn get_or_create_as(
        &self,
        topic: &str,
        id: u32,
        kind: impl FnOnce() -> QueueKind,
    ) -> Arc<Queue> {
        if let Some(queue) = self.get(topic, id) {
            return queue;
        }
        // Somebody else's table: not under this one's lock.
        let kind = kind();
        let mut queues = self.queues.write();
        if let Some(queue) = queues.get(topic, id) {
            return Arc::clone(queue);
        }
        let homeless = !is_file_name(topic);
        let ext = (!homeless).then(|| self.ext.of(topic, id)).flatten();
        let topic = queues.topic(topic, id);
        let [simple, batch] = &self.homes;
        let home = match kind {
            QueueKind::Simple => simple,
            QueueKind::Batch => batch,
        };
        let queue = Arc::new(Queue::new(topic, id, Arc::clone(home), homeless, ext));
        queues.insert(&queue);
        queue
    }

    pub(crate) fn all(&self) -> Vec<Arc<Queue>> {
        self.queues.read().table.iter().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.queues.read().table.len()
    }

    /// How many light queues there are.
    pub(crate) fn count_light(&self) -> usize {
        self.queues.read().light
    }

    /// Whether no queue has units in files.
    pub(crate) fn has_no_files(&self) -> bool {
        let queues = self.queues.read();
        queues.table.iter().all(|queue| queue.filed() == 0)
    }

    /// Forgets a topic's queues and marks them. Their files are deleted by
    /// [`Self::delete_files`], which must not run while [`Self::write_out`] does.
    pub(crate) fn remove(&self, topic: &str) {
        let light = usize::from(names::is_light_queue(topic));
        let mut queues = self.queues.write();
        let Queues {
            table, light: sum, ..
        } = &mut *queues;
        table.retain(|queue| {
            let removed = queue.topic() == topic;
            if removed {
                queue.mark_deleted();
                *sum -= light;
            }
            !removed
        });
    }

    pub(crate) fn delete_files(&self, topic: &str) -> Result<(), StoreError> {
        if !is_file_name(topic) {
            return Ok(());
        }
        let homes = self.homes.iter().map(|home| &home.directory);
        for directory in homes.chain([&self.ext.directory]) {
            self.files().delete_all(&directory.join(topic))?;
        }
        Ok(())
    }

    /// Reads units; see [`Queue::read`].
    pub(crate) fn read(
        &self,
        queue: &Arc<Queue>,
        from: u64,
        count: usize,
        out: &mut Vec<Unit>,
    ) -> Result<(), StoreError> {
        if queue.read(from, count, out)? {
            self.note_dirty(queue);
        }
        Ok(())
    }

    /// The unit with message `offset`; `None` where there is none.
    pub(crate) fn unit(&self, queue: &Arc<Queue>, offset: u64) -> Result<Option<Unit>, StoreError> {
        let mut one = Vec::with_capacity(1);
        self.read(queue, offset, 1, &mut one)?;
        let found = one.first().copied();
        Ok(found.filter(|unit| !unit.is_blank() && unit.base <= offset))
    }

    /// Has `queue` looked at by the next [`Self::write_out`].
    pub(crate) fn note_dirty(&self, queue: &Arc<Queue>) {
        if queue.become_dirty() {
            self.dirty.lock().push(Arc::clone(queue));
        }
    }

    /// Position behind the newest record that has a unit; 0 without any.
    pub(crate) fn indexed(&self) -> Result<u64, StoreError> {
        let all = self.all();
        let mut ends = all.iter().map(|queue| queue.indexed());
        ends.try_fold(0, |end, indexed| Ok(indexed?.max(end)))
    }

    /// Cuts all queues; see [`Queue::cut`]. Returns how many units that were.
    pub(crate) fn cut(&self, limit: u64, wipe: bool) -> Result<u64, StoreError> {
        let all = self.all();
        all.iter().map(|queue| queue.cut(limit, wipe)).sum()
    }

    /// Lets every queue begin with its oldest message in a log that begins at `log_start`. A queue
    /// whose files cannot be read is tried again by the next call; its error is returned.
    pub(crate) fn advance_min(&self, log_start: u64) -> Result<(), StoreError> {
        let mut failed = None;
        for queue in self.all() {
            if let Err(error) = queue.advance_min(log_start) {
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Hands all units to the file system; they are not synced. A queue that cannot be written
    /// keeps its units for the next time.
    pub(crate) fn write_out(&self) -> Result<(), StoreError> {
        let dirty = std::mem::take(&mut *self.dirty.lock());
        let mut scratch = Vec::new();
        let mut failed = None;
        for queue in dirty {
            match queue.write_out(&mut scratch) {
                Ok(again) if again => self.note_dirty(&queue),
                Ok(_) => {}
                Err(error) => {
                    self.note_dirty(&queue);
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

impl ExtFolder {
    fn open(files: &FileSystem, config: &StoreConfig) -> Result<Self, StoreError> {
        let directory = config.root.join(EXT_DIRECTORY);
        Ok(Self {
            topics: files.directories(&directory)?.into_iter().collect(),
            directory,
            file_bytes: config.consume_queue_ext_file_bytes,
            writes: config.consume_queue_ext,
        })
    }

    /// The ext units of a queue, if it has some or is to have some.
    fn of(&self, topic: &str, id: u32) -> Option<Ext> {
        (self.writes || self.topics.contains(topic)).then(|| {
            let directory = self.directory.join(topic).join(id.to_string());
            Ext::new(directory, self.file_bytes, self.writes)
        })
    }
}
