use super::*;
use crate::testing::Stored;
use prometheus::TextEncoder;

fn text(stored: &Stored) -> String {
    let figures = BrokerFigures {
        state: stored.state.clone(),
        transactions: stored.transactions.clone(),
        timers: stored.timers.clone(),
    };
    let registry = figures.into_registry().unwrap();
    TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap()
}

/// The value of the line of `family` that has all `labels`.
fn value(text: &str, family: &str, labels: &[&str]) -> Option<u64> {
    let line = text.lines().find(|line| {
        line.starts_with(&format!("{family}{{")) && labels.iter().all(|label| line.contains(label))
    })?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[test]
fn what_passed_through_is_counted_and_copies_are_not() {
    let stored = Stored::new();
    stored.create("t", 1);
    stored.create("%RETRY%g", 1);
    let bytes = stored.send("t", 0, b"x") + stored.send("t", 0, b"y");
    stored.send("%RETRY%g", 0, b"x");
    stored.metrics.delivered("g", "t", 2, bytes);
    stored.metrics.missed();
    let text = text(&stored);
    let of_topic = &[
        "topic=\"t\"",
        "cluster=\"DefaultCluster\"",
        "node_id=\"b\"",
        "node_type=\"broker\"",
    ];
    assert_eq!(
        value(&text, "rocketmq_messages_in_total", of_topic),
        Some(2)
    );
    assert_eq!(
        value(&text, "rocketmq_throughput_in_total", of_topic),
        Some(bytes)
    );
    assert_eq!(
        value(
            &text,
            "rocketmq_messages_out_total",
            &["consumer_group=\"g\""]
        ),
        Some(2)
    );
    assert_eq!(
        value(&text, "rocketmq_throughput_out_total", of_topic),
        Some(bytes)
    );
    assert_eq!(
        value(&text, "rocketmq_messages_in_total", &["%RETRY%"]),
        None
    );
    assert_eq!(value(&text, "rocketmq_broker_permission", &[]), Some(6));
    assert_eq!(
        value(&text, "rocketmq_storage_size", &["storage_type=\"local\""]),
        Some(stored.reader.status().max_physical)
    );
    let totals = stored.metrics.totals();
    assert_eq!(
        (totals.put, totals.found, totals.missed, totals.delivered),
        (3, 1, 1, 2)
    );
}

#[test]
fn the_lag_of_a_group_is_told_as_long_as_it_and_the_topic_exist() {
    let stored = Stored::new();
    stored.create("t", 1);
    for _ in 0..5 {
        stored.send("t", 0, b"x");
    }
    stored.groups.find_or_create("g").unwrap();
    stored.offsets.commit("g", "t", 0, 1);
    stored.offsets.pulled("g", "t", 0, 3);
    let shown = text(&stored);
    let of_group = &["consumer_group=\"g\"", "topic=\"t\"", "is_retry=\"false\""];
    assert_eq!(
        value(&shown, "rocketmq_consumer_lag_messages", of_group),
        Some(4)
    );
    assert_eq!(
        value(&shown, "rocketmq_consumer_inflight_messages", of_group),
        Some(2)
    );
    assert_eq!(
        value(&shown, "rocketmq_consumer_ready_messages", of_group),
        Some(2)
    );
    stored.groups.delete("g").unwrap();
    assert_eq!(
        value(&text(&stored), "rocketmq_consumer_lag_messages", of_group),
        None
    );
}
