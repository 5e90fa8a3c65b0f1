//! A message as a broker stored it.

use std::net::SocketAddr;

use bytes::Bytes;
use common::ids::PhysicalOffset;
use common::message::batch::{self, BatchError, BatchMessage};
use common::message::properties::{self, KEYS, RETRY_TOPIC, TAGS, UNIQUE_KEY};
use common::message::record::{self, RecordFormatError, RecordView};
use common::message::{MAX_DECOMPRESSED_BYTES, decompress, message_id, sys_flag};

use crate::MessageQueue;

/// Why the body of a broker's answer cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("message {index} of the response")]
    Record {
        index: usize,
        #[source]
        source: RecordFormatError,
    },
    #[error("body of message {index} of the response is damaged")]
    BodyCrc { index: usize },
    #[error("message {index} of the response")]
    Batch {
        index: usize,
        #[source]
        source: BatchError,
    },
}

/// A message that was read from a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageExt {
    /// Topic it was sent to. Of a message delivered again after a failure this is the first topic, not the
    /// retry topic it was read from (see [`MessageExt::queue`]).
    pub topic: String,
    /// Body, decompressed.
    pub body: Bytes,
    /// The application's flag.
    pub flag: i32,
    /// Id the sending client gave it, or [`MessageExt::offset_msg_id`] when it gave none.
    pub msg_id: String,
    /// Id made of the broker's address and [`MessageExt::physical_offset`].
    pub offset_msg_id: String,
    /// Queue it was read from.
    pub queue: MessageQueue,
    /// Position in that queue.
    pub queue_offset: i64,
    /// Position in the broker's log, in bytes.
    pub physical_offset: i64,
    /// System flags as stored; the bit for compression is cleared once the body is decompressed.
    pub sys_flag: i32,
    /// When the producer made it, in ms since the epoch by the producer's clock.
    pub born_timestamp: i64,
    /// Address of the producer as the broker saw it.
    pub born_host: SocketAddr,
    /// When the broker stored it, in ms since the epoch.
    pub store_timestamp: i64,
    /// Address of the broker.
    pub store_host: SocketAddr,
    /// How often it was delivered and failed before.
    pub reconsume_times: i32,
    /// Position of the first half of its transaction, 0 without one.
    pub prepared_transaction_offset: i64,
    /// Properties as stored; see [`MessageExt::property`].
    pub properties: String,
}

impl MessageExt {
    /// A property, the application's or one of RocketMQ's, by its name on the wire.
    pub fn property(&self, name: &str) -> Option<&str> {
        properties::get(&self.properties, name)
    }

