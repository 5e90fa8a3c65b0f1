//! Open transactions.

use super::{Pages, read};
use crate::transaction::TopicFigures;
use axum::Json;
use axum::extract::{Query, State};
use common::server::HttpError;
use serde::Deserialize;
use serde_json::{Value, json};
use std::convert::Infallible;
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
    let page = read(move || {
        let page = transactions.list(asked.offset, limit);
        Ok::<_, Infallible>((transactions.figures(), page))
    });
    let (figures, page) = page.await?;
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
