//! Topics with a fixed order of queues: the name server says which they are, the broker learns it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{CONSUMER_GROUP, Cluster, Connection, patiently};

use crate::SOON;

const TOPIC: &str = "in-order";
/// Two brokers with four queues each: clients spread keys over these eight, whoever is there.
const FIXED: &str = "broker-a:4;broker-z:4";

const PUT_KV_CONFIG: i32 = 100;
const GET_ROUTE: i32 = 105;
const UPDATE_NAMESRV_CONFIG: i32 = 318;
const GET_TOPIC_CONFIG: i32 = 351;

fn config(connection: &mut Connection, topic: &str) -> Result<Value> {
    let answer = connection.call(GET_TOPIC_CONFIG, &[("topic", topic)], &[])?;
    Ok(serde_json::from_slice(&answer.ok()?.body)?)
}

fn order_conf(namesrv: &mut Connection) -> Result<Value> {
    let answer = namesrv.call(GET_ROUTE, &[("topic", TOPIC)], &[])?;
    let route: Value = serde_json::from_slice(&answer.ok()?.body)?;
    Ok(route["orderTopicConf"].clone())
}

#[test]
fn a_broker_learns_its_order_topics_and_keeps_them() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let mut namesrv = Connection::open(&cluster.namesrv.address)?;
    let fixed = [
        ("namespace", "ORDER_TOPIC_CONFIG"),
        ("key", TOPIC),
        ("value", FIXED),
    ];
    namesrv.call(PUT_KV_CONFIG, &fixed, &[])?.ok()?;
    cluster.create_topic(TOPIC, 4)?;
    cluster.create_topic("plain", 4)?;
    let mut broker = Connection::open(&cluster.broker.address)?;
    patiently("the broker learns it", SOON, || {
        Ok((config(&mut broker, TOPIC)?["order"] == true).then_some(()))
    })?;
    ensure!(config(&mut broker, "plain")?["order"] == false);
    ensure!(order_conf(&mut namesrv)?.is_null(), "it is off by default");
    let on = b"orderMessageEnable=true\n";
    namesrv.call(UPDATE_NAMESRV_CONFIG, &[], on)?.ok()?;
    ensure!(order_conf(&mut namesrv)? == FIXED);

    // Redeliveries of a group that consumes an order topic are in order, too.
    broker.join(&[TOPIC])?;
    let retry = format!("%RETRY%{CONSUMER_GROUP}");
    ensure!(config(&mut broker, &retry)?["order"] == true);

    cluster.broker.kill_and_restart()?;
    let mut broker = Connection::open(&cluster.broker.address)?;
    for topic in [TOPIC, &retry] {
        let config = config(&mut broker, topic)?;
        ensure!(config["order"] == true, "{config}");
    }
    let route = patiently("the route is back", SOON, || {
        let answer = namesrv.call(GET_ROUTE, &[("topic", TOPIC)], &[])?;
        Ok((answer.code == 0).then_some(answer.body))
    })?;
    let route: Value = serde_json::from_slice(&route)?;
    let queues = route["queueDatas"].as_array().context("no queues")?;
    ensure!(
        route["orderTopicConf"] == FIXED && queues[0]["writeQueueNums"] == 4,
        "{route}"
    );
    Ok(())
}
