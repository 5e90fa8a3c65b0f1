//! The head of a frame on its way out: length, mark and header, in either serialization, straight into the buffer.

use super::CURRENT_VERSION;
use super::command::{FLAG_RESPONSE, LanguageCode, ReplyTo, SerializeType};
use super::frame::FRAME_PREFIX_BYTES;
use bytes::{BufMut, BytesMut};

/// What a header says besides its fields.
pub(super) struct Head<'a> {
    pub code: i32,
    pub language: LanguageCode,
    pub version: i32,
    pub opaque: i32,
    pub flag: i32,
    pub remark: Option<&'a str>,
}

/// Writes a head field by field.
pub struct HeadWriter<'a> {
    out: &'a mut BytesMut,
    serialize: SerializeType,
    head: Head<'a>,
    start: usize,
    fields: usize,
}

impl<'a> HeadWriter<'a> {
    /// Starts the frame of an answer without remark: answers of the send path never build a [`Reply`](super::Reply).
    pub fn reply(out: &'a mut BytesMut, to: ReplyTo, code: i32) -> Self {
        let head = Head {
            code,
            language: LanguageCode::RUST,
            version: CURRENT_VERSION,
            opaque: to.opaque,
            flag: FLAG_RESPONSE,
            remark: None,
        };
        Self::new(out, to.serialize, head)
    }

    /// Starts a frame.
    pub(super) fn new(out: &'a mut BytesMut, serialize: SerializeType, head: Head<'a>) -> Self {
        let start = out.len();
        out.put_slice(&[0; FRAME_PREFIX_BYTES]);
        match serialize {
            SerializeType::Json => {
                out.put_slice(b"{\"code\":");
                put_int(out, head.code);
            }
            SerializeType::RocketMq => {
                out.put_i16(low_16(head.code));
                out.put_u8(head.language.0);
                out.put_i16(low_16(head.version));
                out.put_i32(head.opaque);
                out.put_i32(head.flag);
                put_text_32(out, head.remark.unwrap_or("").as_bytes());
                // The bytes of all fields, once they are written.
                out.put_u32(0);
            }
        }
        let fields = out.len();
        Self {
            out,
            serialize,
            head,
            start,
            fields,
        }
    }

    /// Adds a field whose name and value need no escaping: ids, numbers, names.
    pub fn plain(&mut self, key: &str, value: &[u8]) {
        match self.serialize {
            SerializeType::Json => {
                self.separate();
                self.out.put_u8(b'"');
                self.out.put_slice(key.as_bytes());
                self.out.put_slice(b"\":\"");
                self.out.put_slice(value);
                self.out.put_u8(b'"');
            }
            SerializeType::RocketMq => {
                // A name that the 16-bit length cannot hold cannot be sent in this form; no header of the protocol has one.
                if let Ok(length) = i16::try_from(key.len()) {
                    self.out.put_i16(length);
                    self.out.put_slice(key.as_bytes());
                    put_text_32(self.out, value);
                }
            }
        }
    }

    /// Adds a field with any text.
    pub fn text(&mut self, key: &str, value: &str) {
        if self.serialize == SerializeType::Json {
            self.separate();
            put_string(self.out, key);
            self.out.put_u8(b':');
            put_string(self.out, value);
        } else {
            self.plain(key, value.as_bytes());
        }
    }

    /// Adds an integer field.
    pub fn int(&mut self, key: &str, value: impl itoa::Integer) {
        self.plain(key, itoa::Buffer::new().format(value).as_bytes());
    }

    /// What stands in front of a JSON field.
    fn separate(&mut self) {
        if self.out.len() == self.fields {
            self.out.put_slice(b",\"extFields\":{");
        } else {
            self.out.put_u8(b',');
        }
    }

    /// Completes the head of a frame whose body of `body_bytes` follows.
    pub fn finish(self, body_bytes: usize) {
        let Self { out, start, .. } = self;
        let field_bytes = out.len() - self.fields;
        match self.serialize {
            SerializeType::Json => {
                if field_bytes > 0 {
                    out.put_u8(b'}');
                }
                put_tail(out, &self.head);
            }
            SerializeType::RocketMq => {
                out[self.fields - 4..self.fields].copy_from_slice(&length(field_bytes));
            }
        }
        let header = out.len() - start - FRAME_PREFIX_BYTES;
        let mut mark = length(header);
        mark[0] = self.serialize.byte();
        out[start..start + 4].copy_from_slice(&length(4 + header + body_bytes));
        out[start + 4..start + FRAME_PREFIX_BYTES].copy_from_slice(&mark);
    }
}

/// A length as the wire has it. Frames this side builds are far below 4 GiB; a peer refuses what is above 16 MiB.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

fn put_text_32(out: &mut BytesMut, text: &[u8]) {
    out.put_slice(&length(text.len()));
    out.put_slice(text);
}

/// The low 16 bits: what the binary form keeps of codes and versions.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the binary header has 16 bits for it; the reference cuts likewise"
)]
fn low_16(value: i32) -> i16 {
    value as i16
}

/// Everything behind `extFields`; members are in alphabetical order, as with the reference.
fn put_tail(out: &mut BytesMut, head: &Head<'_>) {
    out.put_slice(b",\"flag\":");
    put_int(out, head.flag);
    out.put_slice(b",\"language\":\"");
    out.put_slice(head.language.name().as_bytes());
    out.put_slice(b"\",\"opaque\":");
    put_int(out, head.opaque);
    if let Some(remark) = head.remark {
        out.put_slice(b",\"remark\":");
        put_string(out, remark);
    }
    out.put_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    put_int(out, head.version);
    out.put_u8(b'}');
}

fn put_int(out: &mut BytesMut, value: i32) {
    out.put_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes a JSON string; control characters, quotes and backslashes escaped, all else as UTF-8.
fn put_string(out: &mut BytesMut, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.put_u8(b'"');
    let bytes = text.as_bytes();
    let is_plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    // Mostly all are plain; without an end in between, many are looked at at a time.
    if bytes.iter().fold(true, |all, byte| all & is_plain(*byte)) {
        out.put_slice(bytes);
        return out.put_u8(b'"');
    }
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if is_plain(*byte) {
            continue;
        }
        out.put_slice(&bytes[from..at]);
        from = at + 1;
        match byte {
            b'"' => out.put_slice(b"\\\""),
            b'\\' => out.put_slice(b"\\\\"),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            other => {
                let digits = [HEX[usize::from(other >> 4)], HEX[usize::from(other & 15)]];
                out.put_slice(b"\\u00");
                out.put_slice(&digits);
            }
        }
    }
    out.put_slice(&bytes[from..]);
    out.put_u8(b'"');
}
