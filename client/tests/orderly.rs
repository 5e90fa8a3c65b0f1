//! Consuming in order, against a cluster that does as it is told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what is wrong by stopping there"
)]

mod fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::{
    ClientConfig, ConsumeFromWhere, MessageModel, Messages, OrderlyStatus, PushConsumer,
    PushConsumerBuilder,
};
use common::wire::request_code as code;
use fake::{Fake, PATIENCE, Script};
use tokio::sync::{Semaphore, mpsc};

const BRIEFLY: Duration = Duration::from_millis(10);

/// What the listener got: body and failures so far.
type Deliveries = mpsc::Receiver<(String, i32)>;

fn builder(fake: &Fake, name: &str) -> PushConsumerBuilder {
    let config = ClientConfig {
        instance_name: Some(name.to_owned()),
        persist_offset_interval: Duration::from_millis(50),
        ..ClientConfig::new(&fake.name_server())
    };
    PushConsumer::builder("g", config)
        .subscribe("T", "*")
        .consume_from_where(ConsumeFromWhere::FirstOffset)
        .suspend_current_queue(BRIEFLY)
}

fn answering(
    builder: PushConsumerBuilder,
    answer: impl Fn(&str, i32) -> OrderlyStatus + Send + Sync + 'static,
) -> (PushConsumerBuilder, Deliveries) {
    let (sender, receiver) = mpsc::channel(1000);
    let answer = Arc::new(answer);
    let builder = builder.on_messages_in_order(move |messages: Messages| {
        let (sender, answer) = (sender.clone(), Arc::clone(&answer));
        async move {
            let body = String::from_utf8_lossy(&messages[0].body).into_owned();
            let times = messages[0].reconsume_times;
            sender.send((body.clone(), times)).await.unwrap();
            answer(&body, times)
        }
    });
    (builder, receiver)
}

async fn next(deliveries: &mut Deliveries) -> (String, i32) {
    let next = tokio::time::timeout(PATIENCE, deliveries.recv()).await;
    next.expect("a message in time").unwrap()
}

async fn bodies(deliveries: &mut Deliveries, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(next(deliveries).await.0);
    }
    all
}

fn fill(fake: &Fake, queue_id: i32, range: std::ops::Range<i32>) {
    for n in range {
        fake.store(
            "broker-a",
            "T",
            queue_id,
            &format!("m{n}"),
            "TAGS\u{1}A\u{2}",
        );
    }
}

fn names(range: std::ops::Range<i32>) -> Vec<String> {
    range.map(|n| format!("m{n}")).collect()
}

async fn committed(fake: &Fake, offset: i64) {
    let what = format!("{offset} is committed");
    fake.until(&what, |fake| {
        fake.offset("g", "broker-a", "T", 0) == Some(offset)
    })
    .await;
}

#[tokio::test]
async fn each_queue_is_consumed_in_its_order_under_a_lock() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    fill(&fake, 0, 0..200);
    let (builder, mut deliveries) = answering(builder(&fake, "c"), |_, _| OrderlyStatus::Success);
    let consumer = builder.start().await.unwrap();
    let owner = fake.locked("g", "broker-a", "T", 0);
    assert_eq!(owner.as_deref(), Some(consumer.client_id()));
    assert_eq!(bodies(&mut deliveries, 200).await, names(0..200));
    committed(&fake, 200).await;
    consumer.shutdown().await;
    fake.until("the lock is given back", |fake| {
        fake.locked("g", "broker-a", "T", 0).is_none()
    })
    .await;
}

#[tokio::test]
async fn a_failed_message_holds_up_its_queue_and_no_other() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 2);
    fill(&fake, 0, 0..3);
    let (builder, mut deliveries) =
        answering(builder(&fake, "c"), |body, times| match (body, times) {
            ("m0", 0) => OrderlyStatus::Suspend,
            ("m0", 1) => panic!("in the listener"),
            ("m0", 2) => OrderlyStatus::SuspendFor(BRIEFLY),
            _ => OrderlyStatus::Success,
        });
    let consumer = builder.start().await.unwrap();
    for times in 0..4 {
        assert_eq!(next(&mut deliveries).await, ("m0".to_owned(), times));
    }
    assert_eq!(bodies(&mut deliveries, 2).await, ["m1", "m2"]);
    committed(&fake, 3).await;
    fill(&fake, 1, 10..11);
    assert_eq!(bodies(&mut deliveries, 1).await, ["m10"]);
    consumer.shutdown().await;
}

#[tokio::test]
async fn a_message_that_fails_too_often_is_given_up_and_the_queue_goes_on() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    fill(&fake, 0, 0..2);
    // The first time nobody takes it: it stays where it is.
    fake.script("broker-a", code::CONSUMER_SEND_MSG_BACK, [Script::Code(3)]);
    let builder = builder(&fake, "c").max_reconsume_times(2);
    let (builder, mut deliveries) = answering(builder, |body, _| match body {
        "m0" => OrderlyStatus::Suspend,
        _ => OrderlyStatus::Success,
    });
    let consumer = builder.start().await.unwrap();
    for times in 0..4 {
        assert_eq!(next(&mut deliveries).await, ("m0".to_owned(), times));
    }
    assert_eq!(next(&mut deliveries).await.0, "m1");
    let sent_back = fake.seen(code::CONSUMER_SEND_MSG_BACK);
    assert!(
        sent_back
            .iter()
            .all(|seen| seen.fields["delayLevel"] == "-1")
    );
    assert_eq!(sent_back.len(), 2);
    committed(&fake, 2).await;
    consumer.shutdown().await;
}

