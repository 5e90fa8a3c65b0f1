//! Consumer groups, and how far they are.

use super::Pages;
use crate::lag::{QueueLag, queue_lags};
use axum::Json;
use axum::extract::{Path, State};
use common::server::HttpError;
use common::wire::body::SubscriptionGroupConfig;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn list(State(pages): State<Arc<Pages>>) -> Json<Value> {
    let names = pages.state.groups.names();
    let row = |group: &Arc<str>| {
        let clients = client_ids(&pages, group).len();
        let (lag, _) = topics(&pages, group);
        json!({ "group": **group, "clients": clients, "lag": lag })
    };
    let groups: Vec<Value> = names.iter().map(row).collect();
    Json(json!({ "groups": groups }))
}

pub(super) async fn show(
    State(pages): State<Arc<Pages>>,
    Path(group): Path<String>,
) -> Result<Json<Value>, HttpError> {
    let Some(config) = pages.state.groups.get(&group) else {
        let text = format!("there is no group {group} on this broker");
        return Err(HttpError::not_found("SUBSCRIPTION_GROUP_NOT_EXIST", text));
    };
    let client_ids = client_ids(&pages, &group);
    let (lag, topics) = topics(&pages, &group);
    Ok(Json(json!({
        "group": group,
        "clients": client_ids.len(),
        "lag": lag,
        "clientIds": client_ids,
        "config": SubscriptionGroupConfig::clone(&config),
        "topics": topics,
    })))
}

fn client_ids(pages: &Pages, group: &str) -> Vec<String> {
    let members = pages.state.clients.consumers.table().client_ids(group);
    members.unwrap_or_default()
}

/// Messages of all topics that a group has not yet consumed, and how far it is in each.
fn topics(pages: &Pages, group: &str) -> (u64, Vec<Value>) {
    let state = &pages.state;
    let now = state.clock.now().0;
    let mut total = 0;
    let topic = |topic: String| {
        let queues = queue_lags(&state.offsets, &state.reader, group, &topic);
        let lag: u64 = queues.iter().map(QueueLag::messages).sum();
        let inflight: u64 = queues.iter().map(QueueLag::inflight).sum();
        let queues: Vec<Value> = queues.iter().map(|lag| queue(lag, now)).collect();
        total += lag;
        json!({ "topic": topic, "lag": lag, "inflight": inflight, "queues": queues })
    };
    let topics = state.offsets.topics_of(group);
    let topics = topics.into_iter().map(topic).collect();
    (total, topics)
}

fn queue(queue: &QueueLag, now: i64) -> Value {
    let mut row = json!({
        "queueId": queue.queue_id,
        "minOffset": queue.min,
        "maxOffset": queue.max,
        "committedOffset": queue.committed,
        "pullOffset": queue.pulled,
        "lag": queue.messages(),
    });
    // How long the oldest message that is not yet consumed has waited.
    if let Some(stored) = queue.waiting_since {
        row["waitingMs"] = json!(now - stored);
    }
    row
}
