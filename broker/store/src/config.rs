//! Settings of the store.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::consume_queue::QueueKind;
use crate::consume_queue::ext::MIN_FILE_BYTES;
use crate::error::StoreError;
use crate::open::RecoveryProgress;
use crate::schedule::DelayLevels;

/// When a message counts as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushMode {
    /// Once it is in the page cache; a timer brings it to the disk.
    Async,
    /// Once it is on the disk.
    Sync,
}

/// Checksums over whole records, which stand at the end of their properties.
#[derive(Debug, Clone, Copy, Default)]
pub struct PropertyCrc {
    /// Whether records get one.
    pub write: bool,
    /// Whether recovery verifies it in place of the body's checksum; a record without it ends the log.
    pub force: bool,
}

/// Topics that somebody else knows; asked when a queue is new.
#[derive(Clone, Default)]
pub struct TopicSet(Option<Arc<Contains>>);

type Contains = dyn Fn(&str) -> bool + Send + Sync;

impl TopicSet {
    /// The topics for which `contains` says so.
    pub fn new(contains: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(contains)))
    }

    /// Whether `topic` is one of them.
    pub fn contains(&self, topic: &str) -> bool {
        self.0.as_ref().is_some_and(|contains| contains(topic))
    }
}

impl fmt::Debug for TopicSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TopicSet")
    }
}

/// Settings of a store.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a setting of its own"
)]
pub struct StoreConfig {
    /// Directory of everything but the log.
    pub root: PathBuf,
    /// Directory of the log's segments.
    pub commit_log: PathBuf,
    /// Bytes of a segment. Must not change once there is a store.
    pub segment_bytes: u64,
    /// Bytes of a ConsumeQueue file, a multiple of 20. Must not change once there is a store.
    pub consume_queue_file_bytes: u64,
    /// Bytes of a file of a queue for whole batches, a multiple of 46. Must not change once there is
    /// one.
    pub batch_consume_queue_file_bytes: u64,
    /// Topics whose new queues are for whole batches.
    pub batch_topics: TopicSet,
    /// Whether messages get into the light queues they name, too.
    pub light_queues: bool,
    /// Whether units lead to ext units.
    pub consume_queue_ext: bool,
    /// Bytes of a `ConsumeQueueExt` file. Must not change once there is one.
    pub consume_queue_ext_file_bytes: u64,
    /// Largest body in bytes.
    pub max_message_bytes: usize,
    /// When a message counts as stored.
    pub flush_mode: FlushMode,
    /// Time between two syncs of the log under [`FlushMode::Async`].
    pub flush_interval: Duration,
    /// Time between two writes of ConsumeQueues and checkpoint.
    pub index_interval: Duration,
    /// Whether messages are found by their keys.
    pub index_keys: bool,
    /// Slots of an index file. An index of another shape is made again.
    pub index_slots: u32,
    /// Entries of an index file, the unused first one included.
    pub index_entries: u32,
    /// Messages stored within so many bytes before the end count as being in memory.
    pub hot_bytes: u64,
    /// Most bytes one read returns of messages in memory, and of others.
    pub read_bytes: (usize, usize),
    /// Most messages one read returns of messages in memory, and of others.
    pub read_messages: (usize, usize),
    /// Most bytes of ConsumeQueue units one read looks at.
    pub read_filter_bytes: usize,
    /// Delays of messages that wait, by level.
    pub delay_levels: DelayLevels,
    /// Checksums over whole records.
    pub property_crc: PropertyCrc,
    /// Verify checksums of bodies while recovering.
    pub check_crc: bool,
    /// Where opening the store tells how far it is.
    pub progress: Arc<RecoveryProgress>,
    /// When old files go.
    pub retention: RetentionConfig,
    /// One more than the position from which on segments do not expire: something that waits there is still needed. 0 while
    /// nobody has said so; then none expires. Changes as it goes on.
    pub needed_from: Arc<AtomicU64>,
}

