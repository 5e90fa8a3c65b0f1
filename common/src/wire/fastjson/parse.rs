//! Reading text of Fastjson's dialect into a tree.

use super::JsonError;
use super::value::Value;

/// Levels of nesting that are followed; deeper text is refused, as the stack is finite.
const DEPTH_LIMIT: usize = 128;
/// Values that references may add to a document. A reference copies what it points at, so a small text could name a huge tree.
const REFERENCED_VALUES_LIMIT: usize = 100_000;

/// Parses one document and replaces its references.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|error| JsonError(error.to_string()))?;
    let mut parser = Parser {
        bytes: text.as_bytes(),
        text,
        at: 0,
        references: false,
    };
    let mut value = parser.value(0)?;
    parser.space();
    if parser.at < bytes.len() {
        return Err(parser.unexpected("the end"));
    }
    if parser.references {
        let document = value.clone();
        let mut budget = REFERENCED_VALUES_LIMIT;
        resolve(&mut value, &document, &mut budget)?;
    }
    Ok(value)
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    references: bool,
}

impl Parser<'_> {
    fn unexpected(&self, wanted: &str) -> JsonError {
        let found = self
            .text
            .get(self.at..)
            .and_then(|rest| rest.chars().next());
        match found {
            Some(found) => JsonError(format!("{found:?} at byte {}, expected {wanted}", self.at)),
            None => JsonError(format!("it ends at byte {}, expected {wanted}", self.at)),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Skips space, and takes `byte` if it is next.
    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        if depth > DEPTH_LIMIT {
            return Err(JsonError(format!(
                "nested deeper than {DEPTH_LIMIT} levels"
            )));
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(quote @ (b'"' | b'\'')) => self.string(quote).map(Value::Text),
            _ => self.word(),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            while self.take(b',') {}
            if self.take(b']') {
                return Ok(Value::List(items));
            }
            items.push(self.value(depth + 1)?);
            self.space();
            if !matches!(self.peek(), Some(b',' | b']')) {
                return Err(self.unexpected("`,` or `]`"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut members = Vec::new();
        loop {
            while self.take(b',') {}
            if self.take(b'}') {
                return Ok(Value::Map(members));
            }
            let key = self.key(depth + 1)?;
            if !self.take(b':') {
                return Err(self.unexpected("`:`"));
            }
            let value = self.value(depth + 1)?;
            self.references |= matches!(&key, Value::Text(name) if name == "$ref");
            // `null` means "not there" to Java as well as to a field with a default.
            if value != Value::Null {
                members.push((key, value));
            }
            self.space();
            if !matches!(self.peek(), Some(b',' | b'}')) {
                return Err(self.unexpected("`,` or `}`"));
            }
        }
    }

    fn key(&mut self, depth: usize) -> Result<Value, JsonError> {
        match self.peek() {
            Some(b'{' | b'[' | b'"' | b'\'') => self.value(depth),
            _ => self.bare("a name").map(|name| Value::Text(name.to_owned())),
        }
    }

    /// A run of characters without quotes: a number, a literal or a name.
    fn bare(&mut self, wanted: &str) -> Result<&str, JsonError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| {
            byte.is_ascii_alphanumeric()
                || byte >= 0x80
                || matches!(byte, b'+' | b'-' | b'.' | b'_' | b'$' | b'%' | b'@')
        }) {
            self.at += 1;
        }
        if start == self.at {
            return Err(self.unexpected(wanted));
        }
        Ok(&self.text[start..self.at])
    }

    fn word(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        let word = self.bare("a value")?;
        match word {
            "null" => return Ok(Value::Null),
            "true" => return Ok(Value::Bool(true)),
            "false" => return Ok(Value::Bool(false)),
            _ => {}
        }
        if let Ok(number) = word.parse() {
            return Ok(Value::Integer(number));
        }
        let numeric = word
            .starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '+' | '.'));
        match word.parse() {
            Ok(number) if numeric => Ok(Value::Float(number)),
            _ => {
                self.at = start;
                Err(self.unexpected("a value"))
            }
        }
    }

    fn string(&mut self, quote: u8) -> Result<String, JsonError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let start = self.at;
            while self
                .peek()
                .is_some_and(|byte| byte != quote && byte != b'\\')
            {
                self.at += 1;
            }
            out.push_str(&self.text[start..self.at]);
            match self.peek() {
                None => return Err(self.unexpected("the end of a string")),
                Some(b'\\') => {
                    self.at += 1;
                    let escape = unescape(&self.bytes[self.at..]);
                    let (plain, bytes) = escape.map_err(|(at, expected)| {
                        self.at += at;
                        self.unexpected(expected)
                    })?;
                    out.push(plain);
                    self.at += bytes;
                }
                Some(_) => {
                    self.at += 1;
                    return Ok(out);
                }
            }
        }
    }
}

