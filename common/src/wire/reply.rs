//! Answers, and how they are written.

use super::command::{Command, FLAG_RESPONSE, ReplyTo};
use super::fields::{FieldError, Fields, WireHeader};
use super::response_code;
use bytes::{Bytes, BytesMut};

/// The second line of error remarks; tools show it and people search for it.
const FAQ_LINE: &str =
    "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";

/// `text` with the line that points to the FAQ, as the reference ends its error remarks.
pub fn with_faq(text: &str) -> String {
    format!("{text}{FAQ_LINE}")
}

/// An answer before it knows its request: code, remark, typed header as fields, body in parts.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// Response code.
    pub code: i32,
    /// Status text.
    pub remark: Option<String>,
    /// The custom header.
    pub fields: Fields,
    /// Body; the parts go out one behind the other without being joined.
    pub body: Vec<Bytes>,
}

impl Reply {
    /// `SUCCESS` with nothing else.
    pub fn ok() -> Self {
        Self::default()
    }

    /// A refusal with the reason.
    pub fn error(code: i32, remark: impl Into<String>) -> Self {
        Self {
            code,
            remark: Some(remark.into()),
            ..Self::default()
        }
    }

    /// What a request gets whose code nobody serves.
    pub fn not_supported(code: i32) -> Self {
        Self::error(
            response_code::REQUEST_CODE_NOT_SUPPORTED,
            format!(" request type {code} not supported"),
        )
    }

    /// With the fields of `header` added.
    #[must_use]
    pub fn with_header(mut self, header: &impl WireHeader) -> Self {
        header.write(&mut self.fields);
        self
    }

    /// With a body part added.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body.push(body.into());
        self
    }

    /// With a remark.
    #[must_use]
    pub fn with_remark(mut self, remark: impl Into<String>) -> Self {
        self.remark = Some(remark.into());
        self
    }

    /// Bytes of all body parts.
    pub fn body_bytes(&self) -> usize {
        self.body.iter().map(Bytes::len).sum()
    }

    /// Appends the frame without its body; returns the body.
    pub fn encode_head(self, to: ReplyTo, out: &mut BytesMut) -> Vec<Bytes> {
        let body_bytes = self.body_bytes();
        let command = Command {
            code: self.code,
            opaque: to.opaque,
            flag: FLAG_RESPONSE,
            serialize: to.serialize,
            remark: self.remark,
            fields: self.fields,
            ..Command::default()
        };
        command.encode_head(body_bytes, out);
        self.body
    }
}

impl From<FieldError> for Reply {
    /// A header that does not parse is a `SYSTEM_ERROR` that names the field.
    fn from(error: FieldError) -> Self {
        Self::error(response_code::SYSTEM_ERROR, error.to_string())
    }
}
