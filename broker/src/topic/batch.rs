//! Topics whose queues are for whole batches, as the store asks for them.

use super::TopicTable;
use super::rows::TopicsDocument;
use crate::config_file::{ConfigFile, Content};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use store::TopicSet;

/// Tells the store which topics are for whole batches. The table of topics opens after the store: what recovery finds no
/// queue of is looked up in the file, which says the same but for the last moments.
#[derive(Clone)]
pub struct BatchTopics {
    table: Arc<OnceLock<TopicTable>>,
}

impl BatchTopics {
    /// With the file at `path`, until there is a table.
    pub fn new(path: &Path) -> (Self, TopicSet) {
        let table: Arc<OnceLock<TopicTable>> = Arc::default();
        let file = match ConfigFile::new(path.to_owned()).read::<TopicsDocument>() {
            Ok(Content::Good(document, _)) => document,
            // Whoever opens the table says what is wrong.
            _ => TopicsDocument::default(),
        };
        let known = Arc::clone(&table);
        let contains = move |topic: &str| match known.get() {
            Some(table) => table.get(topic).is_some_and(|topic| topic.is_batch_queue()),
            None => file.topic_config_table.get(topic).is_some_and(|config| {
                config.attributes.get("queue.type").map(String::as_str) == Some("BatchCQ")
            }),
        };
        (Self { table }, TopicSet::new(contains))
    }

    /// From now on the table is asked.
    pub fn follow(&self, table: &TopicTable) {
        // Once only; a second table would be the same one.
        let _ = self.table.set(table.clone());
    }
}
