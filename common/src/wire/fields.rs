//! Header fields (`extFields`): ordered text pairs in one reusable buffer, and typed views of them.

use std::fmt::{self, Write as _};
use std::ops::Range;

/// The `extFields` of a header: text pairs, in the order they were written.
///
/// All text lives in one arena, so a `Fields` that is reused for frame after frame stops allocating.
/// A key that occurs twice keeps its last value, as readers of the protocol expect.
#[derive(Clone, Default)]
pub struct Fields {
    text: String,
    entries: Vec<Entry>,
}

/// Where in the arena a pair stands.
#[derive(Clone)]
struct Entry {
    key: usize,
    key_bytes: usize,
    value: usize,
    value_bytes: usize,
}

impl Entry {
    fn key(&self) -> Range<usize> {
        self.key..self.key + self.key_bytes
    }

    fn value(&self) -> Range<usize> {
        self.value..self.value + self.value_bytes
    }
}

impl Fields {
    /// No fields, no memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// No fields, room for `pairs` of them whose keys and values take `text_bytes` in all.
    pub fn with_capacity(pairs: usize, text_bytes: usize) -> Self {
        Self {
            text: String::with_capacity(text_bytes),
            entries: Vec::with_capacity(pairs),
        }
    }

    /// Forgets the fields, keeps the memory (up to 64 KiB of it).
    pub fn clear(&mut self) {
        self.entries.clear();
        self.text.clear();
        if self.text.capacity() > KEPT_TEXT_BYTES {
            self.text = String::new();
        }
    }

    /// Number of pairs, repeated keys counted each time.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when there is no pair.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Value of `key`; of several the last.
    pub fn get(&self, key: &str) -> Option<&str> {
        let (text, key) = (self.text.as_bytes(), key.as_bytes());
        // Nearly all other keys differ in their length or in their first byte already.
        let is_it = |e: &&Entry| {
            e.key_bytes == key.len()
                && (key.is_empty() || text.get(e.key) == key.first())
                && text.get(e.key()) == Some(key)
        };
        let found = self.entries.iter().rev().find(is_it);
        found.map(|e| &self.text[e.value()])
    }

    /// The values of many keys in one pass: `slot` says which of the places the value of a key has, if it has one.
    #[inline]
    pub(super) fn values<const N: usize>(
        &self,
        slot: impl Fn(&[u8]) -> Option<usize>,
    ) -> [Option<&str>; N] {
        let mut values = [None; N];
        for entry in &self.entries {
            let slot = slot(&self.text.as_bytes()[entry.key()]);
            if let Some(value) = slot.and_then(|slot| values.get_mut(slot)) {
                *value = Some(&self.text[entry.value()]);
            }
        }
        values
    }

    /// The pairs in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .iter()
            .map(|e| (&self.text[e.key()], &self.text[e.value()]))
    }

    /// Adds a pair.
    pub fn push(&mut self, key: &str, value: &str) {
        let key = self.append(key);
        let value = self.append(value);
        self.commit(key, value);
    }

    /// Adds a pair whose value is formatted.
    pub fn set(&mut self, key: &str, value: impl fmt::Display) {
        let key = self.append(key);
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{value}");
        self.commit(key.clone(), key.end..self.text.len());
    }

    /// Puts a text into the arena, which may be one that holds several keys and values.
    pub(super) fn append(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }

    /// The arena.
    pub(super) fn text_mut(&mut self) -> &mut String {
        &mut self.text
    }

    /// Adds a pair whose text is in the arena.
    #[inline]
    pub(super) fn commit(&mut self, key: Range<usize>, value: Range<usize>) {
        self.entries.push(Entry {
            key: key.start,
            key_bytes: key.end - key.start,
            value: value.start,
            value_bytes: value.end - value.start,
        });
    }

    /// A value of type `T`, or what is wrong with the field.
    ///
    /// # Errors
    /// [`FieldError::Missing`] when the field is absent, [`FieldError::Invalid`] when it is no `T`.
    pub fn required<T: FieldValue>(&self, field: &'static str) -> Result<T, FieldError> {
        let text = self.get(field).ok_or(FieldError::Missing { field })?;
        FieldError::checked(field, text)
    }

    /// A value of type `T` if the field is there.
    ///
    /// # Errors
    /// [`FieldError::Invalid`] when it is there and no `T`.
    pub fn optional<T: FieldValue>(&self, field: &'static str) -> Result<Option<T>, FieldError> {
        let Some(text) = self.get(field) else {
            return Ok(None);
        };
        FieldError::checked(field, text).map(Some)
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Fields {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let mut fields = Self::new();
        for (key, value) in pairs {
            fields.push(key, value);
        }
        fields
    }
}

/// Arena a cleared `Fields` may keep.
const KEPT_TEXT_BYTES: usize = 64 * 1024;
/// Longest piece of a wrong value that an error repeats.
const SHOWN_CHARS: usize = 64;

/// What is wrong with a header field, in words for the remark of the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// A field the request needs is absent.
    #[error("the required field {field} is missing")]
    Missing {
        /// Wire name of the field.
        field: &'static str,
    },
    /// A field has a value of another kind.
    #[error("the field {field} is \"{value}\", expected {expected}")]
    Invalid {
        /// Wire name of the field.
        field: &'static str,
        /// The value that came, cut to a readable length.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
}

impl FieldError {
    /// The value that `text` means in `field`, or that it means none.
    #[inline]
    pub(super) fn checked<T: FieldValue>(field: &'static str, text: &str) -> Result<T, Self> {
        T::parse(text).ok_or_else(|| Self::invalid(field, text, T::EXPECTED))
    }

