//! Which old files go, and when nothing more is taken. Pure; [`crate::clean`] acts.

use std::time::Duration;

use common::clock::Millis;

use crate::config::RetentionConfig;
use crate::files::Space;

/// What one look at the store found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a> {
    pub(crate) now: Millis,
    /// Hour of the local day.
    pub(crate) hour: u32,
    /// When each segment was written last, oldest first. The last one is in use.
    pub(crate) written: &'a [Millis],
    /// So many of the oldest hold nothing that anybody waits for.
    pub(crate) unneeded: usize,
    pub(crate) segment_bytes: u64,
    /// The file system of the log; `None` when it does not say.
    pub(crate) log_disk: Option<Space>,
    /// The file system of the ConsumeQueues.
    pub(crate) queue_disk: Option<Space>,
    /// Somebody asked for a deletion now.
    pub(crate) requested: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    /// So many of the oldest segments go.
    pub(crate) delete: usize,
    /// Some of them because the disk is too full, though they have not expired.
    pub(crate) forced: bool,
    /// Nothing more is taken meanwhile.
    pub(crate) refuse: Option<Full>,
}

/// A disk above its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) disk: Disk,
    pub(crate) used_percent: u64,
    pub(crate) limit_percent: u64,
}

/// One of the file systems of a store; they may be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    Log,
    Queues,
}

/// Decides what one run does.
pub(crate) fn decide(config: &RetentionConfig, found: &Found<'_>) -> Decision {
    let log = found.log_disk.and_then(used_percent);
    let queues = found.queue_disk.and_then(used_percent);
    let over = |limit: u64| {
        log.is_some_and(|used| used > limit) || queues.is_some_and(|used| used > limit)
    };
    // As the reference: of a disk that does not say how full it is the worst is assumed, which
    // costs nothing but expired files.
    let unknown = log.is_none() || queues.is_none();
    let due = config.continuously
        || found.requested
        || unknown
        || over(config.max_used_percent())
        || config.hours.contains(&found.hour);
    let removable = found.written.len().saturating_sub(1).min(config.batch);
    let expired = if due {
        let old = |written: &&Millis| is_older(**written, config.reserved, found.now);
        let removable = removable.min(found.unneeded);
        found.written[..removable].iter().take_while(old).count()
    } else {
        0
    };
    let forced_percent = config.forced_percent();
    let needed = if config.clean_forcibly && over(forced_percent) {
        let freeing = found.log_disk.map_or(0, |disk| {
            to_free(disk, forced_percent).div_ceil(found.segment_bytes)
        });
        match usize::try_from(freeing) {
            // Another disk than the log's: nobody knows what the queues of a segment take there.
            Ok(0) | Err(_) => removable,
            Ok(segments) => segments.min(removable),
        }
    } else {
        0
    };
    Decision {
        delete: expired.max(needed),
        forced: needed > expired,
        refuse: refuse(config.warning_percent(), log, queues),
    }
}

fn refuse(limit_percent: u64, log: Option<u64>, queues: Option<u64>) -> Option<Full> {
    [(Disk::Log, log), (Disk::Queues, queues)]
        .into_iter()
        .find_map(|(disk, used)| {
            let used_percent = used.filter(|used| *used > limit_percent)?;
            Some(Full {
                disk,
                used_percent,
                limit_percent,
            })
        })
}

/// A file whose time lies in the future is young: a clock was set back.
fn is_older(written: Millis, reserved: Duration, now: Millis) -> bool {
    now.0 >= written.plus(reserved).0
}

/// Percent in use, rounded up as the reference does.
fn used_percent(disk: Space) -> Option<u64> {
    let used = u128::from(disk.total.saturating_sub(disk.free)) * 100;
    let percent = used.div_ceil(Some(u128::from(disk.total)).filter(|total| *total > 0)?);
    u64::try_from(percent).ok()
}

