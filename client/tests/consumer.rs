//! The push consumer against a cluster that does as it is told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what is wrong by stopping there"
)]

mod fake;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::{
    ClientConfig, ConsumeFromWhere, ConsumeStatus, FlowThresholds, MessageModel, Messages,
    PushConsumer, PushConsumerBuilder,
};
use common::wire::body::{GetConsumerStatusBody, ResetOffsetBody};
use common::wire::{Command, request_code};
use fake::{Fake, PATIENCE, Script};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};

const SEND_BACK: i32 = request_code::CONSUMER_SEND_MSG_BACK;

/// Bodies in the order they came.
type Bodies = mpsc::Receiver<String>;

fn builder(fake: &Fake) -> PushConsumerBuilder {
    let config = ClientConfig {
        persist_offset_interval: Duration::from_millis(50),
        ..ClientConfig::new(&fake.name_server())
    };
    PushConsumer::builder("g", config)
        .subscribe("T", "*")
        .consume_from_where(ConsumeFromWhere::FirstOffset)
}

/// A listener that is content with everything and passes the bodies on.
fn collect(builder: PushConsumerBuilder) -> (PushConsumerBuilder, Bodies) {
    answering(builder, |_| ConsumeStatus::Success)
}

fn answering(
    builder: PushConsumerBuilder,
    answer: impl Fn(&Messages) -> ConsumeStatus + Send + Sync + 'static,
) -> (PushConsumerBuilder, Bodies) {
    let (sender, receiver) = mpsc::channel(10_000);
    let answer = Arc::new(answer);
    let builder = builder.on_messages(move |messages: Messages| {
        let (sender, answer) = (sender.clone(), Arc::clone(&answer));
        async move {
            for message in &messages {
                let body = String::from_utf8_lossy(&message.body).into_owned();
                sender.send(body).await.unwrap();
            }
            answer(&messages)
        }
    });
    (builder, receiver)
}

async fn next(bodies: &mut Bodies) -> String {
    tokio::time::timeout(PATIENCE, bodies.recv())
        .await
        .expect("a message in time")
        .unwrap()
}

async fn take(bodies: &mut Bodies, count: usize) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for _ in 0..count {
        assert!(all.insert(next(bodies).await), "delivered twice");
    }
    all
}

fn names(range: std::ops::Range<i32>) -> BTreeSet<String> {
    range.map(|n| format!("m{n}")).collect()
}

fn fill(fake: &Fake, broker: &str, queue_id: i32, range: std::ops::Range<i32>) {
    for n in range {
        fake.store(broker, "T", queue_id, &format!("m{n}"), "TAGS\u{1}A\u{2}");
    }
}

#[tokio::test]
async fn everything_is_delivered_once_and_committed() {
    let fake = Fake::start(&["broker-a", "broker-b"]).await;
    fake.create_topic("T", 2);
    fill(&fake, "broker-a", 0, 0..100);
    fill(&fake, "broker-b", 1, 100..150);
    let (builder, mut bodies) = collect(builder(&fake));
    let consumer = builder.start().await.unwrap();
    assert_eq!(take(&mut bodies, 150).await, names(0..150));
    // Later ones wake a pull that is held.
    fill(&fake, "broker-b", 0, 150..160);
    assert_eq!(take(&mut bodies, 10).await, names(150..160));
    fake.until("all is committed", |fake| {
        let offset = |broker, id| fake.offset("g", broker, "T", id);
        offset("broker-a", 0) == Some(100)
            && offset("broker-b", 1) == Some(50)
            && offset("broker-b", 0) == Some(10)
    })
    .await;
    consumer.shutdown().await;
    assert!(fake.members("g").is_empty());
}

#[tokio::test]
async fn a_consumer_that_comes_back_goes_on_where_it_was() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    fill(&fake, "broker-a", 0, 0..40);
    let (first, mut bodies) = collect(builder(&fake));
    let consumer = first.start().await.unwrap();
    take(&mut bodies, 40).await;
    consumer.shutdown().await;
    assert_eq!(
        fake.offset("g", "broker-a", "T", 0),
        Some(40),
        "reported by the shutdown"
    );
    fill(&fake, "broker-a", 0, 40..50);
    let (second, mut bodies) = collect(builder(&fake));
    let consumer = second.start().await.unwrap();
    assert_eq!(take(&mut bodies, 10).await, names(40..50));
    consumer.shutdown().await;
}

