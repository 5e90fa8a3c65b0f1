//! Looking at the broker itself: the figures tools show, under the names they know.

use crate::config::BrokerConfig;
use crate::disk::{Disk, readable};
use crate::metrics::Rates;
use crate::state::State;
use common::wire::body::KvTable;
use common::wire::{CURRENT_VERSION, CURRENT_VERSION_DESC, Reply};
use std::collections::BTreeMap;
use std::fmt::Display;
use store::StoreStatus;

/// Figures of queues and engines this broker does not have, or not yet: tools that read them find an empty one.
const EMPTY: &str = "
    putMessageEntireTimeMax putMessageFailedTimes getMessageEntireTimeMax dispatchMaxBuffer putLatency99 putLatency999
    pageCacheLockTimeMills remainTransientStoreBufferNumbs
    timerReadBehind timerOffsetBehind timerCongestNum timerEnqueueTps timerDequeueTps
    sendThreadPoolQueueSize sendThreadPoolQueueCapacity sendThreadPoolQueueHeadWaitTimeMills
    pullThreadPoolQueueSize pullThreadPoolQueueCapacity pullThreadPoolQueueHeadWaitTimeMills
    litePullThreadPoolQueueSize litePullThreadPoolQueueCapacity litePullThreadPoolQueueHeadWaitTimeMills
    queryThreadPoolQueueSize queryThreadPoolQueueCapacity queryThreadPoolQueueHeadWaitTimeMills
    ackThreadPoolQueueSize ackThreadPoolQueueCapacity ackThreadPoolQueueHeadWaitTimeMills
    EndTransactionQueueSize EndTransactionThreadPoolQueueCapacity";

/// `GET_BROKER_RUNTIME_INFO`.
pub fn runtime_info(state: &State) -> Reply {
    let started = state.metrics.started();
    let earliest = state.reader.earliest_store_time_of_all();
    let accept_from = state.config.start_accept_send_request_time_stamp;
    let mut table: BTreeMap<String, String> = EMPTY
        .split_whitespace()
        .map(|key| (key.to_owned(), "0".to_owned()))
        .collect();
    let uptime = runtime(state.clock.now().0 - started.0);
    let earliest = earliest.unwrap_or(-1);
    #[rustfmt::skip]
    let broker: [(&str, &dyn Display); 7] = [
        ("brokerActive", &"true"),
        ("brokerVersion", &CURRENT_VERSION),
        ("brokerVersionDesc", &CURRENT_VERSION_DESC),
        ("bootTimestamp", &started),
        ("runtime", &uptime),
        ("startAcceptSendRequestTimeStamp", &accept_from),
        ("earliestMessageTimeStamp", &earliest),
    ];
    table.extend(broker.map(|(key, value)| (key.to_owned(), value.to_string())));
    table.extend(traffic(&state.metrics.rates()));
    table.extend(storage(&state.config, &state.reader.status()));
    Reply::ok().with_body(KvTable { table }.encode())
}

/// What came in and went out.
fn traffic(rates: &Rates) -> Vec<(String, String)> {
    let (total, mean) = (rates.now, rates.now.put_bytes.checked_div(rates.now.put));
    let got = std::array::from_fn(|span| rates.found[span] + rates.missed[span]);
    #[rustfmt::skip]
    let figures = [
        ("putMessageTimesTotal", total.put.to_string()),
        ("putMessageSizeTotal", total.put_bytes.to_string()),
        ("putMessageAverageSize", mean.unwrap_or(0).to_string()),
        ("putMessageDistributeTime", String::new()),
        ("putTps", tps(rates.put)),
        ("getFoundTps", tps(rates.found)),
        ("getMissTps", tps(rates.missed)),
        ("getTotalTps", tps(got)),
        ("getTransferredTps", tps(rates.delivered)),
    ];
    let mut figures: Vec<_> = figures.map(|(key, value)| (key.to_owned(), value)).into();
    for (day, sums) in [
        ("YesterdayMorning", rates.yesterday),
        ("TodayMorning", rates.today),
        ("TodayNow", total),
    ] {
        figures.push((format!("msgPutTotal{day}"), sums.put.to_string()));
        figures.push((format!("msgGetTotal{day}"), sums.delivered.to_string()));
    }
    figures
}

/// What is stored, and how much room there is.
fn storage(config: &BrokerConfig, status: &StoreStatus) -> [(String, String); 8] {
    let (root, log) = (&config.store_path_root_dir, config.commit_log());
    let (log_disk, queue_disk) = (Disk::of(&log), Disk::of(root));
    let used = log_disk.used_ratio().to_string();
    let used_here = format!("commitLogDiskRatio_{}", log.display());
    let (total, free) = (readable(log_disk.total), readable(log_disk.free));
    let behind = |offset| status.max_physical.saturating_sub(offset);
    #[rustfmt::skip]
    let figures = [
        ("commitLogMinOffset", status.min_physical.to_string()),
        ("commitLogMaxOffset", status.max_physical.to_string()),
        ("dispatchBehindBytes", behind(status.dispatched).to_string()),
        ("remainHowManyDataToFlush", format!("{} B", behind(status.flushed))),
        ("commitLogDiskRatio", used.clone()),
        (&used_here, used),
        ("consumeQueueDiskRatio", queue_disk.used_ratio().to_string()),
        ("commitLogDirCapacity", format!("Total : {total}, Free : {free}.")),
    ];
    figures.map(|(key, value)| (key.to_owned(), value))
}

/// Three numbers: over the last 10 seconds, minute and 10 minutes.
fn tps([seconds, minute, minutes]: [f64; 3]) -> String {
    format!("{seconds:?} {minute:?} {minutes:?}")
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
    use crate::metrics::Totals;

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
        let today = Totals {
            put: 1,
            ..Totals::default()
        };
        let rates = Rates {
            now,
            today,
            ..Rates::default()
        };
        let mut table: BTreeMap<String, String> = traffic(&rates).into_iter().collect();
        table.extend(storage(&config, &status));
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
        let ratio: f64 = of("consumeQueueDiskRatio").parse().unwrap();
        assert!((0.0..=1.0).contains(&ratio));
    }

    #[test]
    fn what_the_broker_is_and_has_not_is_shown() {
        let stored = crate::testing::Stored::new();
        let KvTable { table } = KvTable::decode(&runtime_info(&stored).body.concat()).unwrap();
        assert_eq!(table["earliestMessageTimeStamp"], "-1");
        assert_eq!(table["brokerVersionDesc"], "V5_5_0");
        assert_eq!(table["timerReadBehind"], "0");
    }
}
