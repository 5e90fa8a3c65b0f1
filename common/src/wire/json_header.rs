//! The JSON header: read without building maps, written without a serializer.
//!
//! Lenient where the reference is: numbers may be quoted, unknown members are skipped, values of `extFields` may be
//! any scalar. Anything that is no JSON object is refused, which closes the connection.

use super::command::{Command, HeaderError, LanguageCode, SerializeType};
use super::fastjson::unescape;
use super::fields::Fields;
use crate::scan::first_of;
use bytes::{BufMut, BytesMut};

pub(super) fn decode(text: &str, command: &mut Command) -> Result<(), HeaderError> {
    let mut scan = Scan {
        text,
        bytes: text.as_bytes(),
        at: 0,
    };
    scan.expect(b'{', "an object")?;
    let mut first = true;
    while scan.next_member(&mut first)? {
        // Names of the header are plain ASCII; one with an escape is unknown.
        let name = scan.raw_string()?;
        scan.expect(b':', "a colon")?;
        match name {
            "code" => command.code = scan.int()?,
            "flag" => command.flag = scan.int()?,
            "opaque" => command.opaque = scan.int()?,
            "version" => command.version = scan.int()?,
            "language" => command.language = scan.language()?,
            "remark" => command.remark = scan.text_value()?,
            "extFields" => scan.fields(&mut command.fields)?,
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

/// Nesting a skipped member may have.
const MAX_DEPTH: usize = 64;

struct Scan<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
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

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), HeaderError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.error(expected))
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

    /// A string's raw text; moves behind it.
    fn raw_string(&mut self) -> Result<&'a str, HeaderError> {
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
        Ok(&self.text[start..at])
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
        let rest = &self.bytes[self.at + 1..];
        // The separators of properties: by far the most there are.
        if let [b'u', b'0', b'0', b'0', digit @ (b'1' | b'2'), ..] = rest {
            out.push(char::from(digit - b'0'));
            return Ok(self.at + 6);
        }
        let escape = unescape(rest);
        let (plain, bytes) = escape.map_err(|(_, expected)| self.error(expected))?;
        out.push(plain);
        Ok(self.at + 1 + bytes)
    }

    /// A number, `true`, `false` or `null`.
    fn scalar(&mut self) -> Result<&'a str, HeaderError> {
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
            return Ok(text);
        }
        self.at = start;
        Err(self.error("a value"))
    }

    /// Few digits and nothing else, as nearly every number of the header is.
    fn digits(&mut self) -> Option<i32> {
        self.space();
        let (mut value, mut at) = (0, self.at);
        while let Some(digit @ b'0'..=b'9') = self.bytes.get(at)
            && at < self.at + 9
        {
            value = value * 10 + i32::from(digit - b'0');
            at += 1;
        }
        let whole = at > self.at && matches!(self.bytes.get(at), Some(b',' | b'}'));
        whole.then(|| {
            self.at = at;
            value
        })
    }

    /// An integer of 32 bits, plain or quoted; `null` and an empty text are 0.
    fn int(&mut self) -> Result<i32, HeaderError> {
        if let Some(value) = self.digits() {
            return Ok(value);
        }
        let quoted = self.peek() == Some(b'"');
        let at = self.at + usize::from(quoted);
        let text = if quoted {
            self.raw_string()?
        } else {
            self.scalar()?
        };
        if text == "null" || text.is_empty() {
            return Ok(0);
        }
        let expected = "an integer of 32 bits";
        text.parse().map_err(|_| HeaderError::Json { at, expected })
    }

    fn language(&mut self) -> Result<LanguageCode, HeaderError> {
        if self.peek() == Some(b'"') {
            return self.raw_string().map(LanguageCode::from_name);
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
        self.expect(b'{', "an object")?;
        let mut first = true;
        while self.next_member(&mut first)? {
            let key = fields.text_mut().len();
            self.string_into(fields.text_mut())?;
            let value = fields.text_mut().len();
            self.expect(b':', "a colon")?;
            match self.peek() {
                Some(b'"') => self.string_into(fields.text_mut())?,
                Some(b'{' | b'[') => {
                    let start = self.at;
                    self.skip_value()?;
                    fields.text_mut().push_str(&self.text[start..self.at]);
                }
                _ => {
                    let scalar = self.scalar()?;
                    if scalar == "null" {
                        fields.text_mut().truncate(key);
                        continue;
                    }
                    fields.text_mut().push_str(scalar);
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

/// Position of the first quote or backslash from `from` on, or the length of `bytes` or more when there is none.
fn quote_or_escape(bytes: &[u8], from: usize) -> usize {
    from + first_of(bytes.get(from..).unwrap_or(&[]), [b'"', b'\\'])
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
