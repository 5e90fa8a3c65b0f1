//! Which messages of a queue a consumer wants, decided from the tag hashes of the consume queue.
//!
//! The broker compares 32-bit hashes only; clients compare the tags themselves once more. Expressions other than
//! tag lists are recognized here and refused by those who ask, as a broker with `enablePropertyFilter=false` does.

use common::message::java_hash;
use common::wire::body::SubscriptionData;

/// Expression type of tag lists; also meant when a request names none.
const TAG: &str = "TAG";
/// The expression that selects every message.
const ALL: &str = "*";
/// Stands between the tags of a list.
const SEPARATOR: &str = "||";

/// What is selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Every message.
    All,
    /// Messages whose tag has one of these hashes: sorted, each once.
    Tags(Box<[i32]>),
    /// An expression of a type that is not evaluated here; holds the name of the type.
    Unsupported(Box<str>),
}

/// Why an expression that came with a pull selects nothing at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A tag list without anything between its separators.
    #[error("a tag list of separators only")]
    SeparatorsOnly,
    /// An expression of another type without text.
    #[error("an empty expression")]
    Empty,
}

impl Filter {
    /// The filter a pull brings along; `*` or no text at all selects everything.
    ///
    /// # Errors
    /// See [`FilterError`].
    pub fn parse(expression_type: Option<&str>, text: Option<&str>) -> Result<Self, FilterError> {
        let text = text.unwrap_or_default();
        match expression_type {
            Some(kind) if !is_tag_type(kind) => match text {
                "" => Err(FilterError::Empty),
                _ => Ok(Self::Unsupported(kind.into())),
            },
            _ => Self::parse_tags(text),
        }
    }

    /// `A||B`: blanks around a tag do not count, empty tags are left out.
    fn parse_tags(list: &str) -> Result<Self, FilterError> {
        if list.is_empty() || list == ALL {
            return Ok(Self::All);
        }
        // The reference splits with a function that drops empty parts at the end, and complains if none is left.
        if list.split(SEPARATOR).all(str::is_empty) {
            return Err(FilterError::SeparatorsOnly);
        }
        let tags = list
            .split(SEPARATOR)
            .map(|tag| tag.trim_matches(|c| c <= ' '));
        Ok(Self::of_codes(
            tags.filter(|tag| !tag.is_empty()).map(java_hash),
        ))
    }

    /// The filter of a subscription that a heartbeat registered. The hashes it carries count, not its text.
    pub fn registered(data: &SubscriptionData) -> Self {
        if !is_tag_type(&data.expression_type) {
            Self::Unsupported(data.expression_type.as_str().into())
        } else if data.class_filter_mode || data.sub_string == ALL {
            Self::All
        } else {
            Self::of_codes(data.code_set.iter().copied())
        }
    }

    fn of_codes(codes: impl Iterator<Item = i32>) -> Self {
        let mut codes: Vec<i32> = codes.collect();
        codes.sort_unstable();
        codes.dedup();
        Self::Tags(codes.into())
    }

    /// True when a message with this tags code of the consume queue is wanted. Messages without a tag have code 0.
    pub fn matches(&self, tags_code: i64) -> bool {
        match self {
            Self::All => true,
            Self::Tags(codes) => codes.binary_search(&low_bits(tags_code)).is_ok(),
            Self::Unsupported(_) => false,
        }
    }
}

/// True for tag lists; no name means them too. Names are case-sensitive.
pub fn is_tag_type(expression_type: &str) -> bool {
    expression_type.is_empty() || expression_type == TAG
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a tag hash has 32 bits; the unit stores it sign-extended"
)]
fn low_bits(code: i64) -> i32 {
    code as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::message::tags_code;

    fn selects(list: &str, tag: &str) -> bool {
        Filter::parse(Some(TAG), Some(list))
            .unwrap()
            .matches(tags_code(tag))
    }

    fn registered(kind: &str, text: &str, codes: &[&str]) -> Filter {
        Filter::registered(&SubscriptionData {
            expression_type: kind.to_owned(),
            sub_string: text.to_owned(),
            code_set: codes.iter().map(|tag| java_hash(tag)).collect(),
            ..SubscriptionData::default()
        })
    }

    #[test]
    fn a_list_selects_its_tags_with_blanks_around_them() {
        for (list, selected) in [
            ("A", "A"),
            ("A||B", "AB"),
            (" A || B ", "AB"),
            ("A||", "A"),
            ("||B", "B"),
            ("a", ""),
        ] {
            let got: String = ["A", "B", "C"]
                .into_iter()
                .filter(|tag| selects(list, tag))
                .collect();
            assert_eq!(got, selected, "{list:?}");
        }
        assert!(selects("A B", "A B") && !selects("A B", "A"));
    }

    #[test]
    fn a_star_or_nothing_selects_everything() {
        for text in [None, Some(""), Some("*")] {
            for kind in [None, Some(""), Some("TAG")] {
                assert_eq!(Filter::parse(kind, text), Ok(Filter::All));
            }
        }
    }

    #[test]
    fn separators_alone_are_refused_but_blanks_between_them_select_nothing() {
        for list in ["||", "||||"] {
            assert_eq!(
                Filter::parse(None, Some(list)),
                Err(FilterError::SeparatorsOnly)
            );
        }
        assert_eq!(
            Filter::parse(None, Some(" || ")),
            Ok(Filter::Tags([].into()))
        );
        assert!(!selects("   ", ""));
    }

    #[test]
    fn tags_with_equal_hashes_are_not_told_apart() {
        assert!(selects("Aa", "BB") && selects("Aa", "C#") && !selects("Aa", "AA"));
    }

    #[test]
    fn an_untagged_message_matches_no_list() {
        assert!(!Filter::parse(None, Some("A||B")).unwrap().matches(0));
        assert!(Filter::All.matches(0));
    }

    #[test]
    fn other_types_are_recognized_by_their_exact_name() {
        for kind in ["SQL92", "tag", "FOO"] {
            assert_eq!(
                Filter::parse(Some(kind), Some("a > 5")),
                Ok(Filter::Unsupported(kind.into()))
            );
            assert_eq!(Filter::parse(Some(kind), None), Err(FilterError::Empty));
        }
    }

    #[test]
    fn the_hashes_of_a_heartbeat_count_and_not_its_text() {
        assert!(!registered("TAG", "A", &[]).matches(tags_code("A")));
        assert!(registered("TAG", "A", &["B"]).matches(tags_code("B")));
        assert_eq!(registered("", "*", &["B"]), Filter::All);
        assert_eq!(
            registered("SQL92", "a > 5", &[]),
            Filter::Unsupported("SQL92".into())
        );
    }

    #[test]
    fn a_negative_hash_is_found_in_its_sign_extended_form() {
        let tag = "zzzzzzzz";
        assert!(tags_code(tag) < 0 && selects(tag, tag));
    }
}
