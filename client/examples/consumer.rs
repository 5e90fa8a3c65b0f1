//! Prints the messages of a topic until Ctrl-C.
//!
//! `cargo run -p client --example consumer -- --namesrv 127.0.0.1:9876 --topic demo --group printers`

use std::error::Error;

use clap::Parser;
use client::{ConsumeFromWhere, ConsumeStatus, PushConsumer};

#[derive(Parser)]
struct Args {
    /// Name servers, `host:port;host:port`.
    #[arg(long, default_value = "127.0.0.1:9876")]
    namesrv: String,
    /// Topic to read.
    #[arg(long, default_value = "demo")]
    topic: String,
    /// What of it: `*`, or tags as `A || B`.
    #[arg(long, default_value = "*")]
    expression: String,
    /// Consumer group; its members share the messages.
    #[arg(long, default_value = "example-consumer")]
    group: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(filter())
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let consumer = PushConsumer::builder(args.group, args.namesrv)
        .subscribe(args.topic, args.expression)
        .consume_from_where(ConsumeFromWhere::FirstOffset)
        .on_messages(|messages| async move {
            for message in &messages {
                println!(
                    "{} queue {} offset {} tag {} delivery {}: {}",
                    message.msg_id,
                    message.queue.queue_id,
                    message.queue_offset,
                    message.tag().unwrap_or("-"),
                    message.reconsume_times + 1,
                    String::from_utf8_lossy(&message.body)
                );
            }
            ConsumeStatus::Success
        })
        .start()
        .await?;
    eprintln!(
        "reading {} queues as {}, Ctrl-C ends",
        consumer.assigned_queues().len(),
        consumer.client_id()
    );
    tokio::signal::ctrl_c().await?;
    consumer.shutdown().await;
    Ok(())
}

fn filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into())
}
