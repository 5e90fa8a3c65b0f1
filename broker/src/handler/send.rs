//! Sending. All sends of a turn are checked and encoded one by one, appended as one batch under one lock, and answered
//! together; under `SYNC_FLUSH` the answers wait for the disk, the connection does not.

mod admit;
mod late;
mod properties;
mod reply;
mod route;

use crate::config::BrokerConfig;
use crate::error::store_reply;
use crate::lock::LockTable;
use crate::subscription::SubscriptionGroupTable;
use crate::topic::{MessageType, Topic, TopicTable};
use common::clock::Clock;
use common::message::message_id::UniqueIds;
use common::message::record::RecordParts;
use common::message::{batch, properties as names_of, sys_flag};
use common::transport::{Connection, Replies};
use common::wire::header::SendMessageRequestHeader;
use common::wire::{Command, Reply, response_code};
use late::Late;
use reply::{Pending, ReplyTemplate};
use route::Routes;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use store::{Appended, FlushMode, RecordBatch, StoreWriter};
use tokio::time::Instant;

/// A turn's batch is appended early when it has grown to this size, which bounds how long the log stays locked.
const BATCH_BYTES: usize = 1024 * 1024;

/// Serves `SEND_MESSAGE`, `SEND_MESSAGE_V2` and `SEND_BATCH_MESSAGE`.
pub struct SendHandler {
    settings: Settings,
    template: Arc<ReplyTemplate>,
    topics: TopicTable,
    groups: SubscriptionGroupTable,
    locks: LockTable,
    store: StoreWriter,
    unique_ids: UniqueIds,
    clock: Arc<dyn Clock>,
}

/// The tables a send looks at.
pub struct SendTables {
    /// Topics.
    pub topics: TopicTable,
    /// Groups.
    pub groups: SubscriptionGroupTable,
    /// Queue locks.
    pub locks: LockTable,
}

struct Settings {
    store_host: SocketAddr,
    broker_ip: String,
    writable: bool,
    reject_transactions: bool,
    max_message_size: usize,
    accept_from: i64,
    flush_timeout: Duration,
    /// Properties the broker adds to every message, encoded.
    broker_properties: String,
}

/// What a connection keeps for its sends: buffers that are reused turn after turn.
#[derive(Default)]
pub struct SendSession {
    routes: Routes,
    batch: RecordBatch,
    pending: Vec<Pending>,
    appended: Vec<Appended>,
    unique_keys: String,
    properties: String,
}

impl SendHandler {
    /// What a new connection keeps for its sends.
    pub fn session(&self) -> SendSession {
        SendSession {
            batch: self.store.batch(),
            ..SendSession::default()
        }
    }

    /// A handler that stores as `store_host`.
    pub fn new(
        config: &BrokerConfig,
        store_host: SocketAddr,
        tables: SendTables,
        store: StoreWriter,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let SendTables {
            topics,
            groups,
            locks,
        } = tables;
        let mut broker_properties = String::new();
        let trace = if config.trace_on { "true" } else { "false" };
        names_of::write(
            &mut broker_properties,
            names_of::MSG_REGION,
            &config.region_id,
        );
        names_of::write(&mut broker_properties, names_of::TRACE_SWITCH, trace);
        names_of::write(
            &mut broker_properties,
            names_of::CLUSTER,
            &config.broker_cluster_name,
        );
        let settings = Settings {
            store_host,
            broker_ip: config.broker_ip1.clone(),
            writable: config.broker_permission & 2 != 0,
            reject_transactions: config.reject_transaction_message,
            max_message_size: usize::try_from(config.max_message_size).unwrap_or(usize::MAX),
            accept_from: config.start_accept_send_request_time_stamp,
            flush_timeout: Duration::from_millis(config.sync_flush_timeout),
            broker_properties,
        };
        let template = Arc::new(ReplyTemplate::new(
            store_host,
            &config.region_id,
            config.trace_on,
        ));
        let unique_ids = UniqueIds::new(store_host.ip(), std::process::id(), rand::random());
        Self {
            settings,
            template,
            topics,
            groups,
            locks,
            store,
            unique_ids,
            clock,
        }
    }

