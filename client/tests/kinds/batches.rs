//! Messages that travel together, and bodies that travel small.

use std::collections::BTreeSet;
use std::time::Duration;

use client::{AutoBatch, Compress, CompressionType, Message, Producer};

use crate::cluster::fixture::{Fixture, body, next, take};

const TOPIC: &str = "batches";

pub async fn run(fixture: &Fixture) {
    fixture.topic(TOPIC, 2).await;
    gathers_what_is_sent_at_the_same_time(fixture).await;
    sends_a_batch_to_a_queue(fixture).await;
    compresses_bodies_as_told(fixture).await;
}

async fn gathers_what_is_sent_at_the_same_time(fixture: &Fixture) {
    let (consumer, mut inbox) = fixture.consumer("gathered-group", TOPIC, "A || B");
    let consumer = consumer.start().await.unwrap();
    let producer = Producer::builder("gathering", fixture.config.clone())
        .send_timeout(Duration::from_secs(15))
        .auto_batch(AutoBatch {
            delay: Duration::from_millis(50),
            ..AutoBatch::default()
        })
        .start()
        .await
        .unwrap();
    let sends: Vec<_> = (0..200)
        .map(|n| {
            let message =
                Message::new(TOPIC, format!("{n}")).tag(if n % 2 == 0 { "A" } else { "B" });
            producer.send_async(message)
        })
        .collect();
    let mut places = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for send in sends {
        let sent = send.await.unwrap();
        assert!(
            places.insert((sent.queue.queue_id, sent.queue_offset)),
            "{sent:?}"
        );
        assert!(!sent.offset_msg_id.contains(',') && ids.insert(sent.msg_id));
    }
    let got = take(&mut inbox, 200).await;
    assert!(got.keys().eq(ids.iter()));
    let born = got
        .values()
        .map(|message| (message.born_timestamp, message.tag()));
    let batches: BTreeSet<_> = born.collect();
    assert!(
        batches.len() < 100,
        "{} messages travelled alone",
        batches.len()
    );
    for message in got.values() {
        let place = (message.queue.queue_id, message.queue_offset);
        assert!(places.contains(&place), "{place:?}");
        let tag = if body(message).parse::<u32>().unwrap() % 2 == 0 {
            "A"
        } else {
            "B"
        };
        assert_eq!(message.tag(), Some(tag));
    }
    // A shutdown does not wait for the batch to fill.
    let last = producer.send_async(Message::new(TOPIC, "last").tag("A"));
    tokio::task::yield_now().await;
    producer.shutdown().await;
    last.await.unwrap();
    assert_eq!(body(&*next(&mut inbox).await), "last");
    consumer.shutdown().await;
}

async fn sends_a_batch_to_a_queue(fixture: &Fixture) {
    let producer = fixture.producer().await;
    let queue = producer.publish_queues(TOPIC).await.unwrap().remove(1);
    let messages = (0..5).map(|n| Message::new(TOPIC, format!("{n}")).tag("C"));
    let sent = producer
        .send_batch_to(messages.collect(), &queue)
        .await
        .unwrap();
    assert_eq!(sent.queue, queue);
    assert_eq!(sent.msg_id.split(',').count(), 5);
    let (consumer, mut inbox) = fixture.consumer("batch-group", TOPIC, "C");
    let consumer = consumer.start().await.unwrap();
    for (n, id) in (0_i64..).zip(sent.msg_id.split(',')) {
        let message = next(&mut inbox).await;
        assert!(sent.msg_id.contains(&message.msg_id));
        assert!(
            (0..5).contains(&(message.queue_offset - sent.queue_offset)),
            "{n} {id}"
        );
    }
    consumer.shutdown().await;
    producer.shutdown().await;
}

async fn compresses_bodies_as_told(fixture: &Fixture) {
    let (consumer, mut inbox) = fixture.consumer("compressed-group", TOPIC, "D");
    let consumer = consumer.start().await.unwrap();
    let text = "rocket and arugula ".repeat(1000);
    for (with, bits) in [
        (CompressionType::Zlib, 0x300),
        (CompressionType::Lz4, 0x100),
        (CompressionType::Zstd, 0x200),
    ] {
        let producer = Producer::builder("compressing", fixture.config.clone())
            .send_timeout(Duration::from_secs(15))
            .compress(Compress {
                with,
                ..Compress::default()
            })
            .start()
            .await
            .unwrap();
        producer
            .send(Message::new(TOPIC, text.clone()).tag("D"))
            .await
            .unwrap();
        let message = next(&mut inbox).await;
        assert_eq!(body(&message), text, "{with:?}");
        // The bit that says so is cleared with the compression; its kind stays.
        assert_eq!(message.sys_flag & 0x701, bits, "{with:?}");
        let stored = fixture.admin.view_message(&message.offset_msg_id);
        assert_eq!(body(&stored.await.unwrap()), text);
        producer.shutdown().await;
    }
    consumer.shutdown().await;
}
