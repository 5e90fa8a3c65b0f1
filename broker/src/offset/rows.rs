//! The table of offsets in rows: one for every queue of a group, and one for the version.
//!
//! The key of a queue is `topic@group`, a zero byte and the queue's id in big endian; its value is the offset in big endian. The
//! version's key is empty.

use crate::kv::{Document, Row, json_value, put_rows, version_row};
use common::wire::body::ConsumerOffsetSerializeWrapper;

const QUEUE_BYTES: usize = 1 + size_of::<i32>();

/// The row of a committed offset.
pub(super) fn key(topic: &str, group: &str, queue_id: i32) -> Box<[u8]> {
    let mut key = Vec::with_capacity(topic.len() + 1 + group.len() + QUEUE_BYTES);
    key.extend_from_slice(topic.as_bytes());
    key.push(b'@');
    key.extend_from_slice(group.as_bytes());
    push_queue(key, queue_id)
}

fn push_queue(mut key: Vec<u8>, queue_id: i32) -> Box<[u8]> {
    key.push(0);
    key.extend_from_slice(&queue_id.to_be_bytes());
    key.into()
}

impl Document for ConsumerOffsetSerializeWrapper {
    fn rows(&self) -> Vec<Row> {
        let version = version_row(self.data_version);
        let places = self.offset_table.iter();
        let queues = places.flat_map(|(place, queues)| {
            queues.iter().map(|(queue_id, offset)| {
                let key = push_queue(place.as_bytes().to_vec(), *queue_id);
                (key, Some(offset.to_be_bytes().into()))
            })
        });
        let light = self.lmq_offset_table.iter().map(|(place, offset)| {
            let key = push_queue(place.as_bytes().to_vec(), 0);
            (key, Some(offset.to_be_bytes().into()))
        });
        put_rows(std::iter::once(version).chain(queues).chain(light))
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        if key.is_empty() {
            self.data_version = json_value(value)?;
            return Ok(());
        }
        let (place, queue_id) = key
            .split_last_chunk::<4>()
            .ok_or("its key has no queue id")?;
        let place = place
            .strip_suffix(b"\0")
            .ok_or("its key has no place and queue id")?;
        let place = std::str::from_utf8(place).map_err(|error| error.to_string())?;
        let offset = value
            .try_into()
            .map_err(|_| format!("its value has {} bytes, not 8", value.len()))?;
        let queues = self.offset_table.entry(place.to_owned()).or_default();
        queues.insert(i32::from_be_bytes(*queue_id), i64::from_be_bytes(offset));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::wire::body::DataVersion;

    #[test]
    fn what_becomes_rows_comes_back() {
        let mut table = ConsumerOffsetSerializeWrapper {
            data_version: DataVersion::new(7),
            ..ConsumerOffsetSerializeWrapper::default()
        };
        for place in ["t@g", "%RETRY%g@g", "@", "\u{fc}@g"] {
            let queues = [(0, 5), (-1, -9), (i32::MAX, i64::MAX)];
            table.offset_table.insert(place.to_owned(), queues.into());
        }
        let mut back = ConsumerOffsetSerializeWrapper::default();
        for (key, value) in table.rows() {
            back.add(&key, &value).unwrap();
        }
        assert_eq!(back, table);
        assert!(
            table
                .rows()
                .iter()
                .any(|(row, _)| *row == key("t", "g", -1))
        );
    }

    #[test]
    fn damaged_rows_are_told() {
        let mut table = ConsumerOffsetSerializeWrapper::default();
        let good = key("t", "g", 3);
        for (key, value) in [
            (&good[1..4], &[0; 8][..]),
            (&good[good.len() - 4..], &[0; 8]),
            (&good, &[0; 7]),
            (b"", b"{"),
            (b"\xff\0\0\0\0\0", &[0; 8]),
        ] {
            assert!(table.add(key, value).is_err(), "{key:?}");
        }
        assert_eq!(table, ConsumerOffsetSerializeWrapper::default());
    }
}
