//! Sends messages in each of the ways there are.
//!
//! `cargo run -p client --example producer -- --namesrv 127.0.0.1:9876 --topic demo --count 10`

use std::error::Error;
use std::time::Duration;

use clap::Parser;
use client::{Message, Producer};

#[derive(Parser)]
struct Args {
    /// Name servers, `host:port;host:port`.
    #[arg(long, default_value = "127.0.0.1:9876")]
    namesrv: String,
    /// Topic to send to; brokers create it unless told not to.
    #[arg(long, default_value = "demo")]
    topic: String,
    /// Messages to send one by one, and again without waiting.
    #[arg(long, default_value_t = 10)]
    count: usize,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(filter())
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let topic = args.topic.as_str();
    let producer = Producer::builder("example-producer", args.namesrv)
        .send_timeout(Duration::from_secs(5))
        .start()
        .await?;

    for n in 0..args.count {
        let message = Message::new(topic, format!("message {n}"))
            .tag("one")
            .keys([format!("k{n}")]);
        let result = producer.send(message).await?;
        println!(
            "{:?} {} queue {} offset {}",
            result.status, result.msg_id, result.queue.queue_id, result.queue_offset
        );
    }

    // Many at once: start all, then wait for all.
    let pending: Vec<_> = (0..args.count)
        .map(|n| producer.send_async(Message::new(topic, format!("async {n}")).tag("many")))
        .collect();
    for send in pending {
        send.await?;
    }
    println!("{} more sent without waiting in between", args.count);

    // One request for several messages; all in one queue.
    let batch = (0..3)
        .map(|n| Message::new(topic, format!("batch {n}")))
        .collect();
    let result = producer.send_batch(batch).await?;
    println!(
        "a batch of 3 at queue {} offset {}",
        result.queue.queue_id, result.queue_offset
    );

    // Same order, same queue.
    for step in ["created", "paid", "shipped"] {
        let message = Message::new(topic, format!("order 7 {step}")).sharding_key("order 7");
        producer
            .send_selected(message, |queues| 7 % queues.len())
            .await?;
    }
    producer
        .send_oneway(Message::new(topic, "nobody waits for me"))
        .await?;
    producer.shutdown().await;
    Ok(())
}

fn filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into())
}
