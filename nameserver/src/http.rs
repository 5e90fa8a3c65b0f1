//! The pages of a name server, all of them to read. JSON here is standard.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use common::server::HttpError;
use common::wire::body::{ClusterInfo, DataVersion};
use serde::Serialize;
use serde_json::{Value, json};

use crate::handler::Handler;
use crate::route::{BrokerAddress, LiveBroker};

/// The pages below `/api/v1`.
pub fn api(handler: Handler) -> Router {
    Router::new()
        .route("/api/v1/topics", get(list_topics))
        .route("/api/v1/topics/{topic}/route", get(topic_route))
        .route("/api/v1/cluster", get(cluster))
        .route("/api/v1/brokers", get(brokers))
        .with_state(handler)
}

async fn list_topics(State(handler): State<Handler>) -> Json<Value> {
    Json(json!({ "topics": handler.routes.read().topics() }))
}

async fn topic_route(State(handler): State<Handler>, Path(topic): Path<String>) -> Response {
    if let Some(route) = handler.find_route(&topic, None) {
        return Json(route).into_response();
    }
    let message = format!("no living broker has the topic {topic}");
    HttpError::not_found("TOPIC_NOT_EXIST", message).into_response()
}

async fn cluster(State(handler): State<Handler>) -> Json<ClusterInfo> {
    Json(handler.routes.read().cluster_info())
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

async fn brokers(State(handler): State<Handler>) -> Json<Value> {
    let now = handler.routes.now();
    let table = handler.routes.read();
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
    let mut brokers: Vec<Member> = table.live.iter().map(member).collect();
    drop(table);
    brokers.sort_by(|a, b| {
        let place = |member: &Member| (member.broker_name.clone(), member.broker_id);
        (&a.cluster, place(a), &a.broker_addr).cmp(&(&b.cluster, place(b), &b.broker_addr))
    });
    Json(json!({ "brokers": brokers }))
}
