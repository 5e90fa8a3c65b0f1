//! The header of a request or response, in either serialization.

use super::fields::{FieldError, Fields, WireHeader};
use super::head::{Head, HeadWriter};
use super::{CURRENT_VERSION, json_header};
use crate::scan::{take, take_bytes};
use bytes::BytesMut;

/// How a header is written; told apart per frame, answered in kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SerializeType {
    /// A JSON object.
    #[default]
    Json,
    /// The binary form. Codes take 16 bits in it.
    RocketMq,
}

impl SerializeType {
    /// From the first byte of the header mark.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Json),
            1 => Some(Self::RocketMq),
            _ => None,
        }
    }

    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Json => 0,
            Self::RocketMq => 1,
        }
    }
}

/// Language of the sender, as one byte in binary headers and as a name in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LanguageCode(pub u8);

impl LanguageCode {
    /// Java.
    pub const JAVA: Self = Self(0);
    /// C++.
    pub const CPP: Self = Self(1);
    /// None of the others.
    pub const OTHER: Self = Self(7);
    /// Go.
    pub const GO: Self = Self(9);
    /// Rust: what this server and client send.
    pub const RUST: Self = Self(12);

    const NAMES: [&'static str; 14] = [
        "JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO",
        "PHP", "OMS", "RUST", "NODE_JS",
    ];

    /// The protocol's name; unknown bytes are `OTHER`.
    pub fn name(self) -> &'static str {
        Self::NAMES
            .get(usize::from(self.0))
            .copied()
            .unwrap_or("OTHER")
    }

    /// From a name; unknown names are `OTHER`.
    pub fn from_name(name: &str) -> Self {
        let at = Self::NAMES.iter().position(|n| *n == name);
        at.and_then(|at| u8::try_from(at).ok())
            .map_or(Self::OTHER, Self)
    }
}

/// Bit of [`Command::flag`] that marks a response.
pub const FLAG_RESPONSE: i32 = 1;
/// Bit of [`Command::flag`] that forbids an answer.
pub const FLAG_ONEWAY: i32 = 2;

/// Header of a request or response. Reusable: decoding into the same value again and again does not allocate.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Request or response code.
    pub code: i32,
    /// Language of the sender.
    pub language: LanguageCode,
    /// Version ordinal of the sender.
    pub version: i32,
    /// Request id, chosen by the requester, repeated in the answer.
    pub opaque: i32,
    /// Bit 0 response, bit 1 one-way.
    pub flag: i32,
    /// How the header is, or was, written.
    pub serialize: SerializeType,
    /// Status text.
    pub remark: Option<String>,
    /// The custom header (`extFields`).
    pub fields: Fields,
}

/// Where an answer goes: all that has to be kept of a request to answer it later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyTo {
    /// Request id to repeat.
    pub opaque: i32,
    /// Serialization of the request, used for the answer.
    pub serialize: SerializeType,
    /// True when no answer may be written.
    pub oneway: bool,
}

/// Why header bytes are no header. The connection that sent them is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The JSON text is broken or of another shape.
    #[error("JSON header, byte {at}: expected {expected}")]
    Json {
        /// Byte position in the header.
        at: usize,
        /// What would have been right there.
        expected: &'static str,
    },
    /// A length in the binary form reaches beyond its frame.
    #[error("binary header of {bytes} bytes: {what} does not fit")]
    Binary {
        /// Size of the header.
        bytes: usize,
        /// The part that does not fit.
        what: &'static str,
    },
}

impl Default for Command {
    fn default() -> Self {
        Self {
            code: 0,
            language: LanguageCode::RUST,
            version: CURRENT_VERSION,
            opaque: 0,
            flag: 0,
            serialize: SerializeType::Json,
            remark: None,
            fields: Fields::new(),
        }
    }
}

impl Command {
    /// A request with a code and nothing else; the transport chooses `opaque`.
    pub fn request(code: i32) -> Self {
        Self {
            code,
            ..Self::default()
        }
    }

