//! The JSON header: read without building maps, written without a serializer.
//!
//! Lenient where the reference is: numbers may be quoted, unknown members are skipped, values of `extFields` may be
//! any scalar. Anything that is no JSON object is refused, which closes the connection.

use super::command::{Command, HeaderError, LanguageCode, SerializeType};
use super::fields::Fields;
use bytes::{BufMut, BytesMut};

pub(super) fn decode(text: &str, command: &mut Command) -> Result<(), HeaderError> {
    let mut scan = Scan {
        text,
        bytes: text.as_bytes(),
        at: 0,
    };
    let mut key = [0u8; KEY_BYTES];
    scan.open(b'{')?;
    let mut first = true;
    while let Some(len) = scan.member(&mut first, &mut key)? {
        match &key[..len] {
            b"code" => command.code = scan.int()?.unwrap_or(0),
            b"flag" => command.flag = scan.int()?.unwrap_or(0),
            b"opaque" => command.opaque = scan.int()?.unwrap_or(0),
            b"version" => command.version = scan.int()?.unwrap_or(0),
            b"language" => command.language = scan.language()?,
            b"remark" => command.remark = scan.text_value()?,
            b"extFields" => scan.fields(&mut command.fields)?,
            _ => scan.skip_value()?,
        }
    }
    scan.space();
    if scan.at == scan.bytes.len() {
        Ok(())
    } else {
        Err(scan.error("nothing after the object"))
    }
}

/// Longest member name of the header; longer ones are unknown and are skipped.
const KEY_BYTES: usize = 24;
/// Nesting a skipped member may have.
const MAX_DEPTH: usize = 64;

