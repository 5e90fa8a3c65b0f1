//! What the broker answers to the send of a timed message, so that the message can be called back: `v1`, topic, broker,
//! due time and unique key, separated by spaces, in the URL-safe base 64.

use super::base64::{self, URL_SAFE};

/// What a handle says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecallHandle {
    /// Topic the message was sent to.
    pub topic: String,
    /// Name of the broker that keeps it.
    pub broker_name: String,
    /// When it is due at the latest, in milliseconds since 1970; -1 where the handle has no number.
    pub due: i64,
    /// Its unique key.
    pub unique_key: String,
}

const VERSION: &str = "v1";

impl RecallHandle {
    /// The handle of a message that waits in a slot of a broker: it is due once that is over.
    pub fn of_slot(slot: u64, topic: &str, broker_name: &str, unique_key: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            broker_name: broker_name.to_owned(),
            due: i64::try_from(slot).unwrap_or(i64::MAX).saturating_add(1),
            unique_key: unique_key.to_owned(),
        }
    }

    /// The text that travels.
    pub fn encode(&self) -> String {
        let (topic, broker, key) = (&self.topic, &self.broker_name, &self.unique_key);
        let text = format!("{VERSION} {topic} {broker} {} {key}", self.due);
        base64::encode(text.as_bytes(), URL_SAFE)
    }

    /// Reads a handle. As the reference does, with or without padding, and whatever may follow the five fields.
    pub fn parse(handle: &str) -> Option<Self> {
        let text = String::from_utf8(base64::decode(handle, URL_SAFE)?).ok()?;
        let mut fields = text.split(' ');
        if fields.next()? != VERSION {
            return None;
        }
        Some(Self {
            topic: fields.next()?.to_owned(),
            broker_name: fields.next()?.to_owned(),
            due: fields.next()?.parse().unwrap_or(-1),
            unique_key: fields.next()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn is_the_reference_s() {
        let handle = RecallHandle {
            topic: "TopicTest".into(),
            broker_name: "broker-0".into(),
            due: 1_707_111_111_111,
            unique_key: "0AC7BAC6F7041A4EB2E48AD1F2A70000".into(),
        };
        let text = "djEgVG9waWNUZXN0IGJyb2tlci0wIDE3MDcxMTExMTExMTEgMEFDN0JBQzZGNzA0MUE0RUIyRTQ4QUQxRjJBNzAwMDA=";
        assert_eq!(handle.encode(), text);
        assert_eq!(RecallHandle::parse(text).as_ref(), Some(&handle));
        let bare = text.trim_end_matches('=');
        assert_eq!(RecallHandle::parse(bare), Some(handle));
    }

    #[test]
    fn what_is_no_handle_is_none() {
        for text in ["", "v1", "a", "@@@@", "djE", "djIgYSBiIDEga2V5"] {
            assert_eq!(RecallHandle::parse(text), None, "{text:?}");
        }
        let without_time = RecallHandle::parse("djEgYSBiIHggaw==").unwrap();
        assert_eq!((without_time.due, &*without_time.unique_key), (-1, "k"));
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(base64::decode(&base64::encode(&bytes, URL_SAFE), URL_SAFE), Some(bytes));
        }
    }
}
