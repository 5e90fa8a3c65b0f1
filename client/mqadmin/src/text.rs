//! Times, sizes and bodies as text.

use std::io;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime};
use common::message::base64::{STANDARD, encode};

/// A time in milliseconds since 1970, as `2026-11-21T15:04:05.678Z`; what lies outside of the years
/// 0 to 9999 stays a number.
pub fn time(millis: i64) -> String {
    match DateTime::from_timestamp_millis(millis).filter(|time| (0..=9999).contains(&time.year())) {
        Some(time) => time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        None => millis.to_string(),
    }
}

/// A time as [`time`] writes it, any part of it from the minutes on left out; or milliseconds.
pub fn parse_time(text: &str) -> Result<i64, String> {
    if let Ok(millis) = text.parse() {
        return Ok(millis);
    }
    parse_date(text).ok_or_else(|| {
        format!("{text:?} is no time: 2026-11-21T15:04:05.678Z is (UTC, a part at its end may be missing), or milliseconds since 1970")
    })
}

fn parse_date(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, clock) = text.split_once(['T', ' ']).unwrap_or((text, "0"));
    let missing = [":0:0", ":0", ""].get(clock.matches(':').count())?;
    let clock = NaiveTime::parse_from_str(&format!("{clock}{missing}"), "%H:%M:%S%.f").ok()?;
    let at = NaiveDate::parse_from_str(date, "%Y-%m-%d")
        .ok()?
        .and_time(clock);
    let whole = at.and_utc().timestamp_subsec_nanos() % 1_000_000 == 0;
    whole.then(|| at.and_utc().timestamp_millis())
}

/// A number of bytes for people.
pub fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// A count for people: `1,234,567`.
pub fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// Writes bytes as base64, with padding.
pub fn base64(bytes: &[u8], out: &mut impl io::Write) -> io::Result<()> {
    out.write_all(encode(bytes, STANDARD).as_bytes())
}

/// Whether bytes are text that a terminal shows as it is.
pub fn printable(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let shown = |c: char| !c.is_control() || matches!(c, '\n' | '\t' | '\r');
    text.chars().all(shown).then_some(text)
}

/// Text with everything a terminal would act on made visible.
pub fn escaped(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        let check = |millis, text: &str| {
            assert_eq!(time(millis), text);
            assert_eq!(parse_time(text), Ok(millis), "{text}");
        };
        check(0, "1970-01-01T00:00:00.000Z");
        check(-1, "1969-12-31T23:59:59.999Z");
        check(951_827_696_789, "2000-02-29T12:34:56.789Z");
        check(1_709_251_199_999, "2024-02-29T23:59:59.999Z");
        check(4_107_542_400_000, "2100-03-01T00:00:00.000Z");
        assert_eq!(time(i64::MAX), i64::MAX.to_string());
    }

    #[test]
    fn parts_at_the_end_may_be_missing() {
        let day = parse_time("2026-11-21T00:00:00.000Z");
        for text in [
            "2026-11-21",
            "2026-11-21T00",
            "2026-11-21 00:00",
            "2026-11-21T00:00:00.0",
        ] {
            assert_eq!(parse_time(text), day, "{text}");
        }
        assert_eq!(parse_time("123"), Ok(123));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-13-01",
            "2026-02-30",
            "2026-11-21T24:00",
            "2026-11-21T1:2:3:4",
            "2026-11-21T00:00:00.1234",
        ] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn base64_is_as_everywhere() {
        let check = |bytes: &[u8], text: &str| {
            let mut out = Vec::new();
            base64(bytes, &mut out).unwrap();
            assert_eq!(out, text.as_bytes());
        };
        check(b"", "");
        check(b"f", "Zg==");
        check(b"fo", "Zm8=");
        check(b"foobar", "Zm9vYmFy");
        check(&[0xFB, 0xFF, 0xFE], "+//+");
        check(&[0; 3 * 300 + 1], &("AAAA".repeat(300) + "AA=="));
    }

    #[test]
    fn nothing_reaches_the_terminal_that_it_would_act_on() {
        assert_eq!(printable(b"one\ntwo"), Some("one\ntwo"));
        assert_eq!(printable(b"\x1b[31m"), None);
        assert_eq!(escaped(b"a\x1b[31m\n\xFF"), "a\\u{1b}[31m\\n\u{FFFD}");
    }
}
