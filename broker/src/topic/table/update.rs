//! What requests and name servers change about topics.

use super::TopicTable;
use crate::attributes::{self, TOPIC_ATTRIBUTES};
use crate::error::ChangeError;
use common::names::{self, NameError};
use common::wire::body::{KvTable, TopicConfig};

/// Most queues a topic may have. A queue id is counted from 0 and has room for this many in every index.
pub const MAX_QUEUES: i32 = 65_536;
const MAX_PERM: i32 = 15;

impl TopicTable {
    /// Creates or changes a topic as a request asks. `config` has the changes of attributes by prefixed name. Nothing
    /// happens when nothing would differ.
    ///
    /// # Errors
    /// See [`ChangeError`]; then nothing was changed.
    pub fn update(&self, config: TopicConfig) -> Result<(), ChangeError> {
        self.update_all(vec![config])
    }

    /// Creates or changes several topics, or none of them.
    ///
    /// # Errors
    /// See [`ChangeError`]; then nothing was changed.
    pub fn update_all(&self, configs: Vec<TopicConfig>) -> Result<(), ChangeError> {
        for config in &configs {
            self.validate(config)?;
        }
        let changing = self.shared.changing.lock();
        let mut put = Vec::new();
        for mut config in configs {
            let current = self.get(&config.topic_name);
            let before = current.as_ref().map(|topic| &topic.attributes);
            config.attributes = attributes::alter(TOPIC_ATTRIBUTES, before, &config.attributes)?;
            if current.is_none_or(|current| **current != config) {
                tracing::info!("topic {} is {config:?}", config.topic_name);
                put.push(config);
            }
        }
        self.make(&changing, put, &[])?;
        Ok(())
    }

    fn validate(&self, config: &TopicConfig) -> Result<(), ChangeError> {
        names::validate_topic(&config.topic_name)?;
        self.refuse_system_topic(&config.topic_name)?;
        in_range("perm", config.perm, 0, MAX_PERM)?;
        in_range("readQueueNums", config.read_queue_nums, 0, MAX_QUEUES)?;
        in_range("writeQueueNums", config.write_queue_nums, 0, MAX_QUEUES)?;
        let mixed = config
            .attributes
            .get("+message.type")
            .is_some_and(|kind| kind == "MIXED");
        if mixed && !self.shared.settings.now().enable_mixed_message_type {
            return Err(ChangeError::MixedMessageType);
        }
        Ok(())
    }

    /// Deletes a topic; says whether there was one.
    ///
    /// # Errors
    /// The name is blank or a system topic's, or the change cannot be written.
    pub fn delete(&self, topic: &str) -> Result<bool, ChangeError> {
        if topic.trim().is_empty() {
            return Err(NameError::Blank("topic").into());
        }
        self.refuse_system_topic(topic)?;
        let changing = self.shared.changing.lock();
        if !self.contains(topic) {
            return Ok(false);
        }
        self.make(&changing, Vec::new(), &[topic])?;
        tracing::info!("topic {topic} deleted");
        Ok(true)
    }

    fn refuse_system_topic(&self, topic: &str) -> Result<(), NameError> {
        let settings = self.shared.settings.now();
        if settings.validate_system_topic_when_update_topic && settings.is_system_topic(topic) {
            return Err(NameError::SystemTopic(topic.to_owned()));
        }
        Ok(())
    }

    /// Marks the topics that a name server lists as ordered ones. Others stay as they are.
    ///
    /// # Errors
    /// The change cannot be written.
    pub fn mark_order_topics(&self, listed: &KvTable) -> Result<(), ChangeError> {
        let unmarked = || {
            listed
                .table
                .keys()
                .filter_map(|topic| self.get(topic))
                .filter(|topic| !topic.order)
        };
        if unmarked().next().is_none() {
            return Ok(());
        }
        let changing = self.shared.changing.lock();
        let put = unmarked().map(|topic| TopicConfig {
            order: true,
            ..TopicConfig::clone(&topic)
        });
        self.make(&changing, put.collect(), &[])?;
        Ok(())
    }
}

fn in_range(field: &'static str, value: i32, low: i32, high: i32) -> Result<(), ChangeError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(ChangeError::Range {
        field,
        value,
        low,
        high,
    })
}