#[tokio::test]
async fn members_share_the_queues_and_take_over_from_each_other() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 8);
    let (one, mut first) = collect(builder(&fake));
    let (two, mut second) = collect(builder(&fake));
    let of_topic = |consumer: &PushConsumer| -> Vec<i32> {
        let queues = consumer.assigned_queues().into_iter();
        queues
            .filter(|queue| queue.topic == "T")
            .map(|queue| queue.queue_id)
            .collect()
    };
    let one = one.start().await.unwrap();
    assert_eq!(of_topic(&one), (0..8).collect::<Vec<_>>());
    let two = two.start().await.unwrap();
    fake.until("the queues are shared", |_| {
        (of_topic(&one).len(), of_topic(&two).len()) == (4, 4)
    })
    .await;
    let mut all = of_topic(&one);
    all.extend(of_topic(&two));
    all.sort_unstable();
    assert_eq!(all, (0..8).collect::<Vec<_>>());
    for queue_id in 0..8 {
        fill(&fake, "broker-a", queue_id, queue_id..queue_id + 1);
    }
    let (mine, theirs) = (take(&mut first, 4).await, take(&mut second, 4).await);
    assert_eq!(
        mine.union(&theirs).cloned().collect::<BTreeSet<_>>(),
        names(0..8)
    );
    one.shutdown().await;
    fake.until("the other has them all", |_| of_topic(&two).len() == 8)
        .await;
    fill(&fake, "broker-a", 0, 8..9);
    fill(&fake, "broker-a", 7, 9..10);
    assert_eq!(take(&mut second, 2).await, names(8..10));
    two.shutdown().await;
}

#[tokio::test]
async fn only_tags_asked_for_are_delivered_even_if_the_broker_sends_more() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    for (n, tag) in ["A", "B", "C", "AaBB", "BBAa"].iter().enumerate() {
        fake.store(
            "broker-a",
            "T",
            0,
            &format!("m{n}"),
            &format!("TAGS\u{1}{tag}\u{2}"),
        );
    }
    fake.store("broker-a", "T", 0, "untagged", "");
    let (builder, mut bodies) = collect(builder(&fake).subscribe("T", "A || AaBB"));
    let consumer = builder.start().await.unwrap();
    let expected = ["m0", "m3"].map(str::to_owned).into();
    assert_eq!(take(&mut bodies, 2).await, expected);
    fill(&fake, "broker-a", 0, 9..10);
    assert_eq!(
        next(&mut bodies).await,
        "m9",
        "nothing else came in between"
    );
    fake.until("those left out count as done", |fake| {
        fake.offset("g", "broker-a", "T", 0) == Some(7)
    })
    .await;
    consumer.shutdown().await;
}

#[tokio::test]
async fn a_failed_message_comes_back_through_the_retry_topic() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    fill(&fake, "broker-a", 0, 0..3);
    let deliveries = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&deliveries);
    let (builder, mut bodies) = answering(builder(&fake), move |messages| {
        let message = &messages[0];
        log.lock()
            .push((message.topic.clone(), message.reconsume_times));
        let first = message.body == "m1" && message.reconsume_times == 0;
        if first {
            ConsumeStatus::ReconsumeLater
        } else {
            ConsumeStatus::Success
        }
    });
    let consumer = builder.start().await.unwrap();
    let mut got = Vec::new();
    for _ in 0..4 {
        got.push(next(&mut bodies).await);
    }
    got.sort();
    assert_eq!(got, ["m0", "m1", "m1", "m2"]);
    fake.until("both topics are committed", |fake| {
        fake.offset("g", "broker-a", "T", 0) == Some(3)
            && fake.offset("g", "broker-a", "%RETRY%g", 0) == Some(1)
    })
    .await;
    assert!(
        deliveries.lock().contains(&("T".to_owned(), 1)),
        "{deliveries:?}"
    );
    let back = &fake.seen(SEND_BACK)[0].fields;
    assert_eq!(
        (back["group"].as_str(), back["delayLevel"].as_str()),
        ("g", "0")
    );
    assert_eq!(
        (
            back["originTopic"].as_str(),
            back["maxReconsumeTimes"].as_str()
        ),
        ("T", "16")
    );
    consumer.shutdown().await;
}

#[tokio::test]
async fn a_listener_that_panics_fails_only_its_message() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    fill(&fake, "broker-a", 0, 0..2);
    let (builder, mut bodies) = answering(builder(&fake), |messages| {
        assert!(
            messages[0].body != "m0" || messages[0].reconsume_times > 0,
            "on purpose"
        );
        ConsumeStatus::Success
    });
    let consumer = builder.start().await.unwrap();
    let mut got = Vec::new();
    for _ in 0..3 {
        got.push(next(&mut bodies).await);
    }
    got.sort();
    assert_eq!(got, ["m0", "m0", "m1"]);
    consumer.shutdown().await;
}

