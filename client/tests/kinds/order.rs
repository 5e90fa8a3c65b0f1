//! Messages of one group are consumed in the order they were sent in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::{ConsumeFromWhere, Message, MessageExt, Messages, OrderlyStatus, PushConsumer};
use tokio::sync::mpsc;

use crate::cluster::fixture::{Fixture, body, eventually, next};

pub async fn run(fixture: &Fixture) {
    keeps_the_order_of_each_key_while_members_come_and_go(fixture).await;
    gives_up_a_message_that_fails_too_often(fixture).await;
}

type Got = mpsc::Receiver<(u8, Arc<MessageExt>)>;

const KEYS: usize = 16;
const EACH: usize = 40;

async fn keeps_the_order_of_each_key_while_members_come_and_go(fixture: &Fixture) {
    fixture.topic("ordered", 8).await;
    let (sender, mut got): (_, Got) = mpsc::channel(10_000);
    let member = async |number: u8| {
        let sender = sender.clone();
        PushConsumer::builder("ordered-group", fixture.config.clone())
            .subscribe("ordered", "*")
            .consume_from_where(ConsumeFromWhere::FirstOffset)
            .suspend_current_queue(Duration::from_millis(10))
            .on_messages_in_order(move |messages: Messages| {
                let sender = sender.clone();
                async move {
                    let message = Arc::clone(&messages[0]);
                    // Every tenth fails the first time.
                    let fails = body(&message).ends_with('7') && message.reconsume_times == 0;
                    sender.send((number, message)).await.unwrap();
                    if fails {
                        OrderlyStatus::Suspend
                    } else {
                        OrderlyStatus::Success
                    }
                }
            })
            .start()
            .await
            .unwrap()
    };
    let first = member(1).await;
    let producer = fixture.producer().await;
    let send = async |from: usize, to: usize| {
        for n in from..to {
            for key in 0..KEYS {
                let message = Message::new("ordered", format!("{key} {n}"))
                    .sharding_key(format!("group-{key}"));
                producer.send_orderly(message).await.unwrap();
            }
        }
    };
    let of_topic = |member: &PushConsumer| {
        let queues = member.assigned_queues();
        queues
            .iter()
            .filter(|queue| queue.topic == "ordered")
            .count()
    };
    send(0, EACH / 2).await;
    let second = member(2).await;
    eventually("both have half of the queues", async || {
        of_topic(&first) == 4 && of_topic(&second) == 4
    })
    .await;
    send(EACH / 2, EACH).await;
    first.shutdown().await;
    eventually("the second has all", async || of_topic(&second) == 8).await;
    send(EACH, EACH + 10).await;

    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    let mut queues: BTreeMap<String, i32> = BTreeMap::new();
    let mut members = [0; 3];
    while last.len() < KEYS || last.values().any(|n| *n < EACH + 9) {
        let next = tokio::time::timeout(crate::cluster::fixture::PATIENCE, got.recv()).await;
        let (member, message) = next.expect("all in time").unwrap();
        members[usize::from(member)] += 1;
        let text = body(&message);
        let (key, n) = text.split_once(' ').unwrap();
        assert_eq!(
            message.property("__SHARDINGKEY"),
            Some(format!("group-{key}").as_str())
        );
        let n: usize = n.parse().unwrap();
        let queue = *queues
            .entry(key.to_owned())
            .or_insert(message.queue.queue_id);
        assert_eq!(queue, message.queue.queue_id, "one key, one queue");
        let before = last.insert(key.to_owned(), n);
        // The same again, because it failed or changed hands, or the next.
        let follows = before.map_or(n == 0, |before| n == before || n == before + 1);
        assert!(follows, "{key}: {n} after {before:?}");
    }
    assert!(members[1] > 0 && members[2] > 0, "{members:?}");
    second.shutdown().await;
    producer.shutdown().await;
}

async fn gives_up_a_message_that_fails_too_often(fixture: &Fixture) {
    fixture.topic("poisoned", 1).await;
    let (sender, mut inbox) = mpsc::channel(100);
    let consumer = PushConsumer::builder("poisoned-group", fixture.config.clone())
        .subscribe("poisoned", "*")
        .consume_from_where(ConsumeFromWhere::FirstOffset)
        .suspend_current_queue(Duration::from_millis(10))
        .max_reconsume_times(2)
        .on_messages_in_order(move |messages: Messages| {
            let sender = sender.clone();
            async move {
                let message = Arc::clone(&messages[0]);
                let poison = body(&message) == "poison";
                sender.send(message).await.unwrap();
                if poison {
                    OrderlyStatus::Suspend
                } else {
                    OrderlyStatus::Success
                }
            }
        })
        .start()
        .await
        .unwrap();
    let producer = fixture.producer().await;
    for text in ["before", "poison", "after"] {
        producer.send(Message::new("poisoned", text)).await.unwrap();
    }
    for expected in [
        ("before", 0),
        ("poison", 0),
        ("poison", 1),
        ("poison", 2),
        ("after", 0),
    ] {
        let message = next(&mut inbox).await;
        assert_eq!((body(&message).as_str(), message.reconsume_times), expected);
    }
    consumer.shutdown().await;
    let dead = client::dlq_topic("poisoned-group");
    eventually("the dead letter queue has a route", async || {
        fixture.admin.route(&dead).await.is_ok()
    })
    .await;
    let (builder, mut letters) = fixture.consumer("undertaker", &dead, "*");
    let undertaker = builder.start().await.unwrap();
    assert_eq!(body(&*next(&mut letters).await), "poison");
    undertaker.shutdown().await;
    producer.shutdown().await;
}
