//! Consumer groups, and how far they are.

use super::Pages;
use crate::lag::{QueueLag, queue_lags};
use axum::Json;
use axum::extract::{Path, State};
use common::server::HttpError;
use common::wire::body::SubscriptionGroupConfig;
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Groups {
    groups: Vec<GroupRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupRow {
    group: String,
    clients: usize,
    /// Messages of all topics that are not yet consumed.
    lag: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupPage {
    #[serde(flatten)]
    row: GroupRow,
    client_ids: Vec<String>,
    config: SubscriptionGroupConfig,
    topics: Vec<TopicLag>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TopicLag {
    topic: String,
    lag: u64,
    inflight: u64,
    queues: Vec<QueueRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueRow {
    queue_id: u32,
    min_offset: u64,
    max_offset: u64,
    committed_offset: u64,
    pull_offset: u64,
    lag: u64,
    /// How long the oldest message that is not yet consumed has waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_ms: Option<i64>,
}

pub(super) async fn list(State(pages): State<Pages>) -> Json<Groups> {
    let names = pages.parts.groups.names();
    let row = |group: &str| GroupRow {
        group: group.to_owned(),
        clients: client_ids(&pages, group).len(),
        lag: topics(&pages, group).iter().map(|topic| topic.lag).sum(),
    };
    Json(Groups {
        groups: names.iter().map(|group| row(group)).collect(),
    })
}

pub(super) async fn show(
    State(pages): State<Pages>,
    Path(group): Path<String>,
) -> Result<Json<GroupPage>, HttpError> {
    let Some(config) = pages.parts.groups.get(&group) else {
        let text = format!("there is no group {group} on this broker");
        return Err(HttpError::not_found("SUBSCRIPTION_GROUP_NOT_EXIST", text));
    };
    let topics = topics(&pages, &group);
    let client_ids = client_ids(&pages, &group);
    let row = GroupRow {
        group,
        clients: client_ids.len(),
        lag: topics.iter().map(|topic| topic.lag).sum(),
    };
    Ok(Json(GroupPage {
        row,
        client_ids,
        config: SubscriptionGroupConfig::clone(&config),
        topics,
    }))
}

fn client_ids(pages: &Pages, group: &str) -> Vec<String> {
    pages
        .parts
        .clients
        .consumers
        .client_ids(group)
        .unwrap_or_default()
}

fn topics(pages: &Pages, group: &str) -> Vec<TopicLag> {
    let parts = &*pages.parts;
    let now = parts.clock.now().0;
    let lag = |topic: String| {
        let queues = queue_lags(&parts.offsets, &parts.reader, group, &topic);
        TopicLag {
            topic,
            lag: queues.iter().map(QueueLag::messages).sum(),
            inflight: queues.iter().map(QueueLag::inflight).sum(),
            queues: queues
                .iter()
                .map(|queue| QueueRow::of(queue, now))
                .collect(),
        }
    };
    parts
        .offsets
        .topics_of(group)
        .into_iter()
        .map(lag)
        .collect()
}

impl QueueRow {
    fn of(queue: &QueueLag, now: i64) -> Self {
        Self {
            queue_id: queue.queue_id,
            min_offset: queue.min,
            max_offset: queue.max,
            committed_offset: queue.committed,
            pull_offset: queue.pulled,
            lag: queue.messages(),
            waiting_ms: queue.waiting_since.map(|stored| now - stored),
        }
    }
}
