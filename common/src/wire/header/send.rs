//! Sending: one request in three spellings.

use crate::wire::fields::{FieldError, FieldValue, Fields};
use crate::wire::{request_code, wire_header};

/// `SEND_MESSAGE` (10, long names), `SEND_MESSAGE_V2` (310) and `SEND_BATCH_MESSAGE` (320, both one-letter names) are
/// the same request from here on; `SEND_REPLY_MESSAGE` (324) and `SEND_REPLY_MESSAGE_V2` (325) look the same. Borrowed from the header it was read from: the hot path copies nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendMessageRequestHeader<'a> {
    /// Group of the producer.
    pub producer_group: &'a str,
    /// Topic to send to.
    pub topic: &'a str,
    /// Topic whose settings serve as the template when `topic` has to be created.
    pub default_topic: &'a str,
    /// Queues the producer asks for when the topic has to be created.
    pub default_topic_queue_nums: i32,
    /// Queue; negative means the broker picks one.
    pub queue_id: i32,
    /// Message `sysFlag` bits.
    pub sys_flag: i32,
    /// Milliseconds since 1970 at the producer.
    pub born_timestamp: i64,
    /// User flag, kept as it is.
    pub flag: i32,
    /// Encoded properties.
    pub properties: &'a str,
    /// How often a consumer has failed on this message.
    pub reconsume_times: i32,
    /// Unit mode of the producer.
    pub unit_mode: bool,
    /// Retries the consumer allows; only for retry topics.
    pub max_reconsume_times: Option<i32>,
    /// The body is a batch.
    pub batch: bool,
    /// Name of the broker the producer means.
    pub broker_name: Option<&'a str>,
}

/// Long (`SEND_MESSAGE`) or one-letter (`SEND_MESSAGE_V2`, `SEND_BATCH_MESSAGE`) field names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendForm {
    /// `producerGroup`, `topic`, …
    Long,
    /// `a`, `b`, …
    Short,
}

/// The fields in the order of their one-letter names.
const LONG_NAMES: [&str; 14] = [
    "producerGroup",
    "topic",
    "defaultTopic",
    "defaultTopicQueueNums",
    "queueId",
    "sysFlag",
    "bornTimestamp",
    "flag",
    "properties",
    "reconsumeTimes",
    "unitMode",
    "maxReconsumeTimes",
    "batch",
    "bname",
];
const SHORT_NAMES: [&str; 14] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n",
];

impl<'a> SendMessageRequestHeader<'a> {
    /// True for the codes that carry this header.
    pub fn is_code(code: i32) -> bool {
        matches!(
            code,
            request_code::SEND_MESSAGE
                | request_code::SEND_MESSAGE_V2
                | request_code::SEND_BATCH_MESSAGE
                | request_code::SEND_REPLY_MESSAGE
                | request_code::SEND_REPLY_MESSAGE_V2
        )
    }

    /// Reads the header in one pass over the fields.
    ///
    /// # Errors
    /// Names the first field that is missing or wrong.
    pub fn parse(fields: &'a Fields, form: SendForm) -> Result<Self, FieldError> {
        let values = fields.values(|key| match (form, key) {
            (SendForm::Short, [letter @ b'a'..=b'n']) => Some(usize::from(letter - b'a')),
            (SendForm::Short, _) => None,
            (SendForm::Long, _) => LONG_NAMES.iter().position(|name| name.as_bytes() == key),
        });
        let names = match form {
            SendForm::Long => &LONG_NAMES,
            SendForm::Short => &SHORT_NAMES,
        };
        let seen = Seen { values, names };
        Ok(Self {
            producer_group: values[0].unwrap_or(""),
            topic: seen.text(1)?,
            default_topic: values[2].unwrap_or(""),
            default_topic_queue_nums: seen.or(3, 0)?,
            queue_id: seen.value(4)?,
            sys_flag: seen.value(5)?,
            born_timestamp: seen.value(6)?,
            flag: seen.value(7)?,
            properties: values[8].unwrap_or(""),
            reconsume_times: seen.or(9, 0)?,
            unit_mode: seen.or(10, false)?,
            max_reconsume_times: seen.optional(11)?,
            batch: seen.or(12, false)?,
            broker_name: values[13],
        })
    }

