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
                    out.push(self.escape()?);
                }
                Some(_) => {
                    self.at += 1;
                    return Ok(out);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let byte = self.peek().ok_or_else(|| self.unexpected("an escape"))?;
        if byte == b'u' {
            self.at += 1;
            return self.unicode_escape();
        }
        let plain = match byte {
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'v' => '\u{b}',
            b'0' => '\0',
            b'"' | b'\'' | b'\\' | b'/' => char::from(byte),
            _ => return Err(self.unexpected("an escape")),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let first = self.hex4()?;
        if (0xD800..0xDC00).contains(&first)
            && self.bytes.get(self.at..self.at + 2) == Some(b"\\u".as_slice())
        {
            self.at += 2;
            let second = self.hex4()?;
            let low = second.wrapping_sub(0xDC00) & 0x3FF;
            let joined = char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + low);
            return Ok(joined
                .filter(|_| (0xDC00..0xE000).contains(&second))
                .unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            Some(number) => {
                self.at += 4;
                Ok(number)
            }
            None => Err(self.unexpected("four hexadecimal digits")),
        }
    }
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
