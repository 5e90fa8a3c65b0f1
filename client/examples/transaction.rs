//! Transactional messages: one that is committed, one that is rolled back, and one whose producer dies before it says how its
//! local transaction ended, so that the broker asks another of the group.
//! Ends with code 1 when a message is missing, or one arrives that must not.
//!
//! `cargo run -p client --example transaction -- --namesrv 127.0.0.1:9876`
//!
//! A broker asks `transactionTimeOut` after the half message, looking every `transactionCheckInterval`: by default that
//! takes half a minute.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use client::{
    Admin, ConsumeFromWhere, ConsumeStatus, Message, MessageExt, Producer, PushConsumer,
    TransactionProducer, TransactionState,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long a message may take to arrive: brokers look at open transactions every 30 s unless they are told otherwise.
const ARRIVAL_TIMEOUT: Duration = Duration::from_mins(2);
/// How long nothing may arrive for what was rolled back to count as gone.
const SILENCE: Duration = Duration::from_secs(1);
/// Messages that wait to be looked at.
const WAITING: usize = 64;

#[derive(Parser)]
struct Args {
    /// Name servers, `host:port;host:port`.
    #[arg(long, default_value = "127.0.0.1:9876")]
    namesrv: String,
    /// Topic to create and use.
    #[arg(long, default_value = "transactions")]
    topic: String,
}

/// Stands for the database of a shop: what was booked, by order.
#[derive(Clone, Default)]
struct Books(Arc<Mutex<BTreeMap<String, bool>>>);

impl Books {
    /// A local transaction. Fails for orders of tea.
    fn book(&self, order: &str) -> Result<(), String> {
        let succeeds = !order.contains("tea");
        self.0.lock().insert(order.to_owned(), succeeds);
        succeeds.then_some(()).ok_or_else(|| "sold out".to_owned())
    }

    fn state_of(&self, order: &str) -> TransactionState {
        match self.0.lock().get(order) {
            Some(true) => TransactionState::Commit,
            Some(false) => TransactionState::Rollback,
            None => TransactionState::Unknown,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::WARN)
        .init();
    let Args { namesrv, topic } = Args::parse();
    let admin = Admin::start(&namesrv).await?;
    admin.create_topic(&topic, 4).await?;
    let until = Instant::now() + ARRIVAL_TIMEOUT;
    while admin.route(&topic).await.is_err() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (arrived, mut arrivals) = mpsc::channel(WAITING);
    let consumer = PushConsumer::builder("transaction-consumer", &namesrv)
        .subscribe(&topic, "*")
        .consume_from_where(ConsumeFromWhere::FirstOffset)
        .on_messages(move |messages| {
            let arrived = arrived.clone();
            async move {
                for message in messages {
                    if arrived.send(message).await.is_err() {
                        return ConsumeStatus::ReconsumeLater;
                    }
                }
                ConsumeStatus::Success
            }
        })
        .start()
        .await?;

    let books = Books::default();
    let producer = producer(&namesrv, &topic, &books).await?;
    for order in ["coffee", "tea"] {
        let (local, order) = (books.clone(), order.to_owned());
        let message = Message::new(topic.as_str(), format!("one {order}")).keys([&order]);
        let result = producer
            .send(message, move |half| async move {
                println!(
                    "{order}: half message {} is stored, consumers do not see it",
                    half.msg_id
                );
                match local.book(&order) {
                    Ok(()) => TransactionState::Commit,
                    Err(why) => {
                        println!("{order}: the local transaction failed, {why}");
                        TransactionState::Rollback
                    }
                }
            })
            .await?;
        println!("the broker was told {:?}", result.state);
    }
    expect(&mut arrivals, "coffee").await?;

    let (local, order) = (books.clone(), "cake".to_owned());
    let message = Message::new(topic.as_str(), "one cake").keys([&order]);
    let open = producer.send(message, move |half| async move {
        println!(
            "cake: half message {} is stored, consumers do not see it",
            half.msg_id
        );
        // The local transaction succeeds, and nobody comes to tell the broker.
        let _ = local.book(&order);
        TransactionState::Unknown
    });
    open.await?;
    drop(producer);
    println!("cake: booked, but its producer has died; another one of the group starts");
    let started = Instant::now();
    let another = self::producer(&namesrv, &topic, &books).await?;
    expect(&mut arrivals, "cake").await?;
    println!("cake: {:.1?} after its producer died", started.elapsed());

    if let Ok(Some(late)) = tokio::time::timeout(SILENCE, arrivals.recv()).await {
        return Err(format!("consumed as well: {}", body(&late)).into());
    }
    println!("the tea never arrived, as it should be");
    another.shutdown().await;
    consumer.shutdown().await;
    Ok(())
}

/// A producer of the group that looks into the books when the broker asks.
async fn producer(
    namesrv: &str,
    topic: &str,
    books: &Books,
) -> Result<TransactionProducer, client::ClientError> {
    let books = books.clone();
    Producer::builder("transaction-producer", namesrv)
        .topics([topic])
        .start_transactional(move |half| {
            let books = books.clone();
            async move {
                let order = half.keys().next().unwrap_or_default();
                let state = books.state_of(order);
                println!("{order}: the broker asks how it ended; {state:?}");
                state
            }
        })
        .await
}

async fn expect(
    arrivals: &mut mpsc::Receiver<Arc<MessageExt>>,
    order: &str,
) -> Result<(), Box<dyn Error>> {
    loop {
        let next = tokio::time::timeout(ARRIVAL_TIMEOUT, arrivals.recv()).await;
        let message = next.map_err(|_| format!("{order} did not arrive"))?;
        let message = message.ok_or("the consumer has ended")?;
        println!(
            "{order}: consumed {:?} with id {}",
            body(&message),
            message.msg_id
        );
        if message.keys().any(|key| key == order) {
            return Ok(());
        }
    }
}

fn body(message: &MessageExt) -> String {
    String::from_utf8_lossy(&message.body).into_owned()
}
