//! Names with a meaning.

/// Topics of messages to be delivered again: this and the group's name.
pub const RETRY_TOPIC_PREFIX: &str = "%RETRY%";
/// Topics of messages given up: this and the group's name.
pub const DLQ_TOPIC_PREFIX: &str = "%DLQ%";

/// Topic whose brokers create topics on first use.
pub(crate) const AUTO_CREATE_TOPIC: &str = "TBW102";

/// The topic of a group's messages to be delivered again.
pub fn retry_topic(group: &str) -> String {
    format!("{RETRY_TOPIC_PREFIX}{group}")
}

/// The topic of a group's messages that failed too often.
pub fn dlq_topic(group: &str) -> String {
    format!("{DLQ_TOPIC_PREFIX}{group}")
}