    /// The same with the fields of `header` added.
    #[must_use]
    pub fn with(mut self, header: &impl WireHeader) -> Self {
        header.write(&mut self.fields);
        self
    }

    /// True when this answers a request.
    pub fn is_response(&self) -> bool {
        self.flag & FLAG_RESPONSE != 0
    }

    /// True when the sender reads no answer.
    pub fn is_oneway(&self) -> bool {
        self.flag & FLAG_ONEWAY != 0
    }

    /// Where an answer to this request goes.
    pub fn reply_to(&self) -> ReplyTo {
        ReplyTo {
            opaque: self.opaque,
            serialize: self.serialize,
            oneway: self.is_oneway(),
        }
    }

    /// The typed custom header.
    ///
    /// # Errors
    /// Names the field that is missing or wrong.
    pub fn header<H: WireHeader>(&self) -> Result<H, FieldError> {
        H::parse(&self.fields)
    }

    /// Reads a header into this value; whatever it held is gone, also on an error.
    ///
    /// # Errors
    /// See [`HeaderError`].
    pub fn decode(&mut self, serialize: SerializeType, header: &[u8]) -> Result<(), HeaderError> {
        self.fields.clear();
        self.remark = None;
        self.serialize = serialize;
        (self.code, self.flag, self.opaque, self.version) = (0, 0, 0, 0);
        self.language = LanguageCode::OTHER;
        match serialize {
            SerializeType::Json => match std::str::from_utf8(header) {
                Ok(text) => json_header::decode(text, self),
                Err(_) => json_header::decode(&String::from_utf8_lossy(header), self),
            },
            SerializeType::RocketMq => {
                let bytes = header.len();
                decode_binary(header, self).map_err(|what| HeaderError::Binary { bytes, what })
            }
        }
    }

    /// Appends length, mark and header of a frame whose body of `body_bytes` follows.
    pub fn encode_head(&self, body_bytes: usize, out: &mut BytesMut) {
        let head = Head {
            code: self.code,
            language: self.language,
            version: self.version,
            opaque: self.opaque,
            flag: self.flag,
            remark: self.remark.as_deref(),
        };
        let mut writer = HeadWriter::new(out, self.serialize, head);
        for (key, value) in self.fields.iter() {
            writer.text(key, value);
        }
        writer.finish(body_bytes);
    }
}

fn decode_binary(header: &[u8], command: &mut Command) -> Result<(), &'static str> {
    let mut rest = header;
    command.code = i32::from(i16::from_be_bytes(take(&mut rest).ok_or("the code")?));
    command.language = LanguageCode(u8::from_be_bytes(take(&mut rest).ok_or("the language")?));
    command.version = i32::from(i16::from_be_bytes(take(&mut rest).ok_or("the version")?));
    command.opaque = i32::from_be_bytes(take(&mut rest).ok_or("the opaque")?);
    command.flag = i32::from_be_bytes(take(&mut rest).ok_or("the flag")?);
    let remark = take_text(&mut rest).ok_or("the remark")?;
    if !remark.is_empty() {
        command.remark = Some(String::from_utf8_lossy(remark).into_owned());
    }
    let mut pairs = take_text(&mut rest).ok_or("the field map")?;
    while !pairs.is_empty() {
        let key = i16::from_be_bytes(take(&mut pairs).ok_or("a field name")?);
        let key = take_bytes(&mut pairs, key).ok_or("a field name")?;
        let value = take_text(&mut pairs).ok_or("a field value")?;
        if !key.is_empty() && !value.is_empty() {
            command.fields.push(
                &String::from_utf8_lossy(key),
                &String::from_utf8_lossy(value),
            );
        }
    }
    Ok(())
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = i32::from_be_bytes(take(rest)?);
    take_bytes(rest, length)
}

#[cfg(test)]
mod tests;
