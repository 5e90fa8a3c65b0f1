//! The pages of a broker: its state, its topics and how far groups are, all of them to read.

mod groups;
mod status;
mod timers;
mod topics;
mod transactions;

use crate::metrics::BrokerFigures;
use axum::Router;
use axum::routing::get;
use common::server::{Readiness, router};
use std::sync::Arc;

/// What the pages show is what the figures are taken from.
type Pages = BrokerFigures;

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
