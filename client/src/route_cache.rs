//! Routes of the topics in use: fetched on first use, then every 30 s and whenever a request shows that
//! something has moved.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::names::AUTO_CREATE_TOPIC_KEY_TOPIC;
use common::wire::body::TopicRouteData;
use common::wire::header::GetRouteInfoRequestHeader;
use common::wire::{Command, request_code, response_code};
use hashbrown::HashMap;
use parking_lot::RwLock;
use tokio::sync::{Mutex, Notify, watch};

use crate::error::ClientError;
use crate::instance::unreadable_body;
use crate::name_servers::NameServers;
use crate::route::{BrokerAddresses, MASTER_ID, TopicRoute, replica};

/// What a producer does for a topic no name server knows.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    /// Topic whose brokers create topics on first use.
    pub(crate) topic: String,
    /// Queues per broker to expect.
    pub(crate) queues: i32,
}

impl Default for Template {
    fn default() -> Self {
        Self {
            topic: AUTO_CREATE_TOPIC_KEY_TOPIC.to_owned(),
            queues: 4,
        }
    }
}

/// Routes by topic. Shared by everything that sends or pulls for one client.
pub(crate) struct RouteCache {
    pub(crate) name_servers: NameServers,
    table: RwLock<Table>,
    /// Held across the request: a burst of first sends to one topic asks the name server once.
    fetching: Mutex<()>,
    /// Told when somebody meets a route that is not right any more: all are fetched anew soon.
    pub(crate) stale: Notify,
    /// Counts changes of any route.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Table {
    topics: HashMap<String, Arc<TopicRoute>>,
    /// All brokers of all topics; follows `topics`.
    brokers: BTreeMap<String, BrokerAddresses>,
}

impl RouteCache {
    pub(crate) fn new(name_servers: NameServers) -> Self {
        Self {
            name_servers,
            table: RwLock::default(),
            fetching: Mutex::new(()),
            stale: Notify::new(),
            changes: watch::Sender::new(0),
        }
    }

    /// The route of `topic`, from the cache if it is there.
    pub(crate) async fn get(&self, topic: &str) -> Result<Arc<TopicRoute>, ClientError> {
        self.get_or_template(topic, None).await
    }

    /// The same; `None` when there is no such topic.
    pub(crate) async fn find(&self, topic: &str) -> Result<Option<Arc<TopicRoute>>, ClientError> {
        match self.get(topic).await {
            Err(ClientError::NoRoute { .. }) => Ok(None),
            found => found.map(Some),
        }
    }

    /// The same for a producer, which falls back to the template's brokers.
    pub(crate) async fn get_or_template(
        &self,
        topic: &str,
        template: Option<&Template>,
    ) -> Result<Arc<TopicRoute>, ClientError> {
        let usable = |route: &Arc<TopicRoute>| template.is_none() || !route.publish.is_empty();
        if let Some(route) = self.cached(topic).filter(usable) {
            return Ok(route);
        }
        let _one_at_a_time = self.fetching.lock().await;
        if let Some(route) = self.cached(topic).filter(usable) {
            return Ok(route);
        }
        let route = match (self.fetch(topic).await, template) {
            (Ok(data), _) => TopicRoute::join(topic, &data),
            (Err(error), Some(template)) if error.is_response(response_code::TOPIC_NOT_EXIST) => {
                let data = self.fetch(&template.topic).await;
                let data = data.map_err(|error| no_route(topic, error))?;
                let template_topic = &template.topic;
                tracing::info!(topic, template_topic, "no route yet, using the template's");
                TopicRoute::from_template(topic, &data, template.queues)
            }
            (Err(error), _) => return Err(no_route(topic, error)),
        };
        Ok(self.store(topic, route))
    }

    /// Fetches `topic` anew. Keeps what it has when the name server does not know the topic any more.
    pub(crate) async fn refresh(&self, topic: &str) -> Result<Arc<TopicRoute>, ClientError> {
        let _one_at_a_time = self.fetching.lock().await;
        let data = self.fetch(topic).await;
        let data = data.map_err(|error| no_route(topic, error))?;
        Ok(self.store(topic, TopicRoute::join(topic, &data)))
    }

    /// Fetches every topic in use anew; what fails stays as it is.
    pub(crate) async fn refresh_all(&self) {
        let topics: Vec<String> = self.table.read().topics.keys().cloned().collect();
        for topic in topics {
            if let Err(error) = self.refresh(&topic).await {
                tracing::debug!(topic, %error, "route not refreshed");
            }
        }
    }

    fn cached(&self, topic: &str) -> Option<Arc<TopicRoute>> {
        self.table.read().topics.get(topic).cloned()
    }

    /// What the name server says about `topic` now.
    async fn fetch(&self, topic: &str) -> Result<TopicRouteData, ClientError> {
        let header = GetRouteInfoRequestHeader {
            topic: topic.to_owned(),
            ..GetRouteInfoRequestHeader::default()
        };
        let command = Command::request(request_code::GET_ROUTEINFO_BY_TOPIC).with(&header);
        let (address, body) = self.name_servers.ask(&command).await?;
        TopicRouteData::decode(&body).map_err(unreadable_body(&address))
    }

    /// Changes when a route has changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Addresses of all brokers of all topics in use, with their ids.
    pub(crate) fn all_brokers(&self) -> Vec<(i64, String)> {
        let table = self.table.read();
        let all = table.brokers.values().flatten();
        all.map(|(id, address)| (*id, address.clone())).collect()
    }

    /// Address of a broker's master.
    pub(crate) fn master(&self, broker_name: &str) -> Option<String> {
        let table = self.table.read();
        table.brokers.get(broker_name)?.get(&MASTER_ID).cloned()
    }

    /// Address of the replica with this id or of another one, with the id it has.
    pub(crate) fn replica(&self, broker_name: &str, broker_id: i64) -> Option<(i64, String)> {
        let table = self.table.read();
        let (id, address) = replica(table.brokers.get(broker_name)?, broker_id)?;
        Some((id, address.to_owned()))
    }

    fn store(&self, topic: &str, route: TopicRoute) -> Arc<TopicRoute> {
        let route = Arc::new(route);
        let mut table = self.table.write();
        if table.topics.get(topic) == Some(&route) {
            return route;
        }
        table.topics.insert(topic.to_owned(), Arc::clone(&route));
        let mut brokers: BTreeMap<String, BrokerAddresses> = BTreeMap::new();
        for (name, addresses) in table.topics.values().flat_map(|route| &route.brokers) {
            let known = brokers.entry(name.clone()).or_default();
            known.extend(addresses.iter().map(|(id, address)| (*id, address.clone())));
        }
        // A broker that moved may be listed with its old address by a topic not refreshed yet.
        for (name, addresses) in &route.brokers {
            brokers.insert(name.clone(), addresses.clone());
        }
        table.brokers = brokers;
        drop(table);
        tracing::debug!(topic, queues = route.subscribe.len(), "route changed");
        self.changes.send_modify(|changes| *changes += 1);
        route
    }
}

fn no_route(topic: &str, error: ClientError) -> ClientError {
    if error.is_response(response_code::TOPIC_NOT_EXIST) {
        return ClientError::no_route(topic);
    }
    error
}
