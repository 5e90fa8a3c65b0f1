//! How far groups are, as a pure table.

use super::rows;
use crate::group_topic::{GroupTopic, GroupTopicRef};
use crate::kv::{RowChange, version_row};
use common::names;
use common::wire::body::{ConsumerOffsetSerializeWrapper, DataVersion};
use hashbrown::HashMap;
use std::collections::BTreeMap;

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// It is the offset now.
    Stored,
    /// The offset was reset, and the group has not heard of it yet: what it says about the old one does not count.
    ResetPending,
}

/// Offsets of every group in every topic it consumes.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    by_place: HashMap<GroupTopic, Progress>,
    version: DataVersion,
    commits: u64,
    commits_per_version: u64,
    /// Whether groups of light queues have a table of their own in the file.
    pub(super) light: bool,
    /// What has become of rows, in the order of the changes.
    rows: Vec<RowChange>,
}

/// A committed offset that was beyond the end of its queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Clamped {
    pub(super) place: GroupTopic,
    pub(super) queue_id: i32,
    pub(super) offset: i64,
    pub(super) end: i64,
}

/// Offsets by queue. Groups commit any queue id and any value, so both stay as they came.
type ByQueue = BTreeMap<i32, i64>;

#[derive(Debug, Default)]
struct Progress {
    committed: ByQueue,
    pulled: ByQueue,
    reset: ByQueue,
}

impl Offsets {
    /// No offsets; the version takes a step with every so many commits.
    pub(super) fn new(version: DataVersion, commits_per_version: u64) -> Self {
        Self {
            version,
            commits_per_version: commits_per_version.max(1),
            ..Self::default()
        }
    }

    /// Takes the committed offsets of a file or of rows. Pulled ones are not: after a start nothing is under way.
    pub(super) fn load(&mut self, stored: ConsumerOffsetSerializeWrapper) {
        self.version = stored.data_version;
        let light = stored.lmq_offset_table.into_iter();
        let light = light.map(|(key, offset)| (key, ByQueue::from([(0, offset)])));
        for (key, queues) in stored.offset_table.into_iter().chain(light) {
            match key.split_once('@') {
                Some((topic, group)) => self.progress(topic, group).committed = queues,
                None => {
                    tracing::warn!("offsets of \"{key}\" are skipped: the key must be topic@group");
                }
            }
        }
    }

    pub(super) fn commit(
        &mut self,
        group: &str,
        topic: &str,
        queue_id: i32,
        offset: i64,
        now_ms: i64,
    ) -> Commit {
        let progress = self.progress(topic, group);
        if progress.reset.contains_key(&queue_id) {
            return Commit::ResetPending;
        }
        let before = progress.committed.insert(queue_id, offset);
        if before != Some(offset) {
            self.log(topic, group, queue_id, Some(offset));
        }
        self.commits += 1;
        if self.commits.is_multiple_of(self.commits_per_version) {
            self.version.advance(0, now_ms);
            self.rows.push(version_row(self.version));
        }
        Commit::Stored
    }

    /// Where the group goes on: at a reset it has not heard of, or where it committed. Negative offsets count as none.
    pub(super) fn committed(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        let progress = self.by_place.get(&GroupTopicRef { group, topic })?;
        let offset = progress
            .reset
            .get(&queue_id)
            .or_else(|| progress.committed.get(&queue_id));
        offset.copied().filter(|offset| *offset >= 0)
    }

    pub(super) fn pulled(&mut self, group: &str, topic: &str, queue_id: i32, offset: i64) {
        self.progress(topic, group).pulled.insert(queue_id, offset);
    }

    pub(super) fn pull_offset(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        self.by_place
            .get(&GroupTopicRef { group, topic })?
            .pulled
            .get(&queue_id)
            .copied()
    }

    pub(super) fn reset(&mut self, group: &str, topic: &str, queue_id: i32, offset: i64) {
        let progress = self.progress(topic, group);
        progress.reset.insert(queue_id, offset);
        progress.committed.insert(queue_id, offset);
        self.log(topic, group, queue_id, Some(offset));
    }

    pub(super) fn take_reset(&mut self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        self.by_place
            .get_mut(&GroupTopicRef { group, topic })?
            .reset
            .remove(&queue_id)
    }

