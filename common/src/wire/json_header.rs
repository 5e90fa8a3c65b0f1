//! Reading the JSON header, without building maps.
//!
//! Lenient where the reference is: numbers may be quoted, unknown members are skipped, values of `extFields` may be
//! any scalar. Anything that is no JSON object is refused, which closes the connection.

use super::command::{Command, HeaderError, LanguageCode};
use super::fastjson::unescape;
use super::fields::Fields;
use crate::scan::first_of;
use std::ops::Range;

pub(super) fn decode(text: &str, command: &mut Command) -> Result<(), HeaderError> {
    // The arena begins with the header: a key or value without escapes is a part of it and not copied again.
    command.fields.clear();
    command.fields.append(text);
    let mut scan = Scan { text, at: 0 };
    scan.expect(b'{', "an object")?;
    let mut first = true;
    while scan.next_member(&mut first)? {
        // Names of the header are plain ASCII; one with an escape is unknown.
        let name = scan.raw_string()?;
        scan.expect(b':', "a colon")?;
        match &text.as_bytes()[name] {
            b"code" => command.code = scan.int()?,
            b"flag" => command.flag = scan.int()?,
            b"opaque" => command.opaque = scan.int()?,
            b"version" => command.version = scan.int()?,
            b"language" => command.language = scan.language()?,
            b"remark" => command.remark = scan.remark(&mut command.fields)?,
            b"extFields" => scan.fields(&mut command.fields)?,
            _ => scan.skip_value()?,
        }
    }
    match scan.peek() {
        None => Ok(()),
        Some(_) => Err(scan.error("nothing after the object")),
    }
}

/// Digits of the largest integers of the header.
const MAX_DIGITS: usize = 10;
/// Nesting a skipped member may have.
const MAX_DEPTH: usize = 64;

