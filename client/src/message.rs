//! A message on its way out.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use common::message::properties::{
    self, CHECK_IMMUNITY_TIME, CLUSTER, CORRELATION_ID, DELAY, KEYS, MAX_PROPERTIES_BYTES,
    MESSAGE_TYPE, REPLY_TO_CLIENT, SHARDING_KEY, TAGS, TIMER_DELAY_MS, TIMER_DELIVER_MS, TTL, WAIT,
};
use common::names::REPLY_TOPIC_POSTFIX;

use crate::MessageExt;
use crate::error::ClientError;

/// Type of messages that are replies.
pub(crate) const REPLY: &str = "reply";

const NAME_END: char = '\u{1}';
const VALUE_END: char = '\u{2}';

/// Names with a meaning of their own to brokers and clients; they are set by the methods made for them.
#[rustfmt::skip]
const RESERVED: [&str; 69] = [
    "KEYS", "TAGS", "WAIT", "DELAY", "RETRY_TOPIC", "REAL_TOPIC", "REAL_QID", "TRAN_MSG", "PGROUP", "MIN_OFFSET",
    "MAX_OFFSET", "BUYER_ID", "ORIGIN_MESSAGE_ID", "TRANSFER_FLAG", "CORRECTION_FLAG", "MQ2_FLAG", "RECONSUME_TIME",
    "MSG_REGION", "TRACE_ON", "UNIQ_KEY", "EXTEND_UNIQ_INFO", "MAX_RECONSUME_TIMES", "CONSUME_START_TIME",
    "INNER_NUM", "INNER_BASE", "DUP_INFO", "CHECK_IMMUNITY_TIME_IN_SECONDS", "TRAN_PREPARED_QUEUE_OFFSET",
    "__transactionId__", "TRANSACTION_CHECK_TIMES", "INSTANCE_ID", "CORRELATION_ID", "REPLY_TO_CLIENT", "TTL",
    "ARRIVE_TIME", "PUSH_REPLY_TIME", "CLUSTER", "MSG_TYPE", "POP_CK", "POP_CK_OFFSET", "1ST_POP_TIME",
    "__SHARDINGKEY", "PROPERTY_FORWARD_QUEUE_ID", "REDIRECT", "INNER_MULTI_DISPATCH", "INNER_MULTI_QUEUE_OFFSET",
    "TRACE_CONTEXT", "TIMER_DELAY_SEC", "TIMER_DELAY_MS", "TIMER_DELIVER_MS", "__BORNHOST", "BORN_TIMESTAMP",
    "__RMQ.TRANSIENT.TOPIC_SYS_FLAG", "__RMQ.TRANSIENT.GROUP_SYS_FLAG", "TIMER_ENQUEUE_MS", "TIMER_DEQUEUE_MS",
    "TIMER_ROLL_TIMES", "TIMER_OUT_MS", "TIMER_DEL_UNIQKEY", "TIMER_DELAY_LEVEL", "__CRC32#", "DLQ_ORIGIN_TOPIC",
    "DLQ_ORIGIN_MESSAGE_ID", "ORIGIN_GROUP", "_SYS_MSG_PRIORITY_", "__LITE_TOPIC", "TRANS_OFFSET",
    "TIMER_ROLL_LABEL", "batchUniqId",
];

/// A message to send: a topic, a body, and properties.
///
/// ```
/// use client::Message;
/// let message = Message::new("orders", r#"{"order": 7}"#)
///     .tag("created")
///     .keys(["order-7"])
///     .property("shop", "north");
/// assert_eq!(message.topic(), "orders");
/// assert_eq!(message.get("TAGS"), Some("created"));
/// ```
///
/// Names and values of properties must not be empty nor contain the characters U+0001 and U+0002, and names
/// RocketMQ uses itself are set by the methods made for them only. Sending refuses what breaks these rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    topic: String,
    body: Bytes,
    flag: i32,
    system: BTreeMap<String, String>,
    user: BTreeMap<String, String>,
}

