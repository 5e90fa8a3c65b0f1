//! The figures tools show for a broker, under the names they know.

use crate::config::BrokerConfig;
use crate::disk::Disk;
use crate::metrics::{Rates, Totals};
use common::clock::Millis;
use common::wire::{CURRENT_VERSION, CURRENT_VERSION_DESC};
use std::collections::BTreeMap;
use store::StoreStatus;

/// Figures of queues and engines this broker does not have, or not yet: tools that read them find an empty one.
const EMPTY: [&str; 30] = [
    "putMessageEntireTimeMax",
    "putMessageFailedTimes",
    "getMessageEntireTimeMax",
    "dispatchMaxBuffer",
    "putLatency99",
    "putLatency999",
    "pageCacheLockTimeMills",
    "timerReadBehind",
    "timerOffsetBehind",
    "timerCongestNum",
    "timerEnqueueTps",
    "timerDequeueTps",
    "remainTransientStoreBufferNumbs",
    "sendThreadPoolQueueSize",
    "sendThreadPoolQueueCapacity",
    "sendThreadPoolQueueHeadWaitTimeMills",
    "pullThreadPoolQueueSize",
    "pullThreadPoolQueueCapacity",
    "pullThreadPoolQueueHeadWaitTimeMills",
    "litePullThreadPoolQueueSize",
    "litePullThreadPoolQueueCapacity",
    "litePullThreadPoolQueueHeadWaitTimeMills",
    "queryThreadPoolQueueSize",
    "queryThreadPoolQueueCapacity",
    "queryThreadPoolQueueHeadWaitTimeMills",
    "ackThreadPoolQueueSize",
    "ackThreadPoolQueueCapacity",
    "ackThreadPoolQueueHeadWaitTimeMills",
    "EndTransactionQueueSize",
    "EndTransactionThreadPoolQueueCapacity",
];

/// Where the figures come from.
pub(super) struct Sources<'a> {
    pub(super) config: &'a BrokerConfig,
    pub(super) status: StoreStatus,
    pub(super) earliest: Option<i64>,
    pub(super) rates: Rates,
    pub(super) started: Millis,
    pub(super) now: Millis,
}

pub(super) fn figures(sources: &Sources<'_>) -> BTreeMap<String, String> {
    let Sources {
        config,
        status,
        rates,
        now,
        started,
        ..
    } = sources;
    let totals = rates.now;
    let mut table: BTreeMap<String, String> =
        EMPTY.map(|key| (key.to_owned(), "0".to_owned())).into();
    let mut put = |key: &str, value: String| {
        table.insert(key.to_owned(), value);
    };
    put("brokerActive", "true".to_owned());
    put("brokerVersion", CURRENT_VERSION.to_string());
    put("brokerVersionDesc", CURRENT_VERSION_DESC.to_owned());
    put("bootTimestamp", started.to_string());
    put("runtime", runtime(now.0 - started.0));
    put(
        "startAcceptSendRequestTimeStamp",
        config.start_accept_send_request_time_stamp.to_string(),
    );
    put("putMessageTimesTotal", totals.put.to_string());
    put("putMessageSizeTotal", totals.put_bytes.to_string());
    put(
        "putMessageAverageSize",
        totals
            .put_bytes
            .checked_div(totals.put)
            .unwrap_or(0)
            .to_string(),
    );
    put("putMessageDistributeTime", String::new());
    put("putTps", tps(rates.put));
    put("getFoundTps", tps(rates.found));
    put("getMissTps", tps(rates.missed));
    put("getTotalTps", tps(sum(rates.found, rates.missed)));
    put("getTransferredTps", tps(rates.delivered));
    let days = [
        ("YesterdayMorning", rates.yesterday),
        ("TodayMorning", rates.today),
        ("TodayNow", totals),
    ];
    for (
        day,
        Totals {
            put: stored,
            delivered,
            ..
        },
    ) in days
    {
        put(&format!("msgPutTotal{day}"), stored.to_string());
        put(&format!("msgGetTotal{day}"), delivered.to_string());
    }
    put("commitLogMinOffset", status.min_physical.to_string());
    put("commitLogMaxOffset", status.max_physical.to_string());
    put(
        "dispatchBehindBytes",
        status
            .max_physical
            .saturating_sub(status.dispatched)
            .to_string(),
    );
    put(
        "remainHowManyDataToFlush",
        format!("{} B", status.max_physical.saturating_sub(status.flushed)),
    );
    put(
        "earliestMessageTimeStamp",
        sources.earliest.unwrap_or(-1).to_string(),
    );
    let root = &config.store_path_root_dir;
    let commit_log = config
        .store_path_commit_log
        .clone()
        .unwrap_or_else(|| root.join("commitlog"));
    let (log_disk, queue_disk) = (Disk::of(&commit_log), Disk::of(root));
    put("commitLogDiskRatio", log_disk.used_ratio().to_string());
    put(
        &format!("commitLogDiskRatio_{}", commit_log.display()),
        log_disk.used_ratio().to_string(),
    );
    put("consumeQueueDiskRatio", queue_disk.used_ratio().to_string());
    put(
        "commitLogDirCapacity",
        format!(
            "Total : {}, Free : {}.",
            log_disk.total_text(),
            log_disk.free_text()
        ),
    );
    table
}

