//! Transactions end as their local work says, sooner or later.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::{
    ClientError, Message, MessageExt, Producer, SendStatus, TransactionProducer, TransactionState,
};
use tokio::sync::mpsc;

use crate::cluster::fixture::{Fixture, PATIENCE, body, next, take};

const TOPIC: &str = "transactions";

pub async fn run(fixture: &Fixture) {
    fixture.topic(TOPIC, 2).await;
    ends_as_the_local_transaction_does(fixture).await;
    is_asked_when_the_end_is_unknown(fixture).await;
    a_dead_producers_transactions_are_ended_by_its_group(fixture).await;
    refuses_delays(fixture).await;
}

/// A producer that is asked for each half once, and passes what it is asked about on.
async fn producer(
    fixture: &Fixture,
    group: &str,
    answer: TransactionState,
) -> (TransactionProducer, mpsc::Receiver<MessageExt>) {
    let (sender, asked) = mpsc::channel(100);
    let producer = Producer::builder(group, fixture.config.clone())
        .send_timeout(Duration::from_secs(15))
        .topics([TOPIC])
        .start_transactional(move |half| {
            let sender = sender.clone();
            async move {
                sender.send(half).await.unwrap();
                answer
            }
        })
        .await
        .unwrap();
    (producer, asked)
}

async fn ends_as_the_local_transaction_does(fixture: &Fixture) {
    let (consumer, mut inbox) = fixture.consumer("tx-ends", TOPIC, "ends");
    let consumer = consumer.start().await.unwrap();
    let (producer, mut asked) = producer(fixture, "tx-ends-p", TransactionState::Unknown).await;
    let ran = Arc::new(AtomicUsize::new(0));
    let mut committed = Vec::new();
    for n in 0..20 {
        let ran = Arc::clone(&ran);
        let state = if n % 2 == 0 {
            TransactionState::Commit
        } else {
            TransactionState::Rollback
        };
        let message = Message::new(TOPIC, format!("{state:?} {n}"))
            .tag("ends")
            .keys([format!("k{n}")]);
        let result = producer
            .send(message, move |half| async move {
                assert_eq!(half.status, SendStatus::SendOk);
                assert_eq!(half.transaction_id.as_deref(), Some(half.msg_id.as_str()));
                ran.fetch_add(1, Ordering::Relaxed);
                state
            })
            .await
            .unwrap();
        assert_eq!(result.state, state);
        if state == TransactionState::Commit {
            committed.push(result.half.msg_id);
        }
    }
    assert_eq!(ran.load(Ordering::Relaxed), 20);
    let got = take(&mut inbox, committed.len()).await;
    for id in &committed {
        let message = &got[id];
        assert!(body(message).starts_with("Commit"), "{message:?}");
        assert!(message.prepared_transaction_offset >= 0);
    }
    // A plain message of the same producer comes last, and nothing that was rolled back before it.
    let last = Message::new(TOPIC, "last").tag("ends");
    producer.producer().send(last).await.unwrap();
    assert_eq!(body(&*next(&mut inbox).await), "last");
    assert!(asked.try_recv().is_err(), "nothing was left open");
    producer.shutdown().await;
    consumer.shutdown().await;
}

async fn is_asked_when_the_end_is_unknown(fixture: &Fixture) {
    let (consumer, mut inbox) = fixture.consumer("tx-unknown", TOPIC, "unknown");
    let consumer = consumer.start().await.unwrap();
    let (producer, mut asked) = producer(fixture, "tx-unknown-p", TransactionState::Commit).await;
    let open = Message::new(TOPIC, "open")
        .tag("unknown")
        .property("a", "b");
    let result = producer
        .send(open, |_| async { TransactionState::Unknown })
        .await
        .unwrap();
    assert_eq!(result.state, TransactionState::Unknown);
    let panicked = Message::new(TOPIC, "panicked").tag("unknown");
    let result = producer
        .send(panicked, |_| async { panic!("in the local transaction") })
        .await
        .unwrap();
    assert_eq!(result.state, TransactionState::Unknown);
    let mut about = Vec::new();
    while about.len() < 2 {
        let half = tokio::time::timeout(PATIENCE, asked.recv()).await;
        let half = half.expect("asked in time").unwrap();
        assert_eq!((half.topic.as_str(), half.tag()), (TOPIC, Some("unknown")));
        if !about.contains(&half.msg_id) {
            about.push(half.msg_id);
        }
    }
    // The reference may deliver a message twice that was asked about twice.
    let mut bodies = vec![body(&*next(&mut inbox).await)];
    while bodies.len() < 2 {
        let message = next(&mut inbox).await;
        if !bodies.contains(&body(&message)) {
            bodies.push(body(&message));
        }
    }
    bodies.sort();
    assert_eq!(bodies, ["open", "panicked"]);
    producer.shutdown().await;
    consumer.shutdown().await;
}

async fn a_dead_producers_transactions_are_ended_by_its_group(fixture: &Fixture) {
    let (consumer, mut inbox) = fixture.consumer("tx-dead", TOPIC, "dead");
    let consumer = consumer.start().await.unwrap();
    let (first, _) = producer(fixture, "tx-dead-p", TransactionState::Unknown).await;
    let left = Message::new(TOPIC, "left behind").tag("dead");
    let sent = first
        .send(left, |_| async { TransactionState::Unknown })
        .await
        .unwrap();
    drop(first);
    // It has sent nothing itself, and is known by the topic it was given.
    let (second, mut asked) = producer(fixture, "tx-dead-p", TransactionState::Commit).await;
    let half = tokio::time::timeout(PATIENCE, asked.recv()).await;
    assert_eq!(
        half.expect("asked in time").unwrap().msg_id,
        sent.half.msg_id
    );
    assert_eq!(next(&mut inbox).await.msg_id, sent.half.msg_id);
    second.shutdown().await;
    consumer.shutdown().await;
}

async fn refuses_delays(fixture: &Fixture) {
    let (producer, _) = producer(fixture, "tx-delay-p", TransactionState::Commit).await;
    let message = || Message::new(TOPIC, "never sent");
    for delayed in [
        message().delay_level(1),
        message().delay(Duration::from_secs(1)),
        message().deliver_at_ms(1),
    ] {
        let refused = producer
            .send(delayed, |_| async { panic!("must not run") })
            .await;
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, ClientError::IllegalMessage { .. }),
            "{refused}"
        );
    }
    producer.shutdown().await;
}
