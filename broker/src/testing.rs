//! For tests: a store and the tables around it, in a directory of their own.

use crate::config::BrokerConfig;
use crate::kv::Kv;
use crate::state::State;
use crate::timer::Timers;
use crate::transaction::Transactions;
use common::clock::{Clock, SystemClock};
use common::wire::body::TopicConfig;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use store::{Arrivals, DiskFiles, Queue, RecordBatch, RecordParts, StoreTasks};

struct Nobody;

impl Arrivals for Nobody {
    fn arrived(&self, _: &Arc<Queue>, _: u64, _: i64, _: i64) {}
}

/// What most handlers need.
pub struct Stored {
    pub state: State,
    pub transactions: Transactions,
    pub timers: Timers,
    _tasks: StoreTasks,
    _directory: tempfile::TempDir,
}

impl Deref for Stored {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl Stored {
    pub fn new() -> Self {
        Self::with(BrokerConfig::default())
    }

    pub fn with(config: BrokerConfig) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        Self::on(config, clock, Arc::new(Nobody))
    }

    /// The tables are on `clock`, the store on that of the system.
    pub fn on(config: BrokerConfig, clock: Arc<dyn Clock>, arrivals: Arc<dyn Arrivals>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = BrokerConfig {
            broker_name: "b".to_owned(),
            store_path_root_dir: directory.path().join("store"),
            mapped_file_size_commit_log: 8 << 20,
            ..config
        };
        let store_clock = Arc::new(SystemClock::new());
        let files = Arc::new(DiskFiles);
        let (writer, reader, tasks) =
            store::open(config.store(), files, store_clock, arrivals).unwrap();
        let mut kv = Kv::open(&directory.path().join("kv")).unwrap();
        let settings = Arc::new(config.into());
        let state = State::open(settings, &mut kv, (writer, reader), clock).unwrap();
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let (reader, time) = (|| state.reader.clone(), || Arc::clone(&state.clock));
        let timers = Timers::open(&kv, &state.config, reader(), Arc::default(), time()).unwrap();
        let transactions = Transactions::open(
            Arc::clone(&state.settings),
            &kv,
            &state.offsets,
            (reader(), host),
            time(),
        )
        .unwrap();
        transactions.begin(&state.writer).unwrap();
        Self {
            state,
            transactions,
            timers,
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