/// Three numbers: over the last 10 seconds, minute and 10 minutes.
fn tps([seconds, minute, minutes]: [f64; 3]) -> String {
    format!("{seconds:?} {minute:?} {minutes:?}")
}

fn sum(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

/// As in `[ 0 days, 1 hours, 2 minutes, 3 seconds ]`.
fn runtime(ms: i64) -> String {
    let seconds = (ms / 1000).max(0);
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    format!("[ {days} days, {hours} hours, {minutes} minutes, {seconds} seconds ]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_what_tools_take_apart() {
        assert_eq!(tps([1.5, 0.0, 2.0]), "1.5 0.0 2.0");
        assert_eq!(
            runtime(90_061_000),
            "[ 1 days, 1 hours, 1 minutes, 1 seconds ]"
        );
        assert_eq!(runtime(-5), "[ 0 days, 0 hours, 0 minutes, 0 seconds ]");
    }

    #[test]
    fn figures_come_from_their_sources() {
        let config = BrokerConfig {
            store_path_root_dir: std::env::temp_dir(),
            ..BrokerConfig::default()
        };
        let status = StoreStatus {
            min_physical: 10,
            max_physical: 110,
            flushed: 60,
            dispatched: 90,
            queues: 1,
            syncs: store::Syncs::default(),
            refusal: None,
        };
        let now = Totals {
            put: 4,
            put_bytes: 10,
            delivered: 3,
            ..Totals::default()
        };
        let table = figures(&Sources {
            config: &config,
            status,
            earliest: None,
            rates: Rates {
                now,
                today: Totals {
                    put: 1,
                    ..Totals::default()
                },
                ..Rates::default()
            },
            started: Millis(1000),
            now: Millis(3000),
        });
        let of = |key: &str| table[key].as_str();
        assert_eq!(
            (
                of("putMessageTimesTotal"),
                of("putMessageAverageSize"),
                of("msgGetTotalTodayNow")
            ),
            ("4", "2", "3")
        );
        assert_eq!(
            (
                of("msgPutTotalTodayMorning"),
                of("dispatchBehindBytes"),
                of("remainHowManyDataToFlush")
            ),
            ("1", "20", "50 B")
        );
        assert_eq!(
            (of("earliestMessageTimeStamp"), of("brokerVersionDesc")),
            ("-1", "V5_5_0")
        );
        let ratio: f64 = of("consumeQueueDiskRatio").parse().unwrap();
        assert!((0.0..=1.0).contains(&ratio));
    }
}
