//! Answers, and how they are written.

use super::command::{
    Command, FLAG_RESPONSE, ReplyTo, SerializeType, begin_frame, encode_binary, end_head,
};
use super::fields::{FieldError, Fields, WireHeader};
use super::{LanguageCode, json_header, response_code};
use bytes::{BufMut, Bytes, BytesMut};

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

/// Writes header fields one by one straight into a frame: answers of the send path never build a [`Reply`].
pub struct ReplyWriter<'a> {
    out: &'a mut BytesMut,
    to: ReplyTo,
    start: usize,
    map: usize,
}

impl<'a> ReplyWriter<'a> {
    /// Starts the frame of an answer without body.
    pub fn new(out: &'a mut BytesMut, to: ReplyTo, code: i32) -> Self {
        let start = begin_frame(out);
        match to.serialize {
            SerializeType::Json => {
                out.put_slice(b"{\"code\":");
                json_header::put_int(out, code);
                out.put_slice(b",\"extFields\":{");
            }
            SerializeType::RocketMq => {
                let head = Command {
                    flag: FLAG_RESPONSE,
                    opaque: to.opaque,
                    ..Command::request(code)
                };
                encode_binary(&head, out);
            }
        }
        let map = out.len();
        Self {
            out,
            to,
            start,
            map,
        }
    }

    /// Adds a field whose value needs no escaping: ids, numbers, names.
    pub fn plain(&mut self, key: &str, value: &[u8]) {
        match self.to.serialize {
            SerializeType::Json => {
                self.comma();
                self.out.put_u8(b'"');
                self.out.put_slice(key.as_bytes());
                self.out.put_slice(b"\":\"");
                self.out.put_slice(value);
                self.out.put_u8(b'"');
            }
            SerializeType::RocketMq => {
                self.out.put_u16(u16::try_from(key.len()).unwrap_or(0));
                self.out.put_slice(key.as_bytes());
                self.out.put_u32(u32::try_from(value.len()).unwrap_or(0));
                self.out.put_slice(value);
            }
        }
    }

    /// Adds a field with any text.
    pub fn text(&mut self, key: &str, value: &str) {
        if self.to.serialize == SerializeType::Json {
            self.comma();
            json_header::put_string(self.out, key);
            self.out.put_u8(b':');
            json_header::put_string(self.out, value);
        } else {
            self.plain(key, value.as_bytes());
        }
    }

    fn comma(&mut self) {
        if self.out.len() > self.map {
            self.out.put_u8(b',');
        }
    }

    /// Adds an integer field.
    pub fn int(&mut self, key: &str, value: impl itoa::Integer) {
        self.plain(key, itoa::Buffer::new().format(value).as_bytes());
    }

    /// Completes the frame.
    pub fn finish(self) {
        match self.to.serialize {
            SerializeType::Json => {
                self.out.put_u8(b'}');
                let (language, version) = (LanguageCode::RUST, super::CURRENT_VERSION);
                json_header::put_tail(
                    self.out,
                    FLAG_RESPONSE,
                    language,
                    self.to.opaque,
                    None,
                    version,
                );
            }
            SerializeType::RocketMq => {
                let bytes = u32::try_from(self.out.len() - self.map).unwrap_or(0);
                self.out[self.map - 4..self.map].copy_from_slice(&bytes.to_be_bytes());
            }
        }
        end_head(self.out, self.start, self.to.serialize, 0);
    }
}
