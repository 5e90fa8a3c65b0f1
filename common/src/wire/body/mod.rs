//! Bodies of requests and answers: one struct per JSON document, with the wire's key names in the wire's order.
//!
//! Reading ignores unknown names and gives missing ones Java's defaults. `encode` writes what the reference writes
//! (integer keys bare, beans as keys), `encode_standard` what a strict parser reads.

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
mod timer;
mod topic;
mod transaction;

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
pub use timer::*;
pub use topic::*;
pub use transaction::*;

/// Declares bodies: what each has to derive, the defaults of its fields (those of their types, where no other is named
/// behind the type), and `decode`, `encode` and `encode_standard`.
macro_rules! bodies {
    ($($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$field_meta:meta])* pub $field:ident: $type:ty $(= $default:expr)?,)*
    })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::wire::body::bodies!(@default $($default)?),)* }
            }
        }

        impl $name {
            /// Reads the body by Fastjson's rules.
            ///
            /// # Errors
            /// The bytes are no JSON of this shape.
            pub fn decode(bytes: &[u8]) -> Result<Self, crate::wire::fastjson::JsonError> {
                crate::wire::fastjson::from_slice(bytes)
            }

            /// The body as the reference writes it: compact, integer map keys bare.
            pub fn encode(&self) -> Vec<u8> {
                crate::wire::fastjson::to_vec(self)
            }

            /// The body as standard JSON: compact, every key quoted. Not for bodies with beans as map keys.
            pub fn encode_standard(&self) -> Vec<u8> {
                crate::wire::fastjson::to_vec_standard(self)
            }
        }
    )*};
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
}

/// How a value of an enum may stand in a body.
#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "expected a name or an ordinal")]
enum NameOrOrdinal {
    Name(String),
    Ordinal(i64),
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
                use $crate::wire::body::NameOrOrdinal;
                let known = match NameOrOrdinal::deserialize(deserializer)? {
                    NameOrOrdinal::Name(name) => Self::from_name(&name),
                    NameOrOrdinal::Ordinal(at) => usize::try_from(at).ok().and_then(|at| Self::ALL.get(at).copied()),
                };
                Ok(known.unwrap_or_default())
            }
        }
    };
}

pub(crate) use {bodies, wire_enum};

#[cfg(test)]
mod tests;
