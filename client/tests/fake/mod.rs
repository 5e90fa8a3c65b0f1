//! A name server and brokers inside the test, small enough to read and obedient enough to misbehave on demand.
//!
//! It follows the wire as far as this client uses it and keeps a note of every request.
#![allow(dead_code, reason = "each test file uses a part of it")]

mod node;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::transport::{Connection, IoThreads, Listener, Server};
use common::wire::{Command, Fields, ReplyTo};
use node::{Node, put};
use parking_lot::Mutex;
use tokio::sync::watch;

/// How long a test waits for something that has to happen.
pub const PATIENCE: Duration = Duration::from_secs(20);
const IDLE: Duration = Duration::from_mins(2);

/// A stored message.
#[derive(Debug, Clone)]
pub struct Stored {
    pub body: Bytes,
    pub properties: String,
    pub flag: i32,
    pub sys_flag: i32,
    pub reconsume_times: i32,
    pub born_timestamp: i64,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub node: String,
    pub code: i32,
    pub fields: BTreeMap<String, String>,
    pub oneway: bool,
}

struct Held {
    connection: Arc<Connection>,
    to: ReplyTo,
    node: String,
    fields: Fields,
}

type QueueKey = (String, String, i32);

#[derive(Default)]
struct State {
    /// Queues per broker, by topic.
    topics: BTreeMap<String, i32>,
    /// Topics that every send creates if they are missing.
    auto_create: bool,
    queues: BTreeMap<QueueKey, Vec<Stored>>,
    /// Offset a queue begins at; what is below was deleted.
    begins: BTreeMap<QueueKey, i64>,
    offsets: BTreeMap<(String, QueueKey), i64>,
    /// Group → client id → connections.
    members: BTreeMap<String, BTreeMap<String, Arc<Connection>>>,
    /// The same of producers.
    producers: BTreeMap<String, BTreeMap<String, Arc<Connection>>>,
    subscriptions: BTreeMap<String, Vec<(String, String)>>,
    /// Queues locked: group and queue → client id.
    locks: BTreeMap<(String, QueueKey), String>,
    held: Vec<Held>,
    seen: Vec<Seen>,
    /// Answers to give instead of the right one: by node and code, first in first out.
    scripted: BTreeMap<(String, i32), Vec<Script>>,
    brokers: BTreeMap<String, SocketAddr>,
}

/// What a node does instead of its work.
#[derive(Debug, Clone)]
pub enum Script {
    /// Answers with this code.
    Code(i32),
    /// Does the work and answers with this code.
    DoneWith(i32),
    /// Does not answer at all.
    Silence,
    /// Closes the connection.
    HangUp,
}

/// The cluster.
#[derive(Clone)]
pub struct Fake {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    servers: Arc<Vec<(String, Server)>>,
    _threads: IoThreads,
}

pub const NAME_SERVER: &str = "namesrv";

impl Fake {
    /// A name server and brokers of these names.
    #[expect(clippy::unused_async, reason = "binding belongs on a runtime")]
    pub async fn start(brokers: &[&str]) -> Self {
        let threads = IoThreads::start("fake", 1).unwrap();
        let state = Arc::new(Mutex::new(State {
            auto_create: true,
            ..State::default()
        }));
        let (changed, _) = watch::channel(0);
        let mut servers = Vec::new();
        for name in std::iter::once(&NAME_SERVER).chain(brokers) {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let node = Node {
                name: (*name).to_owned(),
                state: Arc::clone(&state),
                changed: changed.clone(),
            };
            let listener = Listener::bind(address).unwrap();
            let server = listener.serve(&threads, Arc::new(node), IDLE);
            if *name != NAME_SERVER {
                state
                    .lock()
                    .brokers
                    .insert((*name).to_owned(), server.local_addr());
            }
            servers.push(((*name).to_owned(), server));
        }
        Self {
            state,
            changed,
            servers: Arc::new(servers),
            _threads: threads,
        }
    }

    pub fn name_server(&self) -> String {
        self.servers[0].1.local_addr().to_string()
    }

    /// Creates a topic with so many queues on every broker.
    pub fn create_topic(&self, topic: &str, queues: i32) {
        self.state.lock().topics.insert(topic.to_owned(), queues);
    }

