//! One server of the fake: what it answers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use common::message::properties;
use common::transport::{Connection, Replies, Requests, Service};
use common::wire::body::{
    BrokerData, ClusterInfo, ConsumerListByGroupResponseBody, HeartbeatData, LockBatchRequestBody,
    LockBatchResponseBody, MessageQueue, QueueData, TopicRouteData,
};
use common::wire::header::{
    OffsetResponseHeader, PullMessageResponseHeader, SendForm, SendMessageRequestHeader,
    SendMessageResponseHeader,
};
use common::wire::{Command, Reply, request_code as code, response_code as answer};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Held, QueueKey, Script, Seen, State, Stored};

/// A name server or a broker; all share what they know.
pub struct Node {
    pub name: String,
    pub state: Arc<Mutex<State>>,
    pub changed: watch::Sender<u64>,
}

impl Service for Node {
    type Session = ();

    fn connected(&self, _: &Arc<Connection>) {}

    fn turn(
        &self,
        (): &mut (),
        connection: &Arc<Connection>,
        requests: &mut Requests<'_>,
        replies: &mut Replies<'_>,
    ) {
        while let Some((command, body)) = requests.next() {
            let mut state = self.state.lock();
            state.seen.push(Seen {
                node: self.name.clone(),
                code: command.code,
                fields: command
                    .fields
                    .iter()
                    .map(|(k, v)| (k.into(), v.into()))
                    .collect(),
                oneway: command.is_oneway(),
            });
            let scripted = state.scripted.get_mut(&(self.name.clone(), command.code));
            let script = scripted
                .filter(|all| !all.is_empty())
                .map(|all| all.remove(0));
            match script {
                Some(Script::Code(code)) => {
                    replies.push(command.reply_to(), Reply::error(code, "scripted"));
                }
                Some(Script::DoneWith(code)) => {
                    if let Some(reply) = self.serve(&mut state, connection, command, body) {
                        replies.push(command.reply_to(), Reply { code, ..reply });
                    }
                }
                Some(Script::Silence) => {}
                Some(Script::HangUp) => connection.close(),
                None => {
                    if let Some(reply) = self.serve(&mut state, connection, command, body) {
                        replies.push(command.reply_to(), reply);
                    }
                }
            }
            drop(state);
            self.changed.send_modify(|n| *n += 1);
        }
    }

    fn closed(&self, (): (), connection: &Arc<Connection>) {
        let mut state = self.state.lock();
        let gone: Vec<String> = state
            .members
            .iter_mut()
            .filter_map(|(group, all)| {
                let before = all.len();
                all.retain(|_, known| known.id() != connection.id());
                (all.len() < before).then(|| group.clone())
            })
            .collect();
        for group in &gone {
            tell_members(&state, group);
        }
        drop(state);
        self.changed.send_modify(|n| *n += 1);
    }
}

impl Node {
    fn serve(
        &self,
        state: &mut State,
        connection: &Arc<Connection>,
        command: &Command,
        body: &[u8],
    ) -> Option<Reply> {
        Some(match command.code {
            code::GET_ROUTEINFO_BY_TOPIC => route(state, text(command, "topic")),
            code::GET_BROKER_CLUSTER_INFO => cluster(state),
            code::SEND_MESSAGE_V2 | code::SEND_BATCH_MESSAGE | code::SEND_REPLY_MESSAGE_V2 => {
                self.send(state, command, body)
            }
            code::PULL_MESSAGE => return self.pull(state, connection, command),
            code::HEART_BEAT => heartbeat(state, connection, body),
            code::UNREGISTER_CLIENT => unregister(state, command),
            code::GET_CONSUMER_LIST_BY_GROUP => consumers(state, text(command, "consumerGroup")),
            code::QUERY_CONSUMER_OFFSET => {
                let key = (text(command, "consumerGroup").to_owned(), self.key(command));
                match state.offsets.get(&key) {
                    Some(offset) => {
                        Reply::ok().with_header(&OffsetResponseHeader { offset: *offset })
                    }
                    None => Reply::error(answer::QUERY_NOT_FOUND, "no offset"),
                }
            }
            code::UPDATE_CONSUMER_OFFSET => {
                let key = (text(command, "consumerGroup").to_owned(), self.key(command));
                state.offsets.insert(key, number(command, "commitOffset"));
                Reply::ok()
            }
            code::GET_MAX_OFFSET => {
                let offset = end(state, &self.key(command));
                Reply::ok().with_header(&OffsetResponseHeader { offset })
            }
            code::GET_MIN_OFFSET => {
                let offset = state.begins.get(&self.key(command)).copied().unwrap_or(0);
                Reply::ok().with_header(&OffsetResponseHeader { offset })
            }
            code::END_TRANSACTION => return None,
            code::LOCK_BATCH_MQ => lock(state, body),
            code::UNLOCK_BATCH_MQ => unlock(state, body),
            code::CONSUMER_SEND_MSG_BACK => self.send_back(state, command),
            code::UPDATE_AND_CREATE_TOPIC => {
                let queues = i32::try_from(number(command, "writeQueueNums")).unwrap();
                state
                    .topics
                    .insert(text(command, "topic").to_owned(), queues);
                Reply::ok()
            }
            other => Reply::not_supported(other),
        })
    }

