//! The producer against a cluster that does as it is told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what is wrong by stopping there"
)]

mod fake;

use std::time::Duration;

use client::{ClientError, Message, MessageQueue, Producer, SendStatus};
use common::wire::request_code;
use fake::{Fake, NAME_SERVER, Script};

const SEND: i32 = request_code::SEND_MESSAGE_V2;

async fn producer(fake: &Fake) -> Producer {
    Producer::builder("g", fake.name_server())
        .start()
        .await
        .unwrap()
}

fn nodes(fake: &Fake, code: i32) -> Vec<String> {
    fake.seen(code).into_iter().map(|seen| seen.node).collect()
}

#[tokio::test]
async fn messages_go_round_all_queues_of_all_brokers() {
    let fake = Fake::start(&["broker-a", "broker-b"]).await;
    fake.create_topic("T", 2);
    let producer = producer(&fake).await;
    let mut queues = Vec::new();
    for n in 0..4 {
        let result = producer
            .send(Message::new("T", format!("m{n}")))
            .await
            .unwrap();
        assert_eq!(
            (result.status, result.queue_offset),
            (SendStatus::SendOk, 0)
        );
        queues.push(result.queue);
    }
    queues.sort();
    let all = ["broker-a", "broker-b"]
        .into_iter()
        .flat_map(|b| [0, 1].map(|id| (b, id)));
    let all: Vec<_> = all
        .map(|(broker, id)| MessageQueue::new("T", broker, id))
        .collect();
    assert_eq!(queues, all);
    producer.shutdown().await;
    assert_eq!(
        nodes(&fake, request_code::GET_ROUTEINFO_BY_TOPIC),
        [NAME_SERVER],
        "one route asked for"
    );
    let goodbyes = fake.seen(request_code::UNREGISTER_CLIENT);
    assert_eq!(goodbyes.len(), 2);
    assert_eq!(goodbyes[0].fields["producerGroup"], "g");
}

#[tokio::test]
async fn the_id_a_send_answers_is_the_one_stored() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    let producer = producer(&fake).await;
    let message = Message::new("T", "hello")
        .tag("A")
        .keys(["k"])
        .property("p", "v")
        .flag(3);
    let result = producer.send(message).await.unwrap();
    let [(_, stored)] = fake.stored("T").try_into().unwrap();
    let properties = format!(
        "KEYS\u{1}k\u{2}TAGS\u{1}A\u{2}UNIQ_KEY\u{1}{}\u{2}p\u{1}v\u{2}",
        result.msg_id
    );
    assert_eq!(
        (stored.body.as_ref(), stored.properties, stored.flag),
        (&b"hello"[..], properties, 3)
    );
    assert!(stored.born_timestamp > 1_577_836_800_000);
    assert_eq!(result.msg_id.len(), 32);
}

#[tokio::test]
async fn an_unknown_topic_goes_to_the_template_topics_brokers() {
    let fake = Fake::start(&["broker-a"]).await;
    let producer = producer(&fake).await;
    let result = producer.send(Message::new("new", "x")).await.unwrap();
    assert!((0..4).contains(&result.queue.queue_id));
    assert_eq!(producer.publish_queues("new").await.unwrap().len(), 4);
    let asked = fake.seen(request_code::GET_ROUTEINFO_BY_TOPIC);
    let topics: Vec<_> = asked
        .iter()
        .map(|seen| seen.fields["topic"].as_str())
        .collect();
    assert_eq!(topics, ["new", "TBW102"]);
}

#[tokio::test]
async fn without_any_route_nothing_is_sent() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.refuse_unknown_topics();
    let producer = producer(&fake).await;
    let error = producer.send(Message::new("new", "x")).await.unwrap_err();
    assert!(
        matches!(&error, ClientError::NoRoute { topic } if topic == "new"),
        "{error:?}"
    );
    assert!(fake.seen(SEND).is_empty());
}

#[tokio::test]
async fn a_failed_attempt_is_followed_by_one_on_another_broker() {
    for script in [Script::Code(2), Script::Code(14), Script::HangUp] {
        let fake = Fake::start(&["broker-a", "broker-b"]).await;
        fake.create_topic("T", 3);
        let producer = producer(&fake).await;
        fake.script("broker-a", SEND, [script.clone()]);
        fake.script("broker-b", SEND, [script.clone()]);
        producer.send(Message::new("T", "x")).await.unwrap();
        let tried = nodes(&fake, SEND);
        assert_eq!(tried.len(), 3, "{script:?}: {tried:?}");
        assert!(
            tried[0] != tried[1] && tried[1] != tried[2],
            "{script:?}: {tried:?}"
        );
        let ids: std::collections::BTreeSet<_> = fake
            .seen(SEND)
            .into_iter()
            .map(|seen| seen.fields["i"].clone())
            .collect();
        assert_eq!(ids.len(), 1, "every attempt carries the same id");
    }
}