    /// Appends the header with one-letter names, as `SEND_MESSAGE_V2` and `SEND_BATCH_MESSAGE` want it.
    pub fn write_short(&self, fields: &mut Fields) {
        fields.push("a", self.producer_group);
        fields.push("b", self.topic);
        fields.push("c", self.default_topic);
        fields.set("d", self.default_topic_queue_nums);
        fields.set("e", self.queue_id);
        fields.set("f", self.sys_flag);
        fields.set("g", self.born_timestamp);
        fields.set("h", self.flag);
        fields.push("i", self.properties);
        fields.set("j", self.reconsume_times);
        fields.set("k", self.unit_mode);
        if let Some(times) = self.max_reconsume_times {
            fields.set("l", times);
        }
        fields.set("m", self.batch);
        if let Some(name) = self.broker_name {
            fields.push("n", name);
        }
    }
}

struct Seen<'a> {
    values: [Option<&'a str>; 14],
    names: &'static [&'static str; 14],
}

impl<'a> Seen<'a> {
    fn text(&self, slot: usize) -> Result<&'a str, FieldError> {
        self.values[slot].ok_or(FieldError::Missing {
            field: self.names[slot],
        })
    }

    fn value<T: FieldValue>(&self, slot: usize) -> Result<T, FieldError> {
        self.optional(slot)?.ok_or(FieldError::Missing {
            field: self.names[slot],
        })
    }

    fn or<T: FieldValue>(&self, slot: usize, absent: T) -> Result<T, FieldError> {
        self.optional(slot).map(|value| value.unwrap_or(absent))
    }

    fn optional<T: FieldValue>(&self, slot: usize) -> Result<Option<T>, FieldError> {
        self.values[slot]
            .map(|text| FieldError::checked(self.names[slot], text))
            .transpose()
    }
}

wire_header! {
    /// Answer to a send that was stored.
    pub struct SendMessageResponseHeader {
        /// Offset message id; of a batch the ids joined by commas.
        pub msg_id: String = "msgId",
        /// Queue it was stored in.
        pub queue_id: i32 = "queueId",
        /// Offset of the (first) message in its queue.
        pub queue_offset: i64 = "queueOffset",
        /// The message's unique key.
        pub transaction_id: Option<String> = "transactionId",
        /// Unique key of an inner batch.
        pub batch_uniq_id: Option<String> = "batchUniqId",
        /// Handle that recalls a timed message.
        pub recall_handle: Option<String> = "recallHandle",
    }

    /// `CONSUMER_SEND_MSG_BACK` (36).
    pub struct ConsumerSendMsgBackRequestHeader {
        /// Consumer group.
        pub group: String = "group",
        /// Physical offset of the message.
        pub offset: i64 = "offset",
        /// 0: the broker computes it; negative: dead letter at once.
        pub delay_level: i32 = "delayLevel",
        /// Id of the message.
        pub origin_msg_id: Option<String> = "originMsgId",
        /// Topic of the message.
        pub origin_topic: Option<String> = "originTopic",
        /// Unit mode.
        pub unit_mode: Option<bool> = "unitMode",
        /// Retries the consumer allows.
        pub max_reconsume_times: Option<i32> = "maxReconsumeTimes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SendMessageRequestHeader<'static> {
        SendMessageRequestHeader {
            producer_group: "g",
            topic: "t",
            default_topic: "TBW102",
            default_topic_queue_nums: 4,
            queue_id: -1,
            sys_flag: 1,
            born_timestamp: 1_700_000_000_000,
            flag: 3,
            properties: "KEYS\u{1}k\u{2}",
            reconsume_times: 2,
            unit_mode: false,
            max_reconsume_times: Some(16),
            batch: true,
            broker_name: Some("broker-a"),
        }
    }

    #[test]
    fn short_names_round_trip() {
        let mut fields = Fields::new();
        sample().write_short(&mut fields);
        assert_eq!(
            SendMessageRequestHeader::parse(&fields, SendForm::Short),
            Ok(sample())
        );
    }

    #[test]
    fn long_names_mean_the_same() {
        let mut short = Fields::new();
        sample().write_short(&mut short);
        let long: Fields = short
            .iter()
            .map(|(k, v)| (LONG_NAMES[usize::from(k.as_bytes()[0] - b'a')], v))
            .collect();
        assert_eq!(
            SendMessageRequestHeader::parse(&long, SendForm::Long),
            Ok(sample())
        );
    }

    #[test]
    fn a_missing_field_is_named_in_the_spelling_of_the_request() {
        let fields: Fields = [("b", "t")].into_iter().collect();
        let error = SendMessageRequestHeader::parse(&fields, SendForm::Short).unwrap_err();
        assert_eq!(error, FieldError::Missing { field: "e" });
        let error = SendMessageRequestHeader::parse(&fields, SendForm::Long).unwrap_err();
        assert_eq!(error, FieldError::Missing { field: "topic" });
    }
}
