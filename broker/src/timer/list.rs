//! Which messages wait.

use super::Timers;
use super::delivering::Timer;
use super::row::RowKey;
use super::window::PAGE_ROWS;
use super::worker::{range, rows};
use crate::kv::KvError;
use common::ids::PhysicalOffset;
use common::message::recall_handle::RecallHandle;
use common::wire::body::{TimerList, WaitingTimer};
use std::sync::Arc;

/// Most messages of a page.
const MAX_LISTED: usize = 1_000;
/// Pages of rows that are looked through for one answer; a search that finds little goes on with the next request.
const MAX_PAGES: usize = 16;

impl Timers {
    /// Messages that wait, of one topic or of all, `limit` at most; `from` is what the list before said. Blocks for the disk.
    ///
    /// # Errors
    /// The rows cannot be read.
    pub fn list(
        &self,
        broker_name: &str,
        topic: Option<&str>,
        from: Option<&str>,
        limit: usize,
    ) -> Result<TimerList, Arc<KvError>> {
        let limit = limit.clamp(1, MAX_LISTED);
        let start = from.and_then(decode).unwrap_or(RowKey::first_of(0));
        // A group's first rows say what is cancelled: the one it is in is read from its beginning.
        let (mut next, mut list) = (Some(start.bounds().0), TimerList::default());
        let mut markers: Vec<(RowKey, Box<str>)> = Vec::new();
        let mut pages = 0..MAX_PAGES;
        // A group with more rows than that is passed nevertheless.
        while let Some(from) = next.take_if(|from| pages.next().is_some() || *from <= start) {
            let page = rows(self.shared.kv.read(range(from, None))?);
            for (key, row) in &page {
                if key.is_marker() {
                    if markers
                        .first()
                        .is_some_and(|(other, _)| other.group() != key.group())
                    {
                        markers.clear();
                    }
                    markers.push((*key, row.name.clone()));
                    continue;
                }
                if *key < start || topic.is_some_and(|topic| topic != &*row.name) {
                    continue;
                }
                if list.timers.len() == limit {
                    list.next = Some(encode(key));
                    return Ok(list);
                }
                let timer = self.waiting(key, row.due, broker_name, &markers);
                list.timers.extend(timer);
            }
            let end = page.last().filter(|_| page.len() >= PAGE_ROWS);
            next = end.map(|(last, _)| last.next());
        }
        list.next = next.map(|key| encode(&key));
        Ok(list)
    }

    fn waiting(
        &self,
        key: &RowKey,
        due: i64,
        broker_name: &str,
        markers: &[(RowKey, Box<str>)],
    ) -> Option<WaitingTimer> {
        let shared = &*self.shared;
        if shared.state.lock().done.contains(&key.at) {
            return None;
        }
        let record = shared.reader.record_at(PhysicalOffset(key.at))?;
        let Timer { view, filed } = Timer::read(&record, key)?;
        let topic_in_key = shared.rules.topic_in_key;
        let mut markers = markers
            .iter()
            .filter(|(other, _)| other.group() == key.group());
        if markers.any(|(_, carries)| filed.is_cancelled_by(carries, topic_in_key)) {
            return None;
        }
        let (topic, unique_key) = (filed.topic, filed.unique_key);
        let handle = RecallHandle::of_slot(key.slot, topic, broker_name, unique_key);
        Some(WaitingTimer {
            topic: topic.to_owned(),
            queue_id: filed.queue_id,
            deliver_time: due,
            store_timestamp: view.store_timestamp,
            body_bytes: view.body.len() as u64,
            unique_key: unique_key.to_owned(),
            rolled: filed.rolled,
            recall_handle: handle.encode(),
        })
    }
}

fn encode(key: &RowKey) -> String {
    use std::fmt::Write as _;
    key.encode().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn decode(text: &str) -> Option<RowKey> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    RowKey::decode(&digits.map(byte).collect::<Option<Vec<_>>>()?)
}
