//! Time, passed in. This is the only file that asks the operating system for it.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Datelike, Local, TimeZone, Timelike};

/// Milliseconds since 1970-01-01T00:00:00Z, as RocketMQ writes every timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub i64);

impl Millis {
    /// This moment plus `duration`, in whole milliseconds; saturates.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// Time from `earlier` to this moment; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Hour of the day at `at` in the time zone of the machine, 0 to 23.
pub fn local_hour(at: Millis) -> u32 {
    let local = Local.timestamp_millis_opt(at.0);
    local.single().map_or(0, |time| time.hour())
}

/// `at` in the time zone of the machine as the digits yyyyMMddHHmmssSSS, by which RocketMQ names files.
/// 0 for a moment the machine's calendar does not have.
pub fn local_digits(at: Millis) -> u64 {
    let time = Local.timestamp_millis_opt(at.0).single();
    let digits = time.map(|time| time.format("%Y%m%d%H%M%S%3f").to_string());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Milliseconds since the first of the month, UTC (the reference takes the local month; ids stay unique either way).
pub fn millis_of_month(at: Millis) -> u32 {
    let time = DateTime::from_timestamp_millis(at.0).unwrap_or_default();
    let seconds = time.day0() * 86_400 + time.num_seconds_from_midnight();
    seconds * 1000 + time.timestamp_subsec_millis()
}

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time; may step backwards.
    fn now(&self) -> Millis;

    /// Time since some fixed moment of this process; never goes backwards.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts at zero now.
    #[expect(clippy::disallowed_methods, reason = "the one place where time enters")]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where time enters")]
    fn now(&self) -> Millis {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A clock that moves only when told to, for tests and simulations.
#[derive(Debug)]
pub struct ManualClock {
    start: i64,
    now: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at `now`; its monotonic time is zero.
    pub fn new(now: Millis) -> Self {
        Self {
            start: now.0,
            now: AtomicI64::new(now.0),
        }
    }

    /// Moves both times forward.
    pub fn advance(&self, by: Duration) {
        self.now.fetch_add(
            i64::try_from(by.as_millis()).unwrap_or(i64::MAX),
            Ordering::SeqCst,
        );
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Millis {
        Millis(self.now.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        self.now().since(Millis(self.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(Millis(1_000));
        assert_eq!(
            (clock.now(), clock.monotonic()),
            (Millis(1_000), Duration::ZERO)
        );
        clock.advance(Duration::from_millis(5));
        assert_eq!(
            (clock.now(), clock.monotonic()),
            (Millis(1_005), Duration::from_millis(5))
        );
    }

    #[test]
    fn hours_of_the_day_follow_each_other() {
        // No time zone changes its clocks in the middle of that January.
        let noon = 1_673_784_000_000;
        for hours in 0..30 {
            let hour = |hours: i64| local_hour(Millis(noon + hours * 3_600_000));
            assert_eq!(hour(hours + 1), (hour(hours) + 1) % 24);
        }
    }

    #[test]
    fn digits_name_the_local_moment() {
        let at = Millis(1_673_784_061_007);
        let digits = local_digits(at).to_string();
        assert_eq!(digits.len(), 17);
        // Time zones differ by quarters of hours.
        assert_eq!((&digits[..6], &digits[12..]), ("202301", "01007"));
        assert_eq!(digits[8..10].parse(), Ok(local_hour(at)));
        assert_eq!(local_digits(Millis(at.0 + 500)), local_digits(at) + 500);
        assert_eq!(local_digits(Millis(i64::MAX)), 0);
    }

    #[test]
    fn since_a_later_moment_is_zero() {
        assert_eq!(Millis(5).since(Millis(9)), Duration::ZERO);
        assert_eq!(Millis(9).since(Millis(5)), Duration::from_millis(4));
    }

    #[test]
    fn system_clock_is_after_2020() {
        assert!(SystemClock::new().now() > Millis(1_577_836_800_000));
    }
}
