//! A message that is answered by another.

use std::time::Duration;

use client::{ClientError, ConsumeStatus, Message, Messages, Producer, PushConsumer};

use crate::cluster::fixture::{Fixture, body};

const TOPIC: &str = "requests";

pub async fn run(fixture: &Fixture) {
    fixture.topic(TOPIC, 2).await;
    let answering = Producer::builder("answering", fixture.config.clone());
    let answering = answering
        .send_timeout(Duration::from_secs(15))
        .start()
        .await
        .unwrap();
    let replies = answering.clone();
    let consumer = PushConsumer::builder("answering-group", fixture.config.clone())
        .subscribe(TOPIC, "*")
        .on_messages(move |messages: Messages| {
            let replies = replies.clone();
            async move {
                let request = &messages[0];
                let asked = body(request);
                if asked != "silence" {
                    let reply = match asked.as_str() {
                        "where" => format!("in queue {}", request.queue.queue_id),
                        asked => format!("{asked} indeed"),
                    };
                    replies.reply(request, reply).await.unwrap();
                }
                ConsumeStatus::Success
            }
        })
        .start()
        .await
        .unwrap();
    // The first request is the first the broker hears of its producer.
    let producer = Producer::builder("asking", fixture.config.clone());
    let producer = producer
        .send_timeout(Duration::from_secs(15))
        .start()
        .await
        .unwrap();
    let patience = Duration::from_secs(30);
    let short = producer
        .request(Message::new(TOPIC, "x").tag("A"), patience)
        .await
        .unwrap();
    assert_eq!(body(&short), "x indeed");
    assert_eq!(short.topic, "DefaultCluster_REPLY_TOPIC");
    assert!(short.property("ARRIVE_TIME").is_some());
    let many = (0..50).map(|n| {
        let producer = producer.clone();
        tokio::spawn(async move {
            let asked = format!("{n} {}", "long ".repeat(usize::from(n == 7) * 2000));
            let reply = producer
                .request(Message::new(TOPIC, asked.clone()), patience)
                .await;
            assert!(body(&reply.unwrap()).starts_with(&format!("{asked} indeed")));
        })
    });
    for one in many.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    chooses_a_queue(&producer).await;
    let timeout = Duration::from_secs(1);
    let unanswered = producer
        .request(Message::new(TOPIC, "silence"), timeout)
        .await;
    assert!(
        matches!(unanswered, Err(ClientError::RequestTimeout { .. })),
        "{unanswered:?}"
    );
    let plain = fixture
        .admin
        .view_message(&short_id(&producer).await)
        .await
        .unwrap();
    let refused = answering.reply(&plain, "unasked").await.unwrap_err();
    assert!(
        matches!(refused, ClientError::IllegalMessage { .. }),
        "{refused}"
    );
    producer.shutdown().await;
    consumer.shutdown().await;
    answering.shutdown().await;
}

/// The reply says in which queue its request lay.
async fn chooses_a_queue(producer: &Producer) {
    let patience = Duration::from_secs(30);
    for chosen in [1, 0, 1] {
        let question = Message::new(TOPIC, "where");
        let reply = producer.request_selected(question, |_| chosen, patience);
        assert_eq!(body(&reply.await.unwrap()), format!("in queue {chosen}"));
    }
    let beyond = producer.request_selected(Message::new(TOPIC, "where"), <[_]>::len, patience);
    let refused = beyond.await.unwrap_err();
    assert!(
        matches!(
            refused,
            ClientError::NoSuchQueue {
                chosen: 2,
                queues: 2
            }
        ),
        "{refused}"
    );
}

/// A message that asks for nothing.
async fn short_id(producer: &Producer) -> String {
    let sent = producer.send(Message::new("unasked", "plain")).await;
    sent.unwrap().offset_msg_id
}