    /// Takes one send of a turn: its records join the batch, or it is refused at once.
    pub fn accept(
        &self,
        session: &mut SendSession,
        connection: &Connection,
        command: &Command,
        header: &SendMessageRequestHeader<'_>,
        body: &[u8],
        replies: &mut Replies<'_>,
    ) {
        let to = command.reply_to();
        let records = session.batch.len();
        if let Err(refusal) = self.encode(session, connection, command, header, body) {
            session.batch.truncate(records);
            replies.push(to, self.template.refuse(refusal));
        }
    }

    /// True when the batch is so large that it should be appended before more is taken.
    pub fn is_full(session: &SendSession) -> bool {
        session.batch.bytes() >= BATCH_BYTES
    }

    /// The refusal of a send whose header does not parse.
    pub fn refuse(&self, refusal: Reply) -> Reply {
        self.template.refuse(refusal)
    }

    fn encode(
        &self,
        session: &mut SendSession,
        connection: &Connection,
        command: &Command,
        header: &SendMessageRequestHeader<'_>,
        body: &[u8],
    ) -> Result<(), Reply> {
        let SendSession {
            routes,
            batch,
            pending,
            unique_keys,
            properties: text,
            ..
        } = session;
        let route = routes.find(&self.topics, header.topic, || {
            self.topic(header, connection)
        })?;
        let asked = Self::queue_id(header, &route.topic, connection)?;
        text.clear();
        let sent = properties::read(header.properties, text);
        let dead_letter = self.dead_letter_topic(header, command.version)?;
        if header.batch {
            self.check_batch(header, &route.topic, &sent, body)?;
        } else {
            self.check_single(header, &route.topic, &sent, body)?;
        }
        if sent.sharded && sent.priority.is_some() {
            *text = names_of::without(text, &[names_of::PRIORITY]);
        }
        let (topic, queue) = match &dead_letter {
            None => {
                let queue_id = sent.queue_of_priority(&route.topic).unwrap_or(asked);
                let queue = Arc::clone(route.queue(&self.store, queue_id));
                (&route.topic, queue)
            }
            Some(dead) => {
                *text = names_of::with(text, names_of::DELAY, "-1");
                (dead, self.store.queue(&dead.topic_name, 0))
            }
        };
        let first = batch.len();
        let parts = RecordParts {
            topic: &topic.topic_name,
            queue_id: queue.id(),
            flag: header.flag,
            sys_flag: header.sys_flag | multi_tags(topic),
            born_timestamp: header.born_timestamp,
            born_host: connection.peer(),
            store_host: self.settings.store_host,
            reconsume_times: header.reconsume_times,
            prepared_transaction_offset: 0,
            body,
            properties: "",
        };
        let unique_key = if header.batch {
            batch.begin_group();
            let pushed = self.push_batch(batch, &queue, &parts);
            batch.end_group();
            pushed?;
            sent.unique_key.map(|key| remember(unique_keys, key))
        } else {
            let key = self.complete_properties(text, &sent, unique_keys);
            let parts = RecordParts {
                properties: text,
                ..parts
            };
            batch
                .push(&queue, &parts)
                .map_err(|error| self.refuse_record(&error))?;
            Some(key)
        };
        let records = first..batch.len();
        pending.push(Pending {
            to: command.reply_to(),
            queue_id: queue.id(),
            records,
            unique_key,
            wait: sent.wait,
            kind: if sent.sharded {
                MessageType::Fifo
            } else {
                MessageType::Normal
            },
            topic: Arc::clone(topic),
        });
        Ok(())
    }