#[tokio::test]
async fn what_no_broker_takes_back_is_delivered_here_again_and_holds_the_offset() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    fake.script("broker-a", SEND_BACK, [Script::Code(3)]);
    fill(&fake, "broker-a", 0, 0..3);
    let (builder, mut bodies) = answering(builder(&fake), |messages| {
        let first = messages[0].body == "m1" && messages[0].reconsume_times == 0;
        if first {
            ConsumeStatus::ReconsumeLater
        } else {
            ConsumeStatus::Success
        }
    });
    let consumer = builder.start().await.unwrap();
    take(&mut bodies, 3).await;
    fake.until("the offset waits at the failed one", |fake| {
        fake.offset("g", "broker-a", "T", 0) == Some(1)
    })
    .await;
    assert_eq!(next(&mut bodies).await, "m1");
    fake.until("then all is committed", |fake| {
        fake.offset("g", "broker-a", "T", 0) == Some(3)
    })
    .await;
    assert!(fake.seen(request_code::SEND_MESSAGE_V2).is_empty());
    consumer.shutdown().await;
}

#[tokio::test]
async fn a_refused_send_back_becomes_a_send_to_the_retry_topic() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    fake.script("broker-a", SEND_BACK, [Script::Code(1)]);
    fill(&fake, "broker-a", 0, 0..1);
    let (builder, mut bodies) = answering(builder(&fake), |messages| {
        if messages[0].reconsume_times == 0 {
            ConsumeStatus::ReconsumeAtLevel(2)
        } else {
            ConsumeStatus::Success
        }
    });
    let consumer = builder.start().await.unwrap();
    assert_eq!(
        (next(&mut bodies).await, next(&mut bodies).await),
        ("m0".into(), "m0".into())
    );
    let [(_, stored)] = fake.stored("%RETRY%g").try_into().unwrap();
    assert_eq!(stored.reconsume_times, 1);
    for part in [
        "RETRY_TOPIC\u{1}T\u{2}",
        "DELAY\u{1}2\u{2}",
        "TAGS\u{1}A\u{2}",
    ] {
        assert!(
            stored.properties.contains(part),
            "{part}: {}",
            stored.properties
        );
    }
    consumer.shutdown().await;
}

#[tokio::test]
async fn where_a_new_group_starts() {
    for (from, expected) in [
        (ConsumeFromWhere::FirstOffset, "m0"),
        (ConsumeFromWhere::LastOffset, "m5"),
    ] {
        let fake = Fake::start(&["broker-a"]).await;
        fake.create_topic("T", 1);
        fill(&fake, "broker-a", 0, 0..5);
        let (builder, mut bodies) = collect(builder(&fake).consume_from_where(from));
        let consumer = builder.start().await.unwrap();
        fill(&fake, "broker-a", 0, 5..6);
        let mut got = BTreeSet::new();
        while !got.contains("m5") {
            got.insert(next(&mut bodies).await);
        }
        assert_eq!(got.first().map(String::as_str), Some(expected), "{from:?}");
        consumer.shutdown().await;
    }
}

#[tokio::test]
async fn an_offset_that_is_gone_moves_to_where_the_queue_begins() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    fill(&fake, "broker-a", 0, 0..10);
    fake.begin_at("broker-a", "T", 0, 7);
    fake.set_offset("g", "broker-a", "T", 0, 2);
    let (builder, mut bodies) = collect(builder(&fake));
    let consumer = builder.start().await.unwrap();
    assert_eq!(take(&mut bodies, 3).await, names(7..10));
    fake.until("all is committed", |fake| {
        fake.offset("g", "broker-a", "T", 0) == Some(10)
    })
    .await;
    consumer.shutdown().await;
}

#[tokio::test]
async fn a_queue_without_a_known_offset_is_not_started_until_it_is_known() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    fill(&fake, "broker-a", 0, 0..3);
    fake.script(
        "broker-a",
        request_code::QUERY_CONSUMER_OFFSET,
        [Script::Code(1), Script::Code(1)],
    );
    let (builder, mut bodies) = collect(builder(&fake));
    let consumer = builder.start().await.unwrap();
    assert_eq!(take(&mut bodies, 3).await, names(0..3));
    consumer.shutdown().await;
}

