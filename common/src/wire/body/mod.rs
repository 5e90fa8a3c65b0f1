//! Bodies of requests and answers: one struct per JSON document, with the wire's key names in the wire's order.
//!
//! Reading ignores unknown names and gives missing ones Java's defaults. `encode` writes what the reference writes
//! (integer keys bare, beans as keys), `encode_standard` what a strict parser reads.

mod assignment;
mod client;
mod connection;
mod consume;
mod group;
mod lock;
mod offset;
mod queue;
mod register;
mod route;
mod stats;
mod table;
mod topic;

pub use assignment::*;
pub use client::*;
pub use connection::*;
pub use consume::*;
pub use group::*;
pub use lock::*;
pub use offset::*;
pub use queue::*;
pub use register::*;
pub use route::*;
pub use stats::*;
pub use table::*;
pub use topic::*;

/// Gives bodies `decode`.
macro_rules! decodes {
    ($($body:ty),* $(,)?) => {
        $(impl $body {
            /// Reads the body by Fastjson's rules.
            ///
            /// # Errors
            /// The bytes are no JSON of this shape.
            pub fn decode(bytes: &[u8]) -> Result<Self, crate::wire::fastjson::JsonError> {
                crate::wire::fastjson::from_slice(bytes)
            }
        })*
    };
}

/// Gives bodies without beans as map keys `decode`, `encode` and `encode_standard`.
macro_rules! codec {
    ($($body:ty),* $(,)?) => {
        $crate::wire::body::decodes!($($body),*);
        $(impl $body {
            /// The body as the reference writes it: compact, integer map keys bare.
            pub fn encode(&self) -> Vec<u8> {
                crate::wire::fastjson::to_vec(self)
            }

            /// The body as standard JSON: compact, every key quoted.
            pub fn encode_standard(&self) -> Vec<u8> {
                crate::wire::fastjson::to_vec_standard(self)
            }
        })*
    };
}

/// An enum of the wire: written by name, read by name or ordinal (older clients send that).
/// A name nobody knows reads as the default, as a newer client would otherwise not be served at all.
macro_rules! wire_enum {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant),* }

        impl $name {
            /// Every value in the order of its ordinals.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name used on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The value of that name, if there is one.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == name)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct NameOrOrdinal;

                impl serde::de::Visitor<'_> for NameOrOrdinal {
                    type Value = $name;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        formatter.write_str(concat!("a name or ordinal of ", stringify!($name)))
                    }

                    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<$name, E> {
                        Ok($name::from_name(name).unwrap_or_default())
                    }

                    fn visit_u64<E: serde::de::Error>(self, ordinal: u64) -> Result<$name, E> {
                        Ok(usize::try_from(ordinal).ok().and_then(|ordinal| $name::ALL.get(ordinal).copied()).unwrap_or_default())
                    }

                    fn visit_i64<E: serde::de::Error>(self, ordinal: i64) -> Result<$name, E> {
                        Ok(usize::try_from(ordinal).ok().and_then(|ordinal| $name::ALL.get(ordinal).copied()).unwrap_or_default())
                    }
                }

                deserializer.deserialize_any(NameOrOrdinal)
            }
        }
    };
}

pub(crate) use {codec, decodes, wire_enum};

#[cfg(test)]
mod tests;
