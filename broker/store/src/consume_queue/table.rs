//! All queues by topic and number.

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::{Equivalent, HashMap, HashSet};
use parking_lot::{Mutex, RwLock};

use super::Queue;
use super::ext::Ext;
use super::unit::Unit;
use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::files::Files;
use crate::schedule::DelayLevels;

/// Every queue the store knows.
#[derive(Debug)]
pub(crate) struct QueueTable {
    pub(crate) files: Arc<dyn Files>,
    directory: PathBuf,
    file_bytes: u64,
    pub(crate) delays: DelayLevels,
    ext: ExtFolder,
    queues: RwLock<HashMap<Key, Arc<Queue>>>,
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

#[derive(Debug, PartialEq, Eq)]
struct Key {
    topic: Arc<str>,
    id: u32,
}

/// A key to look up with, for which nothing has to be allocated.
struct KeyRef<'a> {
    topic: &'a str,
    id: u32,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        KeyRef {
            topic: &self.topic,
            id: self.id,
        }
        .hash(state);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.topic.hash(state);
        state.write_u32(self.id);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.id == key.id && *self.topic == *key.topic
    }
}

impl QueueTable {
    /// Opens the queues of `config`, with all units their files hold.
    pub(crate) fn open(files: Arc<dyn Files>, config: &StoreConfig) -> Result<Self, StoreError> {
        let table = Self {
            directory: config.root.join("consumequeue"),
            file_bytes: config.consume_queue_file_bytes,
            delays: config.delay_levels.clone(),
            ext: ExtFolder::open(&*files, config)?,
            files,
            queues: RwLock::default(),
            dirty: Mutex::default(),
        };
        let list = |path: &Path| {
            table
                .files
                .list_directories(path)
                .map_err(StoreError::io("list", path))
        };
        for topic in list(&table.directory)? {
            let path = table.directory.join(&topic);
            for name in list(&path)? {
                let Ok(id) = name.parse() else {
                    let path = path.join(&name);
                    tracing::warn!(path = %path.display(), "not a queue: its name is no number");
                    continue;
                };
                table.get_or_create(&topic, id).load(&*table.files)?;
            }
        }
        Ok(table)
    }

    pub(crate) fn get(&self, topic: &str, id: u32) -> Option<Arc<Queue>> {
        self.queues.read().get(&KeyRef { topic, id }).cloned()
    }

    pub(crate) fn get_or_create(&self, topic: &str, id: u32) -> Arc<Queue> {
        if let Some(queue) = self.get(topic, id) {
            return queue;
        }
        let mut queues = self.queues.write();
        let queue = queues
            .entry(Key {
                topic: topic.into(),
                id,
            })
            .or_insert_with_key(|key| {
                let directory =
                    is_file_name(topic).then(|| self.directory.join(topic).join(id.to_string()));
                let ext = directory.as_ref().and_then(|_| self.ext.of(topic, id));
                Arc::new(Queue::new(
                    Arc::clone(&key.topic),
                    id,
                    directory,
                    self.file_bytes,
                    ext,
                ))
            });
        Arc::clone(queue)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Queue>> {
        self.queues.read().values().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.queues.read().len()
    }

    /// Forgets a topic's queues and marks them. Their files are deleted by
    /// [`Self::delete_files`], which must not run while [`Self::write_out`] does.
    pub(crate) fn remove(&self, topic: &str) {
        self.queues.write().retain(|key, queue| {
            let removed = *key.topic == *topic;
            if removed {
                queue.mark_deleted();
            }
            !removed
        });
    }

    pub(crate) fn delete_files(&self, topic: &str) -> Result<(), StoreError> {
        if !is_file_name(topic) {
            return Ok(());
        }
        for directory in [&self.directory, &self.ext.directory] {
            let path = directory.join(topic);
            self.files
                .delete_all(&path)
                .map_err(StoreError::io("delete", &path))?;
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
        if queue.read(&*self.files, from, count, out)? {
            self.note_dirty(queue);
        }
        Ok(())
    }

    /// The unit of message `offset`; `None` where there is none.
    pub(crate) fn unit(&self, queue: &Arc<Queue>, offset: u64) -> Result<Option<Unit>, StoreError> {
        let mut one = Vec::with_capacity(1);
        self.read(queue, offset, 1, &mut one)?;
        Ok(one.first().copied().filter(|unit| !unit.is_blank()))
    }

    /// Has `queue` looked at by the next [`Self::write_out`].
    pub(crate) fn note_dirty(&self, queue: &Arc<Queue>) {
        if queue.become_dirty() {
            self.dirty.lock().push(Arc::clone(queue));
        }
    }

    /// Lets every queue begin with its oldest message in a log that begins at `log_start`. A queue
    /// whose files cannot be read is tried again by the next call; its error is returned.
    pub(crate) fn advance_min(&self, log_start: u64) -> Result<(), StoreError> {
        let mut failed = None;
        for queue in self.all() {
            if let Err(error) = queue.advance_min(&*self.files, log_start) {
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
            match queue.write_out(&*self.files, &mut scratch) {
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
    fn open(files: &dyn Files, config: &StoreConfig) -> Result<Self, StoreError> {
        let directory = config.root.join("consumequeue_ext");
        let topics = files
            .list_directories(&directory)
            .map_err(StoreError::io("list", &directory))?;
        Ok(Self {
            directory,
            file_bytes: config.consume_queue_ext_file_bytes,
            writes: config.consume_queue_ext,
            topics: topics.into_iter().collect(),
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

/// Whether a topic can be a directory. Brokers accept no other, but a record may name anything.
fn is_file_name(topic: &str) -> bool {
    !topic.is_empty() && topic != "." && topic != ".." && !topic.contains(['/', '\0'])
}