/// The character that an escape stands for, and the bytes of the escape: `text` begins behind the backslash. Half of a pair
/// of surrogates is a replacement character.
///
/// # Errors
/// Where in `text` something else was expected, and what.
pub(crate) fn unescape(text: &[u8]) -> Result<(char, usize), (usize, &'static str)> {
    let plain = match text.first() {
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'v') => '\u{b}',
        Some(b'0') => '\0',
        Some(&plain @ (b'"' | b'\'' | b'\\' | b'/')) => char::from(plain),
        Some(b'u') => {
            let unit = hex4(text, 1)?;
            if unit >> 10 != 0x36 {
                return Ok((
                    char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER),
                    5,
                ));
            }
            let paired = text[5..].starts_with(b"\\u");
            let second = if paired { hex4(text, 7)? } else { 0 };
            let pair = 0x1_0000 + ((unit & 0x3FF) << 10) + (second & 0x3FF);
            let pair = char::from_u32(pair).filter(|_| second >> 10 == 0x37);
            return Ok(pair.map_or((char::REPLACEMENT_CHARACTER, 5), |pair| (pair, 11)));
        }
        _ => return Err((0, "an escape")),
    };
    Ok((plain, 1))
}

fn hex4(text: &[u8], at: usize) -> Result<u32, (usize, &'static str)> {
    let digit = |unit: u32, digit: &u8| Some(unit << 4 | char::from(*digit).to_digit(16)?);
    let digits = text.get(at..at + 4);
    let unit = digits.and_then(|digits| digits.iter().try_fold(0, digit));
    unit.ok_or((at, "four hexadecimal digits"))
}

/// Replaces every `{"$ref":"$.a[0].b"}` by a copy of what it names in `document`; what cannot be found becomes `null`.
fn resolve(value: &mut Value, document: &Value, budget: &mut usize) -> Result<(), JsonError> {
    match value {
        Value::List(items) => items
            .iter_mut()
            .try_for_each(|item| resolve(item, document, budget)),
        Value::Map(members) => {
            if let [(Value::Text(name), Value::Text(path))] = members.as_slice()
                && name == "$ref"
            {
                let target = lookup(document, path).unwrap_or(&Value::Null);
                *budget = budget.checked_sub(target.values()).ok_or_else(|| {
                    JsonError(format!(
                        "references add more than {REFERENCED_VALUES_LIMIT} values"
                    ))
                })?;
                *value = target.clone();
                return Ok(());
            }
            members
                .iter_mut()
                .try_for_each(|(_, member)| resolve(member, document, budget))
        }
        _ => Ok(()),
    }
}

fn lookup<'v>(document: &'v Value, path: &str) -> Option<&'v Value> {
    let mut at = document;
    for step in path.strip_prefix('$')?.split(['.', '[']).skip(1) {
        let step = step.strip_suffix(']').unwrap_or(step);
        at = match at {
            Value::List(items) => items.get(step.parse::<usize>().ok()?)?,
            Value::Map(members) => members
                .iter()
                .find(|(key, _)| matches!(key, Value::Text(name) if name == step))
                .map(|(_, value)| value)?,
            _ => return None,
        };
    }
    Some(at)
}
