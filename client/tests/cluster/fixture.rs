//! Clients of a cluster, and what tests of them have in common.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::{
    Admin, ClientConfig, ConsumeFromWhere, ConsumeStatus, MessageExt, Messages, Producer,
    PushConsumer, PushConsumerBuilder,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Cluster;

/// How long something may take that has to happen. The slowest is a redelivery: ten seconds at the broker, and
/// the retry topic's route has to be found first.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// Pause between two looks at a server.
const POLL: Duration = Duration::from_millis(50);

pub struct Fixture {
    pub config: ClientConfig,
    pub admin: Admin,
    pub broker: String,
}

impl Fixture {
    pub async fn new(cluster: &Cluster) -> Self {
        let config = ClientConfig {
            persist_offset_interval: Duration::from_millis(500),
            ..ClientConfig::new(&cluster.name_server_address())
        };
        let admin = Admin::start(config.clone()).await.unwrap();
        // The reference says that it is ready a moment before the name server knows of it.
        eventually("the broker is registered", async || {
            admin
                .masters()
                .await
                .is_ok_and(|masters| !masters.is_empty())
        })
        .await;
        Self {
            config,
            admin,
            broker: cluster.broker_address(),
        }
    }

    pub async fn producer(&self) -> Producer {
        let builder = Producer::builder("producers", self.config.clone());
        builder
            .send_timeout(Duration::from_secs(15))
            .start()
            .await
            .unwrap()
    }

    /// Creates a topic and waits until its route is known everywhere.
    pub async fn topic(&self, topic: &str, queues: u32) {
        self.admin.create_topic(topic, queues).await.unwrap();
        let queues = usize::try_from(queues).unwrap();
        eventually("the topic is routed", async || {
            self.admin
                .route(topic)
                .await
                .is_ok_and(|route| route.publish.len() == queues)
        })
        .await;
    }

    pub fn consumer(
        &self,
        group: &str,
        topic: &str,
        expression: &str,
    ) -> (PushConsumerBuilder, Inbox) {
        let (sender, inbox) = mpsc::channel(100_000);
        let builder = PushConsumer::builder(group, self.config.clone())
            .subscribe(topic, expression)
            .consume_from_where(ConsumeFromWhere::FirstOffset)
            .on_messages(move |messages: Messages| {
                let sender = sender.clone();
                async move {
                    for message in messages {
                        if sender.send(message).await.is_err() {
                            return ConsumeStatus::ReconsumeLater;
                        }
                    }
                    ConsumeStatus::Success
                }
            });
        (builder, inbox)
    }
}

pub type Inbox = mpsc::Receiver<Arc<MessageExt>>;

pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "waited in vain until {what}");
        tokio::time::sleep(POLL).await;
    }
}

pub async fn next(inbox: &mut Inbox) -> Arc<MessageExt> {
    let next = tokio::time::timeout(PATIENCE, inbox.recv()).await;
    next.expect("a message in time").expect("a living consumer")
}

/// Receives so many messages, each once, by id.
pub async fn take(inbox: &mut Inbox, count: usize) -> BTreeMap<String, Arc<MessageExt>> {
    let mut all = BTreeMap::new();
    for _ in 0..count {
        let message = next(inbox).await;
        let before = all.insert(message.msg_id.clone(), message);
        assert!(before.is_none(), "delivered twice: {before:?}");
    }
    all
}

pub fn body(message: &MessageExt) -> String {
    String::from_utf8_lossy(&message.body).into_owned()
}
