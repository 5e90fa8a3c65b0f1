//! Topics and their queues.

use super::Pages;
use crate::topic::Topic;
use axum::Json;
use axum::extract::{Path, State};
use common::server::HttpError;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Topics {
    topics: Vec<TopicRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TopicRow {
    topic: String,
    read_queue_nums: i32,
    write_queue_nums: i32,
    perm: i32,
    order: bool,
    system: bool,
    attributes: BTreeMap<String, String>,
    /// Messages stored since the broker started.
    stored: u64,
    stored_bytes: u64,
    stored_per_second: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TopicPage {
    #[serde(flatten)]
    row: TopicRow,
    /// Messages to be read.
    messages: u64,
    /// Groups that have committed offsets.
    groups: Vec<String>,
    queues: Vec<QueueRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueRow {
    queue_id: u32,
    min_offset: u64,
    max_offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_store_timestamp: Option<i64>,
}

pub(super) async fn list(State(pages): State<Pages>) -> Json<Topics> {
    let topics = pages.parts.topics.all().into_values();
    Json(Topics {
        topics: topics.map(|topic| TopicRow::of(&topic)).collect(),
    })
}

pub(super) async fn show(
    State(pages): State<Pages>,
    Path(name): Path<String>,
) -> Result<Json<TopicPage>, HttpError> {
    let parts = &*pages.parts;
    let Some(topic) = parts.topics.get(&name) else {
        return Err(HttpError::not_found(
            "TOPIC_NOT_EXIST",
            format!("there is no topic {name} on this broker"),
        ));
    };
    let queues = 0..u32::try_from(topic.read_queue_nums.max(topic.write_queue_nums)).unwrap_or(0);
    let queues: Vec<QueueRow> = queues
        .map(|queue_id| {
            let (min, max) = (
                parts.reader.min_offset(&name, queue_id),
                parts.reader.max_offset(&name, queue_id),
            );
            let last = if max > min {
                parts.reader.store_time_of(&name, queue_id, max - 1)
            } else {
                None
            };
            QueueRow {
                queue_id,
                min_offset: min,
                max_offset: max,
                last_store_timestamp: last,
            }
        })
        .collect();
    Ok(Json(TopicPage {
        row: TopicRow::of(&topic),
        messages: queues
            .iter()
            .map(|queue| queue.max_offset - queue.min_offset)
            .sum(),
        groups: parts.offsets.groups_of(&name),
        queues,
    }))
}

impl TopicRow {
    fn of(topic: &Topic) -> Self {
        let (stored, stored_bytes) = topic.counters().total();
        Self {
            topic: topic.topic_name.clone(),
            read_queue_nums: topic.read_queue_nums,
            write_queue_nums: topic.write_queue_nums,
            perm: topic.perm,
            order: topic.order,
            system: topic.is_system(),
            attributes: topic.attributes.clone(),
            stored,
            stored_bytes,
            stored_per_second: topic.counters().rate(),
        }
    }
}
