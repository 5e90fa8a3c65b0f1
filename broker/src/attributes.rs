//! Attributes of topics and groups: which there are, and how requests change them.
//!
//! A request names a change by the first character of the key: `+name` adds or updates, `-name` deletes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Attributes by name, or changes by name with prefix.
pub type Attributes = BTreeMap<String, String>;

/// Values an attribute takes.
#[derive(Debug, Clone, Copy)]
pub enum Values {
    /// One of a list.
    OneOf(&'static [&'static str]),
    /// An integer, both ends included.
    Integer(i64, i64),
    /// `true` or `false`.
    Boolean,
    /// Anything.
    Text,
}

/// An attribute there may be.
#[derive(Debug, Clone, Copy)]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// Values it takes.
    pub values: Values,
    /// Whether it may still change on something that exists.
    pub changeable: bool,
}

/// An attribute of our own: milliseconds in which a message that is sent again is not stored again.
pub const DEDUPLICATION_WINDOW: &str = "deduplication.window.ms";

/// Attributes of topics.
pub const TOPIC_ATTRIBUTES: &[Attribute] = &[
    changeable("message.type", Values::OneOf(MESSAGE_TYPES)),
    fixed("queue.type", Values::OneOf(&["SimpleCQ", "BatchCQ"])),
    fixed("cleanup.policy", Values::OneOf(&["DELETE", "COMPACTION"])),
    changeable("reserve.time", Values::Integer(-1, i64::MAX)),
    changeable("lite.topic.expiration", Values::Integer(-1, 43_200)),
    changeable(DEDUPLICATION_WINDOW, Values::Integer(0, 86_400_000)),
];

const MESSAGE_TYPES: &[&str] = &[
    "UNSPECIFIED",
    "NORMAL",
    "FIFO",
    "DELAY",
    "TRANSACTION",
    "MIXED",
    "PRIORITY",
    "LITE",
];

/// Attributes of consumer groups.
pub const GROUP_ATTRIBUTES: &[Attribute] = &[
    changeable("priority.factor", Values::Integer(0, 100)),
    changeable("lite.bind.topic", Values::Text),
    changeable("lite.sub.model", Values::OneOf(&["Shared", "Exclusive"])),
    changeable("lite.sub.reset.offset.exclusive", Values::Boolean),
    changeable("lite.sub.reset.offset.unsubscribe", Values::Boolean),
    changeable("lite.sub.client.quota", Values::Integer(-1, i64::MAX)),
    changeable(
        "lite.sub.client.max.event.cnt",
        Values::Integer(10, i64::MAX),
    ),
    changeable("lite.sub.wildcard", Values::Text),
];

const fn changeable(name: &'static str, values: Values) -> Attribute {
    Attribute {
        name,
        values,
        changeable: true,
    }
}

const fn fixed(name: &'static str, values: Values) -> Attribute {
    Attribute {
        name,
        values,
        changeable: false,
    }
}

/// Why a change of attributes is refused. The text goes to the client as the remark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// A key with a value but without `+`.
    #[error("add/alter attribute format is wrong: {0}")]
    AddFormat(String),
    /// A key without a value and without `-`.
    #[error("delete attribute format is wrong: {0}")]
    DeleteFormat(String),
    /// A key that begins with neither sign.
    #[error("wrong format key: {0}")]
    KeyFormat(String),
    /// No name behind the sign, or one with a sign in it.
    #[error("kv string format wrong.")]
    Name,
    /// The same key twice.
    #[error("key duplication: {0}")]
    Duplicate(String),
    /// A deletion on something that is only now created.
    #[error("only add attribute is supported while creating topic. key: {0}")]
    DeleteOnCreate(String),
    /// A deletion of what is not set.
    #[error("attempt to delete a nonexistent key: {0}")]
    Absent(String),
    /// A name nobody knows.
    #[error("unsupported key: {0}")]
    Unsupported(String),
    /// A change of what is fixed once it exists.
    #[error("attempt to update an unchangeable attribute. key: {0}")]
    Unchangeable(String),
    /// A value that is none of the list.
    #[error("value is not in set: [{0}]")]
    NotInSet(String),
    /// No integer, or one outside the range.
    #[error("value is not in range({0}, {1})")]
    NotInRange(i64, i64),
    /// Neither `true` nor `false`.
    #[error("boolean attribute format is wrong.")]
    NotBoolean,
}

/// Reads `+key=value,-key` into changes by prefixed name.
///
/// # Errors
/// The first piece that is no change, or names a key a second time.
pub fn parse(text: &str) -> Result<Attributes, AttributeError> {
    let mut changes = Attributes::new();
    for piece in text.split(',').filter(|piece| !piece.is_empty()) {
        let (key, value) = match piece.split_once('=') {
            Some((key, _)) if !key.contains('+') => {
                return Err(AttributeError::AddFormat(key.to_owned()));
            }
            Some((key, value)) => (key, value),
            None if !piece.contains('-') => {
                return Err(AttributeError::DeleteFormat(piece.to_owned()));
            }
            None => (piece, ""),
        };
        match changes.entry(key.to_owned()) {
            Entry::Occupied(_) => return Err(AttributeError::Duplicate(key.to_owned())),
            Entry::Vacant(entry) => entry.insert(value.to_owned()),
        };
    }
    Ok(changes)
}

