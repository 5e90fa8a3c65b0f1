//! Types a setting can have, and their text forms.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// A type of settings.
pub trait ConfigValue: Sized + PartialOrd {
    /// The value that `text` (without blanks around it) means, if it means one.
    fn from_text(text: &str) -> Option<Self>;
    /// The text that [`ConfigValue::from_text`] reads as this value.
    fn to_text(&self) -> String;
    /// What texts are allowed, to follow "must be".
    fn expected() -> String;
}

/// The value of `text`.
///
/// # Errors
/// What would have been right, to follow "must be".
pub fn parse<T: ConfigValue>(text: &str) -> Result<T, String> {
    T::from_text(text.trim()).ok_or_else(T::expected)
}

/// The value of `text`, which has to lie in `range`.
///
/// # Errors
/// What would have been right, to follow "must be".
pub fn parse_in<T: ConfigValue>(text: &str, range: &RangeInclusive<T>) -> Result<T, String> {
    T::from_text(text.trim())
        .filter(|value| range.contains(value))
        .ok_or_else(|| expected_in(range))
}

/// What a number of `range` is called in messages and documents.
pub fn expected_in<T: ConfigValue>(range: &RangeInclusive<T>) -> String {
    let (start, end) = (range.start().to_text(), range.end().to_text());
    format!("a whole number from {start} to {end}")
}

/// Types whose text forms are those of the standard library.
macro_rules! parsed {
    ($($type:ty: $expected:expr;)+) => {$(
        impl ConfigValue for $type {
            fn from_text(text: &str) -> Option<Self> { text.parse().ok() }
            fn to_text(&self) -> String { self.to_string() }
            fn expected() -> String { $expected }
        }
    )+};
}

parsed! {
    u16: expected_in(&(Self::MIN..=Self::MAX));
    u32: expected_in(&(Self::MIN..=Self::MAX));
    u64: expected_in(&(Self::MIN..=Self::MAX));
    i32: expected_in(&(Self::MIN..=Self::MAX));
    i64: expected_in(&(Self::MIN..=Self::MAX));
    String: "text".into();
    IpAddr: "an IP address".into();
}

impl ConfigValue for bool {
    fn from_text(text: &str) -> Option<Self> {
        text.to_ascii_lowercase().parse().ok()
    }

    fn to_text(&self) -> String {
        self.to_string()
    }

    fn expected() -> String {
        "true or false".into()
    }
}

impl ConfigValue for PathBuf {
    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.into())
    }

    fn to_text(&self) -> String {
        self.display().to_string()
    }

    fn expected() -> String {
        "a path".into()
    }
}

/// Empty text is `None`.
impl<T: ConfigValue> ConfigValue for Option<T> {
    fn from_text(text: &str) -> Option<Self> {
        if text.is_empty() {
            Some(None)
        } else {
            T::from_text(text).map(Some)
        }
    }

    fn to_text(&self) -> String {
        self.as_ref().map(T::to_text).unwrap_or_default()
    }

    fn expected() -> String {
        format!("{}, or empty", T::expected())
    }
}

/// Declares an enum whose variants have a text form in configuration files: `Variant = "TEXT"`.
#[macro_export]
macro_rules! config_enum {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $text:literal, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        $vis enum $name {
            $( $(#[$variant_meta])* $variant, )+
        }

        impl $crate::config::ConfigValue for $name {
            fn from_text(text: &str) -> Option<Self> {
                match text {
                    $( $text => Some(Self::$variant), )+
                    _ => None,
                }
            }

            fn to_text(&self) -> String {
                match self {
                    $( Self::$variant => $text.to_owned(), )+
                }
            }

            fn expected() -> String {
                [$( $text ),+].join(" or ")
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_around_a_value_do_not_count() {
        assert_eq!(parse::<u32>(" 7\t"), Ok(7));
        assert_eq!(parse::<bool>("TRUE "), Ok(true));
        assert_eq!(parse::<String>(" a b "), Ok("a b".into()));
    }

    #[test]
    fn a_wrong_value_says_what_would_be_right() {
        assert_eq!(
            parse::<u16>("70000"),
            Err("a whole number from 0 to 65535".into())
        );
        assert_eq!(parse::<bool>("yes"), Err("true or false".into()));
        assert_eq!(parse::<IpAddr>("localhost"), Err("an IP address".into()));
        assert_eq!(parse::<PathBuf>(""), Err("a path".into()));
        assert_eq!(
            parse_in("0", &(1..=16u32)),
            Err("a whole number from 1 to 16".into())
        );
        assert_eq!(parse_in("16", &(1..=16u32)), Ok(16));
    }

    #[test]
    fn empty_text_is_none() {
        assert_eq!(parse::<Option<PathBuf>>(""), Ok(None));
        assert_eq!(parse::<Option<PathBuf>>("/x"), Ok(Some("/x".into())));
        assert_eq!(
            parse::<Option<u16>>("x"),
            Err("a whole number from 0 to 65535, or empty".into())
        );
    }

    config_enum! {
        /// Two ways.
        enum Way { Left = "LEFT", Right = "RIGHT", }
    }

    #[test]
    fn variants_of_an_enum_go_by_their_texts() {
        assert_eq!(parse::<Way>("RIGHT"), Ok(Way::Right));
        assert_eq!(Way::Left.to_text(), "LEFT");
        assert_eq!(parse::<Way>("UP"), Err("LEFT or RIGHT".into()));
    }
}
