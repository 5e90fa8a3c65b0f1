//! The HTTP pages.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{Cluster, Connection, http_get, patiently};

use crate::SOON;

fn json(address: &str, path: &str, status: u16) -> Result<Value> {
    let (code, body) = http_get(address, path)?;
    ensure!(code == status, "{path}: {code} {body}");
    serde_json::from_str(&body).with_context(|| format!("{path}: {body}"))
}

fn cluster_with_a_topic() -> Result<Cluster> {
    let cluster = Cluster::start()?;
    cluster.create_topic("paged", 2)?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    for _ in 0..5 {
        connection.send("paged", 0, b"x")?.ok()?;
    }
    patiently("the messages can be read", SOON, || {
        Ok((connection.pull("paged", 0, 4)?.code == 0).then_some(()))
    })?;
    let offset = [
        ("consumerGroup", "paged-group"),
        ("topic", "paged"),
        ("queueId", "0"),
        ("commitOffset", "2"),
    ];
    let group = br#"{"clientID":"e2e","producerDataSet":[],"consumerDataSet":[{"groupName":"paged-group","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","unitMode":false,"subscriptionDataSet":[{"classFilterMode":false,"topic":"paged","subString":"*","tagsSet":[],"codeSet":[],"subVersion":1,"expressionType":"TAG"}]}]}"#;
    connection.call(34, &[], group)?.ok()?;
    connection.call(15, &offset, &[])?.ok()?;
    Ok(cluster)
}

#[test]
fn the_name_server_shows_routes_and_the_cluster() -> Result<()> {
    let cluster = cluster_with_a_topic()?;
    let http = &cluster.namesrv.http;
    for path in ["/healthz", "/readyz"] {
        json(http, path, 200)?;
    }
    let topics = json(http, "/api/v1/topics", 200)?;
    ensure!(topics.to_string().contains("\"paged\""), "{topics}");

    let route = json(http, "/api/v1/topics/paged/route", 200)?;
    ensure!(route["queueDatas"][0]["readQueueNums"] == 2, "{route}");
    ensure!(
        route["brokerDatas"][0]["brokerAddrs"]["0"] == cluster.broker.address.as_str(),
        "{route}"
    );

    let shown = json(http, "/api/v1/cluster", 200)?;
    ensure!(
        shown.to_string().contains(&cluster.broker.address),
        "{shown}"
    );
    let brokers = json(http, "/api/v1/brokers", 200)?;
    ensure!(brokers.to_string().contains("broker-a"), "{brokers}");

    let missing = json(http, "/api/v1/topics/no-such-topic/route", 404)?;
    ensure!(
        missing["message"]
            .as_str()
            .is_some_and(|m| m.contains("no-such-topic")),
        "{missing}"
    );
    let nothing = json(http, "/nothing/here", 404)?;
    ensure!(
        nothing["code"].is_string() && nothing["message"].is_string(),
        "{nothing}"
    );
    metrics(http)
}

#[test]
fn the_broker_shows_its_state_topics_and_groups() -> Result<()> {
    let cluster = cluster_with_a_topic()?;
    let http = &cluster.broker.http;
    for path in ["/healthz", "/readyz"] {
        json(http, path, 200)?;
    }
    let status = json(http, "/api/v1/status", 200)?;
    ensure!(
        status.to_string().contains("ASYNC_FLUSH"),
        "no durability in {status}"
    );

    let topics = json(http, "/api/v1/topics", 200)?;
    ensure!(topics.to_string().contains("\"paged\""), "{topics}");
    let topic = json(http, "/api/v1/topics/paged", 200)?;
    ensure!(topic.to_string().contains("\"maxOffset\":5"), "{topic}");
    let groups = json(http, "/api/v1/groups", 200)?;
    ensure!(groups.to_string().contains("\"paged-group\""), "{groups}");
    let group = json(http, "/api/v1/groups/paged-group", 200)?;
    ensure!(group.to_string().contains("\"lag\":3"), "{group}");

    for path in [
        "/api/v1/topics/no-such",
        "/api/v1/groups/no-such",
        "/nothing/here",
    ] {
        let missing = json(http, path, 404)?;
        ensure!(
            missing["code"].is_string() && missing["message"].is_string(),
            "{missing}"
        );
    }
    metrics(http)?;
    let (_, text) = http_get(http, "/metrics")?;
    ensure!(text.contains("rocketmq_messages_in_total"), "{text}");
    Ok(())
}

/// Prometheus' text format, with something in it.
fn metrics(http: &str) -> Result<()> {
    let (code, text) = http_get(http, "/metrics")?;
    ensure!(code == 200 && text.contains("# TYPE "), "{code} {text}");
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        let value = line.rsplit(' ').next().unwrap_or_default();
        ensure!(value.parse::<f64>().is_ok(), "no sample: {line}");
    }
    Ok(())
}
