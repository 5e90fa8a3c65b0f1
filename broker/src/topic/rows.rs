//! The table of topics in rows, one for every topic under its name and one for the version under the empty key, and in the
//! reference's file. Values are JSON.

use super::Topic;
use crate::kv::{Document, Row, RowChange};
use common::wire::body::{DataVersion, TopicConfig};
use common::wire::fastjson;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

const VERSION_KEY: &[u8] = b"";

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

/// The row of the version.
pub(super) fn version(version: DataVersion) -> RowChange {
    (VERSION_KEY.into(), Some(version.encode_standard().into()))
}

impl Document for TopicsDocument {
    fn rows(&self) -> Vec<Row> {
        let version = version(self.data_version);
        let topics = self.topic_config_table.iter().map(|(name, config)| {
            let (_, value) = put(config);
            (name.as_bytes().into(), value)
        });
        let rows = std::iter::once(version).chain(topics);
        rows.filter_map(|(key, value)| Some((key, value?)))
            .collect()
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        if key == VERSION_KEY {
            self.data_version = parse(value)?;
            return Ok(());
        }
        let name = std::str::from_utf8(key).map_err(|error| error.to_string())?;
        self.topic_config_table
            .insert(name.to_owned(), parse(value)?);
        Ok(())
    }
}

fn parse<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    fastjson::from_slice(value).map_err(|error| error.to_string())
}
