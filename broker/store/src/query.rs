//! Finding messages by their keys.

use std::ops::ControlFlow;

use bytes::Bytes;
use common::ids::PhysicalOffset;
use common::message::record::RecordView;

use crate::index::Wanted;
use crate::index::keys::{Keys, TopicHash};
use crate::read::StoreReader;

/// Most bytes one query returns; the first record always counts. Answers have to fit into a frame.
const MAX_BYTES: usize = 15 << 20;

/// Which messages are wanted.
#[derive(Debug, Clone, Copy)]
pub struct KeyQuery<'a> {
    /// Topic.
    pub topic: &'a str,
    /// What they carry.
    pub key: Key<'a>,
    /// Messages wanted at most; the newest count.
    pub max_messages: usize,
    /// First store time, in milliseconds since 1970.
    pub begin: i64,
    /// Last store time.
    pub end: i64,
}

/// What a message is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// Its unique key, or one of its keys.
    Key(&'a str),
    /// All its tags, as one text.
    Tags(&'a str),
}

/// What a query found.
#[derive(Debug, Default)]
pub struct KeyResult {
    /// The records, byte for byte as in the log, in its order.
    pub records: Vec<Bytes>,
    /// Store time of the newest record in the index, in milliseconds since 1970.
    pub updated_timestamp: i64,
    /// Its position in the log.
    pub updated_offset: u64,
}

impl StoreReader {
    /// Messages that carry a key, as consumers may see them. Finds none when keys are not indexed. May wait for the
    /// disk.
    pub fn query(&self, query: &KeyQuery<'_>) -> KeyResult {
        let mut result = KeyResult::default();
        let Some(index) = &self.0.reput.index else {
            return result;
        };
        let topic = TopicHash::of(query.topic);
        let wanted = Wanted {
            hash: match query.key {
                Key::Key(key) => topic.key(key),
                Key::Tags(tags) => topic.tags(tags),
            },
            times: query.begin..=query.end,
        };
        let (mut last, mut bytes) = (None, 0);
        let mut visit = |offset| {
            if result.records.len() >= query.max_messages {
                return ControlFlow::Break(());
            }
            // A record whose keys have one hash comes several times in a row.
            if last.replace(offset) == Some(offset) {
                return ControlFlow::Continue(());
            }
            let record = self.record_at(PhysicalOffset(offset));
            if let Some(record) = record.filter(|record| is_meant(record, query)) {
                bytes += record.len();
                if bytes > MAX_BYTES && !result.records.is_empty() {
                    return ControlFlow::Break(());
                }
                result.records.push(record);
            }
            ControlFlow::Continue(())
        };
        match index.query(&wanted, || self.0.reput.dispatched(), &mut visit) {
            Ok(newest) => {
                result.updated_timestamp = newest.end_timestamp;
                result.updated_offset = newest.end_offset;
            }
            Err(error) => tracing::warn!(%error, "the key index cannot be read"),
        }
        // Newest first so far.
        result.records.reverse();
        result
    }
}

/// Entries hold hashes, of which several keys may have the same, and whole seconds.
fn is_meant(record: &[u8], query: &KeyQuery<'_>) -> bool {
    let Ok(record) = RecordView::parse(record) else {
        return false;
    };
    let properties = record.properties_text();
    let keys = Keys::of(&properties);
    let carries = match query.key {
        Key::Key(key) => keys.contain(key),
        Key::Tags(tags) => keys.contain_tags(tags),
    };
    carries
        && record.topic_text() == query.topic
        && (query.begin..=query.end).contains(&record.store_timestamp)
}