#[tokio::test]
async fn answers_that_are_final_are_not_retried() {
    for code in [13, 29, 604] {
        let fake = Fake::start(&["broker-a", "broker-b"]).await;
        fake.create_topic("T", 1);
        let producer = producer(&fake).await;
        for broker in ["broker-a", "broker-b"] {
            fake.script(broker, SEND, [Script::Code(code)]);
        }
        let error = producer.send(Message::new("T", "x")).await.unwrap_err();
        assert!(
            matches!(&error, ClientError::Refused { code: c, .. } if *c == code),
            "{error:?}"
        );
        assert_eq!(fake.seen(SEND).len(), 1);
    }
}

#[tokio::test]
async fn when_every_attempt_fails_the_error_tells_the_last_reason() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    let producer = producer(&fake).await;
    fake.script(
        "broker-a",
        SEND,
        [Script::Code(2), Script::Code(2), Script::Code(1)],
    );
    let error = producer.send(Message::new("T", "x")).await.unwrap_err();
    assert!(
        matches!(&error, ClientError::SendFailed { attempts: 3, .. }),
        "{error:?}"
    );
    assert_eq!(error.response_code(), Some(1));
}

#[tokio::test]
async fn the_time_is_for_all_attempts_together() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    let producer = producer(&fake).await;
    fake.script("broker-a", SEND, [Script::Code(2), Script::Silence]);
    let timeout = Duration::from_millis(200);
    let error = producer
        .send_with_timeout(Message::new("T", "x"), timeout)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ClientError::SendTimeout { last: Some(_), .. }),
        "{error:?}"
    );
    assert_eq!(fake.seen(SEND).len(), 2);
}

#[tokio::test]
async fn what_is_stored_less_safely_is_a_result() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    let producer = producer(&fake).await;
    for (code, status) in [
        (10, SendStatus::FlushDiskTimeout),
        (11, SendStatus::SlaveNotAvailable),
        (12, SendStatus::FlushSlaveTimeout),
    ] {
        fake.script("broker-a", SEND, [Script::DoneWith(code)]);
        let result = producer.send(Message::new("T", "x")).await.unwrap();
        assert_eq!(result.status, status);
    }
    assert_eq!(fake.stored("T").len(), 3);
}

#[tokio::test]
async fn it_is_sent_to_another_broker_too_when_that_is_asked_for() {
    let fake = Fake::start(&["broker-a", "broker-b"]).await;
    fake.create_topic("T", 1);
    let builder = Producer::builder("g", fake.name_server());
    let producer = builder
        .retry_another_broker_when_not_store_ok(true)
        .start()
        .await
        .unwrap();
    for broker in ["broker-a", "broker-b"] {
        fake.script(broker, SEND, [Script::DoneWith(10)]);
    }
    let result = producer.send(Message::new("T", "x")).await.unwrap();
    assert_eq!(
        (result.status, fake.stored("T").len()),
        (SendStatus::SendOk, 3)
    );
    for broker in ["broker-a", "broker-b"] {
        fake.script(broker, SEND, [Script::DoneWith(10), Script::DoneWith(10)]);
    }
    let result = producer.send(Message::new("T", "x")).await.unwrap();
    assert_eq!(
        result.status,
        SendStatus::FlushDiskTimeout,
        "stored, if not as asked for"
    );
}

#[tokio::test]
async fn illegal_messages_never_leave() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    let producer = producer(&fake).await;
    for message in [
        Message::new("T", ""),
        Message::new("a.b", "x"),
        Message::new("T", vec![0; (4 << 20) + 1]),
        Message::new("RMQ_SYS_TRANS_HALF_TOPIC", "x"),
    ] {
        let error = producer.send(message.clone()).await.unwrap_err();
        assert!(
            matches!(error, ClientError::IllegalMessage { .. }),
            "{error:?}"
        );
        assert!(producer.send_oneway(message.clone()).await.is_err());
        assert!(producer.send_async(message.clone()).await.is_err());
        assert!(producer.send_batch(vec![message]).await.is_err());
    }
    assert!(fake.seen(SEND).is_empty());
    assert!(fake.seen(request_code::SEND_BATCH_MESSAGE).is_empty());
}

