//! What a server's settings are: their keys, types, defaults, ranges and descriptions.

use super::{ConfigError, Ignored, Refused};

/// One key that is honoured.
#[derive(Clone, Copy)]
pub struct Field {
    /// The key in files.
    pub key: &'static str,
    /// What it means, with its unit.
    pub doc: &'static str,
    /// Text of the default; of some keys it depends on the machine.
    pub default: fn() -> String,
    /// The values that are allowed.
    pub expected: fn() -> String,
}

/// What the macro [`config!`](crate::config!) gives a struct.
pub trait Fields: Default + Clone {
    /// All keys in the order of their declaration.
    fn fields() -> &'static [Field];

    /// Sets one key from its text form.
    ///
    /// # Errors
    /// What the text must be; for a key that is not declared, that it is none of these.
    fn set(&mut self, key: &str, text: &str) -> Result<(), String>;

    /// The text form of one key, `None` for a key that is not declared.
    fn get(&self, key: &str) -> Option<String>;

    /// All keys with their values in the order of their declaration.
    fn entries(&self) -> Vec<(&'static str, String)> {
        Self::fields()
            .iter()
            .filter_map(|field| Some((field.key, self.get(field.key)?)))
            .collect()
    }
}

/// The settings of a server.
pub trait Config: Fields {
    /// Keys of the reference that are accepted and have no effect.
    const IGNORED: &'static [Ignored];
    /// Keys of the reference that stop the start with some of their values.
    const REFUSED: &'static [Refused];

    /// Fills in what follows from other settings and checks rules between several of them. Advice to the user goes to `warnings`.
    ///
    /// # Errors
    /// A rule that the settings break together.
    fn complete(&mut self, warnings: &mut Vec<String>) -> Result<(), ConfigError>;
}

/// All settings as text, one `key=value` per line: what `-p` and the requests for a server's settings show.
pub fn to_text(config: &impl Fields) -> String {
    let mut text = String::new();
    for (key, value) in config.entries() {
        text.push_str(key);
        text.push('=');
        text.push_str(&value);
        text.push('\n');
    }
    text
}

/// Declares a struct of settings, its `Default` and its [`Fields`].
///
/// Each field is `name: Type = "keyInFiles", default_expression;`, or with `, in low..=high` before the semicolon where only a
/// range of numbers is allowed. Its doc comment is part of the generated documentation.
#[macro_export]
macro_rules! config {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field_vis:vis $field:ident : $type:ty = $key:literal, $default:expr $(, in $range:expr)? ;
            )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::struct_excessive_bools, reason = "each is a key of the configuration file")]
        $vis struct $name {
            $( $(#[doc = $doc])+ $field_vis $field: $type, )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        impl $crate::config::Fields for $name {
            fn fields() -> &'static [$crate::config::Field] {
                &[$(
                    $crate::config::Field {
                        key: $key,
                        doc: concat!($($doc),+),
                        default: || {
                            let value: $type = $default;
                            $crate::config::ConfigValue::to_text(&value)
                        },
                        expected: || $crate::config!(@expected $type $(, $range)?),
                    },
                )+]
            }

            fn set(&mut self, key: &str, text: &str) -> Result<(), String> {
                match key {
                    $( $key => self.$field = $crate::config!(@parse text, $type $(, $range)?)?, )+
                    _ => return Err("a key that is known".to_owned()),
                }
                Ok(())
            }

            fn get(&self, key: &str) -> Option<String> {
                match key {
                    $( $key => Some($crate::config::ConfigValue::to_text(&self.$field)), )+
                    _ => None,
                }
            }
        }
    };
    (@parse $text:expr, $type:ty, $range:expr) => {
        $crate::config::parse_in::<$type>($text, &($range))
    };
    (@parse $text:expr, $type:ty) => {
        $crate::config::parse::<$type>($text)
    };
    (@expected $type:ty, $range:expr) => {
        $crate::config::expected_in::<$type>(&($range))
    };
    (@expected $type:ty) => {
        <$type as $crate::config::ConfigValue>::expected()
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    config! {
        /// Settings of a test.
        struct Small {
            /// Where it listens.
            /// Zero is any.
            port: u16 = "listenPort", 9876;
            /// How many.
            count: u32 = "count", 2 * 2, in 1..=16;
            /// A name.
            name: Option<String> = "theName", None;
        }
    }

    #[test]
    fn defaults_are_set_read_and_listed() {
        let mut small = Small::default();
        assert_eq!(
            (small.port, small.count, small.name.clone()),
            (9876, 4, None)
        );
        assert_eq!(small.set("count", "16"), Ok(()));
        assert_eq!(small.set("theName", "x"), Ok(()));
        assert_eq!(small.get("count").as_deref(), Some("16"));
        assert_eq!(small.get("other"), None);
        assert_eq!(to_text(&small), "listenPort=9876\ncount=16\ntheName=x\n");
    }

    #[test]
    fn a_value_outside_of_its_range_leaves_the_field_as_it_was() {
        let mut small = Small::default();
        assert_eq!(
            small.set("count", "17"),
            Err("a whole number from 1 to 16".into())
        );
        assert_eq!(small, Small::default());
    }

    #[test]
    fn fields_describe_themselves() {
        let fields = Small::fields();
        assert_eq!(
            fields.iter().map(|f| f.key).collect::<Vec<_>>(),
            ["listenPort", "count", "theName"]
        );
        assert_eq!(fields[0].doc, " Where it listens. Zero is any.");
        assert_eq!((fields[1].default)(), "4");
        assert_eq!((fields[1].expected)(), "a whole number from 1 to 16");
        assert_eq!((fields[2].expected)(), "text, or empty");
    }
}
