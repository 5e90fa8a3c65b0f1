//! Which times may be asked for, and what slot that is.

use crate::config::BrokerConfig;

/// A message is rolled on so often in the time that a file of the log is kept.
const ROLLS_PER_LIFE: u64 = 2;

/// The settings of timed messages.
#[derive(Debug, Clone)]
pub struct TimerRules {
    /// `timerWheelEnable`.
    pub enabled: bool,
    /// `timerPrecisionMs`.
    pub precision_ms: i64,
    /// `timerMaxDelaySec`, in milliseconds.
    pub max_delay_ms: i64,
    /// `timerCongestNumEachSlot`, unless it is no limit.
    pub slot_limit: Option<u64>,
    /// `appendTopicForTimerDeleteKey`.
    pub topic_in_key: bool,
    /// A message that has been in the log for so many milliseconds is appended again.
    pub roll_ms: i64,
    /// `timerRollWindowSlot`.
    pub window_slots: i64,
    /// `mappedFileSizeTimerLog`.
    pub log_file_bytes: u64,
}

/// Why a message with a time is not taken. The texts are the reference's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Timers are off.
    #[error("accurate timer message is not enabled, timerWheelEnable is false")]
    Off,
    /// No number, too far away, or a message that cancels one whose time has come.
    #[error(
        "timer message illegal, the delay time should not be bigger than the max delay {max_delay_ms}ms; \
         or if set del msg, the delay time should be bigger than the current time"
    )]
    Illegal {
        /// The longest delay.
        max_delay_ms: i64,
    },
    /// Too many for one slot.
    #[error(
        "timer message is under flow control, max num limit is {max} or the current value is greater than {limit} and less than {max}, \
         trigger random flow control"
    )]
    Congested {
        /// From here on some are refused.
        limit: u64,
        /// From here on all are.
        max: u64,
    },
}

impl TimerRules {
    /// The rules of these settings.
    pub fn new(config: &BrokerConfig) -> Self {
        let precision_ms = i64::from(config.timer_precision_ms);
        let seconds = i64::try_from(config.timer_max_delay_sec).unwrap_or(i64::MAX);
        let life_ms = u64::from(config.file_reserved_time) * 3_600_000 / ROLLS_PER_LIFE;
        let window_slots = i64::from(config.timer_roll_window_slot);
        let window_ms = window_slots * precision_ms;
        let limit = config.timer_congest_num_each_slot;
        Self {
            enabled: config.timer_wheel_enable,
            precision_ms,
            max_delay_ms: seconds.saturating_mul(1_000),
            slot_limit: (limit < i32::MAX.unsigned_abs()).then_some(limit.into()),
            topic_in_key: config.append_topic_for_timer_delete_key,
            roll_ms: window_ms
                .min(i64::try_from(life_ms).unwrap_or(i64::MAX))
                .max(1_000),
            window_slots,
            log_file_bytes: config.mapped_file_size_timer_log,
        }
    }

