//! What of a topic a consumer wants: every message, or those with one of some tags. In the form heartbeats carry.

use common::message::java_hash;
use common::wire::body::SubscriptionData;

use crate::error::ClientError;

/// Subscribes to everything.
pub(crate) const SUBSCRIBE_ALL: &str = "*";

/// A subscription of `topic`: to all of it for `*` and an empty text, else to tags separated by `||`. `version`: when it was
/// made, in ms since the epoch; brokers take the newer of two that differ.
///
/// # Errors
/// [`ClientError::InvalidConfig`] when there are separators and no tag.
pub(crate) fn subscription(
    topic: &str,
    expression: &str,
    version: i64,
) -> Result<SubscriptionData, ClientError> {
    let mut made = SubscriptionData {
        topic: topic.to_owned(),
        sub_string: SUBSCRIBE_ALL.to_owned(),
        sub_version: version,
        ..SubscriptionData::default()
    };
    let expression = expression.trim();
    if expression.is_empty() || expression == SUBSCRIBE_ALL {
        return Ok(made);
    }
    let tags = expression.split("||").map(str::trim);
    made.tags_set = tags
        .filter(|tag| !tag.is_empty())
        .map(str::to_owned)
        .collect();
    if made.tags_set.is_empty() {
        let reason = format!("`{expression}` has separators and no tag");
        return Err(ClientError::invalid("subscription", reason));
    }
    made.code_set = made.tags_set.iter().map(|tag| java_hash(tag)).collect();
    expression.clone_into(&mut made.sub_string);
    Ok(made)
}

/// Whether a message with this tag is wanted. Brokers compare hashes of tags only, so strings that
/// collide come along and are dropped here; a message without a tag matches no list.
pub(crate) fn wants(subscription: &SubscriptionData, tag: Option<&str>) -> bool {
    let tags = &subscription.tags_set;
    tags.is_empty() || tag.is_some_and(|tag| tags.contains(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(expression: &str) -> Vec<String> {
        let subscription = subscription("T", expression, 7).unwrap();
        subscription.tags_set.into_iter().collect()
    }

    #[test]
    fn parses_all_and_tags() {
        for all in ["*", "", "  "] {
            assert!(tags(all).is_empty(), "{all:?}");
        }
        assert_eq!(tags("A"), ["A"]);
        assert_eq!(tags("A||B"), ["A", "B"]);
        assert_eq!(tags(" A || B ||A|| "), ["A", "B"]);
        assert_eq!(tags("A|B"), ["A|B"]);
    }

    #[test]
    fn separators_without_a_tag_are_refused() {
        let error = subscription("T", "|| ||", 7).unwrap_err();
        assert!(error.to_string().contains("no tag"), "{error}");
    }

    #[test]
    fn tags_with_one_hash_are_told_apart() {
        assert_eq!(java_hash("AaBB"), java_hash("BBAa"));
        let one = subscription("T", "AaBB", 7).unwrap();
        assert!(wants(&one, Some("AaBB")));
        assert!(!wants(&one, Some("BBAa")));
        assert!(!wants(&one, None));
        assert!(wants(&subscription("T", "*", 7).unwrap(), None));
    }

    #[test]
    fn brokers_get_tags_and_hashes() {
        let data = subscription("T", " TagA || TagB ", 7).unwrap();
        assert_eq!(data.topic, "T");
        assert_eq!(data.sub_string, "TagA || TagB");
        assert_eq!(data.sub_version, 7);
        assert_eq!(data.expression_type, "TAG");
        assert_eq!(data.tags_set.len(), 2);
        assert!(data.code_set.contains(&2_598_919) && data.code_set.contains(&2_598_920));
        assert_eq!(subscription("T", "", 7).unwrap().sub_string, "*");
    }
}
