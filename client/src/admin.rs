//! Looking after topics, groups and offsets.

mod offsets;
mod query;

use std::sync::Arc;

use bytes::Bytes;
use common::message::message_id;
use common::names::AUTO_CREATE_TOPIC_KEY_TOPIC;
use common::wire::body::{ClusterInfo, SubscriptionGroupConfig, TopicList};
use common::wire::header::{
    CreateTopicRequestHeader, DeleteTopicFromNamesrvRequestHeader, DeleteTopicRequestHeader,
    ViewMessageRequestHeader,
};
use common::wire::{Command, WireHeader, request_code};

use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::instance::{Instance, unreadable_body};
use crate::route::TopicRoute;
use crate::{MessageExt, MessageQueue, validate};

/// Permission of a topic: consumers read (4), producers write (2).
const PERM_READ_WRITE: i32 = 6;

/// Asks name servers and brokers. Sends no heartbeats: brokers do not list it as a client.
///
/// ```no_run
/// # async fn example() -> Result<(), client::ClientError> {
/// let admin = client::Admin::start("127.0.0.1:9876").await?;
/// admin.create_topic("orders", 8).await?;
/// for queue in admin.route("orders").await?.subscribe {
///     println!("{queue:?} ends at {}", admin.max_offset(&queue).await?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// Connections close when the last clone is dropped.
#[derive(Clone)]
pub struct Admin {
    inner: Arc<Inner>,
}

struct Inner {
    instance: Arc<Instance>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.instance.stop();
    }
}

impl Admin {
    /// An admin client that finds its brokers through these name servers: `"host:port;host:port"` or a
    /// [`ClientConfig`].
    ///
    /// # Errors
    /// [`ClientError::InvalidConfig`] and [`ClientError::NoNameServer`].
    pub async fn start(config: impl Into<ClientConfig>) -> Result<Self, ClientError> {
        let (instance, _inbox) = Instance::start(config.into(), None).await?;
        Ok(Self {
            inner: Arc::new(Inner { instance }),
        })
    }

    /// Creates a topic with so many queues, to read and to write, on every master of every cluster; changes
    /// the number of queues where the topic exists. Name servers know of it within moments.
    ///
    /// # Errors
    /// The first broker's refusal, for instance code 29 for an impossible name;
    /// [`ClientError::NoRoute`] when no broker is registered.
    pub async fn create_topic(&self, topic: &str, queues: u32) -> Result<(), ClientError> {
        validate::topic(topic)?;
        let masters = self.masters().await?;
        if masters.is_empty() {
            return Err(ClientError::no_route(topic));
        }
        for master in masters {
            self.create_topic_on(&master, topic, queues).await?;
        }
        Ok(())
    }

    /// As [`Admin::create_topic`], on the broker at `address` only.
    ///
    /// # Errors
    /// The broker's refusal, or what kept it from answering.
    pub async fn create_topic_on(
        &self,
        address: &str,
        topic: &str,
        queues: u32,
    ) -> Result<(), ClientError> {
        let queues = i32::try_from(queues).unwrap_or(i32::MAX);
        let header = CreateTopicRequestHeader {
            topic: topic.to_owned(),
            default_topic: Some(AUTO_CREATE_TOPIC_KEY_TOPIC.to_owned()),
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm: PERM_READ_WRITE,
            topic_filter_type: Some("SINGLE_TAG".to_owned()),
            topic_sys_flag: Some(0),
            order: Some(false),
            ..CreateTopicRequestHeader::default()
        };
        self.tell(address, request_code::UPDATE_AND_CREATE_TOPIC, &header)
            .await?;
        Ok(())
    }