    fn key(&self, command: &Command) -> QueueKey {
        let queue_id = i32::try_from(number(command, "queueId")).unwrap();
        (
            self.name.clone(),
            text(command, "topic").to_owned(),
            queue_id,
        )
    }

    fn send(&self, state: &mut State, command: &Command, body: &[u8]) -> Reply {
        let header = SendMessageRequestHeader::parse(&command.fields, SendForm::Short).unwrap();
        if !state.topics.contains_key(header.topic) {
            if !state.auto_create {
                return Reply::error(answer::TOPIC_NOT_EXIST, "no such topic");
            }
            state
                .topics
                .insert(header.topic.to_owned(), header.default_topic_queue_nums);
        }
        let key = (self.name.clone(), header.topic.to_owned(), header.queue_id);
        let queue_offset = end(state, &key);
        let whole = Stored {
            body: Bytes::copy_from_slice(body),
            properties: header.properties.to_owned(),
            flag: header.flag,
            sys_flag: header.sys_flag,
            reconsume_times: header.reconsume_times,
            born_timestamp: header.born_timestamp,
        };
        let all = if header.batch {
            split(body, &whole)
        } else {
            vec![whole]
        };
        for one in all {
            put(state, &key, one);
        }
        Reply::ok().with_header(&SendMessageResponseHeader {
            msg_id: format!("{queue_offset:032X}"),
            queue_id: header.queue_id,
            queue_offset,
            ..SendMessageResponseHeader::default()
        })
    }

    fn send_back(&self, state: &mut State, command: &Command) -> Reply {
        let physical = number(command, "offset");
        let group = text(command, "group").to_owned();
        let found = state.queues.iter().find_map(|(key, all)| {
            let at = (0..all.len()).find(|at| physical_offset(key, *at) == physical)?;
            Some((key.clone(), all[at].clone()))
        });
        let Some(((_, topic, _), mut message)) = found else {
            return Reply::error(answer::SYSTEM_ERROR, "no such message");
        };
        message.reconsume_times += 1;
        if !message.properties.contains("RETRY_TOPIC") {
            properties::write(&mut message.properties, properties::RETRY_TOPIC, &topic);
        }
        put(
            state,
            &(self.name.clone(), format!("%RETRY%{group}"), 0),
            message,
        );
        Reply::ok()
    }

    fn pull(
        &self,
        state: &mut State,
        connection: &Arc<Connection>,
        command: &Command,
    ) -> Option<Reply> {
        let group = text(command, "consumerGroup").to_owned();
        let key = self.key(command);
        if number(command, "sysFlag") & 1 != 0 {
            let commit = number(command, "commitOffset");
            state.offsets.insert((group, key.clone()), commit);
        }
        let reply = pulled(state, &key, number(command, "queueOffset"));
        if reply.is_none() {
            state.held.push(Held {
                connection: Arc::clone(connection),
                to: command.reply_to(),
                node: self.name.clone(),
                fields: command.fields.clone(),
            });
        }
        reply
    }
}

fn text<'a>(command: &'a Command, field: &str) -> &'a str {
    command
        .fields
        .get(field)
        .unwrap_or_else(|| panic!("code {} without {field}", command.code))
}

fn number(command: &Command, field: &str) -> i64 {
    text(command, field).parse().unwrap()
}

fn end(state: &State, key: &QueueKey) -> i64 {
    i64::try_from(state.queues.get(key).map_or(0, Vec::len)).unwrap()
}

