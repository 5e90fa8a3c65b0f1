//! Delayed messages: their units say when each is due.
//!
//! The queues of one topic hold messages that wait, one queue for each delay. Whoever delivers them
//! reads a unit's tags code as the time at which its message is due.

use std::sync::Arc;

use common::message::properties;

/// The topic of messages that wait.
pub(crate) const TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// How long a message of a level that does not exist waits, in milliseconds.
const UNKNOWN_LEVEL_MS: i64 = 1_000;

/// What the reference delays by when nothing else is set.
pub const DEFAULT_DELAY_LEVELS: &str = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";

/// The delays that messages can have, by level: `1s 5s 10s …`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd)]
pub struct DelayLevels {
    /// Milliseconds of level 1 and up.
    delays_ms: Arc<[i64]>,
}

impl DelayLevels {
    /// The levels of `text`: whole numbers with one of the units `s`, `m`, `h` and `d`, separated by
    /// blanks. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let delays_ms = text
            .split_whitespace()
            .map(delay_ms)
            .collect::<Option<_>>()?;
        Some(Self { delays_ms })
    }

    /// The highest level, 0 if there is none.
    pub fn highest(&self) -> i32 {
        i32::try_from(self.delays_ms.len()).unwrap_or(i32::MAX)
    }

    /// How long a message of a level waits, in milliseconds. A level above the highest counts as the highest.
    pub fn delay_ms(&self, level: i32) -> i64 {
        let index = usize::try_from(level.min(self.highest()) - 1).ok();
        let delay = index.and_then(|index| self.delays_ms.get(index));
        delay.copied().unwrap_or(UNKNOWN_LEVEL_MS)
    }

    /// When a message of `level` that was stored at `store_timestamp` is due.
    pub(crate) fn due(&self, level: DelayLevel, store_timestamp: i64) -> i64 {
        store_timestamp.saturating_add(self.delay_ms(level.0))
    }
}

impl Default for DelayLevels {
    fn default() -> Self {
        Self::parse(DEFAULT_DELAY_LEVELS).unwrap_or(Self {
            delays_ms: Arc::default(),
        })
    }
}

fn delay_ms(text: &str) -> Option<i64> {
    let (number, unit_ms) = [
        ('s', 1_000),
        ('m', 60_000),
        ('h', 3_600_000),
        ('d', 86_400_000),
    ]
    .into_iter()
    .find_map(|(unit, unit_ms)| Some((text.strip_suffix(unit)?, unit_ms)))?;
    number
        .parse::<u32>()
        .ok()
        .map(|number| i64::from(number) * unit_ms)
}

/// A message's delay level, 1 or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DelayLevel(i32);

impl DelayLevel {
    /// The level of a message that waits; `None` for all others, whose units carry the tags code.
    pub(crate) fn of(topic: &[u8], properties: &[u8]) -> Option<Self> {
        if topic != TOPIC.as_bytes() {
            return None;
        }
        let level = properties::get_bytes(properties, properties::DELAY.as_bytes())?;
        let level = std::str::from_utf8(level).ok()?.parse().ok()?;
        (level > 0).then_some(Self(level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(level: &str) -> Option<i64> {
        let levels = DelayLevels::parse("1s 5s 2m  3h 1d").unwrap();
        let properties = format!("TAGS\u{1}A\u{2}DELAY\u{1}{level}\u{2}");
        DelayLevel::of(TOPIC.as_bytes(), properties.as_bytes())
            .map(|level| levels.due(level, 10_000))
    }

    #[test]
    fn a_level_is_due_after_its_delay() {
        assert_eq!(due("1"), Some(11_000));
        assert_eq!(due("2"), Some(15_000));
        assert_eq!(due("3"), Some(130_000));
        assert_eq!(due("4"), Some(10_810_000));
        assert_eq!(due("5"), Some(86_410_000));
    }

    #[test]
    fn by_default_there_are_18_levels() {
        let levels = DelayLevels::default();
        assert_eq!(levels.delays_ms.len(), 18);
        assert_eq!(levels.due(DelayLevel(18), 0), 7_200_000);
    }

    #[test]
    fn a_level_above_the_highest_is_the_highest() {
        assert_eq!(due("6"), due("5"));
        assert_eq!(due("2147483647"), due("5"));
        let none = DelayLevels::parse("").unwrap();
        assert_eq!(none.due(DelayLevel(3), 10_000), 11_000);
    }

    #[test]
    fn only_levels_of_waiting_messages_count() {
        assert_eq!(due("0"), None);
        assert_eq!(due("-1"), None);
        assert_eq!(due("soon"), None);
        assert_eq!(DelayLevel::of(b"orders", b"DELAY\x011\x02"), None);
        assert_eq!(DelayLevel::of(TOPIC.as_bytes(), b"TAGS\x011\x02"), None);
    }

    #[test]
    fn what_is_no_delay_is_refused() {
        for text in ["1", "s", "1w", "-1s", "1.5s", "1s,5s", "99999999999s"] {
            assert_eq!(DelayLevels::parse(text), None, "{text}");
        }
    }
}