#[tokio::test]
async fn a_topic_created_later_is_consumed_then() {
    let fake = Fake::start(&["broker-a"]).await;
    let (builder, mut bodies) = collect(builder(&fake));
    let consumer = builder.start().await.unwrap();
    fake.create_topic("T", 1);
    fill(&fake, "broker-a", 0, 0..3);
    assert_eq!(take(&mut bodies, 3).await, names(0..3));
    consumer.shutdown().await;
}

#[tokio::test]
async fn no_more_is_pulled_than_the_thresholds_allow() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    fill(&fake, "broker-a", 0, 0..200);
    let gate = Arc::new(Semaphore::new(0));
    let shut = Arc::clone(&gate);
    let (sender, mut bodies) = mpsc::channel(1000);
    let thresholds = FlowThresholds {
        messages: 10,
        ..FlowThresholds::default()
    };
    let consumer = builder(&fake)
        .flow_thresholds(thresholds)
        .consume_threads(2)
        .on_messages(move |messages: Messages| {
            let (shut, sender) = (Arc::clone(&shut), sender.clone());
            async move {
                shut.acquire().await.unwrap().forget();
                let body = String::from_utf8_lossy(&messages[0].body).into_owned();
                sender.send(body).await.unwrap();
                ConsumeStatus::Success
            }
        })
        .start()
        .await
        .unwrap();
    let pulls = |fake: &Fake| {
        let pulls = fake.seen(request_code::PULL_MESSAGE);
        pulls
            .iter()
            .filter(|seen| seen.fields["topic"] == "T")
            .count()
    };
    fake.until("the first pull", |fake| pulls(fake) == 1).await;
    gate.add_permits(15);
    for _ in 0..15 {
        next(&mut bodies).await;
    }
    assert_eq!(pulls(&fake), 1, "17 of 32 are unfinished, more than 10");
    gate.add_permits(185);
    assert_eq!(take(&mut bodies, 185).await.len(), 185);
    consumer.shutdown().await;
}

#[tokio::test]
async fn batches_are_as_large_as_asked_for_and_may_succeed_in_part() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    fill(&fake, "broker-a", 0, 0..20);
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&sizes);
    let (builder, mut bodies) = answering(builder(&fake).consume_batch_size(8), move |messages| {
        log.lock().push(messages.len());
        if messages[0].reconsume_times > 0 {
            return ConsumeStatus::Success;
        }
        ConsumeStatus::SuccessOf(7)
    });
    let consumer = builder.start().await.unwrap();
    let mut got = Vec::new();
    for _ in 0..22 {
        got.push(next(&mut bodies).await);
    }
    let unique: BTreeSet<_> = got.iter().cloned().collect();
    assert_eq!(unique, names(0..20));
    assert_eq!(
        fake.seen(SEND_BACK).len(),
        2,
        "the eighth of both full batches"
    );
    assert!(sizes.lock().starts_with(&[8]) && sizes.lock().iter().all(|size| *size <= 8));
    consumer.shutdown().await;
}

#[tokio::test]
async fn broadcast_members_get_everything_and_keep_their_own_offsets() {
    let directory = tempfile::tempdir().unwrap();
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 2);
    fill(&fake, "broker-a", 0, 0..5);
    fill(&fake, "broker-a", 1, 5..10);
    let broadcast = |name: &str| {
        let config = ClientConfig {
            instance_name: Some(name.to_owned()),
            ..ClientConfig::new(&fake.name_server())
        };
        PushConsumer::builder("g", config)
            .subscribe("T", "*")
            .consume_from_where(ConsumeFromWhere::FirstOffset)
            .message_model(MessageModel::Broadcasting)
            .local_offset_directory(directory.path())
    };
    let (one, mut first) = answering(broadcast("one"), |_| ConsumeStatus::ReconsumeLater);
    let (two, mut second) = collect(broadcast("two"));
    let (one, two) = (one.start().await.unwrap(), two.start().await.unwrap());
    assert_eq!(take(&mut first, 10).await, names(0..10));
    assert_eq!(take(&mut second, 10).await, names(0..10));
    one.shutdown().await;
    fill(&fake, "broker-a", 0, 10..12);
    assert_eq!(take(&mut second, 2).await, names(10..12));
    let (again, mut third) = collect(broadcast("one"));
    let again = again.start().await.unwrap();
    assert_eq!(
        take(&mut third, 2).await,
        names(10..12),
        "goes on where it was"
    );
    assert!(
        fake.seen(SEND_BACK).is_empty(),
        "failures are not delivered again"
    );
    assert!(fake.seen(request_code::UPDATE_CONSUMER_OFFSET).is_empty());
    again.shutdown().await;
    two.shutdown().await;
}