impl Message {
    /// A message without properties.
    pub fn new(topic: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            body: body.into(),
            flag: 0,
            system: BTreeMap::new(),
            user: BTreeMap::new(),
        }
    }

    /// Sets the tag, by which consumers choose.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.set_system(TAGS, tag.into());
        self
    }

    /// Sets the keys under which the message can be looked up later. A key must not contain spaces.
    #[must_use]
    pub fn keys<K: AsRef<str>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        let keys: Vec<K> = keys.into_iter().collect();
        let keys: Vec<&str> = keys.iter().map(K::as_ref).collect();
        self.set_system(KEYS, keys.join(" "));
        self
    }

    /// Sets a property of the application.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.user.insert(name.into(), value.into());
        self
    }

    /// Sets the application's 32-bit flag, handed through as it is.
    #[must_use]
    pub fn flag(mut self, flag: i32) -> Self {
        self.flag = flag;
        self
    }

    /// Delivers after the broker's delay of this level: 1 is one second, 18 two hours by default; 0 is at once.
    #[must_use]
    pub fn delay_level(self, level: u32) -> Self {
        self.later(DELAY, level.into())
    }

    /// Delivers after this time, counted from when the broker stores the message. Can be
    /// [recalled](crate::Producer::recall).
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        let millis = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        self.later(TIMER_DELAY_MS, millis)
    }

    /// Delivers at this time, in ms since the epoch. Can be [recalled](crate::Producer::recall).
    #[must_use]
    pub fn deliver_at_ms(self, at: i64) -> Self {
        self.later(TIMER_DELIVER_MS, at)
    }

    fn later(mut self, how: &str, value: i64) -> Self {
        if value > 0 {
            self.set_system(how, value.to_string());
        } else {
            self.system.remove(how);
        }
        self
    }

    /// Seconds in which brokers do not ask how this message's transaction ended. They have a default of their own.
    #[must_use]
    pub fn check_immunity_secs(mut self, secs: u32) -> Self {
        self.set_system(CHECK_IMMUNITY_TIME, secs.to_string());
        self
    }

    /// Sets the key whose messages belong in one order.
    #[must_use]
    pub fn sharding_key(mut self, key: impl Into<String>) -> Self {
        self.set_system(SHARDING_KEY, key.into());
        self
    }

    /// Whether a broker that flushes or replicates synchronously answers only once that is done. Default true.
    #[must_use]
    pub fn wait_store_ok(mut self, wait: bool) -> Self {
        self.set_system(WAIT, wait.to_string());
        self
    }

    /// The reply to a message that asks for one.
    pub(crate) fn reply_to(
        request: &MessageExt,
        body: impl Into<Bytes>,
    ) -> Result<Self, ClientError> {
        let need = |name: &str| {
            let none = || format!("nobody waits for a reply to this message: it has no {name}");
            (request.property(name)).ok_or_else(|| ClientError::illegal(none()))
        };
        let topic = format!("{}_{REPLY_TOPIC_POSTFIX}", need(CLUSTER)?);
        let mut reply = Self::new(topic, body);
        for name in [CORRELATION_ID, REPLY_TO_CLIENT, TTL] {
            reply.set_system(name, need(name)?);
        }
        reply.set_system(MESSAGE_TYPE, REPLY);
        Ok(reply)
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The body, never compressed here.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The application's flag.
    pub fn flag_value(&self) -> i32 {
        self.flag
    }

    /// A property, the application's or one of RocketMQ's, by its name on the wire.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.user
            .get(name)
            .or_else(|| self.system.get(name))
            .map(String::as_str)
    }

    pub(crate) fn set_system(&mut self, name: &str, value: impl Into<String>) {
        self.system.insert(name.to_owned(), value.into());
    }

    pub(crate) fn take_system(&mut self, name: &str) -> Option<String> {
        self.system.remove(name)
    }

    pub(crate) fn waits(&self) -> bool {
        self.system.get(WAIT).is_none_or(|wait| wait == "true")
    }

    /// Whether delivery is to happen later than at once.
    pub(crate) fn is_delayed(&self) -> bool {
        let later = [DELAY, TIMER_DELAY_MS, TIMER_DELIVER_MS];
        later.iter().any(|name| self.system.contains_key(*name))
    }

    /// What is wrong with the properties, if anything.
    pub(crate) fn check_properties(&self) -> Result<(), String> {
        for (name, value) in self.user.iter().chain(&self.system) {
            if name.is_empty() || value.is_empty() {
                return Err(format!("the property `{name}` has an empty name or value"));
            }
            if name.contains([NAME_END, VALUE_END]) || value.contains([NAME_END, VALUE_END]) {
                return Err(format!("the property {name:?} contains U+0001 or U+0002"));
            }
        }
        let reserved = |name: &&String| RESERVED.contains(&name.as_str());
        if let Some(name) = self.user.keys().find(reserved) {
            return Err(format!(
                "the property name `{name}` is used by the system; choose another"
            ));
        }
        let queues = self.get("INNER_MULTI_DISPATCH");
        if queues.is_some_and(|queues| queues.contains('/')) {
            return Err("a queue in INNER_MULTI_DISPATCH contains `/`".to_owned());
        }
        let bytes = self.encoded_len();
        if bytes > MAX_PROPERTIES_BYTES {
            return Err(format!(
                "the properties take {bytes} bytes, {MAX_PROPERTIES_BYTES} are allowed"
            ));
        }
        Ok(())
    }

    /// The properties as the wire carries them.
    pub(crate) fn encode_properties(&self) -> String {
        let mut text = String::with_capacity(self.encoded_len());
        for (name, value) in self.system.iter().chain(&self.user) {
            properties::write(&mut text, name, value);
        }
        text
    }

    fn encoded_len(&self) -> usize {
        let all = self.system.iter().chain(&self.user);
        all.map(|(name, value)| name.len() + value.len() + 2).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_go_out_as_name_1_value_2() {
        let message = Message::new("T", "x")
            .tag("A")
            .keys(["k1", "k2"])
            .property("a", "b");
        assert_eq!(
            message.encode_properties(),
            "KEYS\u{1}k1 k2\u{2}TAGS\u{1}A\u{2}a\u{1}b\u{2}"
        );
        assert_eq!(Message::new("T", "x").encode_properties(), "");
    }

    #[test]
    fn properties_that_would_corrupt_the_record_are_refused() {
        let check = |message: Message, part: &str| {
            let text = message.check_properties().unwrap_err();
            assert!(text.contains(part), "{text}");
        };
        check(Message::new("T", "x").property("", "v"), "empty");
        check(Message::new("T", "x").property("n", ""), "empty");
        check(Message::new("T", "x").tag(""), "TAGS");
        check(Message::new("T", "x").property("a\u{1}b", "v"), "U+0001");
        check(Message::new("T", "x").property("n", "a\u{2}b"), "U+0001");
        check(
            Message::new("T", "x").property("UNIQ_KEY", "v"),
            "`UNIQ_KEY` is used",
        );
        check(
            Message::new("T", "x").property("n", "v".repeat(32_767)),
            "32770 bytes",
        );
    }

    #[test]
    fn delay_is_seen_in_each_of_its_forms() {
        assert!(!Message::new("T", "x").is_delayed());
        assert!(!Message::new("T", "x").delay_level(0).is_delayed());
        assert!(Message::new("T", "x").delay_level(3).is_delayed());
        assert!(
            Message::new("T", "x")
                .delay(Duration::from_secs(1))
                .is_delayed()
        );
        assert!(Message::new("T", "x").deliver_at_ms(1).is_delayed());
    }

    #[test]
    fn waits_unless_told_not_to() {
        assert!(Message::new("T", "x").waits());
        assert!(Message::new("T", "x").wait_store_ok(true).waits());
        assert!(!Message::new("T", "x").wait_store_ok(false).waits());
    }
}
