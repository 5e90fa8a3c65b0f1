//! The table of offsets behind its lock, its rows and its file.

use super::offsets::{Commit, Offsets};
use super::rows;
use crate::kv::{Change, Document, Exported, Family, KvAtStart, KvTable, TableError, Written};
use common::clock::Clock;
use common::wire::body::{ConsumerOffsetSerializeWrapper, DataVersion};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What is known of the file with light groups stands in kv under this key.
const LIGHT_EXCHANGE: &str = "offsets of light groups";
/// Corrections after an unclean stop that are logged one by one; there may be as many as queues.
const LOGGED_ONE_BY_ONE: usize = 20;

/// How far every group is. Clones are handles of the same table.
///
/// A commit that is answered is on the disk; others are there a tenth of a second later. The file of the reference is written
/// every few seconds and when the broker stops.
#[derive(Clone)]
pub struct ConsumerOffsets {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    table: KvTable,
    offsets: Mutex<Offsets>,
}

impl ConsumerOffsets {
    /// The offsets of the rows or of the file at `path`. The version takes a step with every `commits_per_version` commits.
    ///
    /// With `light_path`, groups of light queues have a table of their own in the file: a broker of the reference with light
    /// queues reads and writes only the one there, others that at `path`.
    ///
    /// # Errors
    /// What is there cannot be read.
    pub fn open(
        start: &mut KvAtStart,
        path: &Path,
        light_path: Option<&Path>,
        commits_per_version: u32,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TableError> {
        let (table, stored) = match light_path {
            None => KvTable::open(start, Family::Offsets, path)?,
            Some(light) => match KvTable::open_as(start, Family::Offsets, light, LIGHT_EXCHANGE)? {
                // What other brokers know.
                (table, None) => (table, KvTable::open(start, Family::Offsets, path)?.1),
                found => found,
            },
        };
        let mut offsets = Offsets::new(DataVersion::new(clock.now().0), commits_per_version.into());
        offsets.light = light_path.is_some();
        if let Some(stored) = stored {
            offsets.load(stored);
        }
        let offsets = Mutex::new(offsets);
        Ok(Self {
            shared: Arc::new(Shared {
                clock,
                table,
                offsets,
            }),
        })
    }

    /// After the store was not left in order: takes back what was committed beyond the `end` of a queue, by topic and queue.
    pub fn clamp(&self, end: impl Fn(&str, i32) -> i64) {
        let mut offsets = self.shared.offsets.lock();
        let clamped = offsets.clamp(end);
        self.submit(offsets);
        for one in clamped.iter().take(LOGGED_ONE_BY_ONE) {
            tracing::warn!(
                "group {} had committed {} in queue {} of topic {}, which ends at {}: it goes on there",
                one.place.group,
                one.offset,
                one.queue_id,
                one.place.topic,
                one.end
            );
        }
        if clamped.len() > LOGGED_ONE_BY_ONE {
            let more = clamped.len() - LOGGED_ONE_BY_ONE;
            tracing::warn!("{more} more offsets were beyond the end of their queues");
        }
    }

    /// Takes the offset of the next message to consume, and does not wait for the disk. Any queue id and any value is taken,
    /// lower ones too.
    pub fn commit(&self, group: &str, topic: &str, queue_id: i32, offset: i64) -> Commit {
        let now = self.shared.clock.now().0;
        let mut offsets = self.shared.offsets.lock();
        let outcome = offsets.commit(group, topic, queue_id, offset, now);
        self.submit(offsets);
        outcome
    }

    /// As [`Self::commit`], and calls `done` when the offset is on the disk, or when that has failed. Not called at all unless
    /// the outcome is [`Commit::Stored`].
    pub fn commit_then(
        &self,
        group: &str,
        topic: &str,
        queue_id: i32,
        offset: i64,
        done: impl FnOnce(Written) + Send + 'static,
    ) -> Commit {
        let now = self.shared.clock.now().0;
        let mut offsets = self.shared.offsets.lock();
        let outcome = offsets.commit(group, topic, queue_id, offset, now);
        if outcome == Commit::Stored {
            // Not under the lock, or a failure would be told under it. Rows have their order; the wait needs none.
            self.submit(offsets);
            self.shared.table.submit_then([], done);
        }
        outcome
    }

    /// Gives the rows that have changed to the writer, under the lock so that it gets changes in their order.
    fn submit(&self, mut offsets: MutexGuard<'_, Offsets>) {
        self.shared.table.touch();
        let mut rows = offsets.take_rows().peekable();
        if rows.peek().is_some() {
            self.shared.table.submit(rows);
        }
    }

    /// What a commit of this offset does to the rows, for who brings it to the disk together with others.
    pub fn change(group: &str, topic: &str, queue_id: i32, offset: i64) -> Change {
        Change {
            family: Family::Offsets,
            key: rows::key(topic, group, queue_id),
            value: Some(offset.to_be_bytes().into()),
        }
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
        self.shared.table.touch();
    }

    /// The offset a group pulls next, as far as it has pulled since the start.
    pub fn pull_offset(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        self.shared
            .offsets
            .lock()
            .pull_offset(group, topic, queue_id)
    }

    /// Sets offsets of a group from outside, by queue. Commits of a queue are swallowed until the group's next pull of it has
    /// taken notice.
    pub fn reset(&self, group: &str, topic: &str, queues: &BTreeMap<i32, i64>) {
        let mut offsets = self.shared.offsets.lock();
        for (queue_id, offset) in queues {
            offsets.reset(group, topic, *queue_id, *offset);
        }
        self.submit(offsets);
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

    /// Everything, as requests and the file show it.
    pub fn wrapper(&self) -> ConsumerOffsetSerializeWrapper {
        self.shared.offsets.lock().wrapper()
    }

    /// Forgets the offsets of a topic.
    pub fn remove_topic(&self, topic: &str) {
        let mut offsets = self.shared.offsets.lock();
        offsets.remove_topic(topic);
        self.submit(offsets);
    }

    /// Forgets the offsets of a group.
    pub fn remove_group(&self, group: &str) {
        let mut offsets = self.shared.offsets.lock();
        offsets.remove_group(group);
        self.submit(offsets);
    }

    /// Waits until every change so far is on the disk.
    ///
    /// # Errors
    /// Why it is not.
    pub fn settle(&self) -> Written {
        self.shared.table.store([])
    }
}

impl Exported for ConsumerOffsets {
    fn table(&self) -> &KvTable {
        &self.shared.table
    }

    fn document(&self) -> impl Document {
        self.wrapper()
    }
}

#[cfg(test)]
mod tests;
