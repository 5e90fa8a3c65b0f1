//! Messages that are delivered later, or called back before.

use std::time::Duration;

use client::{Message, MessageExt, Producer};

use crate::cluster::fixture::{Fixture, body, next};

const TOPIC: &str = "later";
/// How late a message may be on a machine that builds something else besides.
const LATE_MS: i64 = 10_000;

pub async fn run(fixture: &Fixture) {
    fixture.topic(TOPIC, 2).await;
    let producer = fixture.producer().await;
    let (consumer, mut inbox) = fixture.consumer("later-group", TOPIC, "*");
    let consumer = consumer.start().await.unwrap();

    let now = now_ms(&producer, fixture).await;
    let delay = Duration::from_secs(3);
    let cases = [
        (Message::new(TOPIC, "level").delay_level(1), 1000),
        (Message::new(TOPIC, "delay").delay(delay), 3000),
        (
            Message::new(TOPIC, "at").deliver_at_ms(now + 4000),
            4000 - 1000,
        ),
        (Message::new(TOPIC, "past").deliver_at_ms(now - 1), 0),
    ];
    let mut expected = Vec::new();
    for (message, earliest) in cases {
        let timed = message.get("DELAY").is_none() && earliest > 0;
        let sent = producer.send(message).await.unwrap();
        assert_eq!(sent.recall_handle.is_some(), timed, "{sent:?}");
        expected.push((sent.msg_id, earliest));
    }
    // Due last, and called back before.
    let recalled = Message::new(TOPIC, "recalled").delay(delay);
    let sent = producer.send(recalled).await.unwrap();
    let id = producer.recall(TOPIC, &sent.recall_handle.unwrap()).await;
    assert_eq!(id.unwrap(), sent.msg_id);
    let end = Message::new(TOPIC, "end").delay(Duration::from_secs(6));
    producer.send(end).await.unwrap();

    let mut got: Vec<std::sync::Arc<MessageExt>> = Vec::new();
    loop {
        let message = next(&mut inbox).await;
        if body(&message) == "end" {
            break;
        }
        got.push(message);
    }
    assert_eq!(got.len(), expected.len(), "{got:?}");
    for (id, earliest) in expected {
        let message = got.iter().find(|message| message.msg_id == id).unwrap();
        // Timers of whole seconds are due from the second before on.
        let waited = message.store_timestamp - message.born_timestamp;
        let (from, to) = (earliest - 1000, earliest + LATE_MS);
        assert!(
            (from..to).contains(&waited),
            "{}: {waited} ms",
            body(message)
        );
    }
    refuses_what_is_no_handle(&producer).await;
    producer.shutdown().await;
    consumer.shutdown().await;
}

/// The broker's time: that of a message stored just now.
async fn now_ms(producer: &Producer, fixture: &Fixture) -> i64 {
    let sent = producer
        .send(Message::new("later-clock", "now"))
        .await
        .unwrap();
    let stored = fixture.admin.view_message(&sent.offset_msg_id).await;
    stored.unwrap().store_timestamp
}

async fn refuses_what_is_no_handle(producer: &Producer) {
    let refused = producer.recall(TOPIC, "nonsense").await.unwrap_err();
    assert!(refused.to_string().contains("nonsense"), "{refused}");
    let handle = common::message::RecallHandle {
        topic: "another".into(),
        broker_name: "broker-a".into(),
        due: 1,
        unique_key: "KEY".into(),
    };
    let refused = producer.recall(TOPIC, &handle.encode()).await.unwrap_err();
    assert!(refused.is_response(604), "{refused}");
}
