use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use client::{ClientConfig, ClientError, Message, Producer, SendResult, SendStatus};
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
    tags: Vec<String>,
    clock: SystemClock,
    producer: Producer,
    in_flight: Arc<Semaphore>,
}

pub async fn run(options: &Options) -> Result<()> {
    let name = options.text("sender")?;
    let config = ClientConfig::new(options.text("namesrv")?)
        .with_instance_name(name)
        // A restarted broker is to be found again within the test's patience.
        .with_poll_name_server_interval(Duration::from_secs(1));
    let timeout = Duration::from_millis(u64::from(options.number("timeout", 10_000)?));
    let interval = Duration::from_millis(u64::from(options.number("interval", 0)?));
    let producer = Producer::builder(format!("interop-{name}"), config).send_timeout(timeout);
    let sender = Arc::new(Sender {
        topic: options.text("topic")?.to_owned(),
        name: name.to_owned(),
        mode: options.text("mode")?.to_owned(),
        sizes: options.or("sizes", "small").to_owned(),
        count: options.number("count", 1)?,
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
    tokio::spawn(async move {
        told_to_stop().await;
        stop.store(true, Ordering::Relaxed);
    });
    println!("ready");

    let per_round = if sender.mode == "batch" { BATCH } else { 1 };
    for index in (0..sender.count).step_by(per_round) {
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        if let Err(refused) = sender.send(index).await {
            sender.failed(index, &refused);
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
        if !interval.is_zero() {
            tokio::time::sleep(interval).await;
        }
    }
    // Whoever returns the last permit has let go of the sender.
    let in_flight = Arc::clone(&sender.in_flight);
    let _all = in_flight.acquire_many(IN_FLIGHT).await?;
    let sender = Arc::into_inner(sender).context("a send outlives its permit")?;
    sender.producer.shutdown().await;
    Ok(())
}

impl Sender {
    async fn send(self: &Arc<Self>, index: u32) -> Result<()> {
        match self.mode.as_str() {
            "sync" => {
                let result = self.producer.send(self.message(index)).await?;
                self.accepted(index, 0, &result);
            }
            "async" => {
                let permit = Arc::clone(&self.in_flight).acquire_owned().await?;
                let sender = Arc::clone(self);
                self.producer
                    .send_with_callback(self.message(index), move |outcome| {
                        match outcome {
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
        Message::new(&self.topic, bodies::body(&self.sizes, index))
            .tag(self.tag(index))
            .keys([format!("{}-{index}", self.name)])
            .property("sender", &self.name)
            .property("index", index.to_string())
            .property("sentAt", self.clock.now().to_string())
            .property("note", NOTE)
    }

    fn accepted(&self, index: u32, place: i64, result: &SendResult) {
        if result.status == SendStatus::SendOk {
            self.report(index, result.queue.queue_id, result.queue_offset + place);
        } else {
            println!("fail {} {index} {:?}", self.name, result.status);
        }
    }

    fn report(&self, index: u32, queue: i32, offset: i64) {
        let body = bodies::body(&self.sizes, index);
        println!(
            "ack {} {index} {} {} {} {queue} {offset} {}",
            self.name,
            body.len(),
            bodies::sum(&body),
            self.tag(index),
            self.clock.now()
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
