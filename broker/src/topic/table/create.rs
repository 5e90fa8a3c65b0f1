//! Topics that come into being by their use.

use super::{MAX_QUEUES, TopicTable, rows_of};
use crate::error::ChangeError;
use crate::topic::Topic;
use crate::topic::perm::{INHERIT, READ_WRITE};
use common::names::{self, NameError};
use common::wire::body::TopicConfig;
use parking_lot::MutexGuard;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl TopicTable {
    /// The topic of a send, created after the model of `default_topic` if it is not there and the model may be one. A retry
    /// topic needs no model. `None`: the topic does not exist and may not be created.
    ///
    /// # Errors
    /// The name is none, or the change cannot be written.
    pub fn create_on_send(
        &self,
        topic: &str,
        default_topic: &str,
        default_queue_nums: i32,
        unit_mode: bool,
        peer: SocketAddr,
    ) -> Result<Option<Arc<Topic>>, ChangeError> {
        names::validate_topic(topic)?;
        let changing = self.shared.changing.lock();
        if let Some(known) = self.get(topic) {
            return Ok(Some(known));
        }
        let template = self
            .template(default_topic)
            .filter(|template| template.perm & INHERIT != 0);
        let mut config = match template {
            Some(template) => {
                let queues = default_queue_nums.min(template.write_queue_nums).max(0);
                TopicConfig {
                    topic_filter_type: template.topic_filter_type,
                    ..TopicConfig::new(topic, queues, template.perm & !INHERIT)
                }
            }
            None if names::is_retry_topic(topic) => TopicConfig::new(topic, 1, READ_WRITE),
            None => return Ok(None),
        };
        config.topic_sys_flag = names::unit_sys_flag(topic, unit_mode);
        tracing::info!("topic {topic} created by a send from {peer}: {config:?}");
        self.put(&changing, config).map(Some)
    }

    /// The topic that new ones are modelled on. Where topics are not created by themselves, `TBW102` (which somebody must have
    /// made by hand) is no model and does not look like one.
    fn template(&self, default_topic: &str) -> Option<Arc<Topic>> {
        let template = self.get(default_topic)?;
        let disabled = default_topic == names::AUTO_CREATE_TOPIC_KEY_TOPIC
            && !self.shared.settings.now().auto_create_topic_enable;
        if !disabled || template.perm == READ_WRITE {
            return Some(template);
        }
        let config = TopicConfig {
            perm: READ_WRITE,
            ..TopicConfig::clone(&template)
        };
        let mut topics = self.shared.topics.write();
        let counter = topics.version.counter;
        let tamed = topics.insert(&self.shared.settings.now(), config, counter);
        topics.note(&tamed);
        self.shared.generation.fetch_add(1, Ordering::AcqRel);
        Some(tamed)
    }

    /// The topic for a group's redeliveries, created if it is not there; one that is there gets the order and unit flags. It is on
    /// the disk a moment later, and nobody waits for that: the group's next heartbeat makes again what a crash takes back.
    ///
    /// # Errors
    /// The group's name makes no topic.
    pub fn ensure_retry_topic(
        &self,
        group: &str,
        queues: i32,
        order: bool,
        unit_mode: bool,
    ) -> Result<Arc<Topic>, NameError> {
        let topic = names::retry_topic(group);
        let sys_flag = names::unit_sys_flag(&topic, unit_mode);
        let fits = |known: &Arc<Topic>| {
            known.order == order && known.topic_sys_flag & sys_flag == sys_flag
        };
        if let Some(known) = self.get(&topic).filter(fits) {
            return Ok(known);
        }
        names::validate_topic(&topic)?;
        let changing = self.shared.changing.lock();
        let known = self.get(&topic);
        if let Some(known) = known.clone().filter(fits) {
            return Ok(known);
        }
        let queues = queues.clamp(0, MAX_QUEUES);
        let mut config = known.map_or_else(
            || TopicConfig::new(topic, queues, READ_WRITE),
            |known| TopicConfig::clone(&known),
        );
        config.order = order;
        config.topic_sys_flag |= sys_flag;
        let (mut made, version) = self.plan(vec![config]);
        self.shared.table.submit(rows_of(&made, &[], version));
        self.show(&changing, &made, &[], version);
        Ok(made.remove(0))
    }

    /// The topic for a group's dead letters, created if it is not there.
    ///
    /// # Errors
    /// The group's name makes no topic, or the change cannot be written.
    pub fn ensure_dead_letter_topic(&self, group: &str) -> Result<Arc<Topic>, ChangeError> {
        self.ensure_with_one_queue(&names::dlq_topic(group))
    }

    /// The topic, made with one queue if it is not there.
    ///
    /// # Errors
    /// The name is none, or the topic cannot be written down.
    pub fn ensure_with_one_queue(&self, topic: &str) -> Result<Arc<Topic>, ChangeError> {
        if let Some(known) = self.get(topic) {
            return Ok(known);
        }
        names::validate_topic(topic)?;
        let changing = self.shared.changing.lock();
        match self.get(topic) {
            Some(known) => Ok(known),
            None => self.put(&changing, TopicConfig::new(topic, 1, READ_WRITE)),
        }
    }

    fn put(
        &self,
        changing: &MutexGuard<'_, ()>,
        config: TopicConfig,
    ) -> Result<Arc<Topic>, ChangeError> {
        let mut made = self.make(changing, vec![config], &[])?;
        Ok(made.remove(0))
    }
}
