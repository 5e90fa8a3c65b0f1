//! For tests: a store and the tables around it, in a directory of their own.

use crate::config::BrokerConfig;
use crate::kv::Kv;
use crate::metrics::Metrics;
use crate::offset::ConsumerOffsets;
use crate::subscription::SubscriptionGroupTable;
use crate::topic::{TopicRules, TopicTable};
use common::clock::{Clock, SystemClock};
use common::wire::body::TopicConfig;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use store::{
    Arrivals, DiskFiles, Queue, RecordBatch, RecordParts, StoreReader, StoreTasks, StoreWriter,
};

struct Nobody;

impl Arrivals for Nobody {
    fn arrived(&self, _: &Arc<Queue>, _: u64, _: i64, _: i64) {}
}

/// What most handlers need.
pub struct Stored {
    pub topics: TopicTable,
    pub groups: SubscriptionGroupTable,
    pub offsets: ConsumerOffsets,
    pub metrics: Metrics,
    pub writer: StoreWriter,
    pub reader: StoreReader,
    pub clock: Arc<dyn Clock>,
    _tasks: StoreTasks,
    _directory: tempfile::TempDir,
}

impl Stored {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = BrokerConfig {
            broker_name: "b".to_owned(),
            store_path_root_dir: directory.path().join("store"),
            mapped_file_size_commit_log: 8 << 20,
            ..BrokerConfig::default()
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let time = || Arc::clone(&clock);
        let (writer, reader, tasks) = store::open(
            config.store(),
            Arc::new(DiskFiles),
            time(),
            Arc::new(Nobody),
        )
        .unwrap();
        let path = |name| directory.path().join(name);
        let mut kv = Kv::open(&path("kv")).unwrap();
        let topics = TopicTable::open(
            &mut kv,
            &path("topics.json"),
            TopicRules::new(&config),
            time(),
        )
        .unwrap();
        Self {
            groups: SubscriptionGroupTable::open(&mut kv, &path("groups.json"), true, time())
                .unwrap(),
            offsets: ConsumerOffsets::open(&mut kv, &path("offsets.json"), 500, time()).unwrap(),
            metrics: Metrics::new(topics.clone(), time()),
            topics,
            writer,
            reader,
            clock,
            _tasks: tasks,
            _directory: directory,
        }
    }

    pub fn create(&self, topic: &str, queues: i32) {
        self.topics
            .update(TopicConfig::new(topic, queues, 6))
            .unwrap();
    }

    /// Stores a message and counts it, as a send does; gives back its record's length.
    pub fn send(&self, topic: &str, queue_id: u32, body: &[u8]) -> u64 {
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let parts = RecordParts {
            topic,
            queue_id,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 0,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            properties: "",
        };
        let before = self.reader.status().max_physical;
        let (mut batch, mut appended) = (RecordBatch::default(), Vec::new());
        batch
            .push(&self.writer.queue(topic, queue_id), &parts)
            .unwrap();
        self.writer.append_batch(&mut batch, &mut appended).unwrap();
        let bytes = self.reader.status().max_physical - before;
        let topic = self.topics.get(topic).unwrap();
        topic
            .counters()
            .stored(crate::topic::MessageType::Normal, 1, bytes);
        bytes
    }
}
