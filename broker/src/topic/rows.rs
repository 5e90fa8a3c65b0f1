//! The table of topics in rows, one for every topic under its name and one for the version under the empty key, and in the
//! reference's file. Values are JSON.

use super::Topic;
use crate::kv::{Document, Row, RowChange, json_value, put_rows, version_row};
use common::wire::body::{DataVersion, TopicConfig};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The file, as the reference writes it.
#[derive(Default, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct TopicsDocument {
    pub(super) data_version: DataVersion,
    pub(super) topic_config_table: BTreeMap<String, TopicConfig>,
}

impl TopicsDocument {
    /// All of `topics`.
    pub(super) fn new<'a>(
        data_version: DataVersion,
        topics: impl Iterator<Item = &'a Arc<Topic>>,
    ) -> Self {
        Self {
            data_version,
            topic_config_table: topics
                .map(|topic| (topic.topic_name.clone(), TopicConfig::clone(topic)))
                .collect(),
        }
    }
}

/// The row of a topic.
pub(super) fn put(topic: &TopicConfig) -> RowChange {
    let value = topic.encode_standard();
    (topic.topic_name.as_bytes().into(), Some(value.into()))
}

/// The row of a topic that goes.
pub(super) fn gone(topic: &str) -> RowChange {
    (topic.as_bytes().into(), None)
}

impl Document for TopicsDocument {
    fn rows(&self) -> Vec<Row> {
        let version = version_row(self.data_version);
        let topics = self.topic_config_table.iter().map(|(name, config)| {
            let (_, value) = put(config);
            (name.as_bytes().into(), value)
        });
        put_rows(std::iter::once(version).chain(topics))
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        if key.is_empty() {
            self.data_version = json_value(value)?;
            return Ok(());
        }
        let name = std::str::from_utf8(key).map_err(|error| error.to_string())?;
        self.topic_config_table
            .insert(name.to_owned(), json_value(value)?);
        Ok(())
    }
}
