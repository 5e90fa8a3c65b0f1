use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use client::{
    AutoBatch, ClientConfig, ClientError, Compress, CompressionType, Message, Producer, SendResult,
    SendStatus,
};
use common::clock::{Clock, SystemClock};
use tokio::sync::Semaphore;

use crate::options::Options;
use crate::{NOTE, bodies, one_line, told_to_stop};

const BATCH: usize = 16;
const IN_FLIGHT: u32 = 128;
/// Between a refused send and the next one, so that a broker that is away is not hammered.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);

struct Sender {
    topic: String,
    name: String,
    mode: String,
    sizes: String,
    count: u32,
    level: u32,
    delay: Duration,
    groups: u32,
    tags: Vec<String>,
    clock: SystemClock,
    producer: Producer,
    in_flight: Arc<Semaphore>,
}

/// A message as every program of this kind makes it.
pub fn message(topic: &str, tag: &str, sender: &str, index: u32, sizes: &str) -> Message {
    Message::new(topic, bodies::body(sizes, index))
        .tag(tag)
        .keys([format!("{sender}-{index}")])
        .property("sender", sender)
        .property("index", index.to_string())
        .property("sentAt", SystemClock::new().now().to_string())
        .property("note", NOTE)
}

/// Says that a message was acknowledged.
pub fn report(sender: &str, index: u32, sizes: &str, tag: &str, queue: i32, offset: i64) {
    let body = bodies::body(sizes, index);
    let (length, sum, now) = (body.len(), bodies::sum(&body), SystemClock::new().now());
    println!("ack {sender} {index} {length} {sum} {tag} {queue} {offset} {now}");
}

pub async fn run(options: &Options) -> Result<()> {
    let name = options.text("sender")?;
    let config = ClientConfig {
        instance_name: Some(name.to_owned()),
        // A restarted broker is to be found again within the test's patience.
        poll_name_server_interval: Duration::from_secs(1),
        ..ClientConfig::new(options.text("namesrv")?)
    };
    let timeout = Duration::from_millis(u64::from(options.number("timeout", 10_000)?));
    let interval = Duration::from_millis(u64::from(options.number("interval", 0)?));
    let mode = options.text("mode")?;
    let mut producer = Producer::builder(format!("interop-{name}"), config).send_timeout(timeout);
    let with = match options.or("compress", "ZLIB") {
        "ZLIB" => CompressionType::Zlib,
        "LZ4" => CompressionType::Lz4,
        "ZSTD" => CompressionType::Zstd,
        other => bail!("unknown compression {other}"),
    };
    producer = producer.compress(Compress {
        with,
        ..Compress::default()
    });
    if mode == "autobatch" {
        producer = producer.auto_batch(AutoBatch::default());
    }
    let sender = Arc::new(Sender {
        topic: options.text("topic")?.to_owned(),
        name: name.to_owned(),
        mode: mode.to_owned(),
        sizes: options.or("sizes", "small").to_owned(),
        count: options.number("count", 1)?,
        level: options.number("level", 1)?,
        delay: Duration::from_millis(u64::from(options.number("delay", 1000)?)),
        groups: options.number("groups", 1)?,
        tags: options
            .or("tags", "A")
            .split(',')
            .map(str::to_owned)
            .collect(),
        clock: SystemClock::new(),
        producer: producer.start().await?,
        in_flight: Arc::new(Semaphore::new(IN_FLIGHT as usize)),
    });
    let stopped = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&stopped);
    let told = tokio::spawn(async move {
        told_to_stop().await;
        stop.store(true, Ordering::Relaxed);
    });
    println!("ready");

    let per_round = if sender.mode == "batch" { BATCH } else { 1 };
    for index in (0..sender.count).step_by(per_round) {
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        while let Err(refused) = sender.send(index, timeout).await {
            sender.failed(index, &refused);
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            // What follows in its group must not overtake it.
            if sender.mode != "ordered" || stopped.load(Ordering::Relaxed) {
                break;
            }
        }
        if !interval.is_zero() {
            tokio::time::sleep(interval).await;
        }
    }
    if sender.mode == "request" {
        // The broker is told of each reply that it has come; who leaves at once leaves the last replier with an error.
        told.await?;
    }
    // Whoever returns the last permit has let go of the sender.
    let in_flight = Arc::clone(&sender.in_flight);
    let _all = in_flight.acquire_many(IN_FLIGHT).await?;
    let sender = Arc::into_inner(sender).context("a send outlives its permit")?;
    sender.producer.shutdown().await;
    Ok(())
}