/// A cursor. What is rare takes a copy of it and says where it ends, so that the cursor itself stays in registers.
#[derive(Clone, Copy)]
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn error(self, expected: &'static str) -> HeaderError {
        let at = self.at;
        HeaderError::Json { at, expected }
    }

    /// The next byte that is no space.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    #[inline]
    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), HeaderError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.error(expected))
    }

    /// Stands at the quote of a member name, or has consumed the closing brace.
    #[inline]
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

    /// Position of the first quote or backslash from `from` on, or the length of the text or more when there is none.
    #[inline]
    fn quote_or_escape(self, from: usize) -> usize {
        let rest = self.text.as_bytes().get(from..);
        from + first_of(rest.unwrap_or_default(), [b'"', b'\\'])
    }

    /// Where the text of the string stands whose quote is next, if it has no escapes; moves behind it then.
    #[inline]
    fn plain_string(&mut self) -> Option<Range<usize>> {
        let start = self.at + 1;
        let end = self.quote_or_escape(start);
        if self.text.as_bytes().get(end) == Some(&b'"') {
            self.at = end + 1;
            return Some(start..end);
        }
        None
    }

    /// Takes what nearly all pairs are, two strings without escapes and spaces, from the one whose quote is next on. False,
    /// and nothing is taken, where that one is of another kind.
    #[inline(never)]
    fn plain_pairs(&mut self, fields: &mut Fields) -> bool {
        let bytes = self.text.as_bytes();
        let mut at = self.at;
        loop {
            let key = at + 1..self.quote_or_escape(at + 1);
            let value = key.end + 3;
            if bytes.get(key.end..value) != Some(b"\":\"") {
                break;
            }
            let value = value..self.quote_or_escape(value);
            if bytes.get(value.end) != Some(&b'"') {
                break;
            }
            self.at = value.end + 1;
            at = self.at + 1;
            fields.commit(key, value);
            if bytes.get(self.at..self.at + 2) != Some(b",\"") {
                return true;
            }
        }
        at > self.at
    }

    /// Where the raw text of the string stands whose quote is next; moves behind it.
    #[inline]
    fn raw_string(&mut self) -> Result<Range<usize>, HeaderError> {
        if let Some(plain) = self.plain_string() {
            return Ok(plain);
        }
        let end = self.end_of_string()?;
        let start = self.at + 1;
        self.at = end + 1;
        Ok(start..end)
    }

    #[inline(never)]
    fn end_of_string(self) -> Result<usize, HeaderError> {
        let mut end = self.quote_or_escape(self.at + 1);
        loop {
            match self.text.as_bytes().get(end) {
                Some(b'"') => return Ok(end),
                Some(_) => end = self.quote_or_escape(end + 2),
                None => return Err(self.error("the end of a string")),
            }
        }
    }

    /// Where in the arena the text of the string stands whose quote is next: in the header if it has no escapes, behind it
    /// otherwise. Moves behind the string.
    #[inline]
    fn string(&mut self, fields: &mut Fields) -> Result<Range<usize>, HeaderError> {
        if let Some(plain) = self.plain_string() {
            return Ok(plain);
        }
        let arena = fields.text_mut();
        let start = arena.len();
        self.at = self.unescape(arena)?;
        Ok(start..arena.len())
    }

    /// Appends the text of the string whose quote is next; returns where it ends.
    #[inline(never)]
    fn unescape(mut self, arena: &mut String) -> Result<usize, HeaderError> {
        let mut from = self.at + 1;
        loop {
            let end = self.quote_or_escape(from);
            arena.push_str(self.text.get(from..end).unwrap_or(""));
            match self.text.as_bytes().get(end..) {
                Some([b'"', ..]) => return Ok(end + 1),
                // The separators of properties: by far the most there are.
                Some([_, b'u', b'0', b'0', b'0', digit @ (b'1' | b'2'), ..]) => {
                    arena.push(char::from(digit - b'0'));
                    self.at = end;
                    from = end + 6;
                }
                Some([_, escape @ ..]) => {
                    self.at = end;
                    let escape = unescape(escape);
                    let (plain, bytes) = escape.map_err(|(_, expected)| self.error(expected))?;
                    arena.push(plain);
                    from = end + 1 + bytes;
                }
                _ => return Err(self.error("the end of a string")),
            }
        }
    }

    /// A number, `true`, `false` or `null`; moves behind it.
    #[inline]
    fn scalar(&mut self) -> Result<&'a str, HeaderError> {
        let text = self.scalar_text()?;
        self.at += text.len();
        Ok(text)
    }

    #[inline(never)]
    fn scalar_text(self) -> Result<&'a str, HeaderError> {
        let rest = &self.text[self.at..];
        let is_part =
            |byte: u8| matches!(byte, b'+' | b'-' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'E');
        let end = rest.bytes().position(|byte| !is_part(byte));
        let text = &rest[..end.unwrap_or(rest.len())];
        // Nearly all numbers are plain digits; the rest is rare enough for a real number parser.
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if plain
            || matches!(text, "true" | "false" | "null")
            || text.parse::<f64>().is_ok_and(f64::is_finite)
        {
            return Ok(text);
        }
        Err(self.error("a value"))
    }

    /// Digits and nothing else, as nearly every number of the header is; `None` where a real number parser has to look.
    #[inline]
    fn digits(&mut self) -> Option<i32> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let (mut value, mut digits) = (0_i64, 0);
        while let Some(digit @ b'0'..=b'9') = rest.get(digits)
            && digits < MAX_DIGITS
        {
            value = value * 10 + i64::from(digit - b'0');
            digits += 1;
        }
        if digits == 0 || !matches!(rest.get(digits), Some(b',' | b'}')) {
            return None;
        }
        let value = i32::try_from(value).ok()?;
        self.at += digits;
        Some(value)
    }

    /// An integer of 32 bits, plain or quoted; `null` and an empty text are 0.
    #[inline]
    fn int(&mut self) -> Result<i32, HeaderError> {
        // Spaces are behind it then, and most numbers at once.
        self.peek();
        if let Some(value) = self.digits() {
            return Ok(value);
        }
        let (value, end) = self.odd_int()?;
        self.at = end;
        Ok(value)
    }

    #[inline(never)]
    fn odd_int(mut self) -> Result<(i32, usize), HeaderError> {
        let quoted = self.peek() == Some(b'"');
        let at = self.at + usize::from(quoted);
        let text = if quoted {
            let raw = self.raw_string()?;
            &self.text[raw]
        } else {
            self.scalar()?
        };
        if text == "null" || text.is_empty() {
            return Ok((0, self.at));
        }
        let expected = "an integer of 32 bits";
        let value = text
            .parse()
            .map_err(|_| HeaderError::Json { at, expected })?;
        Ok((value, self.at))
    }

    #[inline]
    fn language(&mut self) -> Result<LanguageCode, HeaderError> {
        if self.peek() == Some(b'"') {
            let raw = self.raw_string()?;
            return Ok(LanguageCode::from_name(&self.text[raw]));
        }
        self.skip_value().map(|()| LanguageCode::OTHER)
    }

    #[inline]
    fn remark(&mut self, fields: &mut Fields) -> Result<Option<String>, HeaderError> {
        if self.peek() == Some(b'"') {
            let text = self.string(fields)?;
            return Ok(fields.text_mut().get(text).map(str::to_owned));
        }
        self.skip_value().map(|()| None)
    }

    #[inline]
    fn fields(&mut self, fields: &mut Fields) -> Result<(), HeaderError> {
        if self.peek() == Some(b'n') {
            return self.scalar().map(|_| ());
        }
        self.expect(b'{', "an object")?;
        let mut first = true;
        while self.next_member(&mut first)? {
            if self.plain_pairs(fields) {
                continue;
            }
            let key = self.string(fields)?;
            self.expect(b':', "a colon")?;
            let next = self.peek();
            let start = self.at;
            let value = match next {
                Some(b'"') => self.string(fields)?,
                Some(b'{' | b'[') => {
                    self.skip_value()?;
                    start..self.at
                }
                _ if self.scalar()? == "null" => continue,
                _ => start..self.at,
            };
            fields.commit(key, value);
        }
        Ok(())
    }

    /// Moves behind a value of any kind.
    #[inline]
    fn skip_value(&mut self) -> Result<(), HeaderError> {
        if self.peek() == Some(b'"') {
            return self.raw_string().map(drop);
        }
        self.at = self.end_of_value()?;
        Ok(())
    }

    #[inline(never)]
    fn end_of_value(mut self) -> Result<usize, HeaderError> {
        let mut open = [0u8; MAX_DEPTH];
        let mut depth = 0;
        loop {
            match self.peek() {
                Some(b'"') => _ = self.raw_string()?,
                Some(bracket @ (b'{' | b'[')) => {
                    let slot = open.get_mut(depth);
                    let slot = slot.ok_or_else(|| self.error("less nesting"))?;
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
                return Ok(self.at);
            }
        }
    }
}
