//! The `.properties` text format of Java: comments, separators, continuation lines, escapes.

use std::fmt::Write as _;

/// One key with its value, and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The key, escapes resolved.
    pub key: String,
    /// The value, escapes resolved. Blanks at its end are part of it, as in Java.
    pub value: String,
    /// Line it begins on, from 1.
    pub line: usize,
}

/// A `\u` escape that is not followed by four hexadecimal digits: the only thing the format forbids.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: \\u is not followed by four hexadecimal digits")]
pub struct BadEscape {
    /// Line of the property, from 1.
    pub line: usize,
}

/// Reads all properties of `text` in their order; a key that stands twice is returned twice.
///
/// # Errors
/// [`BadEscape`] for a broken `\u` escape.
pub fn parse(text: &str) -> Result<Vec<Property>, BadEscape> {
    logical_lines(text)
        .map(|logical| {
            let (key, value) = split(&logical.text);
            let bad = || BadEscape { line: logical.line };
            Ok(Property {
                key: unescape(key).ok_or_else(bad)?,
                value: unescape(value).ok_or_else(bad)?,
                line: logical.line,
            })
        })
        .collect()
}

/// Bytes as text: UTF-8, or else Latin-1, in which Java reads these files.
pub fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// `text` with the given keys set: the line of a key that is there is replaced (where it stands twice, the last, which counts),
/// other keys are added at the end. Comments, order and everything else stay.
pub fn with_changes<'a>(
    text: &str,
    changes: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut lines: Vec<String> = physical_lines(text).map(str::to_owned).collect();
    if lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    for (key, value) in changes {
        let entry = format!("{}={}", escape(key, true), escape(value, false));
        let current = lines.join("\n");
        let found = logical_lines(&current)
            .filter(|logical| unescape(split(&logical.text).0).as_deref() == Some(key))
            .last();
        match found {
            Some(logical) => {
                let first = logical.line - 1;
                lines.splice(first..first + logical.physical_lines, [entry]);
            }
            None => lines.push(entry),
        }
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

/// A line of the file after its continuation lines have been joined to it.
struct LogicalLine {
    text: String,
    line: usize,
    physical_lines: usize,
}

fn logical_lines(text: &str) -> impl Iterator<Item = LogicalLine> + '_ {
    let mut lines = physical_lines(text).enumerate();
    std::iter::from_fn(move || {
        let (first, start) = lines.by_ref().find(|(_, line)| {
            let line = line.trim_start_matches(is_blank);
            !line.is_empty() && !line.starts_with(['#', '!'])
        })?;
        let mut text = String::new();
        let mut part = start.trim_start_matches(is_blank);
        let mut physical_lines = 1;
        while continues(part) {
            text.push_str(&part[..part.len() - 1]);
            let Some((_, next)) = lines.next() else {
                part = "";
                break;
            };
            part = next.trim_start_matches(is_blank);
            physical_lines += 1;
        }
        text.push_str(part);
        Some(LogicalLine {
            text,
            line: first + 1,
            physical_lines,
        })
    })
}

/// Lines end with LF, CR LF or CR.
fn physical_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.split('\r')
    })
}

/// An odd number of backslashes at the end: the last one is not escaped itself.
fn continues(line: &str) -> bool {
    line.len() % 2 != line.trim_end_matches('\\').len() % 2
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Key and value, both still escaped. The key ends at the first `=`, `:` or blank that is not escaped; blanks and at most one
/// `=` or `:` stand between the two.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (is_blank(c) || c == '=' || c == ':');
        escaped = c == '\\' && !escaped;
        ends
    });
    let Some(end) = end else { return (line, "") };
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches(is_blank))
}

/// `None` where a `\u` lacks its digits.
fn unescape(text: &str) -> Option<String> {
    if !text.contains('\\') {
        return Some(text.to_owned());
    }
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    let mut buffer = [0u16; 2];
    while let Some(c) = chars.next() {
        let plain = match c {
            '\\' => match chars.next() {
                None => continue,
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some('u') => {
                    let digits = chars.as_str().get(..4)?;
                    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                        return None;
                    }
                    units.push(u16::from_str_radix(digits, 16).ok()?);
                    chars = chars.as_str()[4..].chars();
                    continue;
                }
                Some(other) => other,
            },
            other => other,
        };
        units.extend_from_slice(plain.encode_utf16(&mut buffer));
    }
    Some(String::from_utf16_lossy(&units))
}

/// `text` so that [`parse`] gives it back. In keys separators are escaped everywhere, in values only blanks at the start.
fn escape(text: &str, is_key: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\x0c' => escaped.push_str("\\f"),
            ' ' if is_key || at == 0 => escaped.push_str("\\ "),
            '=' | ':' | '#' | '!' if is_key => {
                escaped.push('\\');
                escaped.push(c);
            }
            // Java reads these files as Latin-1: an escape reads the same there and here.
            c if !c.is_ascii() => {
                let mut units = [0u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(escaped, "\\u{unit:04X}");
                }
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