/// When old files go, and when nothing more is taken.
#[derive(Debug, Clone)]
pub struct RetentionConfig {
    /// A segment not written for so long has expired.
    pub reserved: Duration,
    /// Hours of the local day in which expired segments go.
    pub hours: Vec<u32>,
    /// Expired segments go at every hour.
    pub continuously: bool,
    /// Time between two looks.
    pub interval: Duration,
    /// Time between two deletions of segments.
    pub segment_pause: Duration,
    /// Time between two queues of which files are deleted.
    pub queue_pause: Duration,
    /// Most segments one look deletes.
    pub batch: usize,
    /// Segments go before they expire when a disk is too full.
    pub clean_forcibly: bool,
    /// Percent of a disk in use above which expired segments go at every hour; used between 10 and
    /// 95.
    pub max_used_percent: u64,
    /// Percent above which segments go before they expire; used between 30 and 85.
    pub forced_percent: u64,
    /// Percent above which nothing more is taken; used between 35 and 90, but 100 is no limit.
    pub warning_percent: u64,
}

impl Default for RetentionConfig {
    /// The reference's, but that expired segments go at every hour.
    fn default() -> Self {
        Self {
            reserved: Duration::from_hours(72),
            hours: vec![4],
            continuously: true,
            interval: Duration::from_secs(10),
            segment_pause: Duration::from_millis(100),
            queue_pause: Duration::from_millis(100),
            batch: 10,
            clean_forcibly: true,
            max_used_percent: 75,
            forced_percent: 85,
            warning_percent: 90,
        }
    }
}

impl RetentionConfig {
    pub(crate) fn max_used_percent(&self) -> u64 {
        self.max_used_percent.clamp(10, 95)
    }

    pub(crate) fn forced_percent(&self) -> u64 {
        self.forced_percent.clamp(30, 85)
    }

    pub(crate) fn warning_percent(&self) -> u64 {
        match self.warning_percent {
            100 => 100,
            percent => percent.clamp(35, 90),
        }
    }
}

impl StoreConfig {
    /// The reference's defaults below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self {
            commit_log: root.join("commitlog"),
            root,
            segment_bytes: 1 << 30,
            consume_queue_file_bytes: 300_000 * 20,
            batch_consume_queue_file_bytes: 300_000 * 46,
            batch_topics: TopicSet::default(),
            light_queues: false,
            consume_queue_ext: false,
            consume_queue_ext_file_bytes: 48 << 20,
            max_message_bytes: 4 << 20,
            flush_mode: FlushMode::Async,
            flush_interval: Duration::from_millis(500),
            index_interval: Duration::from_secs(1),
            index_keys: true,
            index_slots: 5_000_000,
            index_entries: 20_000_000,
            hot_bytes: 8 << 30,
            read_bytes: (256 << 10, 64 << 10),
            read_messages: (32, 8),
            read_filter_bytes: 16_000,
            delay_levels: DelayLevels::default(),
            property_crc: PropertyCrc::default(),
            check_crc: true,
            progress: Arc::default(),
            retention: RetentionConfig::default(),
            needed_from: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }

    /// Refuses what no store can be made of.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        /// Positions within a segment are 31-bit numbers on disk.
        const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 256..=0x7FFF_FFFF;
        /// A broker of the reference maps an index file as a whole.
        const INDEX_BYTES: u64 = 0x7FFF_FFFF;
        let refuse = |problem: String| Err(StoreError::Config { problem });
        if !SEGMENT_BYTES.contains(&self.segment_bytes) {
            let bytes = self.segment_bytes;
            return refuse(format!(
                "CommitLog files of {bytes} bytes; 256 to 2147483647 work"
            ));
        }
        let (slots, entries) = (self.index_slots, self.index_entries);
        let bytes = 40 + 4 * u64::from(slots) + 20 * u64::from(entries);
        if slots == 0 || entries < 2 || bytes > INDEX_BYTES {
            return refuse(format!(
                "index files of {slots} slots and {entries} entries; at least 1 and 2, together \
                 no more than {INDEX_BYTES} bytes, work"
            ));
        }
        for (kind, file_bytes) in [
            (QueueKind::Simple, self.consume_queue_file_bytes),
            (QueueKind::Batch, self.batch_consume_queue_file_bytes),
        ] {
            let unit_bytes = kind.unit_bytes() as u64;
            if file_bytes == 0 || !file_bytes.is_multiple_of(unit_bytes) {
                return refuse(format!(
                    "{kind:?} ConsumeQueue files of {file_bytes} bytes; multiples of {unit_bytes} work"
                ));
            }
        }
        let file_bytes = self.consume_queue_ext_file_bytes;
        if file_bytes < MIN_FILE_BYTES {
            return refuse(format!(
                "ConsumeQueueExt files of {file_bytes} bytes; {MIN_FILE_BYTES} are needed"
            ));
        }
        Ok(())
    }
}