struct Scan<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn error(&self, expected: &'static str) -> HeaderError {
        HeaderError::Json {
            at: self.at,
            expected,
        }
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.space();
        self.bytes.get(self.at).copied()
    }

    fn open(&mut self, byte: u8) -> Result<(), HeaderError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.error("an object"))
    }

    /// Moves to the value of the next member and leaves its name in `key` (length 0 if it is too long to be known).
    /// Names of the header are plain ASCII; one with an escape is unknown.
    fn member(
        &mut self,
        first: &mut bool,
        key: &mut [u8; KEY_BYTES],
    ) -> Result<Option<usize>, HeaderError> {
        if !self.next_member(first)? {
            return Ok(None);
        }
        let (start, end) = self.raw_string()?;
        let name = &self.bytes[start..end];
        let len = if name.len() <= KEY_BYTES {
            name.len()
        } else {
            0
        };
        key[..len].copy_from_slice(&name[..len]);
        self.colon()?;
        Ok(Some(len))
    }

    /// Stands before a member name, or has consumed the closing brace.
    fn next_member(&mut self, first: &mut bool) -> Result<bool, HeaderError> {
        match self.peek() {
            Some(b'}') => {
                self.at += 1;
                Ok(false)
            }
            Some(b',') if !*first => {
                self.at += 1;
                if self.peek() == Some(b'"') {
                    Ok(true)
                } else {
                    Err(self.error("a member name"))
                }
            }
            Some(b'"') if *first => {
                *first = false;
                Ok(true)
            }
            _ => Err(self.error("a member or the end of the object")),
        }
    }

    fn colon(&mut self) -> Result<(), HeaderError> {
        if self.peek() == Some(b':') {
            self.at += 1;
            return Ok(());
        }
        Err(self.error("a colon"))
    }

    /// Range of a string's raw text; moves behind it.
    fn raw_string(&mut self) -> Result<(usize, usize), HeaderError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("a string"));
        }
        let start = self.at + 1;
        let mut at = quote_or_escape(self.bytes, start);
        while self.bytes.get(at) == Some(&b'\\') {
            at = quote_or_escape(self.bytes, at + 2);
        }
        if at >= self.bytes.len() {
            return Err(self.error("the end of a string"));
        }
        self.at = at + 1;
        Ok((start, at))
    }

    /// Appends a string's text, escapes resolved.
    fn string_into(&mut self, out: &mut String) -> Result<(), HeaderError> {
        let mut from = self.at + 1;
        loop {
            let at = quote_or_escape(self.bytes, from);
            out.push_str(self.text.get(from..at).unwrap_or(""));
            match self.bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(());
                }
                Some(_) => {
                    self.at = at;
                    from = self.escape_into(out)?;
                }
                None => return Err(self.error("the end of a string")),
            }
        }
    }

    /// Resolves the escape at the cursor; returns where the text goes on.
    fn escape_into(&mut self, out: &mut String) -> Result<usize, HeaderError> {
        let at = self.at;
        let plain = match self.bytes.get(at + 1) {
            Some(b'u') => {
                let unit = self.hex4(at + 2)?;
                if !(0xD800..0xDC00).contains(&unit) {
                    out.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
                    return Ok(at + 6);
                }
                let paired =
                    self.bytes.get(at + 6) == Some(&b'\\') && self.bytes.get(at + 7) == Some(&b'u');
                let low = if paired { self.hex4(at + 8)? } else { 0 };
                if (0xDC00..0xE000).contains(&low) {
                    let point = 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                    out.push(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER));
                    return Ok(at + 12);
                }
                out.push(char::REPLACEMENT_CHARACTER);
                return Ok(at + 6);
            }
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(&other @ (b'"' | b'\\' | b'/' | b'\'')) => char::from(other),
            _ => return Err(self.error("an escape of JSON")),
        };
        out.push(plain);
        Ok(at + 2)
    }

    fn hex4(&self, at: usize) -> Result<u32, HeaderError> {
        let digits = self
            .bytes
            .get(at..at + 4)
            .filter(|d| d.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.ok_or_else(|| self.error("four hexadecimal digits"))?;
        Ok(digits.iter().fold(0, |unit, digit| {
            unit << 4 | char::from(*digit).to_digit(16).unwrap_or(0)
        }))
    }

    /// Range of a number, `true`, `false` or `null`.
    fn scalar(&mut self) -> Result<(usize, usize), HeaderError> {
        self.space();
        let start = self.at;
        while let Some(b'+' | b'-' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'E') =
            self.bytes.get(self.at)
        {
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        // Nearly all numbers are plain digits; the rest is rare enough for a real number parser.
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if plain
            || matches!(text, "true" | "false" | "null")
            || text.parse::<f64>().is_ok_and(f64::is_finite)
        {
            return Ok((start, self.at));
        }
        self.at = start;
        Err(self.error("a value"))
    }

    /// An integer of 32 bits, plain or quoted; `null` is `None`.
    fn int(&mut self) -> Result<Option<i32>, HeaderError> {
        let (start, end) = if self.peek() == Some(b'"') {
            self.raw_string()?
        } else {
            self.scalar()?
        };
        let text = &self.text[start..end];
        if text == "null" || text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| HeaderError::Json {
            at: start,
            expected: "an integer of 32 bits",
        })
    }

    fn language(&mut self) -> Result<LanguageCode, HeaderError> {
        if self.peek() == Some(b'"') {
            let (start, end) = self.raw_string()?;
            return Ok(LanguageCode::from_name(&self.text[start..end]));
        }
        self.skip_value().map(|()| LanguageCode::OTHER)
    }

    fn text_value(&mut self) -> Result<Option<String>, HeaderError> {
        if self.peek() == Some(b'"') {
            let mut out = String::new();
            self.string_into(&mut out)?;
            return Ok(Some(out));
        }
        self.skip_value().map(|()| None)
    }

    fn fields(&mut self, fields: &mut Fields) -> Result<(), HeaderError> {
        if self.peek() == Some(b'n') {
            return self.scalar().map(|_| ());
        }
        self.open(b'{')?;
        let mut first = true;
        while self.next_member(&mut first)? {
            let key = fields.text_mut().len();
            self.string_into(fields.text_mut())?;
            let value = fields.text_mut().len();
            self.colon()?;
            match self.peek() {
                Some(b'"') => self.string_into(fields.text_mut())?,
                Some(b'{' | b'[') => {
                    let start = self.at;
                    self.skip_value()?;
                    fields.text_mut().push_str(&self.text[start..self.at]);
                }
                _ => {
                    let (start, end) = self.scalar()?;
                    if &self.text[start..end] == "null" {
                        fields.text_mut().truncate(key);
                        continue;
                    }
                    fields.text_mut().push_str(&self.text[start..end]);
                }
            }
            fields.commit(key, value);
        }
        Ok(())
    }

    /// Moves behind a value of any kind.
    fn skip_value(&mut self) -> Result<(), HeaderError> {
        let mut open = [0u8; MAX_DEPTH];
        let mut depth = 0;
        loop {
            match self.peek() {
                Some(b'"') => drop(self.raw_string()?),
                Some(bracket @ (b'{' | b'[')) => {
                    let slot = open.get_mut(depth).ok_or(HeaderError::Json {
                        at: self.at,
                        expected: "less nesting",
                    })?;
                    *slot = bracket + 2; // '{' + 2 = '}', '[' + 2 = ']'
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                Some(b',' | b':') if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                Some(close @ (b'}' | b']')) if depth > 0 && open[depth - 1] == close => {
                    depth -= 1;
                    self.at += 1;
                }
                _ => drop(self.scalar()?),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

/// Position of the first quote or backslash from `from` on, or the length of `bytes` or more when there is none. Looks at
/// eight bytes at a time: values such as encoded properties are long, and every byte of every header comes by here.
fn quote_or_escape(bytes: &[u8], from: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    // The high bit of the lowest byte that equals `byte`; bits above it may be set without reason.
    let equal = |word: u64, byte: u8| {
        let differs = word ^ (ONES * u64::from(byte));
        differs.wrapping_sub(ONES) & !differs & HIGH_BITS
    };
    let mut at = from;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word);
        let found = equal(word, b'"') | equal(word, b'\\');
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or(&[]);
    at + rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\'))
        .unwrap_or(rest.len())
}

/// Writes the header; members in alphabetical order, as the reference does.
pub(super) fn encode(command: &Command, out: &mut BytesMut) {
    out.put_slice(b"{\"code\":");
    put_int(out, command.code);
    if !command.fields.is_empty() {
        out.put_slice(b",\"extFields\":{");
        for (at, (key, value)) in command.fields.iter().enumerate() {
            if at > 0 {
                out.put_u8(b',');
            }
            put_string(out, key);
            out.put_u8(b':');
            put_string(out, value);
        }
        out.put_u8(b'}');
    }
    put_tail(
        out,
        command.flag,
        command.language,
        command.opaque,
        command.remark.as_deref(),
        command.version,
    );
}

/// Everything behind `extFields`.
pub(super) fn put_tail(
    out: &mut BytesMut,
    flag: i32,
    language: LanguageCode,
    opaque: i32,
    remark: Option<&str>,
    version: i32,
) {
    out.put_slice(b",\"flag\":");
    put_int(out, flag);
    out.put_slice(b",\"language\":\"");
    out.put_slice(language.name().as_bytes());
    out.put_slice(b"\",\"opaque\":");
    put_int(out, opaque);
    if let Some(remark) = remark {
        out.put_slice(b",\"remark\":");
        put_string(out, remark);
    }
    out.put_slice(b",\"serializeTypeCurrentRPC\":\"");
    out.put_slice(SerializeType::Json.name().as_bytes());
    out.put_slice(b"\",\"version\":");
    put_int(out, version);
    out.put_u8(b'}');
}

pub(super) fn put_int(out: &mut BytesMut, value: impl itoa::Integer) {
    out.put_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes a JSON string; control characters, quotes and backslashes escaped, all else as UTF-8.
pub(super) fn put_string(out: &mut BytesMut, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.put_u8(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
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
