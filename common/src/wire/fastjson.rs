//! The JSON dialect of RocketMQ's bodies: what Java's Fastjson writes and what it is willing to read.
//!
//! Writing differs from standard JSON in map keys only: an integer key stands bare (`{0:"addr"}`) and a bean as a key is an
//! object (`{{"brokerName":"b","queueId":0,"topic":"t"}:1}`). Reading accepts more: quoted numbers, bare and single-quoted
//! names, trailing commas, `null` for "not there", references to an earlier part of the document.
//!
//! Knows no message types; [`super::body`] has them.

mod parse;
mod value;
mod write;

pub(crate) use parse::unescape;
pub(crate) use write::{bean_keys, tables_with_bean_keys};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A body that is no JSON, not even of the lenient kind, or JSON of another shape than asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("body is not the JSON expected: {0}")]
pub struct JsonError(pub String);

/// Reads `bytes` as a `T`: as standard JSON when it is, otherwise by Fastjson's rules.
///
/// # Errors
/// The text cannot be read by either rule, is nested deeper than 128 levels, or does not have the shape of `T`.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    // Almost every body is standard JSON without surprises, and this parser is the fast one.
    serde_json::from_slice(bytes).or_else(|_| parse::parse(bytes).and_then(T::deserialize))
}

/// Writes `value` compactly, with integer map keys unquoted.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write::append(value, &mut out);
    out
}

/// Writes `value` compactly as standard JSON: integer map keys are quoted.
pub fn to_vec_standard<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write::append_standard(value, &mut out);
    out
}

#[cfg(test)]
mod tests;
