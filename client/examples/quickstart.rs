//! The main job, end to end: creates a topic, sends messages, consumes them all, and says what happened.
//! Ends with code 1 when a message is missing.
//!
//! `cargo run -p client --example quickstart -- --namesrv 127.0.0.1:9876 --topic quickstart --count 100`

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::time::Duration;

use clap::Parser;
use client::{Admin, ConsumeFromWhere, ConsumeStatus, Message, Producer, PushConsumer};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long the last message may take to arrive. Members of an earlier run that were killed keep their queues
/// until brokers forget them.
const ARRIVAL_TIMEOUT: Duration = Duration::from_mins(1);
/// Messages that wait to be counted.
const UNCOUNTED: usize = 1024;
/// Sends under way at the same time.
const IN_FLIGHT: usize = 256;

#[derive(Parser)]
struct Args {
    /// Name servers, `host:port;host:port`.
    #[arg(long, default_value = "127.0.0.1:9876")]
    namesrv: String,
    /// Topic to create and use.
    #[arg(long, default_value = "quickstart")]
    topic: String,
    /// Messages to send and consume.
    #[arg(long, default_value_t = 100)]
    count: usize,
    /// Queues of the topic.
    #[arg(long, default_value_t = 8)]
    queues: u32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(filter())
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let topic = args.topic.as_str();

    let admin = Admin::start(&args.namesrv).await?;
    admin.create_topic(topic, args.queues).await?;
    let route = wait_for_route(&admin, topic).await?;
    println!(
        "topic {topic}: {} queues on {}",
        route.publish.len(),
        brokers(&route).join(", ")
    );

    let (arrived, mut arrivals) = mpsc::channel(UNCOUNTED);
    let consumer = PushConsumer::builder("quickstart-consumer", &args.namesrv)
        .subscribe(topic, "*")
        .consume_from_where(ConsumeFromWhere::FirstOffset)
        .on_messages(move |messages| {
            let arrived = arrived.clone();
            async move {
                for message in &messages {
                    let news = (message.msg_id.clone(), message.body.clone());
                    if arrived.send(news).await.is_err() {
                        return ConsumeStatus::ReconsumeLater;
                    }
                }
                ConsumeStatus::Success
            }
        })
        .start()
        .await?;
    println!(
        "consumer {}: reads {} queues",
        consumer.client_id(),
        consumer.assigned_queues().len()
    );

    let producer = Producer::builder("quickstart-producer", &args.namesrv)
        .start()
        .await?;
    let (mut missing, sending) = send_all(&producer, topic, args.count).await?;
    println!(
        "sent {} messages in {sending:.1?} ({:.0} per s)",
        args.count,
        rate(args.count, sending)
    );

    let started = Instant::now();
    let (mut again, mut older, mut altered) = (0, 0, 0);
    let mut seen = HashSet::new();
    while !missing.is_empty() {
        let next = tokio::time::timeout_at(started + ARRIVAL_TIMEOUT, arrivals.recv()).await;
        let Ok(Some((id, body))) = next else { break };
        match missing.remove(&id) {
            Some(sent) if body == sent => {
                seen.insert(id);
            }
            Some(_) => altered += 1,
            None if seen.contains(&id) => again += 1,
            None => older += 1,
        }
    }
    println!(
        "consumed {} of {} ({again} delivered twice, {older} of earlier runs), the last one {:.1?} after the last send",
        seen.len(),
        args.count,
        started.elapsed()
    );
    producer.shutdown().await;
    consumer.shutdown().await;
    if altered > 0 || !missing.is_empty() {
        return Err(format!(
            "{} messages are missing, {altered} were altered",
            missing.len()
        )
        .into());
    }
    println!("every message arrived, unaltered");
    Ok(())
}

/// Sends all messages; answers their bodies by id, and the time it took.
async fn send_all(
    producer: &Producer,
    topic: &str,
    count: usize,
) -> Result<(HashMap<String, String>, Duration), Box<dyn Error>> {
    let started = Instant::now();
    let mut sent = HashMap::new();
    let numbers: Vec<usize> = (0..count).collect();
    for window in numbers.chunks(IN_FLIGHT) {
        let sends: Vec<_> = window
            .iter()
            .map(|n| {
                let body = format!("message {n}");
                (
                    body.clone(),
                    producer.send_async(Message::new(topic, body).tag("quickstart")),
                )
            })
            .collect();
        for (body, send) in sends {
            sent.insert(send.await?.msg_id, body);
        }
    }
    Ok((sent, started.elapsed()))
}

/// Brokers tell the name servers of a new topic at once; this looks until they have.
async fn wait_for_route(admin: &Admin, topic: &str) -> Result<client::TopicRoute, Box<dyn Error>> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match admin.route(topic).await {
            Ok(route) if !route.publish.is_empty() => return Ok(route),
            Ok(_) if Instant::now() > until => return Err("no broker takes messages".into()),
            Err(error) if Instant::now() > until => return Err(error.into()),
            Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn brokers(route: &client::TopicRoute) -> Vec<String> {
    let master = |(name, ids): (&String, &client::BrokerAddresses)| {
        format!(
            "{name} ({})",
            ids.get(&client::MASTER_ID)
                .map_or("no master", String::as_str)
        )
    };
    route.brokers.iter().map(master).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(f64::MIN_POSITIVE)
}

fn filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into())
}