#[tokio::test]
async fn brokers_can_reset_offsets_and_ask_for_them() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    fill(&fake, "broker-a", 0, 0..10);
    let (builder, mut bodies) = collect(builder(&fake));
    let consumer = builder.start().await.unwrap();
    take(&mut bodies, 10).await;
    let queue = client::MessageQueue::new("T", "broker-a", 0);
    let body = ResetOffsetBody {
        offset_table: [(queue.clone(), 4)].into(),
    };
    let mut command = Command::request(request_code::RESET_CONSUMER_CLIENT_OFFSET);
    command.fields.push("topic", "T");
    command.fields.push("group", "g");
    fake.notify("g", &command, &Bytes::from(body.encode()));
    assert_eq!(take(&mut bodies, 6).await, names(4..10));

    let connection = fake.connections("g").remove(0);
    let ask = |code: i32| {
        let mut command = Command::request(code);
        for (key, value) in [("topic", "T"), ("group", "g"), ("consumerGroup", "g")] {
            command.fields.push(key, value);
        }
        connection.call(command, Bytes::new(), PATIENCE)
    };
    let status = ask(request_code::GET_CONSUMER_STATUS_FROM_CLIENT)
        .await
        .unwrap();
    let status = GetConsumerStatusBody::decode(&status.body).unwrap();
    assert!(
        status.message_queue_table.contains_key(&queue),
        "{status:?}"
    );
    let info = ask(request_code::GET_CONSUMER_RUNNING_INFO).await.unwrap();
    let info = common::wire::body::ConsumerRunningInfo::decode(&info.body).unwrap();
    assert_eq!(info.subscription_set.len(), 2);
    assert_eq!(ask(4711).await.unwrap().command.code, 3);
    consumer.shutdown().await;
}

#[tokio::test]
async fn subscriptions_can_change_while_it_runs() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    fake.create_topic("U", 1);
    let (builder, mut bodies) = collect(builder(&fake));
    let consumer = builder.start().await.unwrap();
    consumer.subscribe("U", "*").await.unwrap();
    fake.store("broker-a", "U", 0, "of U", "");
    assert_eq!(next(&mut bodies).await, "of U");
    consumer.unsubscribe("U").await;
    fake.until("U is given up", |_| {
        consumer
            .assigned_queues()
            .iter()
            .all(|queue| queue.topic != "U")
    })
    .await;
    fill(&fake, "broker-a", 0, 0..1);
    assert_eq!(next(&mut bodies).await, "m0");
    consumer.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_waits_for_listeners_and_reports_their_work() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    fill(&fake, "broker-a", 0, 0..1);
    let (started, mut starts) = mpsc::channel(1);
    let gate = Arc::new(Semaphore::new(0));
    let shut = Arc::clone(&gate);
    let consumer = builder(&fake)
        .on_messages(move |_| {
            let (started, shut) = (started.clone(), Arc::clone(&shut));
            async move {
                started.send(()).await.unwrap();
                shut.acquire().await.unwrap().forget();
                ConsumeStatus::Success
            }
        })
        .start()
        .await
        .unwrap();
    starts.recv().await.unwrap();
    let end = tokio::spawn(consumer.shutdown());
    gate.add_permits(1);
    end.await.unwrap();
    assert_eq!(fake.offset("g", "broker-a", "T", 0), Some(1));
}

#[tokio::test]
async fn a_broker_that_forgot_the_group_is_told_again() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    fake.script(
        "broker-a",
        request_code::PULL_MESSAGE,
        [Script::Code(24), Script::Code(24)],
    );
    let (builder, mut bodies) = collect(builder(&fake));
    let consumer = builder.start().await.unwrap();
    let before = fake.seen(request_code::HEART_BEAT).len();
    fill(&fake, "broker-a", 0, 0..1);
    assert_eq!(next(&mut bodies).await, "m0");
    assert!(fake.seen(request_code::HEART_BEAT).len() > before);
    consumer.shutdown().await;
}

#[tokio::test]
async fn a_broken_connection_is_followed_by_a_heartbeat_at_once() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    let (builder, mut bodies) = collect(builder(&fake));
    let consumer = builder.start().await.unwrap();
    for connection in fake.connections("g") {
        connection.close();
    }
    fake.until("it is gone and back", |fake| {
        fake.seen(request_code::HEART_BEAT).len() >= 2 && fake.members("g").len() == 1
    })
    .await;
    fill(&fake, "broker-a", 0, 0..1);
    assert_eq!(next(&mut bodies).await, "m0");
    consumer.shutdown().await;
}
