//! Rates over the last moments, from samples.

use super::Totals;
use common::clock::Millis;
use std::collections::VecDeque;
use std::time::Duration;

/// Spans rates are told for; samples are kept for the longest.
const SPANS: [Duration; 3] = [
    Duration::from_secs(10),
    Duration::from_mins(1),
    Duration::from_mins(10),
];
/// Samples kept: one a second for the longest span, and the one before it.
const KEPT_SAMPLES: usize = 601;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The sums at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) totals: Totals,
}

/// Rates per second over the last 10 seconds, minute and 10 minutes (or since the start, while that is less), and the sums
/// as the last two days (of UTC) began.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rates {
    /// Messages stored.
    pub put: [f64; 3],
    /// Pulls that found messages.
    pub found: [f64; 3],
    /// Pulls that found none.
    pub missed: [f64; 3],
    /// Messages delivered.
    pub delivered: [f64; 3],
    /// Now.
    pub now: Totals,
    /// When today began.
    pub today: Totals,
    /// When yesterday began.
    pub yesterday: Totals,
}

pub(super) struct Samples {
    kept: VecDeque<Sample>,
    day: i64,
    today: Totals,
    yesterday: Totals,
}

impl Samples {
    pub(super) fn new(now: Millis) -> Self {
        Self {
            kept: VecDeque::with_capacity(KEPT_SAMPLES),
            day: now.0.div_euclid(DAY_MS),
            today: Totals::default(),
            yesterday: Totals::default(),
        }
    }

    pub(super) fn push(&mut self, sample: Sample, now: Millis) {
        if self.kept.len() == KEPT_SAMPLES {
            self.kept.pop_front();
        }
        self.kept.push_back(sample);
        let day = now.0.div_euclid(DAY_MS);
        if day > self.day {
            // A broker that slept through a whole day stored nothing in it.
            self.yesterday = if day == self.day + 1 {
                self.today
            } else {
                sample.totals
            };
            self.today = sample.totals;
            self.day = day;
        }
    }

    pub(super) fn rates(&self, now: Sample) -> Rates {
        let mut rates = Rates {
            now: now.totals,
            today: self.today,
            yesterday: self.yesterday,
            ..Rates::default()
        };
        for (index, span) in SPANS.into_iter().enumerate() {
            let since = now.at.saturating_sub(span);
            let Some(before) = self.kept.iter().find(|sample| sample.at >= since) else {
                continue;
            };
            let seconds = now.at.saturating_sub(before.at).as_secs_f64();
            if seconds <= 0.0 {
                continue;
            }
            let rate = |total: fn(&Totals) -> u64| {
                per_second(total(&before.totals), total(&now.totals), seconds)
            };
            rates.put[index] = rate(|totals| totals.put);
            rates.found[index] = rate(|totals| totals.found);
            rates.missed[index] = rate(|totals| totals.missed);
            rates.delivered[index] = rate(|totals| totals.delivered);
        }
        rates
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate is shown with few digits"
)]
fn per_second(before: u64, now: u64, seconds: f64) -> f64 {
    now.saturating_sub(before) as f64 / seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: u64, put: u64) -> Sample {
        Sample {
            at: Duration::from_secs(second),
            totals: Totals {
                put,
                ..Totals::default()
            },
        }
    }

    fn shown([seconds, minute, minutes]: [f64; 3]) -> String {
        format!("{seconds:.2} {minute:.2} {minutes:.2}")
    }

    #[test]
    fn each_span_has_its_rate() {
        let mut samples = Samples::new(Millis(0));
        for second in 0..100 {
            samples.push(
                sample(second, if second < 90 { 0 } else { (second - 90) * 10 }),
                Millis(0),
            );
        }
        let rates = samples.rates(sample(100, 100));
        assert_eq!(shown(rates.put), "10.00 1.67 1.00");
        assert_eq!(shown(rates.found), "0.00 0.00 0.00");
        assert_eq!(rates.now.put, 100);
    }

    #[test]
    fn a_broker_without_samples_has_no_rates() {
        let rates = Samples::new(Millis(0)).rates(sample(0, 5));
        assert_eq!(shown(rates.put), "0.00 0.00 0.00");
    }

    #[test]
    fn old_samples_are_dropped() {
        let mut samples = Samples::new(Millis(0));
        for second in 0..2000 {
            samples.push(sample(second, second), Millis(0));
        }
        assert_eq!(samples.kept.len(), KEPT_SAMPLES);
        assert_eq!(
            shown(samples.rates(sample(2000, 2000)).put),
            "1.00 1.00 1.00"
        );
    }

    #[test]
    fn the_sums_of_the_mornings_move_with_the_days() {
        let mut samples = Samples::new(Millis(DAY_MS - 1));
        samples.push(sample(0, 5), Millis(DAY_MS - 1));
        samples.push(sample(1, 7), Millis(DAY_MS));
        samples.push(sample(2, 9), Millis(2 * DAY_MS));
        let rates = samples.rates(sample(3, 11));
        assert_eq!(
            (rates.yesterday.put, rates.today.put, rates.now.put),
            (7, 9, 11)
        );
        samples.push(sample(4, 12), Millis(9 * DAY_MS));
        assert_eq!(samples.rates(sample(5, 12)).yesterday.put, 12);
    }
}
