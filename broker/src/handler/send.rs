//! Sending. All sends of a turn are checked and encoded one by one, appended as one batch under one lock, and answered
//! together; under `SYNC_FLUSH` the answers wait for the disk, the connection does not.

mod admit;
mod cold;
mod detour;
mod end_transaction;
mod late;
mod once;
mod properties;
mod push;
mod recall;
mod reply;
mod route;
mod send_back;

use crate::config::BrokerConfig;
use crate::error::{illegal_message, store_reply};
use crate::state::State;
use crate::timer::Timers;
use crate::topic::{MessageType, Topic};
use crate::transaction::{Endings, Half, Transactions, immunity_seconds};
use arc_swap::{ArcSwap, Guard};
use cold::Cold;
use common::message::message_id::UniqueIds;
use common::message::record::RecordParts;
use common::message::{batch, properties as names_of, sys_flag};
use common::transport::{Connection, Replies};
use common::wire::header::SendMessageRequestHeader;
use common::wire::{Command, Reply, ReplyTo, response_code};
use detour::Destination;
use late::Late;
use once::Once;
use parking_lot::Mutex;
use reply::{Answer, Pending, ReplyTemplate};
use route::Routes;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use store::{Appended, FlushMode, QueueKind, RecordBatch};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// A turn's batch is appended early when it has grown to this size, which bounds how long the log stays locked.
const BATCH_BYTES: usize = 1024 * 1024;

/// Serves `SEND_MESSAGE`, `SEND_MESSAGE_V2`, `SEND_BATCH_MESSAGE` and `CONSUMER_SEND_MSG_BACK`.
pub struct SendHandler {
    state: State,
    transactions: Transactions,
    timers: Timers,
    settings: ArcSwap<Settings>,
    store_host: SocketAddr,
    template: Arc<ReplyTemplate>,
    /// Room for replies that are pushed.
    pushes: Arc<Semaphore>,
    highest_level: i32,
    unique_ids: UniqueIds,
    cold: Mutex<Cold>,
}

struct Settings {
    config: Arc<BrokerConfig>,
    /// In bytes.
    max_message_size: usize,
    /// Properties the broker adds to every message, encoded.
    broker_properties: String,
}

impl Settings {
    fn new(config: &Arc<BrokerConfig>) -> Self {
        let mut broker_properties = String::new();
        let trace = if config.trace_on { "true" } else { "false" };
        for (name, value) in [
            (names_of::MSG_REGION, &*config.region_id),
            (names_of::TRACE_SWITCH, trace),
            (names_of::CLUSTER, &config.broker_cluster_name),
        ] {
            names_of::write(&mut broker_properties, name, value);
        }
        Self {
            config: Arc::clone(config),
            max_message_size: usize::try_from(config.max_message_size).unwrap_or(usize::MAX),
            broker_properties,
        }
    }

    /// As topics have it, bit 1 of `brokerPermission` lets messages in.
    fn is_writable(&self) -> bool {
        self.config.broker_permission & 2 != 0
    }

    fn flush_timeout(&self) -> Duration {
        Duration::from_millis(self.config.sync_flush_timeout)
    }
}

/// What a connection keeps for its sends: buffers that are reused turn after turn.
pub struct SendSession {
    routes: Routes,
    /// Topics in which the broker puts messages: its own, and those of what is committed.
    known_topics: Routes,
    batch: RecordBatch,
    pending: Vec<Pending>,
    /// The transactions that some of these end, in their order.
    endings: Endings,
    appended: Vec<Appended>,
    once: Once,
    unique_keys: String,
    properties: String,
    first: First,
}

/// What has to be done before a request can be taken: a topic that comes into being by its use is written to the disk first.
#[derive(Default)]
struct First {
    /// The connection has paused for the request already.
    waited: bool,
    work: Option<Work>,
}

/// Something that may wait for the disk.
pub type Work = Box<dyn FnOnce() + Send>;

impl First {
    /// Leaves the request, which is taken again when `work` is done, unless that was done for it already.
    fn leave(&mut self, work: impl FnOnce() + Send + 'static) -> Result<(), Reply> {
        if self.waited {
            return Ok(());
        }
        self.work = Some(Box::new(work));
        // Nobody gets this.
        Err(Reply::default())
    }
}

