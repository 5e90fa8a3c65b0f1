//! Open transactions.

use super::Pages;
use crate::transaction::TopicFigures;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use common::server::HttpError;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Transactions of a page that does not say how many it wants.
const PAGE: usize = 100;

#[derive(Deserialize)]
pub(super) struct Asked {
    /// Offset in the half queue to begin at.
    #[serde(default)]
    offset: u64,
    /// Transactions wanted at most.
    limit: Option<usize>,
}

pub(super) async fn list(
    State(pages): State<Arc<Pages>>,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, HttpError> {
    let transactions = pages.transactions.clone();
    let limit = asked.limit.unwrap_or(PAGE);
    // Half messages may have to come from the disk.
    let read = move || {
        (
            transactions.figures(),
            transactions.list(asked.offset, limit),
        )
    };
    let read = tokio::task::spawn_blocking(read).await;
    let (figures, page) =
        read.map_err(|error| HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    // What happened since the broker started.
    let row = |of: &TopicFigures| {
        json!({
            "topic": *of.topic,
            "open": of.open,
            "committed": of.committed,
            "rolledBack": of.rolled_back,
            "discarded": of.discarded,
            "checks": of.checks,
        })
    };
    let topics: Vec<Value> = figures.topics.iter().map(row).collect();
    let mut shown = json!(page);
    // Of the oldest one, in milliseconds.
    shown["oldestAgeMs"] = json!(figures.oldest_ms);
    shown["topics"] = json!(topics);
    Ok(Json(shown))
}
