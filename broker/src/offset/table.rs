//! The table of offsets behind its lock, and its file.

use super::offsets::{Commit, Offsets};
use crate::config_file::{ConfigFile, ConfigFileError};
use common::clock::Clock;
use common::wire::body::DataVersion;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// How far every group is. Clones are handles of the same table.
///
/// Offsets are written to their file every few seconds and when the broker stops: after a crash a group goes on a little
/// earlier and gets messages a second time, never too late.
#[derive(Clone)]
pub struct ConsumerOffsets {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    /// Held while the file is written.
    file: Mutex<ConfigFile>,
    offsets: Mutex<Offsets>,
}

impl ConsumerOffsets {
    /// The offsets of the file. The version takes a step with every `commits_per_version` commits.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn open(
        path: &Path,
        commits_per_version: u32,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConfigFileError> {
        let file = ConfigFile::new(path.to_owned());
        let mut offsets = Offsets::new(DataVersion::new(clock.now().0), commits_per_version.into());
        if let Some(stored) = file.load()? {
            offsets.load(stored);
        }
        Ok(Self {
            shared: Arc::new(Shared {
                clock,
                file: Mutex::new(file),
                offsets: Mutex::new(offsets),
            }),
        })
    }

    /// Takes the offset of the next message to consume. Any queue id and any value is taken, lower ones too.
    pub fn commit(&self, group: &str, topic: &str, queue_id: i32, offset: i64) -> Commit {
        let now = self.shared.clock.now().0;
        self.shared
            .offsets
            .lock()
            .commit(group, topic, queue_id, offset, now)
    }

    /// Where the group goes on: at a reset it has not heard of, or where it committed. `None` also for negative commits.
    pub fn committed(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        self.shared.offsets.lock().committed(group, topic, queue_id)
    }

    /// Remembers the offset a group pulls next; it is ahead of what it has consumed.
    pub fn pulled(&self, group: &str, topic: &str, queue_id: i32, offset: i64) {
        self.shared
            .offsets
            .lock()
            .pulled(group, topic, queue_id, offset);
    }

    /// The offset a group pulls next, as far as it has pulled since the start.
    pub fn pull_offset(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        self.shared
            .offsets
            .lock()
            .pull_offset(group, topic, queue_id)
    }

    /// Sets the offset of a group from outside. Commits are swallowed until the group's next pull has taken notice.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "for INVOKE_BROKER_TO_RESET_OFFSET, which is not served yet"
        )
    )]
    pub fn reset(&self, group: &str, topic: &str, queue_id: i32, offset: i64) {
        self.shared
            .offsets
            .lock()
            .reset(group, topic, queue_id, offset);
    }

    /// The reset that a pull of the group has to be told, which is then done.
    pub fn take_reset(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        self.shared
            .offsets
            .lock()
            .take_reset(group, topic, queue_id)
    }

    /// Committed offsets by queue.
    pub fn queues(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        self.shared.offsets.lock().queues(group, topic)
    }

    /// Topics the group has committed offsets of.
    pub fn topics_of(&self, group: &str) -> Vec<String> {
        self.shared.offsets.lock().topics_of(group)
    }

    /// Groups that have committed offsets of the topic.
    pub fn groups_of(&self, topic: &str) -> Vec<String> {
        self.shared.offsets.lock().groups_of(topic)
    }

    /// Every (group, topic) with committed offsets.
    pub fn pairs(&self) -> Vec<(String, String)> {
        self.shared.offsets.lock().pairs()
    }

    /// Forgets the offsets of a topic.
    pub fn remove_topic(&self, topic: &str) {
        self.shared.offsets.lock().remove_topic(topic);
    }

    /// Forgets the offsets of a group.
    pub fn remove_group(&self, group: &str) {
        self.shared.offsets.lock().remove_group(group);
    }

    /// Writes the table if anything has changed since it was last written. Blocks for the disk.
    ///
    /// # Errors
    /// The file cannot be written; the next call tries again.
    pub fn persist(&self) -> Result<(), ConfigFileError> {
        let file = self.shared.file.lock();
        let wrapper = {
            let mut offsets = self.shared.offsets.lock();
            if !offsets.take_changed() {
                return Ok(());
            }
            offsets.wrapper()
        };
        let written = file.replace(&wrapper);
        if written.is_err() {
            self.shared.offsets.lock().mark_changed();
        }
        written
    }
}

#[cfg(test)]
mod tests;
