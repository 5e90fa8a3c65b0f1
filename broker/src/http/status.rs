//! The broker itself.

use super::Pages;
use crate::config::{BrokerConfig, FlushDiskType};
use crate::disk::Disk;
use axum::Json;
use axum::extract::State;
use common::config::ConfigValue;
use common::wire::CURRENT_VERSION_DESC;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn show(State(pages): State<Arc<Pages>>) -> Json<Value> {
    let state = &pages.state;
    let (config, started) = (&*state.config, state.metrics.started().0);
    let (store, rates) = (state.reader.status(), state.metrics.rates());
    // How long a sync took on average.
    let mean_sync = store.syncs.time.as_micros() / u128::from(store.syncs.count.max(1));
    let mut commit_log = json!({
        "minOffset": store.min_physical,
        "maxOffset": store.max_physical,
        "flushedOffset": store.flushed,
        "dispatchedOffset": store.dispatched,
        "syncs": store.syncs.count,
        "meanSyncMicros": u64::try_from(mean_sync).unwrap_or(u64::MAX),
        "diskUsedRatio": Disk::of(&config.commit_log()).used_ratio(),
    });
    if let Some(cut) = &state.reader.recovery().cut {
        let kept_in = cut.kept_in.display().to_string();
        commit_log["cutByRecovery"] =
            json!({ "offset": cut.at, "bytes": cut.bytes, "keptIn": kept_in });
    }
    if let Some(earliest) = state.reader.earliest_store_time_of_all() {
        commit_log["earliestStoreTimestamp"] = json!(earliest);
    }
    let mut status = json!({
        "clusterName": config.broker_cluster_name,
        "brokerName": config.broker_name,
        "brokerId": config.broker_id,
        "version": CURRENT_VERSION_DESC,
        "bootTimestamp": started,
        "uptimeMs": state.clock.now().0 - started,
        "nameServers": config.name_servers(),
        "writable": store.refusal.is_none(),
        "durability": {
            "flushDiskType": config.flush_disk_type.to_text(),
            "promise": promise(config),
        },
        "topics": state.topics.len(),
        "groups": state.groups.len(),
        "commitLog": commit_log,
        "messages": {
            "stored": rates.now.put,
            "storedBytes": rates.now.put_bytes,
            "delivered": rates.now.delivered,
            "storedPerSecond": per_second(rates.put),
            "deliveredPerSecond": per_second(rates.delivered),
        },
    });
    // Why nothing is stored at the moment.
    if let Some(refusal) = store.refusal {
        status["refusal"] = json!(refusal.to_string());
    }
    Json(status)
}

fn per_second([ten_seconds, minute, ten_minutes]: [f64; 3]) -> Value {
    json!({ "last10s": ten_seconds, "last1m": minute, "last10m": ten_minutes })
}

/// What an acknowledgement promises right now.
fn promise(config: &BrokerConfig) -> String {
    match config.flush_disk_type {
        FlushDiskType::SyncFlush => "an acknowledged message is on the disk".to_owned(),
        FlushDiskType::AsyncFlush => format!(
            "an acknowledged message survives the end of the broker; it is on the disk about {} ms later, and lost if the machine fails before",
            config.flush_interval_commit_log
        ),
    }
}
