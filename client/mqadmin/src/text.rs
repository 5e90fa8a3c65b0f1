//! Times, sizes and bodies as text.

use std::io;

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// A time in milliseconds since 1970, as `2026-11-21T15:04:05.678Z`; what lies outside of the years
/// 0 to 9999 stays a number.
pub fn time(millis: i64) -> String {
    let (days, of_day) = (millis.div_euclid(DAY_MS), millis.rem_euclid(DAY_MS));
    // Days since 0000-03-01 in the proleptic Gregorian calendar, with years that start in March.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    if !(0..=9999).contains(&year) {
        return millis.to_string();
    }
    let (seconds, ms) = (of_day / 1000, of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
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
    let (date, clock) = text.split_once(['T', ' ']).unwrap_or((text, ""));
    let mut date = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    if date.next().is_some() || !(0..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let (clock, ms) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut clock = clock
        .split(':')
        .filter(|part| !part.is_empty())
        .map(|part| part.parse::<i64>().ok());
    let mut next = |limit: i64| match clock.next() {
        None => Some(0),
        Some(value) => value.filter(|value| (0..limit).contains(value)),
    };
    let (hour, minute, second) = (next(24)?, next(60)?, next(60)?);
    if clock.next().is_some() || ms.len() > 3 || !ms.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let ms: i64 = format!("{ms:0<3}").parse().ok()?;
    let (march_year, march) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, of_era) = (march_year.div_euclid(400), march_year.rem_euclid(400));
    let of_year = (153 * march + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let millis = days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + ms;
    // A day that month does not have comes back as another one.
    let same_day = time(millis).get(5..10) == Some(&format!("{month:02}-{day:02}"));
    same_day.then_some(millis)
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
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| DIGITS[usize::try_from(bits & 63).unwrap_or(0)];
    let encode = |bytes: [u8; 3]| {
        let bits = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        [
            digit(bits >> 18),
            digit(bits >> 12),
            digit(bits >> 6),
            digit(bits),
        ]
    };
    let (threes, rest) = bytes.as_chunks::<3>();
    let mut piece = [0; 4 * 256];
    for threes in threes.chunks(256) {
        for (four, three) in piece.as_chunks_mut::<4>().0.iter_mut().zip(threes) {
            *four = encode(*three);
        }
        out.write_all(&piece[..threes.len() * 4])?;
    }
    match *rest {
        [a] => out
            .write_all(&encode([a, 0, 0])[..2])
            .and_then(|()| out.write_all(b"==")),
        [a, b] => out
            .write_all(&encode([a, b, 0])[..3])
            .and_then(|()| out.write_all(b"=")),
        _ => Ok(()),
    }
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
