//! Pulling: checks, the read, the offsets a pull leaves behind, and the hold at the end of a queue.

mod admit;
mod answer;
mod broadcast;
mod held;

pub use held::HeldPull;

use super::cold::fetch;
use crate::client::{BroadcastOffsets, ConsumerTable};
use crate::config::BrokerConfig;
use crate::metrics::Metrics;
use crate::offset::ConsumerOffsets;
use crate::pull_hold::{Parked, PullHoldService};
use crate::subscription::SubscriptionGroupTable;
use crate::topic::TopicTable;
use admit::Admitted;
use answer::Answer;
use common::clock::Clock;
use common::transport::Connection;
use common::wire::header::{PULL_COMMIT_OFFSET, PULL_SUSPEND, PullMessageRequestHeader};
use common::wire::{Command, Reply, ReplyTo, response_code};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use store::{StoreReader, StoreWriter};

/// Reads of messages that are probably not in memory, at a time; each may wait for the disk on a thread of its own.
/// Further ones are answered by the connection's thread, which slows down those who ask for them.
const MAX_COLD_READS: usize = 64;

/// Longest time a pull is held, whatever it asks for: a connection that is silent for longer is closed as idle.
const MAX_HOLD: Duration = Duration::from_mins(2);

/// The parked pulls of the broker; made before the store is opened, which wakes them.
pub type HeldPulls = Arc<PullHoldService<HeldPull>>;

/// Serves `PULL_MESSAGE` and `LITE_PULL_MESSAGE`.
pub struct PullHandler {
    settings: Settings,
    tables: PullTables,
    store: StoreReader,
    /// Only to get at queues that have no message yet.
    queues: StoreWriter,
    hold: HeldPulls,
    broadcast: Mutex<BroadcastOffsets>,
    cold_reads: AtomicUsize,
    clock: Arc<dyn Clock>,
}

/// The tables a pull looks at.
#[derive(Clone)]
pub struct PullTables {
    /// Topics.
    pub topics: TopicTable,
    /// Groups.
    pub groups: SubscriptionGroupTable,
    /// Committed and pulled offsets, pending resets.
    pub offsets: ConsumerOffsets,
    /// Live consumers and their subscriptions.
    pub consumers: ConsumerTable,
    /// What is delivered.
    pub metrics: Metrics,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the configuration"
)]
struct Settings {
    broker_ip: String,
    readable: bool,
    lite: bool,
    reject_pull_consumers: bool,
    server_side_reset: bool,
    slave_read: bool,
    long_polling: bool,
    short_polling: Duration,
}

/// One pull and where its answer goes.
struct Pull {
    connection: Arc<Connection>,
    to: ReplyTo,
    header: PullMessageRequestHeader,
    lite: bool,
}

impl PullHandler {
    /// A handler that parks pulls in `hold`, which the store wakes.
    pub fn new(
        config: &BrokerConfig,
        tables: PullTables,
        (queues, store): (StoreWriter, StoreReader),
        hold: HeldPulls,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let settings = Settings {
            broker_ip: config.broker_ip1.clone(),
            readable: config.broker_permission & 4 != 0,
            lite: config.lite_pull_message_enable,
            reject_pull_consumers: config.reject_pull_consumer_enable,
            server_side_reset: config.use_server_side_reset_offset,
            slave_read: config.slave_read_enable,
            long_polling: config.long_polling_enable,
            short_polling: Duration::from_millis(config.short_polling_time_mills),
        };
        let broadcast = Mutex::default();
        let cold_reads = AtomicUsize::new(0);
        Arc::new(Self {
            settings,
            tables,
            store,
            queues,
            hold,
            broadcast,
            cold_reads,
            clock,
        })
    }

    /// Serves a pull on the I/O thread of its connection; `None` when it is answered later.
    pub fn handle(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        command: &Command,
        header: PullMessageRequestHeader,
        lite: bool,
    ) -> Option<Reply> {
        let (connection, to) = (Arc::clone(connection), command.reply_to());
        let mut pull = Pull {
            connection,
            to,
            header,
            lite,
        };
        let admitted = match self.admit(&pull) {
            Ok(admitted) => admitted,
            Err(refusal) => return Some(refusal),
        };
        let answer = self.read(&pull, &admitted);
        self.record_progress(&pull, &admitted, &answer);
        if pull.header.sys_flag & PULL_COMMIT_OFFSET != 0 {
            self.commit(&pull.header);
        }
        if answer.outcome.code() == response_code::PULL_NOT_FOUND
            && pull.header.sys_flag & PULL_SUSPEND != 0
        {
            pull = self.park(pull, admitted)?;
            return self.again(pull);
        }
        self.reply(pull, &admitted, answer)
    }

