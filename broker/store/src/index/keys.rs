//! What a record is found by.
//!
//! `UNIQ_KEY`, each item of `KEYS` and the tags as `T#tags`, each behind `topic#`. An entry holds only the hash.

use common::message::{java_hash, java_hash_append, properties, sys_flag};

/// Stands before tags, so that they are no ordinary key.
const TAGS_PREFIX: &str = "T#";

/// Whether a record with this flag is found by its keys: all but rollbacks.
pub(crate) fn is_indexed(sys_flag: i32) -> bool {
    sys_flag & sys_flag::TRANSACTION_TYPE != sys_flag::TRANSACTION_ROLLBACK
}

/// Where the hashes of all keys of a topic begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TopicHash(i32);

impl TopicHash {
    pub(crate) fn of(topic: &str) -> Self {
        Self(java_hash_append(java_hash(topic), "#"))
    }

    /// Hash of a key of this topic as entries hold it: never negative.
    pub(crate) fn key(self, key: &str) -> i32 {
        java_hash_append(self.0, key).checked_abs().unwrap_or(0)
    }

    /// Hash of tags of this topic.
    pub(crate) fn tags(self, tags: &str) -> i32 {
        Self(java_hash_append(self.0, TAGS_PREFIX)).key(tags)
    }
}

/// The properties by which a record is found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys<'a> {
    unique: Option<&'a str>,
    /// Separated by spaces.
    several: Option<&'a str>,
    pub(crate) tags: Option<&'a str>,
}

impl<'a> Keys<'a> {
    pub(crate) fn of(properties: &'a str) -> Self {
        let names = [properties::UNIQUE_KEY, properties::KEYS, properties::TAGS];
        let [unique, several, tags] = properties::get_each(properties, names);
        Self {
            unique,
            several,
            tags,
        }
    }

    /// The hash of every key, in the order of the entries.
    pub(crate) fn hashes(&self, topic: TopicHash) -> impl Iterator<Item = i32> + use<'a> {
        let tags = self.tags.map(|tags| topic.tags(tags));
        self.plain().map(move |key| topic.key(key)).chain(tags)
    }

    /// Whether `key` is one of them; a key that looks like tags finds them, as its hash does.
    pub(crate) fn contain(&self, key: &str) -> bool {
        let tags = key.strip_prefix(TAGS_PREFIX);
        self.plain().any(|own| own == key) || (tags.is_some() && tags == self.tags)
    }

    /// As [`Self::contain`], for tags.
    pub(crate) fn contain_tags(&self, tags: &str) -> bool {
        self.tags == Some(tags)
    }

    /// Whether there is a key besides the tags.
    pub(super) fn has_plain(&self) -> bool {
        self.plain().next().is_some()
    }

    fn plain(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let several = self.several.unwrap_or_default().split(' ');
        let unique = self.unique.into_iter();
        unique.chain(several.filter(|key| !key.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(topic: &str, properties: &str) -> Vec<i32> {
        Keys::of(properties).hashes(TopicHash::of(topic)).collect()
    }

    #[test]
    fn keys_are_hashed_behind_their_topic() {
        let java = |text: &str| java_hash(text).wrapping_abs();
        assert_eq!(
            hashes(
                "Tä",
                "KEYS\u{1}a  b \u{2}TAGS\u{1}x y\u{2}UNIQ_KEY\u{1}U1\u{2}"
            ),
            [java("Tä#U1"), java("Tä#a"), java("Tä#b"), java("Tä#T#x y")]
        );
        assert!(hashes("T", "WAIT\u{1}true\u{2}").is_empty());
    }

    #[test]
    fn smallest_number_has_no_positive_counterpart() {
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
        assert_eq!(TopicHash(java_hash("polygenelubrican")).key("ts"), 0);
    }

    #[test]
    fn rollbacks_are_not_indexed() {
        assert!(is_indexed(0) && is_indexed(sys_flag::TRANSACTION_PREPARED));
        assert!(!is_indexed(
            sys_flag::TRANSACTION_ROLLBACK | sys_flag::COMPRESSED
        ));
    }

    #[test]
    fn contained_keys_are_whole_items() {
        let keys = Keys::of("KEYS\u{1}ka kb\u{2}TAGS\u{1}t\u{2}UNIQ_KEY\u{1}u\u{2}");
        let check = |key, expected| assert_eq!(keys.contain(key), expected, "{key}");
        check("ka", true);
        check("u", true);
        check("T#t", true);
        check("t", false);
        check("ka kb", false);
        check("", false);
        assert!(keys.contain_tags("t") && !keys.contain_tags("ka"));
    }
}
