//! The pages of a broker: its state, its topics and how far groups are, all of them to read.

mod groups;
mod status;
mod topics;

use crate::client::Clients;
use crate::config::BrokerConfig;
use crate::kv::Kv;
use crate::metrics::{BrokerFigures, Metrics};
use crate::offset::ConsumerOffsets;
use crate::subscription::SubscriptionGroupTable;
use crate::topic::TopicTable;
use axum::Router;
use axum::routing::get;
use common::clock::Clock;
use common::server::{Readiness, router};
use std::sync::Arc;
use store::StoreReader;

/// What the pages show.
#[derive(Clone)]
pub struct PagesParts {
    /// Settings.
    pub config: Arc<BrokerConfig>,
    /// Topics.
    pub topics: TopicTable,
    /// Consumer groups.
    pub groups: SubscriptionGroupTable,
    /// How far groups are.
    pub offsets: ConsumerOffsets,
    /// Who is connected.
    pub clients: Clients,
    /// What passed through.
    pub metrics: Metrics,
    /// Stored messages.
    pub reader: StoreReader,
    /// Whether offsets are durable.
    pub kv: Kv,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// The pages of a broker.
#[derive(Clone)]
pub struct Pages {
    parts: Arc<PagesParts>,
}

impl Pages {
    /// The pages that show `parts`.
    pub fn new(parts: PagesParts) -> Self {
        Self {
            parts: Arc::new(parts),
        }
    }

    /// All pages, the common ones among them. The broker is ready as long as it takes messages; the page says why it does not.
    ///
    /// # Errors
    /// A name of a metric is none; ours are.
    pub fn router(self) -> prometheus::Result<Router> {
        let parts = &*self.parts;
        let figures = BrokerFigures::new(
            parts.metrics.clone(),
            (
                parts.topics.clone(),
                parts.groups.clone(),
                parts.offsets.clone(),
            ),
            parts.reader.clone(),
            Arc::clone(&parts.clock),
            parts.config.broker_permission,
        );
        let registry = figures.into_registry()?;
        let (reader, kv) = (parts.reader.clone(), parts.kv.clone());
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
            .with_state(self);
        Ok(router(registry, readiness, api))
    }
}
