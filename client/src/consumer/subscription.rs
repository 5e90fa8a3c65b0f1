//! What of a topic a consumer wants: every message, or those with one of some tags.

use common::message::java_hash;
use common::wire::body::SubscriptionData;

use crate::error::ClientError;

/// Subscribes to everything.
pub const SUBSCRIBE_ALL: &str = "*";

/// A subscription as users write it, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// `*` or nothing: all messages.
    All,
    /// `A || B`: messages whose tag is one of these, in the order given, each once.
    Tags(Vec<String>),
}

impl Filter {
    /// Parses `*`, an empty text, or tags separated by `||`.
    ///
    /// # Errors
    /// [`ClientError::InvalidConfig`] when there are separators and no tag.
    pub fn parse(expression: &str) -> Result<Self, ClientError> {
        let expression = expression.trim();
        if expression.is_empty() || expression == SUBSCRIBE_ALL {
            return Ok(Self::All);
        }
        let mut tags: Vec<String> = Vec::new();
        for tag in expression
            .split("||")
            .map(str::trim)
            .filter(|tag| !tag.is_empty())
        {
            if !tags.iter().any(|known| known == tag) {
                tags.push(tag.to_owned());
            }
        }
        if tags.is_empty() {
            return Err(ClientError::InvalidConfig {
                what: "subscription",
                reason: format!("`{expression}` has separators and no tag"),
            });
        }
        Ok(Self::Tags(tags))
    }

    /// Whether a message with this tag is wanted. Brokers compare hashes of tags only, so strings that
    /// collide come along and are dropped here; a message without a tag matches no list.
    pub fn matches(&self, tag: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Tags(tags) => tag.is_some_and(|tag| tags.iter().any(|wanted| wanted == tag)),
        }
    }
}

/// A topic and what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The topic.
    pub topic: String,
    /// The expression as written, what brokers and tools show.
    pub expression: String,
    /// The expression, parsed.
    pub filter: Filter,
    /// When it was made, in ms since the epoch: brokers take the newer of two that differ.
    pub version: i64,
}

impl Subscription {
    /// Parses `expression` for `topic`.
    ///
    /// # Errors
    /// As [`Filter::parse`].
    pub fn new(topic: &str, expression: &str, version: i64) -> Result<Self, ClientError> {
        let filter = Filter::parse(expression)?;
        let expression = match &filter {
            Filter::All => SUBSCRIBE_ALL.to_owned(),
            Filter::Tags(_) => expression.trim().to_owned(),
        };
        Ok(Self {
            topic: topic.to_owned(),
            expression,
            filter,
            version,
        })
    }

    /// The form heartbeats carry.
    pub fn to_wire(&self) -> SubscriptionData {
        let tags = match &self.filter {
            Filter::All => Vec::new(),
            Filter::Tags(tags) => tags.clone(),
        };
        let hashes = tags.iter().map(|tag| java_hash(tag)).collect();
        SubscriptionData {
            topic: self.topic.clone(),
            sub_string: self.expression.clone(),
            tags_set: tags.into_iter().collect(),
            code_set: hashes,
            sub_version: self.version,
            expression_type: "TAG".to_owned(),
            ..SubscriptionData::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_all_and_tags() {
        let check =
            |text: &str, expected: Filter| assert_eq!(Filter::parse(text).unwrap(), expected);
        check("*", Filter::All);
        check("", Filter::All);
        check("  ", Filter::All);
        check("A", Filter::Tags(vec!["A".into()]));
        check("A||B", Filter::Tags(vec!["A".into(), "B".into()]));
        check(" A || B ||A|| ", Filter::Tags(vec!["A".into(), "B".into()]));
        check("A|B", Filter::Tags(vec!["A|B".into()]));
    }

    #[test]
    fn separators_without_a_tag_are_refused() {
        let error = Filter::parse("|| ||").unwrap_err();
        assert!(error.to_string().contains("no tag"), "{error}");
    }

    #[test]
    fn tags_with_one_hash_are_told_apart() {
        assert_eq!(java_hash("AaBB"), java_hash("BBAa"));
        let filter = Filter::parse("AaBB").unwrap();
        assert!(filter.matches(Some("AaBB")));
        assert!(!filter.matches(Some("BBAa")));
        assert!(!filter.matches(None));
        assert!(Filter::All.matches(None));
    }

    #[test]
    fn the_wire_form_carries_tags_and_hashes() {
        let data = Subscription::new("T", " TagA || TagB ", 7)
            .unwrap()
            .to_wire();
        assert_eq!(data.topic, "T");
        assert_eq!(data.sub_string, "TagA || TagB");
        assert_eq!(data.sub_version, 7);
        assert_eq!(data.expression_type, "TAG");
        assert_eq!(data.tags_set.len(), 2);
        assert!(data.code_set.contains(&2_598_919) && data.code_set.contains(&2_598_920));
        assert!(
            Subscription::new("T", "", 7)
                .unwrap()
                .to_wire()
                .tags_set
                .is_empty()
        );
    }
}