    /// Deletes a topic on every master, and its route on every name server.
    ///
    /// # Errors
    /// The first refusal, or what kept a server from answering.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), ClientError> {
        for master in self.masters().await? {
            let header = DeleteTopicRequestHeader {
                topic: Some(topic.to_owned()),
            };
            self.tell(&master, request_code::DELETE_TOPIC_IN_BROKER, &header)
                .await?;
        }
        for name_server in &self.instance().routes.name_servers.addresses {
            let header = DeleteTopicFromNamesrvRequestHeader {
                topic: topic.to_owned(),
                cluster_name: None,
            };
            self.tell(name_server, request_code::DELETE_TOPIC_IN_NAMESRV, &header)
                .await?;
        }
        Ok(())
    }

    /// Creates or changes a consumer group on every master.
    ///
    /// # Errors
    /// The first refusal, or what kept a broker from answering.
    pub async fn create_group(&self, config: &SubscriptionGroupConfig) -> Result<(), ClientError> {
        for master in self.masters().await? {
            let command = Command::request(request_code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP);
            self.ask(&master, command, Bytes::from(config.encode()))
                .await?;
        }
        Ok(())
    }

    /// The queues of a topic and their brokers, as the name server has them now.
    ///
    /// # Errors
    /// [`ClientError::NoRoute`] when it knows no such topic.
    pub async fn route(&self, topic: &str) -> Result<TopicRoute, ClientError> {
        let route = self.instance().routes.refresh(topic).await?;
        Ok(TopicRoute::clone(&route))
    }

    /// All brokers and clusters.
    ///
    /// # Errors
    /// What kept the name servers from answering.
    pub async fn cluster_info(&self) -> Result<ClusterInfo, ClientError> {
        let command = Command::request(request_code::GET_BROKER_CLUSTER_INFO);
        let (address, body) = self.instance().routes.name_servers.ask(&command).await?;
        ClusterInfo::decode(&body).map_err(unreadable_body(&address))
    }

    /// The names of all topics.
    ///
    /// # Errors
    /// What kept the name servers from answering.
    pub async fn topics(&self) -> Result<Vec<String>, ClientError> {
        let command = Command::request(request_code::GET_ALL_TOPIC_LIST_FROM_NAMESERVER);
        let (address, body) = self.instance().routes.name_servers.ask(&command).await?;
        let list = TopicList::decode(&body).map_err(unreadable_body(&address))?;
        Ok(list.topic_list)
    }

    /// The message with this offset id ([`SendResult::offset_msg_id`](crate::SendResult::offset_msg_id)), from
    /// the broker the id names.
    ///
    /// # Errors
    /// [`ClientError::IllegalMessage`] for what is no such id; the broker's refusal when it has no such
    /// message.
    pub async fn view_message(&self, offset_msg_id: &str) -> Result<MessageExt, ClientError> {
        let (broker, offset) = message_id::parse_offset_id(offset_msg_id)
            .map_err(|error| ClientError::illegal(error.to_string()))?;
        let address = broker.to_string();
        let header = ViewMessageRequestHeader {
            offset: offset.to_wire(),
            topic: None,
        };
        let body = self
            .tell(&address, request_code::VIEW_MESSAGE_BY_ID, &header)
            .await?;
        // A record does not say its broker's name, and asking for it would need the route.
        let messages = MessageExt::read_all(&body, "").map_err(unreadable_body(&address))?;
        let none = || ClientError::AnswerBody {
            address,
            reason: "no message".to_owned(),
        };
        messages.into_iter().next().ok_or_else(none)
    }

    /// Sends any request to the server at `address`; answers the body of a success.
    ///
    /// # Errors
    /// The server's refusal, or what kept it from answering.
    pub async fn ask(
        &self,
        address: &str,
        command: Command,
        body: Bytes,
    ) -> Result<Bytes, ClientError> {
        let answer = self.instance().ask(address, command, body).await?;
        Ok(answer.body)
    }

    /// Addresses of all masters of all clusters.
    ///
    /// # Errors
    /// What kept the name servers from answering.
    pub async fn masters(&self) -> Result<Vec<String>, ClientError> {
        let info = self.cluster_info().await?;
        let brokers = info.broker_addr_table.into_values();
        Ok(brokers
            .filter_map(|mut broker| broker.broker_addrs.remove(&crate::MASTER_ID))
            .collect())
    }

    fn instance(&self) -> &Instance {
        &self.inner.instance
    }

    /// Sends a request without a body; answers the body of a success.
    async fn tell(
        &self,
        address: &str,
        code: i32,
        header: &impl WireHeader,
    ) -> Result<Bytes, ClientError> {
        let command = Command::request(code).with(header);
        self.ask(address, command, Bytes::new()).await
    }

    /// What asks for a queue's offsets, which needs the queue's broker.
    async fn asking_of(&self, queue: &MessageQueue) -> Result<&Instance, ClientError> {
        self.instance().routes.get(&queue.topic).await?;
        Ok(self.instance())
    }

    async fn masters_of(&self, topic: &str) -> Result<Vec<String>, ClientError> {
        let route = self.instance().routes.get(topic).await?;
        let brokers = route.brokers.values();
        Ok(brokers
            .filter_map(|ids| ids.get(&crate::MASTER_ID).cloned())
            .collect())
    }
}
