//! All queues by topic and number.

use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashSet, HashTable};
use parking_lot::{Mutex, RwLock};

use super::ext::Ext;
use super::queue::{Home, Queue};
use super::unit::Unit;
use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::files::Files;
use crate::schedule::DelayLevels;

/// Every queue the store knows.
#[derive(Debug)]
pub(crate) struct QueueTable {
    home: Home,
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
        self.table.insert_unique(hash, Arc::clone(queue), |queue| {
            hasher.hash_one((queue.topic(), queue.id()))
        });
    }
}

impl QueueTable {
    /// Opens the queues of `config`, with all units their files hold.
    /// Nothing was left unfinished if the last owner left it in order (`clean`).
    pub(crate) fn open(
        files: Arc<dyn Files>,
        config: &StoreConfig,
        clean: bool,
    ) -> Result<Self, StoreError> {
        let table = Self {
            delays: config.delay_levels.clone(),
            ext: ExtFolder::open(&*files, config)?,
            home: Home {
                files,
                directory: config.root.join("consumequeue"),
                file_bytes: config.consume_queue_file_bytes,
            },
            queues: RwLock::default(),
            dirty: Mutex::default(),
        };
        let list = |path: &Path| {
            let files = &table.home.files;
            files
                .list_directories(path)
                .map_err(StoreError::io("list", path))
        };
        for topic in list(&table.home.directory)? {
            let path = table.home.directory.join(&topic);
            for name in list(&path)? {
                let Ok(id) = name.parse() else {
                    let path = path.join(&name);
                    tracing::warn!(path = %path.display(), "not a queue: its name is no number");
                    continue;
                };
                table.get_or_create(&topic, id).load(&table.home, clean)?;
            }
        }
        Ok(table)
    }

    /// The file system below.
    pub(crate) fn files(&self) -> &Arc<dyn Files> {
        &self.home.files
    }

    pub(crate) fn get(&self, topic: &str, id: u32) -> Option<Arc<Queue>> {
        self.queues.read().get(topic, id).cloned()
    }

    pub(crate) fn get_or_create(&self, topic: &str, id: u32) -> Arc<Queue> {
        if let Some(queue) = self.get(topic, id) {
            return queue;
        }
        let mut queues = self.queues.write();
        if let Some(queue) = queues.get(topic, id) {
            return Arc::clone(queue);
        }
        let homeless = !is_file_name(topic);
        let ext = (!homeless).then(|| self.ext.of(topic, id)).flatten();
        let queue = Arc::new(Queue::new(queues.topic(topic, id), id, homeless, ext));
        queues.insert(&queue);
        queue
    }

    pub(crate) fn all(&self) -> Vec<Arc<Queue>> {
        self.queues.read().table.iter().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.queues.read().table.len()
    }

    /// Whether no queue has units in files.
    pub(crate) fn has_no_files(&self) -> bool {
        let queues = self.queues.read();
        queues.table.iter().all(|queue| queue.filed() == 0)
    }

    /// Forgets a topic's queues and marks them. Their files are deleted by
    /// [`Self::delete_files`], which must not run while [`Self::write_out`] does.
    pub(crate) fn remove(&self, topic: &str) {
        self.queues.write().table.retain(|queue| {
            let removed = queue.topic() == topic;
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
        for directory in [&self.home.directory, &self.ext.directory] {
            let path = directory.join(topic);
            self.files()
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
        if queue.read(&self.home, from, count, out)? {
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

    /// Offset of the first unit in the file after the one that holds `offset`.
    pub(crate) fn next_file_start(&self, offset: u64) -> u64 {
        self.home.next_file_start(offset)
    }

    /// Position behind the newest record that has a unit; 0 without any.
    pub(crate) fn indexed(&self) -> Result<u64, StoreError> {
        let all = self.all();
        let mut ends = all.iter().map(|queue| queue.indexed(&self.home));
        ends.try_fold(0, |end, indexed| Ok(indexed?.max(end)))
    }

    /// Cuts all queues; see [`Queue::cut`]. Returns how many units that were.
    pub(crate) fn cut(&self, limit: u64, wipe: bool) -> Result<u64, StoreError> {
        let all = self.all();
        let cut = all.iter().map(|queue| queue.cut(&self.home, limit, wipe));
        cut.sum()
    }

    /// Deletes files of `queue`; see [`Queue::delete_outdated`].
    pub(crate) fn delete_outdated(&self, queue: &Queue) -> Result<usize, StoreError> {
        queue.delete_outdated(&self.home)
    }

    /// Lets every queue begin with its oldest message in a log that begins at `log_start`. A queue
    /// whose files cannot be read is tried again by the next call; its error is returned.
    pub(crate) fn advance_min(&self, log_start: u64) -> Result<(), StoreError> {
        let mut failed = None;
        for queue in self.all() {
            if let Err(error) = queue.advance_min(&self.home, log_start) {
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
            match queue.write_out(&self.home, &mut scratch) {
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
