//! Transactions, requests and gathered batches against a cluster that does as it is told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what is wrong by stopping there"
)]

mod fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use client::{
    AutoBatch, ClientError, Message, MessageExt, Producer, TransactionProducer, TransactionState,
};
use common::message::record::{RecordParts, encode};
use common::message::{message_id, properties};
use common::wire::header::{CheckTransactionStateRequestHeader, ReplyMessageRequestHeader};
use common::wire::{Command, request_code as code};
use fake::{Fake, PATIENCE, Script, Seen};
use tokio::sync::{Semaphore, mpsc};

async fn transactional(
    fake: &Fake,
    check: impl Fn(MessageExt) -> TransactionState + Send + Sync + 'static,
) -> TransactionProducer {
    let check = Arc::new(check);
    Producer::builder("bank", fake.name_server())
        .topics(["T"])
        .start_transactional(move |half| {
            let check = Arc::clone(&check);
            async move { check(half) }
        })
        .await
        .unwrap()
}

fn ends(fake: &Fake) -> Vec<Seen> {
    fake.seen(code::END_TRANSACTION)
}

#[tokio::test]
async fn the_broker_that_has_the_half_is_told_how_it_ended() {
    let fake = Fake::start(&["broker-a", "broker-b"]).await;
    fake.create_topic("T", 1);
    let producer = transactional(&fake, |_| TransactionState::Unknown).await;
    let states = [
        (TransactionState::Commit, "8"),
        (TransactionState::Rollback, "12"),
    ];
    for (state, code) in states {
        let message = Message::new("T", "x").keys(["k"]);
        let result = producer
            .send(message, move |_| async move { state })
            .await
            .unwrap();
        fake.until("the broker is told", |fake| {
            ends(fake)
                .last()
                .is_some_and(|end| end.fields["commitOrRollback"] == code)
        })
        .await;
        let end = ends(&fake).pop().unwrap();
        assert!(end.oneway);
        assert_eq!(end.node, result.half.queue.broker_name);
        let (_, position) = message_id::parse_offset_id(&result.half.offset_msg_id).unwrap();
        for (field, value) in [
            ("producerGroup", "bank"),
            ("topic", "T"),
            ("fromTransactionCheck", "false"),
            ("msgId", &result.half.msg_id),
            (
                "tranStateTableOffset",
                &result.half.queue_offset.to_string(),
            ),
            ("commitLogOffset", &position.to_wire().to_string()),
            ("bname", &result.half.queue.broker_name),
        ] {
            assert_eq!(end.fields[field], value, "{field}");
        }
    }
    for (_, half) in fake.stored("T") {
        assert_eq!(properties::get(&half.properties, "TRAN_MSG"), Some("true"));
        assert_eq!(properties::get(&half.properties, "PGROUP"), Some("bank"));
        assert_eq!(half.sys_flag & 0xC, 4);
    }
    producer.shutdown().await;
}

#[tokio::test]
async fn a_half_that_is_not_safe_is_rolled_back_and_one_that_failed_is_not_ended() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    let producer = transactional(&fake, |_| TransactionState::Unknown).await;
    for unsafe_answer in [10, 11, 12] {
        fake.script(
            "broker-a",
            code::SEND_MESSAGE_V2,
            [Script::DoneWith(unsafe_answer)],
        );
        let result = producer
            .send(Message::new("T", "x"), |_| async { panic!("must not run") })
            .await
            .unwrap();
        assert_eq!(result.state, TransactionState::Rollback);
    }
    fake.until("all are rolled back", |fake| ends(fake).len() == 3)
        .await;
    assert!(
        ends(&fake)
            .iter()
            .all(|end| end.fields["commitOrRollback"] == "12")
    );
    fake.script("broker-a", code::SEND_MESSAGE_V2, [Script::Code(13)]);
    let refused = producer
        .send(Message::new("T", "x"), |_| async { panic!("must not run") })
        .await;
    assert!(refused.unwrap_err().is_response(13));
    producer.shutdown().await;
    assert_eq!(ends(&fake).len(), 3);
}