#[tokio::test]
async fn a_chosen_queue_is_kept_and_tried_once() {
    let fake = Fake::start(&["broker-a", "broker-b"]).await;
    fake.create_topic("T", 4);
    let producer = producer(&fake).await;
    let queue = MessageQueue::new("T", "broker-b", 3);
    assert_eq!(
        producer
            .send_to(Message::new("T", "x"), &queue)
            .await
            .unwrap()
            .queue,
        queue
    );
    let selected = producer
        .send_selected(Message::new("T", "x"), |all| all.len() - 1)
        .await
        .unwrap();
    assert_eq!((selected.queue, selected.queue_offset), (queue.clone(), 1));
    fake.script("broker-b", SEND, [Script::Code(2)]);
    let error = producer
        .send_to(Message::new("T", "x"), &queue)
        .await
        .unwrap_err();
    assert!(error.is_response(2));
    let error = producer
        .send_selected(Message::new("T", "x"), <[_]>::len)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ClientError::NoSuchQueue {
                chosen: 8,
                queues: 8
            }
        ),
        "{error:?}"
    );
    let error = producer
        .send_to(Message::new("U", "x"), &queue)
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClientError::IllegalMessage { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_batch_is_one_request_with_an_id_for_each_message() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    let producer = producer(&fake).await;
    let messages = (0..3).map(|n| Message::new("T", format!("m{n}"))).collect();
    let result = producer.send_batch(messages).await.unwrap();
    let stored = fake.stored("T");
    assert_eq!(stored.len(), 3);
    let ids: Vec<&str> = result.msg_id.split(',').collect();
    for ((_, message), id) in stored.iter().zip(&ids) {
        assert_eq!(message.properties, format!("UNIQ_KEY\u{1}{id}\u{2}"));
    }
    assert_eq!(fake.seen(request_code::SEND_BATCH_MESSAGE).len(), 1);
}

#[tokio::test]
async fn asynchronous_sends_are_limited() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    let builder = Producer::builder("g", fake.name_server()).max_async_in_flight(1);
    let producer = builder.send_timeout(fake::PATIENCE).start().await.unwrap();
    fake.script(
        "broker-a",
        SEND,
        [Script::Silence, Script::Silence, Script::Silence],
    );
    let first = producer.send_async(Message::new("T", "x"));
    let error = producer
        .send_async(Message::new("T", "x"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClientError::TooManyInFlight { limit: 1 }),
        "{error:?}"
    );
    fake.until("the first is under way", |fake| fake.seen(SEND).len() == 1)
        .await;
    drop(first);
    producer.shutdown().await;
}

#[tokio::test]
async fn asynchronous_sends_can_call_back() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    let producer = producer(&fake).await;
    for code in [13, 0] {
        fake.script("broker-a", SEND, [Script::DoneWith(code)]);
        let (sender, receiver) = tokio::sync::oneshot::channel();
        producer.send_with_callback(Message::new("T", "x"), |result| {
            let _ = sender.send(result);
        });
        assert_eq!(receiver.await.unwrap().is_ok(), code == 0);
    }
}

#[tokio::test]
async fn a_oneway_send_is_stored_and_not_answered() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    let producer = producer(&fake).await;
    producer.send_oneway(Message::new("T", "x")).await.unwrap();
    fake.until("it is stored", |fake| fake.stored("T").len() == 1)
        .await;
    assert!(fake.seen(SEND)[0].oneway);
}

#[tokio::test]
async fn a_name_server_that_is_gone_is_replaced_by_the_next() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    let list = format!("127.0.0.1:1;{};127.0.0.1:1", fake.name_server());
    for _ in 0..4 {
        let producer = Producer::builder("g", list.as_str()).start().await.unwrap();
        producer.send(Message::new("T", "x")).await.unwrap();
    }
    let producer = Producer::builder("g", "127.0.0.1:1").start().await.unwrap();
    let error = producer.send(Message::new("T", "x")).await.unwrap_err();
    assert!(matches!(error, ClientError::Transport(_)), "{error:?}");
}

#[tokio::test]
async fn a_producer_that_was_shut_down_says_so() {
    let fake = Fake::start(&["broker-a"]).await;
    let producer = producer(&fake).await;
    producer.clone().shutdown().await;
    let error = producer.send(Message::new("T", "x")).await.unwrap_err();
    assert!(matches!(error, ClientError::Stopped), "{error:?}");
}

#[tokio::test]
async fn producers_are_known_to_masters_by_their_heartbeats() {
    let fake = Fake::start(&["broker-a", "broker-b"]).await;
    fake.create_topic("T", 1);
    let producer = producer(&fake).await;
    producer.send(Message::new("T", "x")).await.unwrap();
    fake.until("both brokers heard of it", |fake| {
        fake.seen(request_code::HEART_BEAT).len() >= 2
    })
    .await;
    drop(producer);
}
