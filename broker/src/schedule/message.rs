//! A message that waited, as it goes on.

use common::message::properties::{self, REAL_QUEUE_ID, REAL_TOPIC};
use common::message::record::{RecordParts, RecordView};
use common::names;
use std::borrow::Cow;

/// A record of the topic of messages that wait.
pub(super) struct Waiting<'a> {
    record: RecordView<'a>,
    properties: Cow<'a, str>,
}

impl<'a> Waiting<'a> {
    /// The record in these bytes.
    ///
    /// # Errors
    /// Why it is none.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let record = RecordView::parse(bytes).map_err(|error| error.to_string())?;
        if record.topic != names::SCHEDULE_TOPIC.as_bytes() {
            return Err("another message stands in its place".to_owned());
        }
        let properties = record.properties_text();
        Ok(Self { record, properties })
    }

    /// When it was stored, in milliseconds since 1970.
    pub(super) fn stored(&self) -> i64 {
        self.record.store_timestamp
    }

    /// The message for its real topic, as its producer sent it. All properties stay, also those that say where it waited.
    ///
    /// # Errors
    /// Why it goes nowhere.
    pub(super) fn restored(&self) -> Result<RecordParts<'_>, String> {
        let record = &self.record;
        let [topic, queue_id] = properties::get_each(&self.properties, [REAL_TOPIC, REAL_QUEUE_ID]);
        let topic = topic.ok_or("it does not say which topic it is for")?;
        names::validate_topic(topic).map_err(|error| error.to_string())?;
        // A half message among them: what is committed later has no delay.
        if names::is_not_allowed_to_send(topic) {
            return Err(format!("nothing is delivered to {topic}"));
        }
        let queue_id = queue_id.and_then(|id| id.parse().ok());
        let queue_id = queue_id.ok_or("it does not say which queue it is for")?;
        Ok(record.moved_to((topic, queue_id), &self.properties, record.store_host))
    }
}
