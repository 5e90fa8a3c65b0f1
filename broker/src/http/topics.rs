//! Topics and their queues.

use super::Pages;
use crate::topic::Topic;
use axum::Json;
use axum::extract::{Path, State};
use common::server::HttpError;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn list(State(pages): State<Arc<Pages>>) -> Json<Value> {
    let topics = pages.state.topics.all().into_values();
    let topics: Vec<Value> = topics.map(|topic| row(&topic)).collect();
    Json(json!({ "topics": topics }))
}

pub(super) async fn show(
    State(pages): State<Arc<Pages>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, HttpError> {
    let state = &pages.state;
    let Some(topic) = state.topics.get(&name) else {
        let text = format!("there is no topic {name} on this broker");
        return Err(HttpError::not_found("TOPIC_NOT_EXIST", text));
    };
    let mut messages = 0;
    let queue = |queue_id| {
        let reader = &state.reader;
        let (min, max) = (
            reader.min_offset(&name, queue_id),
            reader.max_offset(&name, queue_id),
        );
        messages += max - min;
        let mut row = json!({ "queueId": queue_id, "minOffset": min, "maxOffset": max });
        if max > min
            && let Some(last) = reader.store_time_of(&name, queue_id, max - 1)
        {
            row["lastStoreTimestamp"] = json!(last);
        }
        row
    };
    let queues = topic.read_queue_nums.max(topic.write_queue_nums);
    let queues = 0..u32::try_from(queues).unwrap_or(0);
    let queues: Vec<Value> = queues.map(queue).collect();
    let mut page = row(&topic);
    page["queues"] = json!(queues);
    // To be read.
    page["messages"] = json!(messages);
    // With committed offsets.
    page["groups"] = json!(state.offsets.groups_of(&name));
    Ok(Json(page))
}

fn row(topic: &Topic) -> Value {
    // Since the broker started.
    let (stored, stored_bytes) = topic.counters().total();
    json!({
        "topic": topic.topic_name,
        "readQueueNums": topic.read_queue_nums,
        "writeQueueNums": topic.write_queue_nums,
        "perm": topic.perm,
        "order": topic.order,
        "system": topic.is_system(),
        "attributes": topic.attributes,
        "stored": stored,
        "storedBytes": stored_bytes,
        "storedPerSecond": topic.counters().rate(),
    })
}