impl Sender {
    async fn send(self: &Arc<Self>, index: u32, timeout: Duration) -> Result<()> {
        match self.mode.as_str() {
            "sync" => {
                let result = self.producer.send(self.message(index)).await?;
                self.accepted(index, 0, &result);
            }
            "level" => {
                let message = self.message(index).delay_level(self.level);
                self.stored(index, &self.producer.send(message).await?);
            }
            "timer" => self.stored(index, &self.producer.send(self.timed(index)).await?),
            "recall" => {
                let result = self.producer.send(self.timed(index)).await?;
                // Every second one is taken back.
                if index.is_multiple_of(2) {
                    self.stored(index, &result);
                    return Ok(());
                }
                let handle = result.recall_handle.context("no recall handle")?;
                let id = self.producer.recall(&self.topic, &handle).await?;
                if id != result.msg_id {
                    println!("bad recall {id} of {}", result.msg_id);
                }
                println!("recalled {} {index}", self.name);
            }
            "ordered" => {
                let message = self.message(index);
                let group = format!("g{}", index % self.groups);
                let result = self
                    .producer
                    .send_orderly(message.sharding_key(group))
                    .await?;
                self.accepted(index, 0, &result);
            }
            "request" => {
                let reply = self.producer.request(self.message(index), timeout).await?;
                if reply.body != bodies::sum(&bodies::body(&self.sizes, index)) {
                    println!("bad reply {:?} to {index}", reply.body);
                }
                self.report(index, -1, -1);
            }
            "async" | "autobatch" => {
                let permit = Arc::clone(&self.in_flight).acquire_owned().await?;
                let sender = Arc::clone(self);
                self.producer
                    .send_with_callback(self.message(index), move |outcome| {
                        match outcome {
                            Ok(result) if sender.mode == "autobatch" => {
                                sender.stored(index, &result);
                            }
                            Ok(result) => sender.accepted(index, 0, &result),
                            Err(refused) => sender.failed(index, &refused.into()),
                        }
                        drop(sender);
                        drop(permit);
                    });
            }
            "oneway" => {
                self.producer.send_oneway(self.message(index)).await?;
                self.report(index, -1, -1);
            }
            "batch" => {
                let indexes = (index..self.count).take(BATCH);
                let batch = indexes.clone().map(|index| self.message(index)).collect();
                let result = self.producer.send_batch(batch).await?;
                for (place, index) in (0..).zip(indexes) {
                    self.accepted(index, place, &result);
                }
            }
            "empty" => {
                self.producer.send(Message::new(&self.topic, "")).await?;
                println!("ack {} {index} 0 00000000 - -1 -1 0", self.name);
            }
            mode => bail!("unknown mode {mode}"),
        }
        Ok(())
    }

    fn tag(&self, index: u32) -> &str {
        &self.tags[index as usize % self.tags.len()]
    }

    fn message(&self, index: u32) -> Message {
        message(&self.topic, self.tag(index), &self.name, index, &self.sizes)
    }

    /// In each of the ways the client has.
    fn timed(&self, index: u32) -> Message {
        let message = self.message(index);
        if (index / 2).is_multiple_of(2) {
            return message.delay(self.delay);
        }
        let delay = i64::try_from(self.delay.as_millis()).unwrap_or(i64::MAX);
        message.deliver_at_ms(self.clock.now().0.saturating_add(delay))
    }

    /// Where it will lie is not known yet.
    fn stored(&self, index: u32, result: &SendResult) {
        if result.status == SendStatus::SendOk {
            self.report(index, -1, -1);
        } else {
            println!("fail {} {index} {:?}", self.name, result.status);
        }
    }

    fn accepted(&self, index: u32, place: i64, result: &SendResult) {
        if result.status == SendStatus::SendOk {
            self.report(index, result.queue.queue_id, result.queue_offset + place);
        } else {
            println!("fail {} {index} {:?}", self.name, result.status);
        }
    }

    fn report(&self, index: u32, queue: i32, offset: i64) {
        report(
            &self.name,
            index,
            &self.sizes,
            self.tag(index),
            queue,
            offset,
        );
    }

    fn failed(&self, index: u32, refused: &anyhow::Error) {
        let code = refused
            .downcast_ref::<ClientError>()
            .and_then(ClientError::response_code);
        let code = code.map_or_else(String::new, |code| format!("CODE: {code}, "));
        println!(
            "fail {} {index} {code}{}",
            self.name,
            one_line(format!("{refused:#}"))
        );
    }
}