    /// `field` holds `value` where `expected` was due.
    pub fn invalid(field: &'static str, value: &str, expected: &'static str) -> Self {
        Self::Invalid {
            field,
            value: value.chars().take(SHOWN_CHARS).collect(),
            expected,
        }
    }
}

/// A type that header fields can hold.
pub trait FieldValue: Sized {
    /// What a right value looks like, for error texts.
    const EXPECTED: &'static str;
    /// Reads the text of a field.
    fn parse(text: &str) -> Option<Self>;
    /// Appends a field of this value.
    fn write(&self, key: &str, fields: &mut Fields);
}

impl FieldValue for String {
    const EXPECTED: &'static str = "text";
    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
    fn write(&self, key: &str, fields: &mut Fields) {
        fields.push(key, self);
    }
}

impl FieldValue for bool {
    const EXPECTED: &'static str = "true or false";
    /// As the reference reads it: `true` in any case, everything else is false.
    fn parse(text: &str) -> Option<Self> {
        Some(text.eq_ignore_ascii_case("true"))
    }
    fn write(&self, key: &str, fields: &mut Fields) {
        fields.push(key, if *self { "true" } else { "false" });
    }
}

macro_rules! integer_field {
    ($($type:ty: $expected:literal),*) => {$(
        impl FieldValue for $type {
            const EXPECTED: &'static str = $expected;
            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }
            fn write(&self, key: &str, fields: &mut Fields) {
                fields.push(key, itoa::Buffer::new().format(*self));
            }
        }
    )*};
}
integer_field! {
    i32: "an integer from -2147483648 to 2147483647",
    i64: "an integer of 64 bits",
    u32: "an integer from 0 to 4294967295",
    u64: "an integer from 0 to 18446744073709551615"
}

/// A typed header: the fields of one kind of request or response.
pub trait WireHeader: Sized {
    /// Reads the header from its fields.
    ///
    /// # Errors
    /// Names the first field that is missing or no value of its type.
    fn parse(fields: &Fields) -> Result<Self, FieldError>;
    /// Appends the header to `fields`.
    fn write(&self, fields: &mut Fields);
}

/// Field access by declared type: `T` is required, `Option<T>` may be absent.
pub trait FieldSlot: Sized {
    /// Reads the field.
    ///
    /// # Errors
    /// See [`FieldError`].
    fn read(fields: &Fields, key: &'static str) -> Result<Self, FieldError>;
    /// Appends the field if it has a value.
    fn store(&self, key: &str, fields: &mut Fields);
}

impl<T: FieldValue> FieldSlot for T {
    fn read(fields: &Fields, key: &'static str) -> Result<Self, FieldError> {
        fields.required(key)
    }
    fn store(&self, key: &str, fields: &mut Fields) {
        self.write(key, fields);
    }
}

impl<T: FieldValue> FieldSlot for Option<T> {
    fn read(fields: &Fields, key: &'static str) -> Result<Self, FieldError> {
        fields.optional(key)
    }
    fn store(&self, key: &str, fields: &mut Fields) {
        if let Some(value) = self {
            value.write(key, fields);
        }
    }
}

/// Declares a header struct with its wire names: `pub queue_id: i32 = "queueId"`. `Option` fields may be absent.
macro_rules! wire_header {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident: $type:ty = $key:literal),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $name { $($(#[$fmeta])* pub $field: $type),* }

        impl $crate::wire::WireHeader for $name {
            #[allow(unused_variables, reason = "headers without fields read nothing")]
            fn parse(fields: &$crate::wire::Fields) -> Result<Self, $crate::wire::FieldError> {
                Ok(Self { $($field: $crate::wire::fields::FieldSlot::read(fields, $key)?),* })
            }
            #[allow(unused_variables, reason = "headers without fields write nothing")]
            fn write(&self, fields: &mut $crate::wire::Fields) {
                $($crate::wire::fields::FieldSlot::store(&self.$field, $key, fields);)*
            }
        }
    )*};
}
pub(crate) use wire_header;

#[cfg(test)]
mod tests {
    use super::*;

    wire_header! {
        /// For the tests.
        pub struct Sample {
            /// Required.
            pub queue_id: i32 = "queueId",
            /// Optional.
            pub committed: Option<bool> = "committed",
        }
    }

    #[test]
    fn a_header_round_trips_through_fields() {
        let header = Sample {
            queue_id: -7,
            committed: Some(true),
        };
        let mut fields = Fields::new();
        header.write(&mut fields);
        assert_eq!(
            fields.iter().collect::<Vec<_>>(),
            [("queueId", "-7"), ("committed", "true")]
        );
        assert_eq!(Sample::parse(&fields), Ok(header));
    }

    #[test]
    fn errors_name_the_field_and_what_would_be_right() {
        let missing = Sample::parse(&Fields::new()).unwrap_err();
        assert_eq!(missing.to_string(), "the required field queueId is missing");
        let wrong = Sample::parse(&[("queueId", "1.5")].into_iter().collect()).unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "the field queueId is \"1.5\", expected an integer from -2147483648 to 2147483647"
        );
    }

    #[test]
    fn the_last_of_equal_keys_wins() {
        let fields: Fields = [("k", "1"), ("k", "2")].into_iter().collect();
        assert_eq!(fields.get("k"), Some("2"));
        assert_eq!(fields.len(), 2);
    }
}
