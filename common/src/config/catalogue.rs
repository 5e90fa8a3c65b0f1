//! Keys of the reference that have no field: ignored with a reason, or refused with one.

use super::{Config, ConfigValue, Field};

/// Keys that are accepted and have no effect, for one common reason: why, as a clause without a full stop, and the keys with
/// blanks or line breaks between them. What the reference starts with may follow a key, as in `key=20`: tools are shown it.
#[derive(Clone, Copy, Debug)]
pub struct Ignored(pub &'static str, pub &'static str);

impl Ignored {
    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.entries().map(|(key, _)| key)
    }

    /// The keys with what the reference starts with, empty where that is nothing or depends on the machine.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let entries = self.1.split_whitespace();
        entries.map(|entry| entry.split_once('=').unwrap_or((entry, "")))
    }
}

/// A key that stops the start where it asks for something that must not be left undone silently: the key, its values that stop
/// the start (all others say what we do anyway), why, and what to do about it, as a clause without a full stop.
#[derive(Clone, Copy, Debug)]
pub struct Refused(pub &'static str, pub Unsafe, pub &'static str);

/// Which values of a key it would be unsafe to ignore.
#[derive(Clone, Copy, Debug)]
pub enum Unsafe {
    /// Everything except `false`.
    True,
    /// Everything except the empty text.
    NotEmpty,
    /// This value, in any case of letters.
    Is(&'static str),
    /// Everything except this value, in any case of letters.
    Not(&'static str),
}

impl Unsafe {
    /// Whether this value stops the start.
    pub fn matches(self, value: &str) -> bool {
        let value = value.trim();
        match self {
            Self::True => bool::from_text(value) != Some(false),
            Self::NotEmpty => !value.is_empty(),
            Self::Is(text) => value.eq_ignore_ascii_case(text),
            Self::Not(text) => !value.eq_ignore_ascii_case(text),
        }
    }

    /// The refused values, for documents.
    pub fn describe(self) -> String {
        match self {
            Self::True => "true".to_owned(),
            Self::NotEmpty => "any value".to_owned(),
            Self::Is(text) => text.to_owned(),
            Self::Not(text) => format!("any but {text}"),
        }
    }
}

/// What a key is to a server. A key that is refused with some values can be honoured with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It has a field.
    Honoured,
    /// It has no effect, although its user may think so.
    Ignored,
    /// It says what we do anyway.
    Harmless,
}

/// Why `key` must not have this value, if it must not.
pub(super) fn refusal<C: Config>(key: &str, value: &str) -> Option<&'static str> {
    let Refused(_, when, reason) = C::REFUSED.iter().find(|refused| refused.0 == key)?;
    when.matches(value).then_some(*reason)
}

/// What `key` is to the server with the settings `C`, `None` for a key that nobody knows.
pub(super) fn find<C: Config>(key: &str) -> Option<Known> {
    if C::fields().iter().any(|field| field.key == key) {
        Some(Known::Honoured)
    } else if C::IGNORED
        .iter()
        .flat_map(Ignored::keys)
        .any(|known| known == key)
    {
        Some(Known::Ignored)
    } else {
        let refused = C::REFUSED.iter().any(|refused| refused.0 == key);
        refused.then_some(Known::Harmless)
    }
}

/// The ignored key `key`, if a value like this can be set for it: a number or a switch stays one.
pub(super) fn ignored<C: Config>(key: &str, value: &str) -> Option<&'static str> {
    let mut entries = C::IGNORED.iter().flat_map(Ignored::entries);
    let (known, default) = entries.find(|(known, _)| *known == key)?;
    let fits = if bool::from_text(default).is_some() {
        bool::from_text(value).is_some()
    } else {
        i64::from_text(default).is_none() || i64::from_text(value).is_some()
    };
    fits.then_some(known)
}

/// Every key the server with the settings `C` knows.
pub fn known_keys<C: Config>() -> impl Iterator<Item = &'static str> {
    let fields: &'static [Field] = C::fields();
    let fields = fields.iter().map(|field| field.key);
    let refused = C::REFUSED.iter().map(|refused| refused.0);
    fields
        .chain(C::IGNORED.iter().flat_map(Ignored::keys))
        .chain(refused)
}

/// The known key that `key` was most likely meant to be: at most a third of its letters differ.
pub(super) fn nearest<C: Config>(key: &str) -> Option<&'static str> {
    let wanted = key.to_ascii_lowercase();
    known_keys::<C>()
        .map(|known| (distance(&wanted, &known.to_ascii_lowercase()), known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(1))
        .map(|(_, known)| known)
}

/// Number of letters to insert, remove, change or swap with their neighbour to come from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_slips() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "", 3),
            ("listenPort", "listenPorts", 1),
            ("listenPort", "litsenPort", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn unsafe_values_are_told_from_harmless_ones() {
        for (when, value, expected) in [
            (Unsafe::True, "true", true),
            (Unsafe::True, "TRUE ", true),
            (Unsafe::True, "maybe", true),
            (Unsafe::True, " False", false),
            (Unsafe::NotEmpty, " ", false),
            (Unsafe::NotEmpty, "x", true),
            (Unsafe::Is("SLAVE"), "slave", true),
            (Unsafe::Is("SLAVE"), "MASTER", false),
            (Unsafe::Not("default"), "default", false),
            (Unsafe::Not("default"), "rocks", true),
        ] {
            assert_eq!(when.matches(value), expected, "{when:?} {value}");
        }
    }
}