    /// Every message of a batch becomes a record of its own, with its own flag and exactly its own properties.
    fn push_batch(
        &self,
        batch: &mut RecordBatch,
        queue: &Arc<store::Queue>,
        outer: &RecordParts<'_>,
    ) -> Result<(), Reply> {
        let mut any = false;
        for message in batch::split(outer.body) {
            let message = message
                .map_err(|error| Reply::error(response_code::SYSTEM_ERROR, error.to_string()))?;
            let parts = RecordParts {
                flag: message.flag,
                body: message.body,
                properties: message.properties,
                ..*outer
            };
            batch
                .push(queue, &parts)
                .map_err(|error| self.refuse_record(&error))?;
            any = true;
        }
        if any {
            Ok(())
        } else {
            Err(Reply::error(
                response_code::SYSTEM_ERROR,
                "the batch holds no message",
            ))
        }
    }

    /// Adds the broker's properties, and a unique key if the client sent none; returns where the key stands.
    fn complete_properties(
        &self,
        text: &mut String,
        sent: &properties::Sent<'_>,
        keys: &mut String,
    ) -> Range<usize> {
        let key = if let Some(key) = sent.unique_key {
            remember(keys, key)
        } else {
            let key = self.unique_ids.next(self.clock.now());
            names_of::write(text, names_of::UNIQUE_KEY, &key);
            remember(keys, &key)
        };
        if !text.is_empty() && !text.ends_with(char::from(names_of::VALUE_END)) {
            text.push(char::from(names_of::VALUE_END));
        }
        text.push_str(&self.settings.broker_properties);
        key
    }

    fn refuse_record(&self, error: &store::StoreError) -> Reply {
        store_reply(error, self.settings.max_message_size)
    }

    /// Appends what the turn has gathered and answers it.
    pub fn commit(
        &self,
        session: &mut SendSession,
        connection: &Arc<Connection>,
        replies: &mut Replies<'_>,
    ) {
        if session.pending.is_empty() {
            return;
        }
        session.appended.clear();
        let outcome = self
            .store
            .append_batch(&mut session.batch, &mut session.appended);
        let refusal = outcome.err().map(|error| self.refuse_record(&error));
        let waits = self.store.flush_mode() == FlushMode::Sync;
        let mut late = Vec::new();
        for sent in session.pending.drain(..) {
            sent.count(session.appended.get(sent.records.clone()).unwrap_or(&[]));
            if sent.to.oneway {
                continue;
            }
            match (session.appended.get(sent.records.clone()), &refusal) {
                (Some(_), _) if waits && sent.wait => late.push(sent),
                (Some(stored), _) => {
                    self.template.write(
                        replies.buffer(),
                        &sent,
                        response_code::SUCCESS,
                        &session.unique_keys,
                        stored,
                    );
                }
                (None, Some(refusal)) => {
                    replies.push(sent.to, self.template.refuse(refusal.clone()));
                }
                (None, None) => {
                    let text = "the store lost count of its records";
                    replies.push(
                        sent.to,
                        self.template
                            .refuse(Reply::error(response_code::SYSTEM_ERROR, text)),
                    );
                }
            }
        }
        if !late.is_empty() {
            let late = Late {
                connection: Arc::clone(connection),
                template: Arc::clone(&self.template),
                sent: late,
                appended: std::mem::take(&mut session.appended),
                unique_keys: std::mem::take(&mut session.unique_keys),
                deadline: Instant::now() + self.settings.flush_timeout,
            };
            late.wait(self.store.flushed(), &self.store);
        } else if waits {
            self.store.ask_for_flush();
        }
        session.batch.clear();
        session.unique_keys.clear();
    }
}

fn multi_tags(topic: &Topic) -> i32 {
    if topic.has_multi_tags() {
        sys_flag::MULTI_TAGS
    } else {
        0
    }
}

fn remember(keys: &mut String, key: &str) -> Range<usize> {
    let start = keys.len();
    keys.push_str(key);
    start..keys.len()
}