#[tokio::test]
async fn what_is_left_uncommitted_can_be_rolled_back() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    fill(&fake, 0, 0..4);
    let rounds = AtomicUsize::new(0);
    let (builder, mut deliveries) = answering(builder(&fake, "c"), move |body, _| match body {
        "m0" | "m1" => OrderlyStatus::Uncommitted,
        "m2" if rounds.fetch_add(1, Ordering::Relaxed) == 0 => OrderlyStatus::Rollback,
        "m2" => OrderlyStatus::Success,
        _ => OrderlyStatus::Uncommitted,
    });
    let consumer = builder.start().await.unwrap();
    let expected = ["m0", "m1", "m2", "m0", "m1", "m2", "m3"];
    assert_eq!(bodies(&mut deliveries, 7).await, expected);
    committed(&fake, 3).await;
    consumer.shutdown().await;
    assert_eq!(fake.offset("g", "broker-a", "T", 0), Some(3));
}

#[tokio::test]
async fn a_queue_somebody_else_has_locked_is_left_alone() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    fill(&fake, 0, 0..2);
    fake.lock("g", "broker-a", "T", 0, Some("another"));
    let (builder, mut deliveries) = answering(builder(&fake, "c"), |_, _| OrderlyStatus::Success);
    let consumer = builder.start().await.unwrap();
    assert!(
        !consumer
            .assigned_queues()
            .iter()
            .any(|queue| queue.topic == "T")
    );
    // The owner goes on for a while before it leaves.
    fake.set_offset("g", "broker-a", "T", 0, 1);
    fake.lock("g", "broker-a", "T", 0, None);
    assert_eq!(next(&mut deliveries).await.0, "m1");
    consumer.shutdown().await;
}

#[tokio::test]
async fn a_queue_changes_hands_when_its_listener_is_done() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 2);
    fill(&fake, 0, 0..2);
    fill(&fake, 1, 10..12);
    let gate = Arc::new(Semaphore::new(0));
    let (started, mut starts) = mpsc::channel(100);
    let held = Arc::clone(&gate);
    let first = builder(&fake, "a").on_messages_in_order(move |messages: Messages| {
        let (gate, started) = (Arc::clone(&held), started.clone());
        async move {
            let body = String::from_utf8_lossy(&messages[0].body).into_owned();
            started.send(body).await.unwrap();
            gate.acquire().await.unwrap().forget();
            OrderlyStatus::Success
        }
    });
    let first = first.start().await.unwrap();
    let mut at_work = [starts.recv().await.unwrap(), starts.recv().await.unwrap()];
    at_work.sort();
    assert_eq!(at_work, ["m0", "m10"]);
    // The second member is due one of the queues, and has to wait for the listener of the first.
    let (second, mut deliveries) = answering(builder(&fake, "b"), |_, _| OrderlyStatus::Success);
    let second = second.start().await.unwrap();
    let before = fake.seen(code::LOCK_BATCH_MQ).len();
    fake.until("the second has tried for seconds", |fake| {
        fake.seen(code::LOCK_BATCH_MQ).len() >= before + 3
    })
    .await;
    assert!(deliveries.try_recv().is_err());
    gate.add_permits(1000);
    let body = next(&mut deliveries).await.0;
    assert_eq!(body, "m11", "what the first has done does not come again");
    assert!(
        fake.locked("g", "broker-a", "T", 1)
            .is_some_and(|owner| owner == second.client_id())
    );
    first.shutdown().await;
    second.shutdown().await;
}

#[tokio::test]
async fn broadcast_members_need_no_locks() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    fill(&fake, 0, 0..20);
    let directory = tempfile::tempdir().unwrap();
    let broadcast = |name| {
        let builder = builder(&fake, name)
            .message_model(MessageModel::Broadcasting)
            .max_reconsume_times(1)
            .local_offset_directory(directory.path());
        answering(builder, |body, _| match body {
            "m5" => OrderlyStatus::Suspend,
            _ => OrderlyStatus::Success,
        })
    };
    let ((one, mut first), (two, mut second)) = (broadcast("one"), broadcast("two"));
    let (one, two) = (one.start().await.unwrap(), two.start().await.unwrap());
    let mut expected = names(0..6);
    expected.extend(names(5..20));
    assert_eq!(
        bodies(&mut first, 21).await,
        expected,
        "given up after its second failure"
    );
    assert_eq!(bodies(&mut second, 21).await, expected);
    assert!(fake.seen(code::LOCK_BATCH_MQ).is_empty());
    assert!(fake.seen(code::CONSUMER_SEND_MSG_BACK).is_empty());
    one.shutdown().await;
    two.shutdown().await;
}