/// The attributes after `changes` (by prefixed name) to `current`, which is `None` for something that is only now created.
///
/// # Errors
/// The first change that is not allowed; then none is made.
pub fn alter(
    known: &[Attribute],
    current: Option<&Attributes>,
    changes: &Attributes,
) -> Result<Attributes, AttributeError> {
    let mut altered = current.cloned().unwrap_or_default();
    let mut seen = Vec::with_capacity(changes.len());
    for (key, value) in changes {
        let (sign, name) = key.split_at_checked(1).ok_or(AttributeError::Name)?;
        if name.trim().is_empty() || name.contains(['+', '-']) {
            return Err(AttributeError::Name);
        }
        if seen.contains(&name) {
            return Err(AttributeError::Duplicate(name.to_owned()));
        }
        seen.push(name);
        let exists = altered.contains_key(name);
        match (sign, current) {
            ("+", _) => {}
            (_, None) => return Err(AttributeError::DeleteOnCreate(name.to_owned())),
            ("-", _) if exists => {}
            ("-", _) => return Err(AttributeError::Absent(name.to_owned())),
            _ => return Err(AttributeError::KeyFormat(name.to_owned())),
        }
        let attribute = known
            .iter()
            .find(|attribute| attribute.name == name)
            .ok_or_else(|| AttributeError::Unsupported(name.to_owned()))?;
        // What has none of it yet would change its nature, too.
        if current.is_some() && !attribute.changeable {
            return Err(AttributeError::Unchangeable(name.to_owned()));
        }
        if sign == "+" {
            attribute.values.check(value)?;
            altered.insert(name.to_owned(), value.clone());
        } else {
            altered.remove(name);
        }
    }
    Ok(altered)
}

impl Values {
    fn check(self, value: &str) -> Result<(), AttributeError> {
        match self {
            Self::OneOf(values) if !values.contains(&value) => {
                Err(AttributeError::NotInSet(values.join(", ")))
            }
            Self::Integer(low, high)
                if !value
                    .parse()
                    .is_ok_and(|value: i64| (low..=high).contains(&value)) =>
            {
                Err(AttributeError::NotInRange(low, high))
            }
            Self::Boolean if !matches!(value, "true" | "false") => Err(AttributeError::NotBoolean),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(pairs: &[(&str, &str)]) -> Attributes {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn create(text: &str) -> Result<Attributes, AttributeError> {
        alter(TOPIC_ATTRIBUTES, None, &parse(text)?)
    }

    fn update(current: &[(&str, &str)], text: &str) -> Result<Attributes, AttributeError> {
        alter(TOPIC_ATTRIBUTES, Some(&attributes(current)), &parse(text)?)
    }

    #[test]
    fn attributes_are_added_changed_and_deleted() {
        assert_eq!(
            create("+message.type=FIFO"),
            Ok(attributes(&[("message.type", "FIFO")]))
        );
        assert_eq!(create(""), Ok(Attributes::new()));
        let fifo = &[("message.type", "FIFO")];
        assert_eq!(
            update(fifo, "+message.type=NORMAL"),
            Ok(attributes(&[("message.type", "NORMAL")]))
        );
        assert_eq!(update(fifo, "-message.type"), Ok(Attributes::new()));
        assert_eq!(
            update(fifo, "+reserve.time=-1"),
            Ok(attributes(&[
                ("message.type", "FIFO"),
                ("reserve.time", "-1")
            ]))
        );
    }

    #[test]
    fn refusals_have_the_texts_clients_know() {
        for (text, remark) in [
            (
                "message.type=FIFO",
                "add/alter attribute format is wrong: message.type",
            ),
            (
                "-message.type",
                "only add attribute is supported while creating topic. key: message.type",
            ),
            ("+foo=bar", "unsupported key: foo"),
            (
                "+message.type=FIFO,+message.type=NORMAL",
                "key duplication: +message.type",
            ),
            ("+=x", "kv string format wrong."),
            ("+", "delete attribute format is wrong: +"),
            ("+queue.type=x", "value is not in set: [SimpleCQ, BatchCQ]"),
            (
                "+lite.topic.expiration=43201",
                "value is not in range(-1, 43200)",
            ),
            (
                "+reserve.time=long",
                "value is not in range(-1, 9223372036854775807)",
            ),
        ] {
            assert_eq!(create(text).unwrap_err().to_string(), remark, "{text}");
        }
        let batch = &[("queue.type", "BatchCQ")];
        for text in ["+queue.type=SimpleCQ", "-queue.type"] {
            let remark = update(batch, text).unwrap_err().to_string();
            assert_eq!(
                remark, "attempt to update an unchangeable attribute. key: queue.type",
                "{text}"
            );
        }
        // A topic with simple queues gets none of the other kind among them.
        for text in ["+queue.type=BatchCQ", "+cleanup.policy=COMPACTION"] {
            let error = update(&[], text).unwrap_err();
            assert!(matches!(error, AttributeError::Unchangeable(_)), "{text}");
        }
        assert_eq!(
            update(&[], "-message.type").unwrap_err().to_string(),
            "attempt to delete a nonexistent key: message.type"
        );
    }

    #[test]
    fn a_name_cannot_be_added_and_deleted_at_once() {
        let both = attributes(&[("+reserve.time", "1"), ("-reserve.time", "")]);
        let error = alter(
            TOPIC_ATTRIBUTES,
            Some(&attributes(&[("reserve.time", "2")])),
            &both,
        )
        .unwrap_err();
        assert_eq!(error, AttributeError::Duplicate("reserve.time".to_owned()));
    }

    #[test]
    fn keys_that_are_not_ascii_are_refused_and_nothing_breaks() {
        assert_eq!(
            alter(TOPIC_ATTRIBUTES, None, &attributes(&[("\u{e4}x", "1")])),
            Err(AttributeError::Name)
        );
    }
}
