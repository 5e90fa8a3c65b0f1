//! Making anew what can be made from the log. The one part of this module that writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::clock::Clock;

use super::{OfflineStore, State};
use crate::checkpoint::{Checkpoint, CheckpointFile};
use crate::commit_log::cut::Cut;
use crate::config::{RetentionConfig, StoreConfig};
use crate::consume_queue::{EXT_DIRECTORY, Queue, QueueKind};
use crate::error::StoreError;
use crate::files::{DiskFiles, FileSystem, Files};
use crate::open::{mark_in_use, open_stepped, take_lock};
use crate::reput::Arrivals;

/// Directories that hold nothing but what the log says too.
pub const DERIVED: [&str; 4] = [
    QueueKind::Simple.directory(),
    QueueKind::Batch.directory(),
    EXT_DIRECTORY,
    "index",
];

/// A store that belongs to this process.
pub struct Locked {
    root: PathBuf,
    _lock: Box<dyn Send + Sync>,
}

/// What was made.
#[derive(Debug)]
pub struct Rebuilt {
    /// Position behind the last record.
    pub end: u64,
    /// Queues that were filled.
    pub queues: usize,
    /// Their messages.
    pub messages: u64,
    /// What stood behind the end of the log.
    pub cut: Option<Cut>,
}

struct Nobody;

impl Arrivals for Nobody {
    fn arrived(&self, _: &Arc<Queue>, _: u64, _: i64, _: i64) {}
}

impl Locked {
    /// Takes the lock of the store below `root`; others are kept out until this is dropped.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when somebody has it open.
    pub fn take(root: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            root: root.to_owned(),
            _lock: take_lock(&super::disk(), root)?,
        })
    }

    /// As [`OfflineStore::open`], which would give the lock back.
    ///
    /// # Errors
    /// As there.
    pub fn look(&self, commit_logs: &[PathBuf]) -> Result<OfflineStore, StoreError> {
        let state = State {
            abort: super::abort(&self.root)?,
            ..State::default()
        };
        OfflineStore::open_in(&self.root, commit_logs, state)
    }

    /// Deletes everything derived and has recovery make it again; then the topics of `deleted` are
    /// taken out. Killed at any point, the next start of a broker does the rest.
    ///
    /// # Errors
    /// What could not be written or opened.
    pub fn rebuild(
        self,
        mut config: StoreConfig,
        clock: Arc<dyn Clock>,
        deleted: impl Fn(&str) -> bool,
    ) -> Result<Rebuilt, StoreError> {
        let disk: Arc<dyn Files> = Arc::new(DiskFiles);
        let files = FileSystem::new(Arc::clone(&disk));
        // Nothing goes and nothing is refused, however old the log and however full the disk.
        config.retention = RetentionConfig {
            hours: Vec::new(),
            continuously: false,
            clean_forcibly: false,
            warning_percent: 100,
            ..RetentionConfig::default()
        };
        // First of all nobody may believe any more that the queues are complete.
        mark_in_use(&files, &self.root.join("abort"))?;
        let (file, known) = CheckpointFile::open(&files, self.root.join("checkpoint"))?;
        let nothing = Checkpoint {
            logics_timestamp: 0,
            logics_physical_offset: 0,
            indexed: None,
            index: None,
            ..known
        };
        file.write(&nothing)?;
        files.sync_below(&self.root)?;
        for name in DERIVED {
            files.delete_all(&self.root.join(name))?;
        }
        let (writer, reader, tasks) = open_stepped(config, disk, clock, Arc::new(Nobody))?;
        let all = reader.queues();
        let topics: std::collections::BTreeSet<_> = all.iter().map(|queue| queue.topic()).collect();
        for topic in topics.into_iter().filter(|topic| deleted(topic)) {
            writer.delete_topic(topic)?;
        }
        let queues = reader.queues();
        let rebuilt = Rebuilt {
            end: reader.status().max_physical,
            queues: queues.len(),
            messages: queues
                .iter()
                .map(|queue| queue.max_offset() - queue.min_offset())
                .sum(),
            cut: reader.recovery().cut.clone(),
        };
        tasks.shutdown()?;
        Ok(rebuilt)
    }
}