/// The answer to a pull, if there is one to give now.
fn pulled(state: &State, key: &QueueKey, offset: i64) -> Option<Reply> {
    let (begin, end) = (state.begins.get(key).copied().unwrap_or(0), end(state, key));
    let mut position = PullMessageResponseHeader {
        suggest_which_broker_id: 0,
        next_begin_offset: offset,
        min_offset: begin,
        max_offset: end,
        ..PullMessageResponseHeader::default()
    };
    if offset < begin || offset > end {
        position.next_begin_offset = if offset < begin { begin } else { end };
        return Some(Reply::error(answer::PULL_OFFSET_MOVED, "moved").with_header(&position));
    }
    if offset == end {
        return None;
    }
    let mut body = Vec::new();
    let from = usize::try_from(offset).unwrap();
    for (at, one) in state.queues[key].iter().enumerate().skip(from).take(32) {
        encode(key, at, one, &mut body);
        position.next_begin_offset = i64::try_from(at + 1).unwrap();
    }
    Some(Reply::ok().with_header(&position).with_body(body))
}

pub fn put(state: &mut State, key: &QueueKey, message: Stored) {
    state.topics.entry(key.1.clone()).or_insert(1);
    state.queues.entry(key.clone()).or_default().push(message);
    let (woken, held) = std::mem::take(&mut state.held)
        .into_iter()
        .partition(|held: &Held| {
            let topic = held.fields.get("topic").unwrap();
            let queue_id: i32 = held.fields.get("queueId").unwrap().parse().unwrap();
            (held.node.as_str(), topic, queue_id) == (key.0.as_str(), key.1.as_str(), key.2)
        });
    state.held = held;
    for held in woken {
        let offset = held.fields.get("queueOffset").unwrap().parse().unwrap();
        if let Some(reply) = pulled(state, key, offset) {
            held.connection.reply(held.to, reply);
        }
    }
}

/// Where the message at `at` of a queue lies in the log: anything, as long as it is one place.
fn physical_offset(key: &QueueKey, at: usize) -> i64 {
    let hash = format!("{key:?}")
        .bytes()
        .fold(7_i64, |h, b| (h * 31 + i64::from(b)) % 1_000_003);
    hash * 1_000_000 + i64::try_from(at).unwrap()
}

fn int(value: usize) -> i32 {
    i32::try_from(value).unwrap()
}