    pub fn refuse_unknown_topics(&self) {
        self.state.lock().auto_create = false;
    }

    /// Has `node` misbehave at the next requests of this code.
    pub fn script(&self, node: &str, code: i32, scripts: impl IntoIterator<Item = Script>) {
        let mut state = self.state.lock();
        state
            .scripted
            .entry((node.to_owned(), code))
            .or_default()
            .extend(scripts);
    }

    pub fn seen(&self, code: i32) -> Vec<Seen> {
        self.state
            .lock()
            .seen
            .iter()
            .filter(|seen| seen.code == code)
            .cloned()
            .collect()
    }

    pub fn stored(&self, topic: &str) -> Vec<(QueueKey, Stored)> {
        let state = self.state.lock();
        let of_topic = state
            .queues
            .iter()
            .filter(|((_, name, _), _)| name == topic);
        of_topic
            .flat_map(|(key, all)| all.iter().map(|one| (key.clone(), one.clone())))
            .collect()
    }

    /// Puts a message into a queue, as if a producer had sent it.
    pub fn store(&self, broker: &str, topic: &str, queue_id: i32, body: &str, properties: &str) {
        let stored = Stored {
            body: Bytes::copy_from_slice(body.as_bytes()),
            properties: properties.to_owned(),
            flag: 0,
            sys_flag: 0,
            reconsume_times: 0,
            born_timestamp: 1,
        };
        put(
            &mut self.state.lock(),
            &(broker.to_owned(), topic.to_owned(), queue_id),
            stored,
        );
        self.note();
    }

    /// Deletes what is below `offset`.
    pub fn begin_at(&self, broker: &str, topic: &str, queue_id: i32, offset: i64) {
        let key = (broker.to_owned(), topic.to_owned(), queue_id);
        self.state.lock().begins.insert(key, offset);
    }

    pub fn set_offset(&self, group: &str, broker: &str, topic: &str, queue_id: i32, offset: i64) {
        let key = (broker.to_owned(), topic.to_owned(), queue_id);
        self.state
            .lock()
            .offsets
            .insert((group.to_owned(), key), offset);
    }

    pub fn offset(&self, group: &str, broker: &str, topic: &str, queue_id: i32) -> Option<i64> {
        let key = (broker.to_owned(), topic.to_owned(), queue_id);
        self.state
            .lock()
            .offsets
            .get(&(group.to_owned(), key))
            .copied()
    }

    /// Locks a queue for somebody, or for nobody.
    pub fn lock(
        &self,
        group: &str,
        broker: &str,
        topic: &str,
        queue_id: i32,
        client: Option<&str>,
    ) {
        let key = (
            group.to_owned(),
            (broker.to_owned(), topic.to_owned(), queue_id),
        );
        let mut state = self.state.lock();
        match client {
            Some(client) => state.locks.insert(key, client.to_owned()),
            None => state.locks.remove(&key),
        };
        drop(state);
        self.note();
    }

    /// Who has locked a queue.
    pub fn locked(&self, group: &str, broker: &str, topic: &str, queue_id: i32) -> Option<String> {
        let key = (
            group.to_owned(),
            (broker.to_owned(), topic.to_owned(), queue_id),
        );
        self.state.lock().locks.get(&key).cloned()
    }

    pub fn members(&self, group: &str) -> Vec<String> {
        let state = self.state.lock();
        state
            .members
            .get(group)
            .map(|all| all.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// Sends a request to every client of a group.
    pub fn notify(&self, group: &str, command: &Command, body: &Bytes) {
        for connection in self.connections(group) {
            connection.send_oneway(command.clone(), body.clone());
        }
    }

    pub fn connections(&self, group: &str) -> Vec<Arc<Connection>> {
        let state = self.state.lock();
        let all = [&state.members, &state.producers];
        let of_group = all.into_iter().filter_map(|all| all.get(group));
        of_group.flat_map(BTreeMap::values).cloned().collect()
    }

    /// Returns once `holds` is true of the cluster; it is asked again at every change.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut changes = self.changed.subscribe();
        let waiting = async {
            while !holds(self) {
                changes.changed().await.unwrap();
            }
        };
        let done = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(done.is_ok(), "waited in vain until {what}");
    }

    fn note(&self) {
        self.changed.send_modify(|n| *n += 1);
    }
}
