//! The page of messages that wait for their time.

use super::{Pages, read};
use axum::Json;
use axum::extract::{Query, State};
use common::server::HttpError;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Messages of a page when the request does not say.
const LISTED: usize = 100;

/// What is asked for.
#[derive(Deserialize)]
pub(super) struct Asked {
    topic: Option<String>,
    from: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn show(
    State(pages): State<Arc<Pages>>,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, HttpError> {
    let figures = pages.timers.figures();
    let (timers, broker_name) = (pages.timers.clone(), pages.state.config.broker_name.clone());
    let listed = read(move || {
        let (topic, from) = (asked.topic.as_deref(), asked.from.as_deref());
        timers.list(&broker_name, topic, from, asked.limit.unwrap_or(LISTED))
    });
    let listed = listed.await?;
    let topics = figures.topics.iter().filter(|(_, count)| count.waiting > 0);
    let waiting: BTreeMap<_, _> = topics
        .map(|(topic, count)| (topic, count.waiting))
        .collect();
    Ok(Json(json!({
        // By topic.
        "waiting": waiting,
        // Messages stored and not yet filed.
        "behind": figures.behind,
        // All slots before are delivered, in milliseconds since 1970.
        "deliveredBefore": figures.standing.read_ms,
        "messages": listed.timers,
        "next": listed.next,
    })))
}