impl SendSession {
    /// A request is about to be taken; `waited`: one that the connection has paused for.
    pub fn begin(&mut self, waited: bool) {
        self.first.waited = waited;
    }

    /// What the connection has to pause for, if the request was not taken.
    pub fn take_first(&mut self) -> Option<Work> {
        self.first.work.take()
    }

    /// Puts a request into the turn's batch, to be answered when that is stored, unless there is an answer already; what is
    /// refused leaves nothing behind.
    fn take(
        &mut self,
        to: ReplyTo,
        replies: &mut Replies<'_>,
        request: impl FnOnce(&mut Self) -> Result<Option<Reply>, Reply>,
    ) {
        let (records, ends) = (self.batch.len(), self.endings.len());
        let answer = request(self).unwrap_or_else(|refusal| {
            self.batch.truncate(records);
            self.once.truncate(records);
            self.endings.truncate(ends);
            self.first.work.is_none().then_some(refusal)
        });
        if let Some(answer) = answer {
            replies.push(to, answer);
        }
    }
}

impl SendHandler {
    /// What a new connection keeps for its sends.
    pub fn session(&self) -> SendSession {
        SendSession {
            routes: Routes::default(),
            known_topics: Routes::default(),
            batch: self.state.writer.batch(),
            pending: Vec::new(),
            endings: Endings::new(self.transactions.clone()),
            appended: Vec::new(),
            once: Once::default(),
            unique_keys: String::new(),
            properties: String::new(),
            first: First::default(),
        }
    }

    /// A handler that stores as `store_host`.
    pub fn new(
        state: State,
        (transactions, timers): (Transactions, Timers),
        store_host: SocketAddr,
    ) -> Self {
        let config = &state.config;
        let template = ReplyTemplate::new(store_host, &config.region_id, config.trace_on);
        Self {
            transactions,
            timers,
            settings: ArcSwap::from_pointee(Settings::new(config)),
            store_host,
            template: Arc::new(template),
            pushes: Arc::new(Semaphore::new(push::WAITING_KIB)),
            // As the store has it, which notes in its queues when a message is due.
            highest_level: config.message_delay_level.levels.highest(),
            unique_ids: UniqueIds::new(store_host.ip(), std::process::id(), rand::random()),
            cold: Mutex::default(),
            state,
        }
    }

    /// Goes on with other settings; the region and `traceOn` in answers stay.
    pub fn apply(&self, config: &Arc<BrokerConfig>) {
        self.settings.store(Arc::new(Settings::new(config)));
    }

    fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
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
        session.take(command.reply_to(), replies, |session| {
            let encoded = self.encode(session, connection, command, header, body);
            encoded
                .map(|()| None)
                .map_err(|no| self.template.refuse(no))
        });
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
            known_topics,
            batch,
            pending,
            once,
            unique_keys,
            properties: text,
            first,
            ..
        } = session;
        let route = routes.find(&self.state.topics, header.topic, || {
            self.topic(header, connection, first)
        })?;
        let asked = Self::queue_id(header, &route.topic, connection)?;
        text.clear();
        let sent = properties::read(header.properties, text);
        let dead_letter = self.dead_letter_topic(header, command.version, first)?;
        let kind = self.check(header, &route.topic, &sent, body)?;
        if sent.priority.is_some() && sent.forbids_priority() {
            *text = names_of::without(text, &[names_of::PRIORITY]);
        }
        let (topic, queue) = match &dead_letter {
            None => {
                let queue_id = sent.queue_of_priority(&route.topic).unwrap_or(asked);
                let queue = route.queue(&self.state.writer, queue_id);
                (&route.topic, queue)
            }
            Some(dead) => {
                *text = names_of::with(text, names_of::DELAY, "-1");
                (dead, self.state.writer.queue(&dead.topic_name, 0))
            }
        };
        let begin = batch.len();
        let parts = self.parts(header, (topic, queue.id()), connection, body);
        let mut detour = None;
        let mut inner = None;
        let unique_key = if header.batch {
            if queue.kind() == QueueKind::Batch && sent.unique_key.is_some() {
                inner = Some(self.push_whole(batch, &queue, &parts, text)?);
            } else {
                self.push_each(batch, &queue, &parts)?;
            }
            sent.unique_key.map(|key| remember(unique_keys, key))
        } else {
            let key = self.complete_properties(text, &sent, unique_keys);
            if sent.is_special() && dead_letter.is_none() {
                let to = Destination {
                    topic: parts.topic,
                    queue_id: parts.queue_id,
                    sys_flag: parts.sys_flag,
                    unique_key: &unique_keys[key.clone()],
                };
                let half = sent.is_half(header.reconsume_times);
                detour = self.detour(known_topics, &sent, half, to, text)?;
            }
            let stored_in = detour.as_ref().map_or(&queue, |detour| &detour.queue);
            let parts = RecordParts {
                topic: stored_in.topic(),
                queue_id: stored_in.id(),
                sys_flag: detour.as_ref().map_or(parts.sys_flag, |d| d.sys_flag),
                properties: text,
                ..parts
            };
            batch
                .push(stored_in, &parts)
                .map_err(|error| self.refuse_record(&error))?;
            Some(key)
        };
        let kind = detour.as_ref().map_or(kind, |detour| detour.kind);
        let place = (begin, pending.len());
        let content = (header.batch && inner.is_none(), sent.unique_key, body);
        self.note(once, &route.topic, batch, place, content);
        let recall_handle = detour.as_ref().and_then(|of| of.handle(unique_keys));
        let half = (kind == MessageType::Transaction && detour.is_some())
            .then(|| (Arc::clone(topic), sent.immunity.map_or(0, immunity_seconds)));
        let topic = detour.map_or_else(|| Arc::clone(topic), |detour| detour.topic);
        let (answer, records) = ((command.reply_to(), Answer::Sent), begin..batch.len());
        pending.push(Pending {
            unique_key,
            inner,
            recall_handle,
            wait: sent.wait,
            half,
            ..Pending::new(answer, (kind, Some(topic)), queue.id(), records)
        });
        Ok(())
    }

    /// The record of a send, without its properties.
    fn parts<'a>(
        &self,
        header: &SendMessageRequestHeader<'_>,
        (topic, queue_id): (&'a Topic, u32),
        connection: &Connection,
        body: &'a [u8],
    ) -> RecordParts<'a> {
        let multi_tags = if topic.has_multi_tags() {
            sys_flag::MULTI_TAGS
        } else {
            0
        };
        RecordParts {
            topic: &topic.topic_name,
            queue_id,
            flag: header.flag,
            sys_flag: header.sys_flag | multi_tags,
            born_timestamp: header.born_timestamp,
            born_host: connection.peer(),
            store_host: self.store_host,
            reconsume_times: header.reconsume_times,
            prepared_transaction_offset: 0,
            body,
            properties: "",
        }
    }

    /// Every message of a batch becomes a record of its own, with its own flag and exactly its own properties.
    fn push_each(
        &self,
        batch: &mut RecordBatch,
        queue: &Arc<store::Queue>,
        outer: &RecordParts<'_>,
    ) -> Result<(), Reply> {
        let first = batch.len();
        batch.begin_group();
        let pushed = batch::split(outer.body).try_for_each(|message| {
            let message = message.map_err(|error| broken_batch(&error))?;
            let parts = RecordParts {
                flag: message.flag,
                body: message.body,
                properties: message.properties,
                ..*outer
            };
            let pushed = batch.push(queue, &parts);
            pushed.map_err(|error| self.refuse_record(&error))
        });
        batch.end_group();
        match pushed {
            Ok(()) if batch.len() == first => Err(empty_batch()),
            pushed => pushed,
        }
    }

    /// A whole batch becomes one record, as it came; returns how many messages it has.
    fn push_whole(
        &self,
        batch: &mut RecordBatch,
        queue: &Arc<store::Queue>,
        outer: &RecordParts<'_>,
        text: &mut String,
    ) -> Result<u32, Reply> {
        let mut messages = 0;
        for message in batch::split(outer.body) {
            message.map_err(|error| broken_batch(&error))?;
            messages += 1;
        }
        if messages == 0 {
            return Err(empty_batch());
        }
        if messages > batch::MAX_INNER_MESSAGES {
            return Err(illegal_message(self.settings().max_message_size));
        }
        *text = names_of::with(text, names_of::INNER_NUM, &messages.to_string());
        text.push_str(&self.settings().broker_properties);
        let parts = RecordParts {
            sys_flag: outer.sys_flag | sys_flag::NEED_UNWRAP | sys_flag::INNER_BATCH,
            properties: text,
            ..*outer
        };
        batch
            .push(queue, &parts)
            .map_err(|error| self.refuse_record(&error))?;
        Ok(messages)
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
            let key = self.unique_ids.next(self.state.clock.now());
            names_of::write(text, names_of::UNIQUE_KEY, &key);
            remember(keys, &key)
        };
        if !text.is_empty() && !text.ends_with(char::from(names_of::VALUE_END)) {
            text.push(char::from(names_of::VALUE_END));
        }
        text.push_str(&self.settings().broker_properties);
        key
    }

    fn refuse_record(&self, error: &store::StoreError) -> Reply {
        store_reply(error, self.settings().max_message_size)
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
        let op = self.push_op(session);
        session.appended.clear();
        let outcome = self.append(session);
        let refusal = outcome.err().map(|error| self.refuse_record(&error));
        let refusal = || refusal.clone().unwrap_or_else(Self::lost);
        let waits = self.state.writer.flush_mode() == FlushMode::Sync;
        self.open_halves(session);
        Self::finish_ends(session, op);
        let mut late = Vec::new();
        for sent in session.pending.drain(..) {
            let stored = session.appended.get(sent.records.clone());
            sent.count(stored.unwrap_or(&[]), |record| {
                !session.once.is_repeat(record)
            });
            if sent.to.oneway {
                continue;
            }
            match stored {
                Some(_) if waits && sent.wait => late.push(sent),
                Some(stored) => {
                    self.template.write(
                        replies.buffer(),
                        &sent,
                        response_code::SUCCESS,
                        &session.unique_keys,
                        stored,
                    );
                }
                None => replies.push(sent.to, self.template.refuse(refusal())),
            }
        }
        if !late.is_empty() {
            let end = session.appended.iter().map(Appended::end).max();
            let late = Late {
                connection: Arc::clone(connection),
                template: Arc::clone(&self.template),
                sent: late,
                end: end.unwrap_or(0),
                appended: std::mem::take(&mut session.appended),
                unique_keys: std::mem::take(&mut session.unique_keys),
                deadline: Instant::now() + self.settings().flush_timeout(),
            };
            late.wait(self.state.writer.flushed(), &self.state.writer);
        } else if waits {
            self.state.writer.ask_for_flush();
        }
        session.batch.clear();
        session.once.clear();
        session.unique_keys.clear();
    }

    /// Takes note of the half messages that were stored.
    fn open_halves(&self, session: &SendSession) {
        let halves = session.pending.iter().filter_map(|sent| {
            let first = sent.records.start;
            let (topic, immunity_s) = sent.half.as_ref()?;
            let stored = session.appended.get(first)?;
            (!session.once.is_repeat(first)).then(|| Half {
                offset: stored.queue_offset.0,
                first: stored.queue_offset.0,
                since: stored.store_timestamp,
                immunity_s: *immunity_s,
                checks: 0,
                topic: &topic.topic_name,
            })
        });
        self.transactions.opened(halves);
    }

    fn lost() -> Reply {
        Reply::error(
            response_code::SYSTEM_ERROR,
            "the store lost count of its records",
        )
    }
}

fn broken_batch(error: &batch::BatchError) -> Reply {
    Reply::error(response_code::SYSTEM_ERROR, error.to_string())
}

fn empty_batch() -> Reply {
    Reply::error(response_code::SYSTEM_ERROR, "the batch holds no message")
}

fn remember(keys: &mut String, key: &str) -> Range<usize> {
    let start = keys.len();
    keys.push_str(key);
    start..keys.len()
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