    /// All properties in stored order.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        properties::iter(&self.properties)
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.property(TAGS)
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.property(KEYS)
            .unwrap_or_default()
            .split(' ')
            .filter(|key| !key.is_empty())
    }

    /// The messages in the body of an answer of the broker `broker_name`, those of batches that were stored whole each by
    /// itself.
    ///
    /// A body this client cannot decompress is left as it is, its bit in [`MessageExt::sys_flag`] set: refusing it
    /// would block its queue for good.
    pub(crate) fn read_all(answer: &[u8], broker_name: &str) -> Result<Vec<Self>, DecodeError> {
        let mut all = Vec::new();
        for (index, record) in record::iter(answer).enumerate() {
            let record = record.map_err(|source| DecodeError::Record { index, source })?;
            if !record.body_is_intact() {
                return Err(DecodeError::BodyCrc { index });
            }
            let (body, sys_flag) =
                match decompress(record.body, record.sys_flag, MAX_DECOMPRESSED_BYTES) {
                    Ok(body) => (body, record.sys_flag & !sys_flag::COMPRESSED),
                    Err(error) => {
                        tracing::warn!(%error, "handing on a message with its body compressed");
                        (record.body.to_vec(), record.sys_flag)
                    }
                };
            let whole = Self::from_record(&record, body, sys_flag, broker_name);
            let batch = sys_flag::INNER_BATCH | sys_flag::NEED_UNWRAP;
            match (sys_flag & batch == batch).then(|| whole.unwrap_batch()) {
                Some(Ok(messages)) => all.extend(messages),
                Some(Err(source)) => return Err(DecodeError::Batch { index, source }),
                None => all.push(whole),
            }
        }
        Ok(all)
    }

    /// The messages of a batch that was stored whole.
    fn unwrap_batch(&self) -> Result<Vec<Self>, BatchError> {
        let one = |(at, message): (i64, Result<BatchMessage<'_>, BatchError>)| {
            let message = message?;
            let unique = properties::get(message.properties, UNIQUE_KEY);
            Ok(Self {
                msg_id: unique.unwrap_or(&self.offset_msg_id).to_owned(),
                queue_offset: self.queue_offset.saturating_add(at),
                body: self.body.slice_ref(message.body),
                flag: message.flag,
                properties: message.properties.to_owned(),
                ..self.clone()
            })
        };
        (0..).zip(batch::split(&self.body)).map(one).collect()
    }

    fn from_record(
        record: &RecordView<'_>,
        body: Vec<u8>,
        sys_flag: i32,
        broker_name: &str,
    ) -> Self {
        let position = PhysicalOffset::from_wire(record.physical_offset).unwrap_or_default();
        let offset_msg_id = message_id::offset_id(record.store_host, position);
        let unique = record.property(UNIQUE_KEY);
        let topic = record.topic_text();
        Self {
            msg_id: unique.unwrap_or(&offset_msg_id).to_owned(),
            queue: MessageQueue::new(topic.as_ref(), broker_name, record.queue_id),
            topic: topic.into_owned(),
            body: Bytes::from(body),
            flag: record.flag,
            offset_msg_id,
            queue_offset: record.queue_offset,
            physical_offset: record.physical_offset,
            sys_flag,
            born_timestamp: record.born_timestamp,
            born_host: record.born_host,
            store_timestamp: record.store_timestamp,
            store_host: record.store_host,
            reconsume_times: record.reconsume_times,
            prepared_transaction_offset: record.prepared_transaction_offset,
            properties: record.properties_text().into_owned(),
        }
    }

    /// Gives a message of a retry topic the topic it had first.
    pub(crate) fn restore_topic(&mut self) {
        if let Some(first) = self.property(RETRY_TOPIC) {
            self.topic = first.to_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::message::CompressionType;
    use common::message::record::{RecordParts, encode};

    fn stored(body: &[u8], sys_flag: i32) -> Vec<u8> {
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
            properties: "TAGS\u{1}a\u{2}KEYS\u{1}k1  k2\u{2}RETRY_TOPIC\u{1}first\u{2}",
        };
        let mut out = Vec::new();
        encode(&parts, &mut out).unwrap();
        out
    }

    #[test]
    fn a_record_becomes_a_message() {
        let small = CompressionType::Zlib.compress(&[7; 5000], 5).unwrap();
        let mut all = stored(&small, sys_flag::COMPRESSED);
        all.extend(stored(b"plain", 0));
        let [large, mut plain] = MessageExt::read_all(&all, "broker-a")
            .unwrap()
            .try_into()
            .unwrap();
        assert_eq!(
            (large.body.as_ref(), large.sys_flag),
            ([7; 5000].as_slice(), 0)
        );
        assert_eq!(plain.queue, MessageQueue::new("T", "broker-a", 4));
        assert_eq!((plain.tag(), plain.property("missing")), (Some("a"), None));
        assert_eq!(plain.keys().collect::<Vec<_>>(), ["k1", "k2"]);
        assert_eq!(
            plain.msg_id, "7F00000100002A9F0000000000000000",
            "no client gave it one"
        );
        plain.restore_topic();
        assert_eq!(
            (plain.topic.as_str(), plain.queue.topic.as_str()),
            ("first", "T")
        );
    }

    #[test]
    fn a_body_that_cannot_be_decompressed_does_not_block_the_queue() {
        let sys_flag = sys_flag::COMPRESSED | 0x100;
        let [message] = MessageExt::read_all(&stored(b"lz4", sys_flag), "b")
            .unwrap()
            .try_into()
            .unwrap();
        assert_eq!(
            (message.body.as_ref(), message.sys_flag),
            (b"lz4".as_slice(), sys_flag)
        );
    }

    #[test]
    fn a_batch_that_was_stored_whole_is_taken_apart() {
        let mut body = Vec::new();
        for n in 0..3 {
            let (content, properties) = (
                format!("body {n}"),
                format!("UNIQ_KEY\u{1}ID{n}\u{2}TAGS\u{1}t\u{2}"),
            );
            let part = BatchMessage {
                flag: n,
                body: content.as_bytes(),
                properties: &properties,
            };
            batch::encode(&part, &mut body).unwrap();
        }
        let flags = sys_flag::INNER_BATCH | sys_flag::NEED_UNWRAP;
        let all = MessageExt::read_all(&stored(&body, flags), "b").unwrap();
        let seen: Vec<_> = all
            .iter()
            .map(|one| (one.msg_id.as_str(), one.queue_offset, one.flag, one.tag()))
            .collect();
        let t = Some("t");
        assert_eq!(seen, [("ID0", 0, 0, t), ("ID1", 1, 1, t), ("ID2", 2, 2, t)]);
        assert_eq!(all[1].body.as_ref(), b"body 1");
        let cut = stored(&body[..body.len() - 1], flags);
        assert!(matches!(
            MessageExt::read_all(&cut, "b"),
            Err(DecodeError::Batch { index: 0, .. })
        ));
    }

    #[test]
    fn damage_is_an_error() {
        let mut damaged = stored(b"body", 0);
        damaged[88] ^= 1;
        assert!(matches!(
            MessageExt::read_all(&damaged, "b"),
            Err(DecodeError::BodyCrc { index: 0 })
        ));
        assert!(MessageExt::read_all(&stored(b"body", 0)[..50], "b").is_err());
    }
}