    /// Slot of a message that asks for a time, `None` when that has come: the texts of `TIMER_DELAY_SEC`, `TIMER_DELAY_MS` and
    /// `TIMER_DELIVER_MS`, of which the first that is there counts. `cancels`: it is to cancel another.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn slot(
        &self,
        [seconds, millis, deliver]: [Option<&str>; 3],
        cancels: bool,
        now: i64,
    ) -> Result<Option<u64>, Refusal> {
        if !self.enabled {
            return Err(Refusal::Off);
        }
        let illegal = Refusal::Illegal {
            max_delay_ms: self.max_delay_ms,
        };
        let number = |text: &str| text.parse::<i64>().map_err(|_| illegal);
        let deliver = match (seconds, millis, deliver) {
            (Some(text), ..) => now.saturating_add(number(text)?.saturating_mul(1_000)),
            (None, Some(text), _) => now.saturating_add(number(text)?),
            (None, None, text) => number(text.unwrap_or_default())?,
        };
        if deliver <= now {
            return if cancels { Err(illegal) } else { Ok(None) };
        }
        if deliver.saturating_sub(now) > self.max_delay_ms {
            return Err(illegal);
        }
        // A time on the edge belongs to the slot that ends there.
        let slot = (deliver - 1) / self.precision_ms * self.precision_ms;
        Ok(u64::try_from(slot).ok())
    }

    /// Whether a slot with `waiting` messages takes another one. `luck` is a random number from 0 up to 1: from the limit on
    /// ever more are refused, from twice the limit on all.
    ///
    /// # Errors
    /// [`Refusal::Congested`].
    pub fn admit(&self, waiting: u64, luck: f64) -> Result<(), Refusal> {
        let Some(limit) = self.slot_limit else {
            return Ok(());
        };
        let max = limit * 2;
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
        let share = waiting.saturating_sub(limit) as f64 / limit as f64;
        if waiting >= max || luck < share {
            return Err(Refusal::Congested { limit, max });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(set: impl FnOnce(&mut BrokerConfig)) -> TimerRules {
        let mut config = BrokerConfig::default();
        set(&mut config);
        TimerRules::new(&config)
    }

    const NOW: i64 = 1_700_000_000_500;

    #[test]
    fn times_are_rounded_down_to_slots_that_are_over_at_the_time_or_later() {
        for precision in [1, 7, 10, 100, 999, 1_000] {
            let rules = rules(|config| config.timer_precision_ms = precision);
            for delay in 1..2_500_i64 {
                let deliver = (NOW + delay).to_string();
                let slot = rules.slot([None, None, Some(&deliver)], false, NOW);
                let slot = i64::try_from(slot.unwrap().unwrap()).unwrap();
                let over = slot + i64::from(precision);
                assert_eq!(slot % i64::from(precision), 0);
                assert!(over >= NOW + delay && over < NOW + delay + i64::from(precision));
            }
        }
    }

    #[test]
    fn seconds_count_more_than_milliseconds_and_those_more_than_a_time() {
        let rules = rules(|_| ());
        let slot = |texts| rules.slot(texts, false, NOW).unwrap();
        assert_eq!(
            slot([Some("2"), Some("9000"), Some("1")]),
            Some(1_700_000_002_000)
        );
        assert_eq!(
            slot([None, Some("9000"), Some("1")]),
            Some(1_700_000_009_000)
        );
        assert_eq!(slot([None, None, Some("1")]), None);
        assert_eq!(slot([Some("0"), None, None]), None);
        assert_eq!(slot([None, Some("-5"), None]), None);
        assert_eq!(slot([Some("-9223372036854775808"), None, None]), None);
    }

    #[test]
    fn what_is_too_far_or_no_number_is_refused() {
        let ten_years = 315_576_000;
        for (max, asked, taken) in [
            (259_200, "259200", true),
            (259_200, "259201", false),
            (ten_years, "315576000", true),
            (ten_years, "315576001", false),
            (ten_years, "9223372036854775807", false),
            (ten_years, "9223372036854775808", false),
            (ten_years, "abc", false),
            (ten_years, "1.5", false),
        ] {
            let rules = rules(|config| config.timer_max_delay_sec = max);
            let slot = rules.slot([Some(asked), None, None], false, NOW);
            assert_eq!(slot.is_ok(), taken, "{asked}");
            if !taken {
                let max_delay_ms = i64::try_from(max * 1_000).unwrap();
                assert_eq!(slot, Err(Refusal::Illegal { max_delay_ms }));
            }
        }
        let off = rules(|config| config.timer_wheel_enable = false);
        assert_eq!(
            off.slot([Some("1"), None, None], false, NOW),
            Err(Refusal::Off)
        );
        let late = rules(|_| ()).slot([None, None, Some("1")], true, NOW);
        assert!(matches!(late, Err(Refusal::Illegal { .. })));
    }

    #[test]
    fn a_slot_refuses_ever_more_and_from_twice_the_limit_on_all() {
        let rules = rules(|config| config.timer_congest_num_each_slot = 10);
        let refused = |waiting, luck| rules.admit(waiting, luck).is_err();
        assert!(!refused(10, 0.0) && refused(11, 0.09) && !refused(11, 0.11));
        assert!(refused(19, 0.89) && !refused(19, 0.91) && refused(20, 0.99));
        assert!(super::tests::rules(|_| ()).admit(u64::MAX, 0.0).is_ok());
    }

    #[test]
    fn messages_are_rolled_while_the_log_has_them() {
        let hours =
            |hours: u32| rules(|config| config.file_reserved_time = hours).roll_ms / 3_600_000;
        assert_eq!((hours(72), hours(10), hours(1_000)), (36, 5, 48));
    }
}