/// A record as brokers store it.
fn encode(key: &QueueKey, at: usize, message: &Stored, out: &mut Vec<u8>) {
    let (_, topic, queue_id) = key;
    let total = 91 + message.body.len() + topic.len() + message.properties.len();
    out.put_i32(int(total));
    out.put_u32(0xDAA3_20A7);
    out.put_u32(crc32(&message.body) & 0x7FFF_FFFF);
    out.put_i32(*queue_id);
    out.put_i32(message.flag);
    out.put_i64(i64::try_from(at).unwrap());
    out.put_i64(physical_offset(key, at));
    out.put_i32(message.sys_flag);
    out.put_i64(message.born_timestamp);
    out.put_slice(&[127, 0, 0, 1]);
    out.put_i32(40000);
    out.put_i64(message.born_timestamp + 1);
    out.put_slice(&[127, 0, 0, 1]);
    out.put_i32(10911);
    out.put_i32(message.reconsume_times);
    out.put_i64(0);
    out.put_i32(int(message.body.len()));
    out.put_slice(&message.body);
    out.put_u8(u8::try_from(topic.len()).unwrap());
    out.put_slice(topic.as_bytes());
    out.put_i16(i16::try_from(message.properties.len()).unwrap());
    out.put_slice(message.properties.as_bytes());
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xEDB8_8320
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

/// The messages of a batch body.
fn split(mut body: &[u8], whole: &Stored) -> Vec<Stored> {
    let mut all = Vec::new();
    while !body.is_empty() {
        let total = usize::try_from(body.get_i32()).unwrap();
        assert_eq!((body.get_i32(), body.get_i32()), (0, 0), "magic and crc");
        let flag = body.get_i32();
        let body_bytes = usize::try_from(body.get_i32()).unwrap();
        let content = body.copy_to_bytes(body_bytes);
        let properties_bytes = usize::from(body.get_u16());
        assert_eq!(total, 22 + body_bytes + properties_bytes);
        let properties = body.copy_to_bytes(properties_bytes);
        let properties = String::from_utf8(properties.to_vec()).unwrap();
        all.push(Stored {
            body: content,
            properties,
            flag,
            ..whole.clone()
        });
    }
    all
}

fn route(state: &State, topic: &str) -> Reply {
    let queues = match state.topics.get(topic) {
        Some(queues) => *queues,
        None if topic == "TBW102" && state.auto_create => 8,
        None => return Reply::error(answer::TOPIC_NOT_EXIST, "no route"),
    };
    let data = TopicRouteData {
        broker_datas: broker_datas(state),
        queue_datas: state
            .brokers
            .keys()
            .map(|name| QueueData {
                broker_name: name.clone(),
                perm: 6,
                read_queue_nums: queues,
                write_queue_nums: queues,
                topic_sys_flag: 0,
            })
            .collect(),
        ..TopicRouteData::default()
    };
    Reply::ok().with_body(data.encode_standard())
}

fn broker_datas(state: &State) -> Vec<BrokerData> {
    let data = |(name, address): (&String, &SocketAddr)| BrokerData {
        broker_addrs: [(0, address.to_string())].into(),
        broker_name: name.clone(),
        cluster: "fake".to_owned(),
        ..BrokerData::default()
    };
    state.brokers.iter().map(data).collect()
}

fn cluster(state: &State) -> Reply {
    let names: BTreeSet<String> = state.brokers.keys().cloned().collect();
    let datas = broker_datas(state).into_iter();
    let info = ClusterInfo {
        broker_addr_table: datas.map(|data| (data.broker_name.clone(), data)).collect(),
        cluster_addr_table: [("fake".to_owned(), names)].into(),
    };
    Reply::ok().with_body(info.encode())
}

/// Brokers of the fake share what they know of clients; a client is a member once any of them knows it.
fn heartbeat(state: &mut State, connection: &Arc<Connection>, body: &[u8]) -> Reply {
    let data = HeartbeatData::decode(body).unwrap();
    for producer in data.producer_data_set {
        let of_group = state.producers.entry(producer.group_name).or_default();
        of_group.insert(data.client_id.clone(), Arc::clone(connection));
    }
    for consumer in data.consumer_data_set {
        let group = consumer.group_name;
        state.topics.entry(format!("%RETRY%{group}")).or_insert(1);
        let subscribed = consumer.subscription_data_set.into_iter();
        let subscribed = subscribed.map(|one| (one.topic, one.sub_string)).collect();
        state.subscriptions.insert(group.clone(), subscribed);
        let members = state.members.entry(group.clone()).or_default();
        if members
            .insert(data.client_id.clone(), Arc::clone(connection))
            .is_none()
        {
            tell_members(state, &group);
        }
    }
    Reply::ok()
}

fn unregister(state: &mut State, command: &Command) -> Reply {
    if let Some(group) = command.fields.get("consumerGroup") {
        let client = text(command, "clientID");
        let left = state
            .members
            .get_mut(group)
            .and_then(|all| all.remove(client));
        if left.is_some() {
            tell_members(state, group);
        }
    }
    Reply::ok()
}

fn lock_key(group: &str, queue: &MessageQueue) -> (String, QueueKey) {
    let queue = queue.clone();
    (
        group.to_owned(),
        (queue.broker_name, queue.topic, queue.queue_id),
    )
}

fn lock(state: &mut State, body: &[u8]) -> Reply {
    let asked = LockBatchRequestBody::decode(body).unwrap();
    let mut granted = LockBatchResponseBody::default();
    for queue in asked.mq_set {
        let key = lock_key(&asked.consumer_group, &queue);
        let owner = state
            .locks
            .entry(key)
            .or_insert_with(|| asked.client_id.clone());
        if *owner == asked.client_id {
            granted.lock_ok_mq_set.insert(queue);
        }
    }
    Reply::ok().with_body(granted.encode())
}

fn unlock(state: &mut State, body: &[u8]) -> Reply {
    let asked = LockBatchRequestBody::decode(body).unwrap();
    for queue in &asked.mq_set {
        let key = lock_key(&asked.consumer_group, queue);
        if state.locks.get(&key) == Some(&asked.client_id) {
            state.locks.remove(&key);
        }
    }
    Reply::ok()
}

fn consumers(state: &State, group: &str) -> Reply {
    match state.members.get(group).filter(|all| !all.is_empty()) {
        Some(all) => {
            let body = ConsumerListByGroupResponseBody {
                consumer_id_list: all.keys().cloned().collect(),
            };
            Reply::ok().with_body(body.encode())
        }
        None => Reply::error(answer::SYSTEM_ERROR, "no consumer for this group"),
    }
}

fn tell_members(state: &State, group: &str) {
    for connection in state
        .members
        .get(group)
        .into_iter()
        .flatten()
        .map(|(_, c)| c)
    {
        let mut command = Command::request(code::NOTIFY_CONSUMER_IDS_CHANGED);
        command.fields.push("consumerGroup", group);
        connection.send_oneway(command, Bytes::new());
    }
}
