//! The pages of a broker: its state, its topics and how far groups are, all of them to read.

mod groups;
mod status;
mod timers;
mod topics;
mod transactions;

use crate::metrics::BrokerFigures;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use common::server::{HttpError, Readiness, router};
use std::fmt::Display;
use std::sync::Arc;

/// What the pages show is what the figures are taken from.
type Pages = BrokerFigures;

/// Does what may wait for the disk on a thread of its own; who reads pages is told what went wrong.
async fn read<T: Send + 'static, E: Display + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, HttpError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|panicked| panicked.to_string());
    done.and_then(|done| done.map_err(|error| error.to_string()))
        .map_err(|error| HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, error))
}

/// All pages, the common ones among them. The broker is ready as long as it takes messages; the page says why it does not.
///
/// # Errors
/// A name of a metric is none; ours are.
pub fn pages(pages: Pages) -> prometheus::Result<Router> {
    let registry = pages.clone().into_registry()?;
    let (reader, kv) = (pages.state.reader.clone(), pages.state.kv.clone());
    let readiness = move || match (reader.status().refusal, kv.failure()) {
        (None, None) => Readiness::Ready,
        (Some(why), _) => Readiness::NotReady(format!("read-only: {why}")),
        (None, Some(why)) => {
            Readiness::NotReady(format!("consumer offsets are not durable: {why}"))
        }
    };
    let api = Router::new()
        .route("/api/v1/status", get(status::show))
        .route("/api/v1/topics", get(topics::list))
        .route("/api/v1/topics/{topic}", get(topics::show))
        .route("/api/v1/groups", get(groups::list))
        .route("/api/v1/groups/{group}", get(groups::show))
        .route("/api/v1/timers", get(timers::show))
        .route("/api/v1/transactions", get(transactions::list))
        .with_state(Arc::new(pages));
    Ok(router(registry, readiness, api))
}