#[tokio::test]
async fn a_shutdown_waits_for_local_transactions_whether_or_not_somebody_waits_for_them() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    let producer = transactional(&fake, |_| TransactionState::Unknown).await;
    let (started, mut starts) = mpsc::channel(1);
    let gate = Arc::new(Semaphore::new(0));
    let (sending, local) = (producer.clone(), Arc::clone(&gate));
    let send = tokio::spawn(async move {
        let local = move |_| async move {
            started.send(()).await.unwrap();
            local.acquire().await.unwrap().forget();
            TransactionState::Commit
        };
        sending.send(Message::new("T", "x"), local).await
    });
    starts.recv().await.unwrap();
    send.abort();
    let ending = tokio::spawn(producer.clone().shutdown());
    tokio::task::yield_now().await;
    assert!(!ending.is_finished());
    gate.add_permits(1);
    ending.await.unwrap();
    fake.until("the commit arrives", |fake| ends(fake).len() == 1)
        .await;
    let late = producer
        .send(Message::new("T", "x"), |_| async { panic!("must not run") })
        .await;
    assert!(matches!(late, Err(ClientError::Stopped)), "{late:?}");
}

fn check(n: i64) -> (Command, Bytes) {
    let host = "127.0.0.1:1".parse().unwrap();
    let properties = format!("UNIQ_KEY\u{1}ID{n}\u{2}TRAN_MSG\u{1}true\u{2}");
    let record = RecordParts {
        topic: "T",
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: b"half",
        properties: &properties,
    };
    let mut body = Vec::new();
    encode(&record, &mut body).unwrap();
    let header = CheckTransactionStateRequestHeader {
        topic: Some("RMQ_SYS_TRANS_HALF_TOPIC".into()),
        tran_state_table_offset: n,
        commit_log_offset: n * 100,
        msg_id: Some(format!("ID{n}")),
        transaction_id: Some(format!("ID{n}")),
        offset_msg_id: None,
        broker_name: Some("broker-a".into()),
    };
    (
        Command::request(code::CHECK_TRANSACTION_STATE).with(&header),
        body.into(),
    )
}

#[tokio::test]
async fn checks_are_answered_a_bounded_number_at_a_time() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    let gate = Arc::new(Semaphore::new(0));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (local, now, peak) = (Arc::clone(&gate), Arc::clone(&running), Arc::clone(&most));
    let producer = Producer::builder("bank", fake.name_server())
        .topics(["T"])
        .max_concurrent_checks(3)
        .start_transactional(move |half| {
            let (gate, now, peak) = (Arc::clone(&local), Arc::clone(&now), Arc::clone(&peak));
            async move {
                peak.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                gate.acquire().await.unwrap().forget();
                now.fetch_sub(1, Ordering::Relaxed);
                match half.msg_id.as_str() {
                    "ID0" => TransactionState::Unknown,
                    "ID1" => panic!("in a check"),
                    "ID2" => TransactionState::Rollback,
                    _ => TransactionState::Commit,
                }
            }
        })
        .await
        .unwrap();
    fake.until("the producer is known", |fake| {
        !fake.connections("bank").is_empty()
    })
    .await;
    for n in 0..20 {
        let (command, body) = check(n);
        fake.notify("bank", &command, &body);
    }
    while running.load(Ordering::Relaxed) < 3 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(1000);
    fake.until("those with an answer are answered", |fake| {
        ends(fake).len() == 18
    })
    .await;
    assert_eq!(most.load(Ordering::Relaxed), 3);
    for end in ends(&fake) {
        let n: i64 = end.fields["tranStateTableOffset"].parse().unwrap();
        let expected = if n == 2 { "12" } else { "8" };
        for (field, value) in [
            ("commitOrRollback", expected),
            ("commitLogOffset", &(n * 100).to_string()),
            ("fromTransactionCheck", "true"),
            ("producerGroup", "bank"),
            ("topic", "RMQ_SYS_TRANS_HALF_TOPIC"),
            ("transactionId", &format!("ID{n}")),
            ("bname", "broker-a"),
        ] {
            assert_eq!(end.fields[field], value, "{field} of {n}");
        }
    }
    producer.shutdown().await;
}

fn reply(id: &str, born_host: &str) -> Command {
    let header = ReplyMessageRequestHeader {
        producer_group: "answering".into(),
        topic: "C_REPLY_TOPIC".into(),
        born_host: born_host.into(),
        store_host: "127.0.0.1:2".into(),
        properties: Some(format!("CORRELATION_ID\u{1}{id}\u{2}UNIQ_KEY\u{1}R\u{2}")),
        ..ReplyMessageRequestHeader::default()
    };
    Command::request(code::PUSH_REPLY_MESSAGE_TO_CLIENT).with(&header)
}

