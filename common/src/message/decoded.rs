//! Messages as consumers get them.

use std::net::SocketAddr;

use super::compression::{self, CompressionError};
use super::record::{self, RecordFormatError, RecordView};
use super::{message_id, properties, sys_flag};
use crate::ids::PhysicalOffset;

/// Why the body of a pull response cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not a record.
    #[error("message {index} of the response")]
    Record {
        /// Which message, from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: RecordFormatError,
    },
    /// The body does not have the checksum in its record.
    #[error("body of message {index} of the response is damaged")]
    BodyCrc {
        /// Which message, from 0.
        index: usize,
    },
    /// The body cannot be decompressed.
    #[error("body of message {index} of the response")]
    Compression {
        /// Which message, from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: CompressionError,
    },
}

/// A message a consumer got, on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Topic it is stored under.
    pub topic: String,
    /// Queue within the topic.
    pub queue_id: i32,
    /// Index within the queue.
    pub queue_offset: i64,
    /// Position in the broker's log.
    pub physical_offset: i64,
    /// Bytes of the whole record.
    pub store_size: u32,
    /// The application's flag.
    pub flag: i32,
    /// See [`sys_flag`]; the compressed bit is clear when the body was decompressed.
    pub sys_flag: i32,
    /// The producer's time in milliseconds.
    pub born_timestamp: i64,
    /// Where the producer was.
    pub born_host: SocketAddr,
    /// The broker's time in milliseconds.
    pub store_timestamp: i64,
    /// The broker that stored it.
    pub store_host: SocketAddr,
    /// How often it was consumed without success.
    pub reconsume_times: i32,
    /// Physical offset of the first half of its transaction.
    pub prepared_transaction_offset: i64,
    /// CRC-32 of the body as stored.
    pub body_crc: u32,
    /// The decompressed body.
    pub body: Vec<u8>,
    /// Name and value of every property, in stored order.
    pub properties: Vec<(String, String)>,
}

impl Message {
    /// From a stored record, its body decompressed to at most `body_limit` bytes.
    ///
    /// # Errors
    /// When the body cannot be decompressed.
    pub fn from_record(
        record: &RecordView<'_>,
        body_limit: usize,
    ) -> Result<Self, CompressionError> {
        let properties = properties::iter(&record.properties_text())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Ok(Self {
            topic: record.topic_text().into_owned(),
            queue_id: record.queue_id,
            queue_offset: record.queue_offset,
            physical_offset: record.physical_offset,
            store_size: record.total_size,
            flag: record.flag,
            sys_flag: record.sys_flag & !sys_flag::COMPRESSED,
            born_timestamp: record.born_timestamp,
            born_host: record.born_host,
            store_timestamp: record.store_timestamp,
            store_host: record.store_host,
            reconsume_times: record.reconsume_times,
            prepared_transaction_offset: record.prepared_transaction_offset,
            body_crc: record.body_crc,
            body: compression::decompress(record.body, record.sys_flag, body_limit)?,
            properties,
        })
    }

    /// Value of a property; the last one counts.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// The tag.
    pub fn tags(&self) -> Option<&str> {
        self.property(properties::TAGS)
    }

    /// The keys, one by one.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.property(properties::KEYS)
            .unwrap_or_default()
            .split(' ')
            .filter(|key| !key.is_empty())
    }

    /// Id that tells where the broker stored it.
    pub fn offset_id(&self) -> String {
        let offset = PhysicalOffset::from_wire(self.physical_offset).unwrap_or_default();
        message_id::offset_id(self.store_host, offset)
    }

    /// Id its producer gave it; the offset id when it has none.
    pub fn message_id(&self) -> String {
        self.property(properties::UNIQUE_KEY)
            .map_or_else(|| self.offset_id(), str::to_owned)
    }
}

/// Largest body [`decode_all`] decompresses to.
pub const MAX_DECOMPRESSED_BYTES: usize = 64 << 20;

/// All messages of a pull response's body.
///
/// # Errors
/// At the first message that is damaged.
pub fn decode_all(bytes: &[u8]) -> Result<Vec<Message>, DecodeError> {
    let decode = |(index, record): (usize, Result<RecordView<'_>, RecordFormatError>)| {
        let record = record.map_err(|source| DecodeError::Record { index, source })?;
        if !record.body_is_intact() {
            return Err(DecodeError::BodyCrc { index });
        }
        Message::from_record(&record, MAX_DECOMPRESSED_BYTES)
            .map_err(|source| DecodeError::Compression { index, source })
    };
    record::iter(bytes).enumerate().map(decode).collect()
}

#[cfg(test)]
mod tests {
    use super::super::record::{RecordParts, encode};
    use super::*;

    fn stored(body: &[u8], sys_flag: i32, out: &mut Vec<u8>) {
        let parts = RecordParts {
            topic: "T",
            queue_id: 4,
            flag: 3,
            sys_flag,
            born_timestamp: 1,
            born_host: "127.0.0.1:5000".parse().unwrap(),
            store_host: "127.0.0.1:10911".parse().unwrap(),
            reconsume_times: 2,
            prepared_transaction_offset: 0,
            body,
            properties: "TAGS\u{1}a\u{2}KEYS\u{1}k1  k2\u{2}",
        };
        encode(&parts, out).unwrap();
    }

    #[test]
    fn messages_come_back_decompressed() {
        let text = b"0123456789".repeat(50);
        let mut bytes = Vec::new();
        stored(
            &compression::compress(&text, 5),
            sys_flag::COMPRESSED,
            &mut bytes,
        );
        stored(b"plain", 0, &mut bytes);
        let messages = decode_all(&bytes).unwrap();
        assert_eq!(messages.len(), 2);
        assert_eq!((&messages[0].body, messages[0].sys_flag), (&text, 0));
        assert_eq!(messages[1].body, b"plain");
        assert_eq!(messages[1].tags(), Some("a"));
        assert_eq!(messages[1].keys().collect::<Vec<_>>(), ["k1", "k2"]);
        assert_eq!(messages[1].message_id(), "7F00000100002A9F0000000000000000");
    }

    #[test]
    fn damage_names_the_message() {
        let mut bytes = Vec::new();
        stored(b"one", 0, &mut bytes);
        stored(b"two", 0, &mut bytes);
        let cut = bytes.len() - 1;
        assert!(matches!(
            decode_all(&bytes[..cut]),
            Err(DecodeError::Record { index: 1, .. })
        ));
        bytes[88] ^= 1;
        assert!(matches!(
            decode_all(&bytes),
            Err(DecodeError::BodyCrc { index: 0 })
        ));
    }
}
