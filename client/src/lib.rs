//! RocketMQ client: send messages, consume them, look after topics. It speaks the remoting protocol and works
//! with Arugula and with Apache RocketMQ alike.
//!
//! | To | use |
//! |---|---|
//! | send: one by one, in batches, to a queue of choice, later, or for a reply | [`Producer`] |
//! | send what a local transaction decides on | [`TransactionProducer`] |
//! | consume, in any order or in that of the queues | [`PushConsumer`] |
//! | create topics, look at routes and offsets | [`Admin`] |
//!
//! ```no_run
//! # async fn example() -> Result<(), client::ClientError> {
//! use client::{ConsumeStatus, Message, Producer, PushConsumer};
//!
//! let consumer = PushConsumer::builder("billing", "127.0.0.1:9876")
//!     .subscribe("orders", "*")
//!     .on_messages(|messages| async move {
//!         for message in &messages {
//!             println!("got {}", String::from_utf8_lossy(&message.body));
//!         }
//!         ConsumeStatus::Success
//!     })
//!     .start()
//!     .await?;
//! let producer = Producer::builder("order-service", "127.0.0.1:9876").start().await?;
//! producer.send(Message::new("orders", "hello")).await?;
//! producer.shutdown().await;
//! consumer.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Everything runs on the tokio runtime of the caller and tells what it does through `tracing`.

mod admin;
mod caught;
mod config;
pub mod consumer;
mod error;
mod instance;
mod message;
mod message_ext;
mod name_servers;
pub mod producer;
mod route;
mod route_cache;
mod settings;
#[cfg(test)]
mod test_messages;
mod validate;

pub use admin::Admin;
pub use common::message::CompressionType;
pub use common::names::{dlq_topic, retry_topic};
pub use common::wire::body::MessageQueue;
pub use config::ClientConfig;
pub use consumer::{
    AllocateStrategy, ConsumeFromWhere, ConsumeStatus, FlowThresholds, MessageModel, Messages,
    OrderlyStatus, PushConsumer, PushConsumerBuilder,
};
pub use error::ClientError;
pub use message::Message;
pub use message_ext::MessageExt;
pub use producer::{
    AutoBatch, Compress, PendingSend, Producer, ProducerBuilder, SendResult, SendStatus,
    TransactionProducer, TransactionResult, TransactionState, by_hash,
};
pub use route::{BrokerAddresses, MASTER_ID, TopicRoute};