/// Bytes to be freed until no more than `percent` is in use.
fn to_free(disk: Space, percent: u64) -> u64 {
    let allowed = u128::from(disk.total) * u128::from(percent) / 100;
    let used = disk.total.saturating_sub(disk.free);
    used.saturating_sub(u64::try_from(allowed).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const NOW: Millis = Millis(1_000 * HOUR);
    const SEGMENT: u64 = 10;

    /// 72 hours, deleted at four; ten percent of a disk of 100 bytes are one segment.
    fn config() -> RetentionConfig {
        RetentionConfig {
            continuously: false,
            ..RetentionConfig::default()
        }
    }

    fn found(written: &[Millis]) -> Found<'_> {
        Found {
            now: NOW,
            hour: 12,
            written,
            unneeded: written.len(),
            segment_bytes: SEGMENT,
            log_disk: Some(disk(10)),
            queue_disk: Some(disk(10)),
            requested: false,
        }
    }

    fn disk(used: u64) -> Space {
        Space {
            total: 100,
            free: 100 - used,
        }
    }

    fn ages(hours: &[i64]) -> Vec<Millis> {
        hours.iter().map(|age| Millis(NOW.0 - age * HOUR)).collect()
    }

    fn check(config: &RetentionConfig, found: Found<'_>, delete: usize, forced: bool) {
        let decision = decide(config, &found);
        assert_eq!(
            (decision.delete, decision.forced),
            (delete, forced),
            "{found:?}"
        );
    }

    #[test]
    fn expired_segments_go_at_their_hour_and_for_every_other_reason() {
        let ages = ages(&[100, 72, 71, 5]);
        let usual = found(&ages);
        check(&config(), usual, 0, false);
        check(&config(), Found { hour: 4, ..usual }, 2, false);
        let still_needed = Found {
            hour: 4,
            unneeded: 1,
            ..usual
        };
        check(&config(), still_needed, 1, false);
        let full = Found {
            log_disk: Some(disk(100)),
            unneeded: 0,
            ..usual
        };
        check(&config(), full, 2, true);
        check(
            &config(),
            Found {
                requested: true,
                ..usual
            },
            2,
            false,
        );
        check(
            &config(),
            Found {
                log_disk: Some(disk(75)),
                ..usual
            },
            0,
            false,
        );
        check(
            &config(),
            Found {
                log_disk: Some(disk(76)),
                ..usual
            },
            2,
            false,
        );
        check(
            &config(),
            Found {
                queue_disk: Some(disk(76)),
                ..usual
            },
            2,
            false,
        );
        check(
            &config(),
            Found {
                queue_disk: None,
                ..usual
            },
            2,
            false,
        );
        let continuous = RetentionConfig {
            continuously: true,
            ..config()
        };
        check(&continuous, usual, 2, false);
        let nights = RetentionConfig {
            hours: vec![1, 12],
            ..config()
        };
        check(&nights, usual, 2, false);
    }

    #[test]
    fn first_young_segment_protects_all_behind_it() {
        let ages = ages(&[71, 100, 100, 100]);
        check(
            &config(),
            Found {
                hour: 4,
                ..found(&ages)
            },
            0,
            false,
        );
    }

    #[test]
    fn segment_in_use_stays() {
        for (count, delete) in [(0, 0), (1, 0), (2, 1), (9, 8)] {
            let ages = ages(&vec![100; count]);
            let request = Found {
                requested: true,
                ..found(&ages)
            };
            check(&config(), request, delete, false);
            check(
                &config(),
                Found {
                    log_disk: Some(disk(100)),
                    ..request
                },
                delete,
                false,
            );
        }
    }

    #[test]
    fn one_run_deletes_a_few() {
        let old = ages(&[100; 30]);
        check(
            &config(),
            Found {
                hour: 4,
                ..found(&old)
            },
            10,
            false,
        );
        let young = ages(&[1; 30]);
        check(
            &config(),
            Found {
                queue_disk: Some(disk(86)),
                ..found(&young)
            },
            10,
            true,
        );
        let three = RetentionConfig {
            batch: 3,
            ..config()
        };
        check(
            &three,
            Found {
                hour: 4,
                ..found(&old)
            },
            3,
            false,
        );
    }

    #[test]
    fn disk_too_full_costs_as_many_young_segments_as_it_takes() {
        let ages = ages(&[1; 8]);
        let usual = found(&ages);
        check(
            &config(),
            Found {
                log_disk: Some(disk(85)),
                ..usual
            },
            0,
            false,
        );
        check(
            &config(),
            Found {
                log_disk: Some(disk(86)),
                ..usual
            },
            1,
            true,
        );
        check(
            &config(),
            Found {
                log_disk: Some(disk(95)),
                ..usual
            },
            1,
            true,
        );
        check(
            &config(),
            Found {
                log_disk: Some(disk(96)),
                ..usual
            },
            2,
            true,
        );
        let never = RetentionConfig {
            clean_forcibly: false,
            ..config()
        };
        check(
            &never,
            Found {
                log_disk: Some(disk(100)),
                ..usual
            },
            0,
            false,
        );
    }

    #[test]
    fn expired_segments_count_before_others_are_forced() {
        let ages = ages(&[100, 100, 1, 1]);
        check(
            &config(),
            Found {
                log_disk: Some(disk(90)),
                ..found(&ages)
            },
            2,
            false,
        );
    }

    #[test]
    fn levels_keep_to_the_bounds_of_the_reference() {
        let wide = RetentionConfig {
            max_used_percent: 1,
            forced_percent: 100,
            warning_percent: 99,
            ..config()
        };
        assert_eq!(
            (
                wide.max_used_percent(),
                wide.forced_percent(),
                wide.warning_percent()
            ),
            (10, 85, 90)
        );
        let off = RetentionConfig {
            warning_percent: 100,
            ..config()
        };
        let full = Found {
            log_disk: Some(disk(100)),
            ..found(&[])
        };
        assert_eq!(decide(&off, &full).refuse, None);
        let narrow = RetentionConfig {
            max_used_percent: 99,
            forced_percent: 1,
            warning_percent: 1,
            ..config()
        };
        assert_eq!(
            (
                narrow.max_used_percent(),
                narrow.forced_percent(),
                narrow.warning_percent()
            ),
            (95, 30, 35)
        );
    }

    #[test]
    fn nothing_is_taken_above_the_warning_level() {
        let check = |log_disk, queue_disk, expected: Option<(Disk, u64)>| {
            let found = Found {
                log_disk,
                queue_disk,
                ..found(&[])
            };
            let refused = decide(&config(), &found).refuse;
            assert_eq!(refused.map(|full| (full.disk, full.used_percent)), expected);
            assert!(refused.is_none_or(|full| full.limit_percent == 90));
        };
        check(Some(disk(90)), Some(disk(90)), None);
        check(Some(disk(91)), Some(disk(10)), Some((Disk::Log, 91)));
        check(Some(disk(10)), Some(disk(95)), Some((Disk::Queues, 95)));
        check(None, None, None);
        // Rounded up: a byte above ninety percent is ninety-one.
        let large = Some(Space {
            total: 1 << 40,
            free: (1 << 40) / 10 - 1,
        });
        check(large, Some(disk(0)), Some((Disk::Log, 91)));
    }

    #[test]
    fn clock_that_was_set_back_makes_no_file_old() {
        let ages = ages(&[-100, -100]);
        check(
            &config(),
            Found {
                hour: 4,
                ..found(&ages)
            },
            0,
            false,
        );
    }
}