    /// The second and last execution of a pull: no hold, no commit. `None` when it is answered later.
    fn again(self: &Arc<Self>, pull: Pull) -> Option<Reply> {
        let admitted = match self.admit(&pull) {
            Ok(admitted) => admitted,
            Err(refusal) => return Some(refusal),
        };
        let answer = self.read(&pull, &admitted);
        self.record_progress(&pull, &admitted, &answer);
        self.reply(pull, &admitted, answer)
    }

    /// What the request gets: a pending reset, an offset handed over, or what the queue holds.
    fn read(&self, pull: &Pull, admitted: &Admitted) -> Answer {
        let header = &pull.header;
        let (topic, queue_id) = (header.topic.as_str(), admitted.queue_id);
        let reset = self.settings.server_side_reset.then(|| {
            self.tables
                .offsets
                .take_reset(&header.consumer_group, topic, header.queue_id)
        });
        let moved = reset.flatten().or_else(|| self.handed_over(pull, admitted));
        if let Some(next) = moved {
            let min = self.store.min_offset(topic, queue_id);
            return Answer::reset(next, min, self.store.max_offset(topic, queue_id));
        }
        Answer::read(&self.store, header, queue_id, admitted.wanted.filter())
    }

    /// Remembers how far the group has pulled.
    fn record_progress(&self, pull: &Pull, admitted: &Admitted, answer: &Answer) {
        let header = &pull.header;
        self.record_broadcast(pull, admitted, answer);
        self.tables.offsets.pulled(
            &header.consumer_group,
            &header.topic,
            header.queue_id,
            answer.next,
        );
    }

    fn commit(&self, header: &PullMessageRequestHeader) {
        self.tables.offsets.commit(
            &header.consumer_group,
            &header.topic,
            header.queue_id,
            header.commit_offset.unwrap_or(0),
        );
    }

    /// Parks a pull; gives it back when it has to be answered now.
    fn park(self: &Arc<Self>, pull: Pull, admitted: Admitted) -> Option<Pull> {
        let asked = pull.header.suspend_timeout_millis.unwrap_or(0);
        let wait = if self.settings.long_polling {
            Duration::from_millis(u64::try_from(asked).unwrap_or(0)).min(MAX_HOLD)
        } else {
            self.settings.short_polling
        };
        let queue = self.queues.queue(&pull.header.topic, admitted.queue_id);
        let parked = Parked {
            connection: pull.connection.id(),
            offset: u64::try_from(pull.header.queue_offset).unwrap_or(0),
            filter: admitted.wanted.into_filter(),
            deadline: self.hold.now() + wait,
            pull: HeldPull::new(Arc::clone(self), pull),
        };
        self.hold.park(&queue, parked).map(HeldPull::into_pull)
    }

    /// The reply, unless its messages have to be fetched from the disk first: then it is sent later.
    fn reply(self: &Arc<Self>, pull: Pull, admitted: &Admitted, answer: Answer) -> Option<Reply> {
        match answer.found {
            (0, _) => self.tables.metrics.missed(),
            (count, bytes) => {
                let (group, topic) = (&pull.header.consumer_group, &pull.header.topic);
                self.tables
                    .metrics
                    .delivered(group, topic, count as u64, bytes as u64);
            }
        }
        let cold = answer.cold;
        let reply = answer.into_reply(&admitted.topic, &admitted.group, self.settings.slave_read);
        if !cold || !self.begin_cold_read() {
            return Some(reply);
        }
        let handler = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            fetch(&reply.body);
            handler.cold_reads.fetch_sub(1, Ordering::Relaxed);
            pull.connection.reply(pull.to, reply);
        });
        None
    }

    /// True when one more cold read may leave the connection's thread.
    fn begin_cold_read(&self) -> bool {
        let began = self.cold_reads.fetch_add(1, Ordering::Relaxed) < MAX_COLD_READS;
        if !began {
            self.cold_reads.fetch_sub(1, Ordering::Relaxed);
        }
        began
    }
}

#[cfg(test)]
mod tests;
