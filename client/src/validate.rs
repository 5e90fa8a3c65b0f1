//! What can be refused before anything is sent, with the rules every RocketMQ client applies.

use crate::error::ClientError;
use crate::message::Message;

/// Topic names: characters.
const TOPIC_CHARS_MAX: usize = 127;
/// Group names: characters.
const GROUP_CHARS_MAX: usize = 120;

/// Topics that belong to the broker alone.
const NOT_FOR_SENDING: [&str; 8] = [
    "SCHEDULE_TOPIC_XXXX",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC",
    "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
];

/// Group names that every client has by default and that therefore say nothing.
const DEFAULT_GROUPS: [&str; 2] = ["DEFAULT_PRODUCER", "DEFAULT_CONSUMER"];

fn illegal(reason: String) -> ClientError {
    ClientError::IllegalMessage { reason }
}

fn first_wrong_char(name: &str) -> Option<char> {
    name.chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '%' | '|' | '-' | '_')))
}

/// A topic a client may name.
pub(crate) fn topic(topic: &str) -> Result<(), ClientError> {
    if topic.trim().is_empty() {
        return Err(illegal("the topic is blank".to_owned()));
    }
    if let Some(wrong) = first_wrong_char(topic) {
        return Err(illegal(format!(
            "the topic `{topic}` contains {wrong:?}; allowed are % | - _ and ASCII letters and digits"
        )));
    }
    if topic.len() > TOPIC_CHARS_MAX {
        return Err(illegal(format!(
            "the topic has {} characters, {TOPIC_CHARS_MAX} are allowed",
            topic.len()
        )));
    }
    Ok(())
}

/// A group of producers or consumers.
pub(crate) fn group(what: &'static str, group: &str) -> Result<(), ClientError> {
    let invalid = |reason: String| Err(ClientError::InvalidConfig { what, reason });
    if group.trim().is_empty() {
        return invalid("is blank".to_owned());
    }
    if let Some(wrong) = first_wrong_char(group) {
        return invalid(format!(
            "`{group}` contains {wrong:?}; allowed are % | - _ and ASCII letters and digits"
        ));
    }
    if group.len() > GROUP_CHARS_MAX {
        return invalid(format!(
            "has {} characters, {GROUP_CHARS_MAX} are allowed",
            group.len()
        ));
    }
    if DEFAULT_GROUPS.contains(&group) {
        return invalid(format!(
            "`{group}` is what nobody chose; give the group a name of its own"
        ));
    }
    Ok(())
}

/// A message a producer may send, in the order the reference checks. Resends to a retry topic are the
/// client's own and pass with the longer names of such topics.
pub(crate) fn message(message: &Message, max_message_size: usize) -> Result<(), ClientError> {
    topic(message.topic())?;
    if NOT_FOR_SENDING.contains(&message.topic()) {
        return Err(illegal(format!(
            "sending to the topic `{}` is forbidden",
            message.topic()
        )));
    }
    if message.body().is_empty() {
        return Err(illegal("the body is empty".to_owned()));
    }
    if message.body().len() > max_message_size {
        return Err(illegal(format!(
            "the body has {} bytes, {max_message_size} are allowed",
            message.body().len()
        )));
    }
    message.check_properties().map_err(illegal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &Message, part: &str) {
        let text = super::message(message, 100).unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
    }

    #[test]
    fn ordinary_messages_pass() {
        for topic in ["T", "%RETRY%group", "a|b-c_d%9", &"x".repeat(127)] {
            assert!(
                message(&Message::new(topic, "body"), 100).is_ok(),
                "{topic}"
            );
        }
        assert!(message(&Message::new("T", vec![0; 100]), 100).is_ok());
    }

    #[test]
    fn each_rule_names_what_is_wrong() {
        refused(&Message::new("", "x"), "blank");
        refused(&Message::new("  ", "x"), "blank");
        refused(&Message::new("a.b", "x"), "'.'");
        refused(&Message::new("a:b", "x"), "':'");
        refused(&Message::new("topic-ü", "x"), "'ü'");
        refused(&Message::new("x".repeat(128), "x"), "128 characters");
        refused(&Message::new("RMQ_SYS_TRANS_HALF_TOPIC", "x"), "forbidden");
        refused(&Message::new("SELF_TEST_TOPIC", "x"), "forbidden");
        refused(&Message::new("T", ""), "empty");
        refused(&Message::new("T", vec![0; 101]), "101 bytes");
    }

    #[test]
    fn groups_follow_the_rules_of_topics_with_120_characters() {
        assert!(group("group", &"g".repeat(120)).is_ok());
        for wrong in [
            "",
            " ",
            "a b",
            "a.b",
            "DEFAULT_PRODUCER",
            "DEFAULT_CONSUMER",
        ] {
            assert!(group("group", wrong).is_err(), "{wrong:?}");
        }
        assert!(group("group", &"g".repeat(121)).is_err());
    }
}
