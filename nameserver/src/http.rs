//! The pages of a name server, all of them to read. JSON here is standard.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use common::server::HttpError;
use common::wire::body::{ClusterInfo, DataVersion};
use serde::Serialize;

use crate::handler::TopicHandler;
use crate::route::{BrokerAddress, LiveBroker};
use crate::routes::Routes;

#[derive(Clone)]
struct Pages {
    routes: Arc<Routes>,
    topics: TopicHandler,
}

/// The pages below `/api/v1`.
pub fn api(routes: Arc<Routes>, topics: TopicHandler) -> Router {
    Router::new()
        .route("/api/v1/topics", get(list_topics))
        .route("/api/v1/topics/{topic}/route", get(topic_route))
        .route("/api/v1/cluster", get(cluster))
        .route("/api/v1/brokers", get(brokers))
        .with_state(Pages { routes, topics })
}

#[derive(Serialize)]
struct Topics {
    topics: Vec<String>,
}

async fn list_topics(State(pages): State<Pages>) -> Json<Topics> {
    let table = pages.routes.read();
    Json(Topics {
        topics: table.topics().into_iter().map(str::to_owned).collect(),
    })
}

async fn topic_route(State(pages): State<Pages>, Path(topic): Path<String>) -> Response {
    if let Some(route) = pages.topics.find_route(&topic, None) {
        return Json(route).into_response();
    }
    let message = format!("no living broker has the topic {topic}");
    HttpError::not_found("TOPIC_NOT_EXIST", message).into_response()
}

async fn cluster(State(pages): State<Pages>) -> Json<ClusterInfo> {
    Json(pages.routes.read().cluster_info())
}

#[derive(Serialize)]
struct Brokers {
    brokers: Vec<Member>,
}

/// A living broker. Name and id are absent once another address has taken its place.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    cluster: String,
    broker_name: Option<String>,
    broker_id: Option<i64>,
    broker_addr: String,
    ha_server_addr: String,
    /// Milliseconds since its last sign of life.
    silent_ms: i64,
    /// Silence after which it is dropped.
    timeout_ms: i64,
    data_version: DataVersion,
}

async fn brokers(State(pages): State<Pages>) -> Json<Brokers> {
    let now = pages.routes.now();
    let table = pages.routes.read();
    let member = |(address, live): (&BrokerAddress, &LiveBroker)| {
        let place = table.member(&address.addr);
        Member {
            cluster: address.cluster.clone(),
            broker_name: place.map(|(name, _)| name.to_owned()),
            broker_id: place.map(|(_, id)| id),
            broker_addr: address.addr.clone(),
            ha_server_addr: live.ha_server_addr.clone(),
            silent_ms: now.0 - live.last_update.0,
            timeout_ms: live.timeout_ms,
            data_version: live.data_version,
        }
    };
    let mut brokers: Vec<Member> = table.live_brokers().map(member).collect();
    drop(table);
    brokers.sort_by(|a, b| {
        let place = |member: &Member| (member.broker_name.clone(), member.broker_id);
        (&a.cluster, place(a), &a.broker_addr).cmp(&(&b.cluster, place(b), &b.broker_addr))
    });
    Json(Brokers { brokers })
}