#[tokio::test]
async fn a_reply_finds_the_request_it_belongs_to() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    let producer = Producer::builder("asking", fake.name_server())
        .start()
        .await
        .unwrap();
    let asking = producer.clone();
    let asked = tokio::spawn(async move { asking.request(Message::new("T", "?"), PATIENCE).await });
    fake.until("the request is stored", |fake| !fake.stored("T").is_empty())
        .await;
    let beats = fake.seen(code::HEART_BEAT);
    assert!(
        !beats.is_empty(),
        "the broker knows the client before it gets the request"
    );
    let (_, stored) = fake.stored("T").remove(0);
    let property = |name| properties::get(&stored.properties, name).unwrap();
    assert_eq!(property("REPLY_TO_CLIENT"), producer.client_id());
    assert_eq!(property("TTL"), PATIENCE.as_millis().to_string());
    let broker = fake.connections("asking").remove(0);
    let push = async |id: &str, host: &str| {
        let body = Bytes::from_static(b"!");
        let answer = broker.call(reply(id, host), body, PATIENCE).await;
        answer.unwrap().command.code
    };
    // Replies to others, or ones that cannot be read, disturb nobody.
    assert_eq!(push("another", "127.0.0.1:1").await, 0);
    assert_eq!(push(property("CORRELATION_ID"), "nowhere").await, 1);
    assert_eq!(push(property("CORRELATION_ID"), "127.0.0.1:1").await, 0);
    let answer = asked.await.unwrap().unwrap();
    assert_eq!(
        (answer.body.as_ref(), answer.msg_id.as_str()),
        (b"!".as_slice(), "R")
    );
    producer.shutdown().await;
}

#[tokio::test]
async fn a_reply_goes_to_the_broker_its_request_came_by() {
    let fake = Fake::start(&["broker-a", "broker-b", "broker-c"]).await;
    fake.create_topic("C_REPLY_TOPIC", 1);
    let producer = Producer::builder("answering", fake.name_server())
        .start()
        .await
        .unwrap();
    let request = |broker: &str, properties: &str| {
        let (_, body) = check(1);
        let mut message = client_message(&body, broker);
        message.properties = properties.to_owned();
        message
    };
    let asking =
        "CLUSTER\u{1}C\u{2}CORRELATION_ID\u{1}7\u{2}REPLY_TO_CLIENT\u{1}me\u{2}TTL\u{1}9\u{2}";
    for broker in ["broker-b", "broker-a", "broker-c", "broker-b"] {
        let sent = producer.reply(&request(broker, asking), "!").await.unwrap();
        assert_eq!(sent.queue.broker_name, broker);
    }
    let replies = fake.stored("C_REPLY_TOPIC");
    assert_eq!(replies.len(), 4);
    assert_eq!(fake.seen(code::SEND_REPLY_MESSAGE_V2).len(), 4);
    for (_, reply) in replies {
        for (name, value) in [
            ("MSG_TYPE", "reply"),
            ("CORRELATION_ID", "7"),
            ("REPLY_TO_CLIENT", "me"),
            ("TTL", "9"),
        ] {
            assert_eq!(properties::get(&reply.properties, name), Some(value));
        }
    }
    let refused = producer
        .reply(&request("broker-a", "CLUSTER\u{1}C\u{2}"), "!")
        .await;
    assert!(refused.unwrap_err().to_string().contains("CORRELATION_ID"));
    producer.shutdown().await;
}

/// Any message a consumer may have got from `broker`.
fn client_message(record: &[u8], broker: &str) -> MessageExt {
    let host = "127.0.0.1:1".parse().unwrap();
    MessageExt {
        topic: "T".into(),
        body: Bytes::copy_from_slice(record),
        flag: 0,
        msg_id: "ID".into(),
        offset_msg_id: String::new(),
        queue: client::MessageQueue::new("T", broker, 0),
        queue_offset: 0,
        physical_offset: 0,
        sys_flag: 0,
        born_timestamp: 0,
        born_host: host,
        store_timestamp: 0,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        properties: String::new(),
    }
}