    pub(super) fn queues(&self, group: &str, topic: &str) -> ByQueue {
        let progress = self.by_place.get(&GroupTopicRef { group, topic });
        progress
            .map(|progress| progress.committed.clone())
            .unwrap_or_default()
    }

    pub(super) fn topics_of(&self, group: &str) -> Vec<String> {
        sorted(
            self.places()
                .filter(|place| *place.group == *group)
                .map(|place| &place.topic),
        )
    }

    pub(super) fn groups_of(&self, topic: &str) -> Vec<String> {
        sorted(
            self.places()
                .filter(|place| *place.topic == *topic)
                .map(|place| &place.group),
        )
    }

    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        self.places()
            .map(|place| (place.group.to_string(), place.topic.to_string()))
            .collect()
    }

    /// Places with committed offsets.
    fn places(&self) -> impl Iterator<Item = &GroupTopic> {
        let committed = self
            .by_place
            .iter()
            .filter(|(_, progress)| !progress.committed.is_empty());
        committed.map(|(place, _)| place)
    }

    pub(super) fn remove_topic(&mut self, topic: &str) {
        self.remove(|place| *place.topic == *topic);
    }

    pub(super) fn remove_group(&mut self, group: &str) {
        self.remove(|place| *place.group == *group);
    }

    fn remove(&mut self, is_gone: impl Fn(&GroupTopic) -> bool) {
        let removed: Vec<_> = self
            .by_place
            .extract_if(|place, _| is_gone(place))
            .collect();
        for (place, progress) in removed {
            for queue_id in progress.committed.into_keys() {
                self.log(&place.topic, &place.group, queue_id, None);
            }
        }
    }

    /// Takes back what was committed beyond the end of a queue, as `end` tells it by topic and queue: messages that a group
    /// had confirmed may be lost, and those that come in their place must not be skipped.
    pub(super) fn clamp(&mut self, end: impl Fn(&str, i32) -> i64) -> Vec<Clamped> {
        let mut clamped = Vec::new();
        for (place, progress) in &mut self.by_place {
            for (queue_id, committed) in &mut progress.committed {
                let end = end(&place.topic, *queue_id);
                if *committed > end {
                    let offset = std::mem::replace(committed, end);
                    clamped.push(Clamped {
                        place: place.clone(),
                        queue_id: *queue_id,
                        offset,
                        end,
                    });
                }
            }
        }
        for one in &clamped {
            self.log(
                &one.place.topic,
                &one.place.group,
                one.queue_id,
                Some(one.end),
            );
        }
        clamped
    }

    /// What has become of rows since this was last asked.
    pub(super) fn take_rows(&mut self) -> std::vec::Drain<'_, RowChange> {
        self.rows.drain(..)
    }

    fn log(&mut self, topic: &str, group: &str, queue_id: i32, offset: Option<i64>) {
        let value = offset.map(|offset| offset.to_be_bytes().into());
        self.rows.push((rows::key(topic, group, queue_id), value));
    }

    /// The table as the file and requests show it.
    pub(super) fn wrapper(&self) -> ConsumerOffsetSerializeWrapper {
        let mut wrapper = ConsumerOffsetSerializeWrapper {
            data_version: self.version,
            ..ConsumerOffsetSerializeWrapper::default()
        };
        for (place, progress) in &self.by_place {
            let key = || format!("{}@{}", place.topic, place.group);
            let light = self.light && names::is_light_queue(&place.group);
            if let Some(offset) = progress.committed.get(&0).filter(|_| light) {
                wrapper.lmq_offset_table.insert(key(), *offset);
            } else if !progress.committed.is_empty() {
                wrapper
                    .offset_table
                    .insert(key(), progress.committed.clone());
                let topics = wrapper
                    .group_topic_map
                    .entry(place.group.to_string())
                    .or_default();
                topics.push(place.topic.to_string());
            }
            if !progress.pulled.is_empty() {
                wrapper
                    .pull_offset_table
                    .insert(key(), progress.pulled.clone());
            }
        }
        for topics in wrapper.group_topic_map.values_mut() {
            topics.sort_unstable();
        }
        wrapper
    }

    fn progress(&mut self, topic: &str, group: &str) -> &mut Progress {
        self.by_place
            .entry_ref(&GroupTopicRef { group, topic })
            .or_default()
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a Box<str>>) -> Vec<String> {
    let mut names: Vec<String> = names.map(ToString::to_string).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests;
