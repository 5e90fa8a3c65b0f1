//! The broker itself.

use super::Pages;
use crate::config::{BrokerConfig, FlushDiskType};
use crate::disk::Disk;
use crate::metrics::{Rates, Totals};
use axum::Json;
use axum::extract::State;
use common::config::ConfigValue;
use common::wire::CURRENT_VERSION_DESC;
use serde::Serialize;
use std::path::PathBuf;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    cluster_name: String,
    broker_name: String,
    broker_id: u64,
    version: &'static str,
    boot_timestamp: i64,
    uptime_ms: i64,
    name_servers: Vec<String>,
    writable: bool,
    /// Why nothing is stored at the moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    durability: Durability,
    topics: usize,
    groups: usize,
    commit_log: CommitLog,
    messages: Messages,
}

/// What an acknowledgement promises right now.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Durability {
    flush_disk_type: String,
    promise: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CommitLog {
    min_offset: u64,
    max_offset: u64,
    flushed_offset: u64,
    dispatched_offset: u64,
    /// Syncs since the start, and how long one took on average, in microseconds.
    syncs: u64,
    mean_sync_micros: u128,
    disk_used_ratio: f64,
    /// What the last recovery has cut off and kept aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_by_recovery: Option<CutByRecovery>,
    #[serde(skip_serializing_if = "Option::is_none")]
    earliest_store_timestamp: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CutByRecovery {
    offset: u64,
    bytes: u64,
    kept_in: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Messages {
    stored: u64,
    stored_bytes: u64,
    delivered: u64,
    stored_per_second: PerSecond,
    delivered_per_second: PerSecond,
}

#[derive(Serialize)]
struct PerSecond {
    #[serde(rename = "last10s")]
    ten_seconds: f64,
    #[serde(rename = "last1m")]
    minute: f64,
    #[serde(rename = "last10m")]
    ten_minutes: f64,
}

pub(super) async fn show(State(pages): State<Pages>) -> Json<Status> {
    let parts = &*pages.parts;
    let config = &*parts.config;
    let store = parts.reader.status();
    let Rates {
        put,
        delivered,
        now:
            Totals {
                put: stored,
                put_bytes,
                delivered: all_delivered,
                ..
            },
        ..
    } = parts.metrics.rates();
    let started = parts.metrics.started().0;
    let log = config
        .store_path_commit_log
        .clone()
        .unwrap_or_else(|| config.store_path_root_dir.join("commitlog"));
    Json(Status {
        cluster_name: config.broker_cluster_name.clone(),
        broker_name: config.broker_name.clone(),
        broker_id: config.broker_id,
        version: CURRENT_VERSION_DESC,
        boot_timestamp: started,
        uptime_ms: parts.clock.now().0 - started,
        name_servers: config.name_servers(),
        writable: store.refusal.is_none(),
        refusal: store.refusal.map(|error| error.to_string()),
        durability: durability(config),
        topics: parts.topics.len(),
        groups: parts.groups.len(),
        commit_log: CommitLog {
            min_offset: store.min_physical,
            max_offset: store.max_physical,
            flushed_offset: store.flushed,
            dispatched_offset: store.dispatched,
            syncs: store.syncs.count,
            mean_sync_micros: store.syncs.time.as_micros() / u128::from(store.syncs.count.max(1)),
            disk_used_ratio: Disk::of(&log).used_ratio(),
            cut_by_recovery: parts
                .reader
                .recovery()
                .cut
                .as_ref()
                .map(|cut| CutByRecovery {
                    offset: cut.at,
                    bytes: cut.bytes,
                    kept_in: cut.kept_in.clone(),
                }),
            earliest_store_timestamp: parts.reader.earliest_store_time_of_all(),
        },
        messages: Messages {
            stored,
            stored_bytes: put_bytes,
            delivered: all_delivered,
            stored_per_second: PerSecond::of(put),
            delivered_per_second: PerSecond::of(delivered),
        },
    })
}

impl PerSecond {
    fn of([ten_seconds, minute, ten_minutes]: [f64; 3]) -> Self {
        Self {
            ten_seconds,
            minute,
            ten_minutes,
        }
    }
}

fn durability(config: &BrokerConfig) -> Durability {
    let promise = match config.flush_disk_type {
        FlushDiskType::SyncFlush => "an acknowledged message is on the disk".to_owned(),
        FlushDiskType::AsyncFlush => format!(
            "an acknowledged message survives the end of the broker; it is on the disk about {} ms later, and lost if the machine fails before",
            config.flush_interval_commit_log
        ),
    };
    Durability {
        flush_disk_type: config.flush_disk_type.to_text(),
        promise,
    }
}