#[tokio::test]
async fn a_request_nobody_answers_ends_in_time() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    let producer = Producer::builder("asking", fake.name_server())
        .start()
        .await
        .unwrap();
    let timeout = Duration::from_millis(100);
    let unanswered = producer.request(Message::new("T", "?"), timeout).await;
    assert!(
        matches!(unanswered, Err(ClientError::RequestTimeout { .. })),
        "{unanswered:?}"
    );
    producer.shutdown().await;
}

async fn gathering(fake: &Fake, delay: Duration) -> Producer {
    let auto = AutoBatch {
        bytes: 100,
        total_bytes: 250,
        delay,
    };
    let builder = Producer::builder("gathering", fake.name_server()).auto_batch(auto);
    builder.start().await.unwrap()
}

#[tokio::test]
async fn batches_are_sent_when_they_are_full_or_old_enough() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    let producer = gathering(&fake, Duration::from_secs(30)).await;
    let message = |tag: &str| Message::new("T", vec![b'x'; 50]).tag(tag);
    // Two of a kind are full; what is large, delayed or of another tag does not go with them.
    let pair = ["A", "A"].map(|tag| producer.send_async(message(tag)));
    let sends = [
        message("B"),
        message("A").wait_store_ok(false),
        Message::new("T", vec![b'x'; 100]),
        message("A").delay_level(1),
    ]
    .map(|message| producer.send_async(message));
    let mut offsets = Vec::new();
    for send in pair {
        offsets.push(send.await.unwrap().queue_offset);
    }
    fake.until("a batch and two single messages arrived", |fake| {
        fake.stored("T").len() == 4
    })
    .await;
    assert_eq!(fake.seen(code::SEND_BATCH_MESSAGE).len(), 1);
    assert_eq!(fake.seen(code::SEND_MESSAGE_V2).len(), 2);
    // All that may wait does wait: the next one goes by itself.
    for tag in ["C", "D", "E"] {
        let _waits = producer.send_async(message(tag));
    }
    // The others come first, each up to its wait: there is one thread.
    tokio::task::yield_now().await;
    let alone = producer.send(message("F")).await.unwrap();
    assert!(alone.queue_offset >= 4);
    // The rest waits, and a shutdown does not wait for it.
    producer.shutdown().await;
    for send in sends {
        offsets.push(send.await.unwrap().queue_offset);
    }
    offsets.sort_unstable();
    offsets.dedup();
    assert_eq!(offsets.len(), 6);
}

#[tokio::test]
async fn a_batch_that_fails_fails_each_of_its_messages() {
    let fake = Fake::start(&["broker-a"]).await;
    fake.create_topic("T", 1);
    fake.script("broker-a", code::SEND_BATCH_MESSAGE, [Script::Code(13)]);
    let producer = gathering(&fake, Duration::from_millis(20)).await;
    let sends = [(); 2].map(|()| producer.send_async(Message::new("T", "x")));
    for send in sends {
        let error = send.await.unwrap_err();
        assert!(
            matches!(error, ClientError::Batch(_)) && error.is_response(13),
            "{error}"
        );
    }
    let illegal = producer.send(Message::new("a.b", "x")).await;
    assert!(matches!(illegal, Err(ClientError::IllegalMessage { .. })));
    producer.shutdown().await;
}

#[tokio::test]
async fn the_queue_of_a_group_is_tried_once() {
    let fake = Fake::start(&["broker-a", "broker-b"]).await;
    fake.create_topic("T", 4);
    let producer = Producer::builder("g", fake.name_server())
        .start()
        .await
        .unwrap();
    let message = |key: &str| Message::new("T", "x").sharding_key(key);
    let first = producer.send_orderly(message("order-7")).await.unwrap();
    for _ in 0..3 {
        let again = producer.send_orderly(message("order-7")).await.unwrap();
        assert_eq!(again.queue, first.queue);
    }
    fake.script(
        &first.queue.broker_name,
        code::SEND_MESSAGE_V2,
        [Script::Code(2)],
    );
    let refused = producer.send_orderly(message("order-7")).await.unwrap_err();
    assert!(refused.is_response(2), "{refused}");
    assert_eq!(fake.seen(code::SEND_MESSAGE_V2).len(), 5);
    let keyless = producer
        .send_orderly(Message::new("T", "x"))
        .await
        .unwrap_err();
    assert!(keyless.to_string().contains("sharding key"), "{keyless}");
    producer.shutdown().await;
}
