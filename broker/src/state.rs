//! What the broker knows, and where it is kept.

use crate::client::Clients;
use crate::config::BrokerConfig;
use crate::dedup::Deduplication;
use crate::handler::later::Room;
use crate::kv::{Exported as _, Kv, KvAtStart, export_on_change};
use crate::lock::{LOCK_LIFETIME, LockTable};
use crate::metrics::Metrics;
use crate::offset::ConsumerOffsets;
use crate::schedule::DelayOffsets;
use crate::subscription::SubscriptionGroupTable;
use crate::topic::TopicTable;
use common::clock::Clock;
use common::config::Live;
use common::server::Failure;
use std::sync::Arc;
use std::time::Duration;
use store::{StoreReader, StoreWriter};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// Time in which changes of topics or groups are gathered before their file is written for other brokers.
const TABLES_EXPORT: Duration = Duration::from_millis(500);

/// Time between two searches for silent clients.
const CLIENT_SCAN: Duration = Duration::from_secs(10);
/// Time between two rounds of notifications where they are collected.
const COLLECTED_NOTIFICATIONS: Duration = Duration::from_secs(15);
/// Time between two looks for messages that would no longer be recognized, where nothing else does that.
const WINDOW_SWEEP: Duration = Duration::from_secs(10);

/// What requests, pages and figures are answered from. Every part is a handle, and clones share what is behind it.
#[derive(Clone)]
pub struct State {
    /// Settings at the start, by which everything goes that does not look at them again.
    pub config: Arc<BrokerConfig>,
    /// Settings, as they are now.
    pub settings: Arc<Live<BrokerConfig>>,
    /// Topics.
    pub topics: TopicTable,
    /// Consumer groups.
    pub groups: SubscriptionGroupTable,
    /// How far groups are.
    pub offsets: ConsumerOffsets,
    /// How far delay levels are.
    pub delays: DelayOffsets,
    /// Who is connected.
    pub clients: Clients,
    /// Which client consumes a queue in order.
    pub locks: LockTable,
    /// What passed through.
    pub metrics: Metrics,
    /// What is not stored again.
    pub deduplication: Deduplication,
    /// Where messages go.
    pub writer: StoreWriter,
    /// Stored messages.
    pub reader: StoreReader,
    /// Where tables are durable.
    pub kv: Kv,
    /// Room for requests that may wait for the disk.
    pub room: Room,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

impl State {
    /// Opens the tables of a store that is open.
    ///
    /// # Errors
    /// A table cannot be read.
    pub fn open(
        settings: Arc<Live<BrokerConfig>>,
        kv: &mut KvAtStart,
        (writer, reader): (StoreWriter, StoreReader),
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        let config = &settings.get();
        let path = |name| config.store_path_root_dir.join("config").join(name);
        let time = || Arc::clone(&clock);
        let live = || Arc::clone(&settings);
        let topics = TopicTable::open(kv, &path("topics.json"), live(), time());
        let topics = topics.map_err(Failure::store)?;
        let groups =
            SubscriptionGroupTable::open(kv, &path("subscriptionGroup.json"), live(), time());
        let steps = config.consumer_offset_update_version_step;
        let all = path("consumerOffset.json");
        let light = config.enable_lmq.then(|| path("lmqConsumerOffset.json"));
        let offsets = ConsumerOffsets::open(kv, &all, light.as_deref(), steps, time());
        let steps = config.delay_offset_update_version_step;
        let delays = DelayOffsets::open(kv, &path("delayOffset.json"), steps, time());
        let groups = groups.map_err(Failure::store)?;
        Ok(Self {
            metrics: Metrics::new(topics.clone(), time()),
            topics,
            groups,
            offsets: offsets.map_err(Failure::store)?,
            delays: delays.map_err(Failure::store)?,
            clients: Clients::new(config, &clock),
            locks: LockTable::new(time()),
            deduplication: Deduplication::new(config, time()),
            writer,
            reader,
            kv: kv.kv().clone(),
            room: Room::default(),
            config: Arc::clone(config),
            settings,
            clock,
        })
    }

    /// Where a queue begins and ends, as the wire has it: queues that do not exist, negative ones among them, at 0.
    pub fn range(&self, topic: &str, queue_id: i32) -> (i64, i64) {
        let wire = |offset| i64::try_from(offset).unwrap_or(i64::MAX);
        u32::try_from(queue_id).map_or((0, 0), |id| {
            let (min, max) = (
                self.reader.min_offset(topic, id),
                self.reader.max_offset(topic, id),
            );
            (wire(min), wire(max))
        })
    }

    /// When the message at an offset was stored, if there is one.
    pub fn stored_at(&self, topic: &str, queue_id: i32, offset: i64) -> Option<i64> {
        let (queue_id, offset) = (u32::try_from(queue_id).ok()?, u64::try_from(offset).ok()?);
        self.reader.store_time_of(topic, queue_id, offset)
    }

    /// What keeps the tables up to date.
    pub fn tasks(&self) -> JoinSet<()> {
        let config = &self.config;
        let mut tasks = JoinSet::new();
        let clients = self.clients.clone();
        tasks.spawn(every(CLIENT_SCAN, move || clients.expire()));
        let consumers = self.clients.consumers.clone();
        let notify = move || consumers.notify_collected();
        tasks.spawn(every(COLLECTED_NOTIFICATIONS, notify));
        tasks.spawn(self.metrics.clone().run());
        let locks = self.locks.clone();
        tasks.spawn(every(LOCK_LIFETIME, move || locks.forget_expired()));
        let deduplication = self.deduplication.clone();
        tasks.spawn(every(WINDOW_SWEEP, move || deduplication.sweep()));
        let interval = Duration::from_millis(config.flush_consumer_offset_interval);
        tasks.spawn(export_on_change(self.offsets.clone(), interval));
        let interval = Duration::from_millis(config.flush_delay_offset_interval);
        tasks.spawn(export_on_change(self.delays.clone(), interval));
        tasks.spawn(export_on_change(self.topics.clone(), TABLES_EXPORT));
        tasks.spawn(export_on_change(self.groups.clone(), TABLES_EXPORT));
        tasks
    }

    /// Writes the files of the tables for other brokers.
    ///
    /// # Errors
    /// One of them cannot be written.
    pub fn persist(&self) -> Result<(), Failure> {
        self.topics.persist().map_err(Failure::runtime)?;
        self.groups.persist().map_err(Failure::runtime)?;
        self.delays.persist().map_err(Failure::runtime)?;
        self.offsets.persist().map_err(Failure::runtime)
    }
}

/// Does `work` at once and each time `pause` is over, until the task is dropped.
pub async fn every(pause: Duration, mut work: impl FnMut()) {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        work();
    }
}
