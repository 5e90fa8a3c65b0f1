//! The client against real servers: Apache RocketMQ when `ROCKETMQ_JARS` names its jars, Arugula when
//! `ARUGULA_BIN` names its binaries. What is not there is skipped and said so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what is wrong by stopping there"
)]

mod cluster;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::{
    ClientConfig, ClientError, Compress, ConsumeFromWhere, ConsumeStatus, Message, MessageModel,
    Messages, Producer, PushConsumer, SendStatus,
};
use cluster::fixture::{Fixture, body, eventually, next, take};
use cluster::{Cluster, Kind};
use tokio::sync::mpsc;

#[tokio::test(flavor = "multi_thread")]
async fn apache_rocketmq() {
    run("apache_rocketmq", Kind::reference(), "ROCKETMQ_JARS").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arugula() {
    run("arugula", Kind::arugula(), "ARUGULA_BIN").await;
}

async fn run(name: &str, kind: Option<Kind>, variable: &str) {
    let Some(kind) = kind else {
        eprintln!("skipped: {name} (set {variable})");
        return;
    };
    let mut cluster = Cluster::start(kind).await;
    let fixture = Fixture::new(&cluster).await;
    looks_after_topics_and_offsets(&fixture).await;
    finds_messages_by_their_keys(&fixture).await;
    sends_in_every_way_and_consumes_each_once(&fixture).await;
    carries_bodies_of_every_size(&fixture).await;
    delivers_only_tags_asked_for(&fixture).await;
    shares_queues_among_members(&fixture).await;
    delivers_failed_messages_again(&fixture).await;
    broadcasts_to_every_member(&fixture).await;
    creates_topics_by_sending(&fixture).await;
    loses_nothing_when_the_broker_is_killed(&fixture, &mut cluster).await;
}

async fn looks_after_topics_and_offsets(fixture: &Fixture) {
    let admin = &fixture.admin;
    fixture.topic("admin", 3).await;
    assert!(admin.topics().await.unwrap().contains(&"admin".to_owned()));
    assert_eq!(admin.masters().await.unwrap(), [fixture.broker.as_str()]);
    let route = admin.route("admin").await.unwrap();
    assert_eq!(
        route.brokers["broker-a"][&client::MASTER_ID],
        fixture.broker
    );
    let error = admin
        .create_topic_on(&fixture.broker, "a.b", 1)
        .await
        .unwrap_err();
    assert!(error.is_response(29), "{error}");
    assert!(matches!(
        admin.route("missing").await,
        Err(ClientError::NoRoute { .. })
    ));

    let producer = fixture.producer().await;
    let queue = &route.publish[1];
    let before = producer
        .send_to(Message::new("admin", "first"), queue)
        .await
        .unwrap();
    let second = producer
        .send_to(Message::new("admin", "second"), queue)
        .await
        .unwrap();
    assert_eq!((before.queue_offset, second.queue_offset), (0, 1));
    assert_eq!(second.queue, *queue);
    eventually("both are dispatched", async || {
        admin.max_offset(queue).await.unwrap() == 2
    })
    .await;
    assert_eq!(admin.min_offset(queue).await.unwrap(), 0);
    let found = admin.view_message(&second.offset_msg_id).await.unwrap();
    assert_eq!(
        (body(&found).as_str(), found.msg_id.as_str()),
        ("second", second.msg_id.as_str())
    );
    let first = admin.view_message(&before.offset_msg_id).await.unwrap();
    assert_eq!(
        admin.earliest_store_time(queue).await.unwrap(),
        Some(first.store_timestamp)
    );
    assert_eq!(
        admin
            .search_offset(queue, first.store_timestamp)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        admin
            .search_offset(queue, found.store_timestamp + 1)
            .await
            .unwrap(),
        2
    );
    producer.shutdown().await;

    assert!(
        admin
            .consumer_ids("nobody", "admin")
            .await
            .unwrap()
            .is_empty()
    );
    admin.delete_topic("admin").await.unwrap();
    eventually("the topic is gone", async || {
        matches!(admin.route("admin").await, Err(ClientError::NoRoute { .. }))
    })
    .await;
}

async fn finds_messages_by_their_keys(fixture: &Fixture) {
    fixture.topic("keys", 2).await;
    let producer = fixture.producer().await;
    let mut ids = Vec::new();
    // "Aa" and "BB" have the same hash.
    for (text, keys) in [
        ("one", ["Aa", "x"]),
        ("two", ["BB", "y"]),
        ("three", ["x", "Aa"]),
    ] {
        let sent = producer.send(Message::new("keys", text).keys(keys)).await;
        ids.push(sent.unwrap().msg_id);
    }
    let found = async |key: &str, max| {
        let found = fixture.admin.query_messages("keys", key, max, 0..=i64::MAX);
        let messages = found.await.unwrap();
        messages.iter().map(body).collect::<Vec<_>>()
    };
    eventually("the last is found", async || {
        found("x", 9).await == ["one", "three"]
    })
    .await;
    assert_eq!(found("Aa", 9).await, ["one", "three"]);
    assert_eq!(found("BB", 9).await, ["two"]);
    assert_eq!(found("x", 1).await, ["three"]);
    assert_eq!(found(&ids[1], 9).await, ["two"]);
    assert!(found("z", 9).await.is_empty());
}

async fn sends_in_every_way_and_consumes_each_once(fixture: &Fixture) {
    fixture.topic("every-way", 4).await;
    let (builder, mut inbox) = fixture.consumer("every-way-group", "every-way", "*");
    let consumer = builder.start().await.unwrap();
    let producer = fixture.producer().await;
    let new =
        |n: usize| Message::new("every-way", format!("body {n}")).property("n", n.to_string());
    let mut ids = BTreeSet::new();
    for n in 0..20 {
        let result = producer
            .send(new(n).tag("sync").keys([format!("k{n}")]))
            .await
            .unwrap();
        assert_eq!(result.status, SendStatus::SendOk);
        assert_eq!(result.transaction_id.as_ref(), Some(&result.msg_id));
        ids.insert(result.msg_id);
    }
    let sends: Vec<_> = (20..220).map(|n| producer.send_async(new(n))).collect();
    for send in sends {
        ids.insert(send.await.unwrap().msg_id);
    }
    let batch = producer
        .send_batch((220..230).map(new).collect())
        .await
        .unwrap();
    ids.extend(batch.msg_id.split(',').map(str::to_owned));
    assert_eq!(batch.offset_msg_id.split(',').count(), 10);
    let selected = producer
        .send_selected(new(230), |queues| queues.len() - 1)
        .await
        .unwrap();
    assert_eq!(selected.queue.queue_id, 3);
    ids.insert(selected.msg_id);
    producer.send_oneway(new(231)).await.unwrap();

    let got = take(&mut inbox, 232).await;
    let known: BTreeSet<String> = got.keys().filter(|id| ids.contains(*id)).cloned().collect();
    assert_eq!(known, ids, "every acknowledged message arrived");
    let bodies: BTreeSet<String> = got.values().map(|message| body(message)).collect();
    assert_eq!(bodies, (0..232).map(|n| format!("body {n}")).collect());
    for message in got.values() {
        let n = body(message).trim_start_matches("body ").to_owned();
        assert_eq!(message.property("n"), Some(n.as_str()));
        assert_eq!(
            (message.topic.as_str(), message.reconsume_times),
            ("every-way", 0)
        );
    }
    consumer.shutdown().await;
    let route = fixture.admin.route("every-way").await.unwrap();
    for queue in &route.subscribe {
        let end = fixture.admin.max_offset(queue).await.unwrap();
        let done = fixture
            .admin
            .consumer_offset("every-way-group", queue)
            .await
            .unwrap();
        assert_eq!(done, Some(end), "{queue:?}");
    }
    producer.shutdown().await;
}

async fn carries_bodies_of_every_size(fixture: &Fixture) {
    fixture.topic("sizes", 2).await;
    let (builder, mut inbox) = fixture.consumer("sizes-group", "sizes", "*");
    let consumer = builder.start().await.unwrap();
    let compressing = fixture.producer().await;
    let builder = Producer::builder("producers", fixture.config.clone()).compress(Compress {
        from: usize::MAX,
        ..Compress::default()
    });
    let plain = builder
        .send_timeout(Duration::from_secs(15))
        .start()
        .await
        .unwrap();
    let mut sent = BTreeMap::new();
    for size in [1_usize, 100, 4095, 4096, 65_536, 1 << 20] {
        // Neither constant nor random: compressible, and any byte out of place shows.
        let body: Vec<u8> = (0..size)
            .map(|n| u8::try_from((n * n / 7) % 251).unwrap())
            .collect();
        for producer in [&compressing, &plain] {
            let message = Message::new("sizes", Bytes::from(body.clone()));
            sent.insert(producer.send(message).await.unwrap().msg_id, body.clone());
        }
    }
    let got = take(&mut inbox, sent.len()).await;
    for (id, body) in &sent {
        assert!(
            got[id].body == *body,
            "a body of {} bytes changed",
            body.len()
        );
        assert_eq!(got[id].sys_flag & 1, 0, "handed out decompressed");
    }
    let too_large = Message::new("sizes", vec![0; (4 << 20) + 1]);
    assert!(matches!(
        plain.send(too_large).await,
        Err(ClientError::IllegalMessage { .. })
    ));
    compressing.shutdown().await;
    plain.shutdown().await;
    consumer.shutdown().await;
}

async fn delivers_only_tags_asked_for(fixture: &Fixture) {
    fixture.topic("tags", 1).await;
    let (builder, mut inbox) = fixture.consumer("tags-group", "tags", "A || AaBB");
    let consumer = builder.start().await.unwrap();
    let producer = fixture.producer().await;
    // The last two have one hash; the very last ends the test.
    for tag in ["B", "A", "C", "BBAa", "AaBB", "A"] {
        producer
            .send(Message::new("tags", tag).tag(tag))
            .await
            .unwrap();
    }
    let got = take(&mut inbox, 3).await;
    let mut tags: Vec<_> = got.values().map(|message| body(message)).collect();
    tags.sort();
    assert_eq!(tags, ["A", "A", "AaBB"]);
    consumer.shutdown().await;
    producer.shutdown().await;
}

async fn shares_queues_among_members(fixture: &Fixture) {
    fixture.topic("shared", 8).await;
    let (one, mut first) = fixture.consumer("shared-group", "shared", "*");
    let (two, mut second) = fixture.consumer("shared-group", "shared", "*");
    let of_topic = |consumer: &PushConsumer| {
        consumer
            .assigned_queues()
            .iter()
            .filter(|queue| queue.topic == "shared")
            .count()
    };
    let one = one.start().await.unwrap();
    eventually("the first has all queues", async || of_topic(&one) == 8).await;
    let two = two.start().await.unwrap();
    eventually("both have four", async || {
        (of_topic(&one), of_topic(&two)) == (4, 4)
    })
    .await;
    let members = fixture
        .admin
        .consumer_ids("shared-group", "shared")
        .await
        .unwrap();
    let expected: BTreeSet<_> = [one.client_id(), two.client_id()].map(str::to_owned).into();
    assert_eq!(members.into_iter().collect::<BTreeSet<_>>(), expected);

    let producer = fixture.producer().await;
    for n in 0..80 {
        producer
            .send(Message::new("shared", format!("{n}")))
            .await
            .unwrap();
    }
    let (mine, theirs) = (take(&mut first, 40).await, take(&mut second, 40).await);
    assert!(
        mine.keys().all(|id| !theirs.contains_key(id)),
        "nothing goes to both"
    );
    // A pull carries the offset at which it was sent; the reference may take it after the commit of a consumer that leaves at
    // once, and who comes next reads the last message again.
    let route = fixture.admin.route("shared").await.unwrap();
    eventually("what was read is committed", async || {
        for queue in &route.subscribe {
            let committed = fixture.admin.consumer_offset("shared-group", queue).await;
            if committed.unwrap() != Some(fixture.admin.max_offset(queue).await.unwrap()) {
                return false;
            }
        }
        true
    })
    .await;
    one.shutdown().await;
    eventually("the other takes over", async || of_topic(&two) == 8).await;
    for n in 0..16 {
        producer
            .send(Message::new("shared", format!("later {n}")))
            .await
            .unwrap();
    }
    let later = take(&mut second, 16).await;
    assert!(
        later
            .values()
            .all(|message| body(message).starts_with("later")),
        "{later:?}"
    );
    two.shutdown().await;
    producer.shutdown().await;
}

async fn delivers_failed_messages_again(fixture: &Fixture) {
    fixture.topic("failing", 1).await;
    let (sender, mut inbox) = mpsc::channel(100);
    let consumer = PushConsumer::builder("failing-group", fixture.config.clone())
        .subscribe("failing", "*")
        .consume_from_where(ConsumeFromWhere::FirstOffset)
        .on_messages(move |messages: Messages| {
            let sender = sender.clone();
            async move {
                let message = Arc::clone(&messages[0]);
                let fails = body(&message) == "bad" && message.reconsume_times == 0;
                sender.send(message).await.unwrap();
                if fails {
                    ConsumeStatus::ReconsumeLater
                } else {
                    ConsumeStatus::Success
                }
            }
        })
        .start()
        .await
        .unwrap();
    let producer = fixture.producer().await;
    let sent = producer
        .send(Message::new("failing", "bad").keys(["k"]))
        .await
        .unwrap();
    producer
        .send(Message::new("failing", "good"))
        .await
        .unwrap();
    let mut deliveries = Vec::new();
    while deliveries.len() < 3 {
        let message = next(&mut inbox).await;
        deliveries.push((body(&message), message.reconsume_times));
        if message.reconsume_times > 0 {
            assert_eq!(message.topic, "failing");
            assert_eq!(message.keys().collect::<Vec<_>>(), ["k"]);
            assert_eq!(message.msg_id, sent.msg_id);
        }
    }
    deliveries.sort();
    let expected = [("bad", 0), ("bad", 1), ("good", 0)];
    assert_eq!(
        deliveries,
        expected.map(|(body, times)| (body.to_owned(), times))
    );
    let queue = client::MessageQueue::new("failing", "broker-a", 0);
    eventually("the group is past both", async || {
        fixture
            .admin
            .consumer_offset("failing-group", &queue)
            .await
            .unwrap()
            == Some(2)
    })
    .await;
    consumer.shutdown().await;
    producer.shutdown().await;
}

async fn broadcasts_to_every_member(fixture: &Fixture) {
    fixture.topic("broadcast", 2).await;
    let directory = tempfile::tempdir().unwrap();
    let member = |name: &str| {
        let config = ClientConfig {
            instance_name: Some(name.to_owned()),
            ..fixture.config.clone()
        };
        let (sender, inbox) = mpsc::channel(1000);
        let builder = PushConsumer::builder("broadcast-group", config)
            .subscribe("broadcast", "*")
            .consume_from_where(ConsumeFromWhere::FirstOffset)
            .message_model(MessageModel::Broadcasting)
            .local_offset_directory(directory.path())
            .on_messages(move |messages: Messages| {
                let sender = sender.clone();
                async move {
                    for message in messages {
                        sender.send(message).await.unwrap();
                    }
                    ConsumeStatus::Success
                }
            });
        (builder, inbox)
    };
    let ((one, mut first), (two, mut second)) = (member("one"), member("two"));
    let (one, two) = (one.start().await.unwrap(), two.start().await.unwrap());
    let producer = fixture.producer().await;
    for n in 0..10 {
        producer
            .send(Message::new("broadcast", format!("{n}")))
            .await
            .unwrap();
    }
    let mine: Vec<_> = take(&mut first, 10).await.into_keys().collect();
    let theirs: Vec<_> = take(&mut second, 10).await.into_keys().collect();
    assert_eq!(mine, theirs);
    one.shutdown().await;
    two.shutdown().await;
    producer.shutdown().await;
}

async fn creates_topics_by_sending(fixture: &Fixture) {
    let producer = fixture.producer().await;
    let result = producer
        .send(Message::new("born-by-sending", "hello"))
        .await
        .unwrap();
    eventually("the topic has a route", async || {
        fixture.admin.route("born-by-sending").await.is_ok()
    })
    .await;
    let route = fixture.admin.route("born-by-sending").await.unwrap();
    assert_eq!(route.publish.len(), 4);
    let (builder, mut inbox) = fixture.consumer("born-group", "born-by-sending", "*");
    let consumer = builder.start().await.unwrap();
    assert_eq!(next(&mut inbox).await.msg_id, result.msg_id);
    consumer.shutdown().await;
    producer.shutdown().await;
}

async fn loses_nothing_when_the_broker_is_killed(fixture: &Fixture, cluster: &mut Cluster) {
    fixture.topic("killed", 4).await;
    let (builder, mut inbox) = fixture.consumer("killed-group", "killed", "*");
    let consumer = builder.start().await.unwrap();
    let producer = fixture.producer().await;
    let mut acknowledged = BTreeSet::new();
    for round in 0..2 {
        let sends: Vec<_> = (0..200)
            .map(|n| producer.send_async(Message::new("killed", format!("{round} {n}"))))
            .collect();
        for send in sends {
            acknowledged.insert(send.await.unwrap().msg_id);
        }
        cluster.kill_broker();
        cluster.start_broker().await;
    }
    let mut missing = acknowledged;
    while !missing.is_empty() {
        // What was delivered and not reported when the broker died may come twice.
        missing.remove(&next(&mut inbox).await.msg_id);
    }
    eventually("sending works again", async || {
        producer.send(Message::new("killed", "after")).await.is_ok()
    })
    .await;
    while body(&*next(&mut inbox).await) != "after" {}
    consumer.shutdown().await;
    producer.shutdown().await;
}
