//! A consumer group in a topic, as a key that is looked up without allocating.

use hashbrown::Equivalent;
use std::hash::{Hash, Hasher};

/// A consumer group in a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupTopic {
    /// The group.
    pub group: Box<str>,
    /// The topic.
    pub topic: Box<str>,
}

/// The same by reference.
#[derive(Debug, Clone, Copy)]
pub struct GroupTopicRef<'a> {
    /// The group.
    pub group: &'a str,
    /// The topic.
    pub topic: &'a str,
}

impl Hash for GroupTopicRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.group.hash(state);
        self.topic.hash(state);
    }
}

impl Equivalent<GroupTopic> for GroupTopicRef<'_> {
    fn equivalent(&self, key: &GroupTopic) -> bool {
        *self.group == *key.group && *self.topic == *key.topic
    }
}

impl From<&GroupTopicRef<'_>> for GroupTopic {
    fn from(key: &GroupTopicRef<'_>) -> Self {
        Self {
            group: key.group.into(),
            topic: key.topic.into(),
        }
    }
}
