//! What can be refused before anything is sent, with the rules every RocketMQ client applies.

use common::names::{self, NameError, TOPIC_MAX_LENGTH};

use crate::error::ClientError;
use crate::message::Message;

/// Group names that every client has by default and that therefore say nothing.
const DEFAULT_GROUPS: [&str; 2] = ["DEFAULT_PRODUCER", "DEFAULT_CONSUMER"];

/// A topic a client may name: unlike brokers, clients allow retry topics no more than others.
pub(crate) fn topic(topic: &str) -> Result<(), ClientError> {
    names::validate_topic(topic).map_err(|error| ClientError::illegal(error.to_string()))?;
    if topic.len() > TOPIC_MAX_LENGTH {
        let error = NameError::Length {
            what: "topic",
            name: topic.to_owned(),
            limit: TOPIC_MAX_LENGTH,
        };
        return Err(ClientError::illegal(error.to_string()));
    }
    Ok(())
}

/// A group of producers or consumers.
pub(crate) fn group(what: &'static str, group: &str) -> Result<(), ClientError> {
    names::validate_group(group).map_err(|error| ClientError::invalid(what, error.to_string()))?;
    if DEFAULT_GROUPS.contains(&group) {
        let reason = format!("`{group}` is what nobody chose; give the group a name of its own");
        return Err(ClientError::invalid(what, reason));
    }
    Ok(())
}

/// A message a producer may send, in the order the reference checks. Resends to a retry topic are the
/// client's own and pass with the longer names of such topics.
pub(crate) fn message(message: &Message, max_message_size: usize) -> Result<(), ClientError> {
    topic(message.topic())?;
    let (name, bytes) = (message.topic(), message.body().len());
    let wrong = if names::is_not_allowed_to_send(name) {
        format!("sending to the topic `{name}` is forbidden")
    } else if bytes == 0 {
        "the body is empty".to_owned()
    } else if bytes > max_message_size {
        format!("the body has {bytes} bytes, {max_message_size} are allowed")
    } else {
        return message.check_properties().map_err(ClientError::illegal);
    };
    Err(ClientError::illegal(wrong))
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
        refused(&Message::new("a.b", "x"), "illegal char");
        refused(&Message::new("a:b", "x"), "illegal char");
        refused(&Message::new("topic-ü", "x"), "illegal char");
        refused(&Message::new("x".repeat(128), "x"), "longer than");
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
