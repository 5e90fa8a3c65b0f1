//! Settings of the broker and its store.

mod catalogue;
mod delay_levels;
mod machine;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::config::{Config, ConfigError, Ignored, Refused};
use common::{config, config_enum, names};
use delay_levels::MessageDelayLevel;
use store::{FlushMode, PropertyCrc, RetentionConfig, StoreConfig, TopicSet};

config_enum! {
    /// When a producer is answered.
    pub enum FlushDiskType {
        /// Once its message is in memory; the operating system and a timer bring it to the disk.
        AsyncFlush = "ASYNC_FLUSH",
        /// Once its message is on the disk.
        SyncFlush = "SYNC_FLUSH",
    }
}

config_enum! {
    /// What a broker is in its group. `SLAVE` is known and refused.
    pub enum BrokerRole {
        /// A master that answers producers without waiting for slaves.
        AsyncMaster = "ASYNC_MASTER",
        /// A master that waits for `inSyncReplicas` copies, its own included.
        SyncMaster = "SYNC_MASTER",
    }
}

config! {
    /// Settings of the broker and its store, under the keys of the reference.
    pub struct BrokerConfig {
        /// Cluster the broker belongs to.
        pub broker_cluster_name: String = "brokerClusterName", "DefaultCluster".into();
        /// Name of the broker group; empty: the host name.
        pub broker_name: String = "brokerName", String::new();
        /// Place in the group; a master is always 0.
        pub broker_id: u64 = "brokerId", 0;
        /// Role in the group.
        pub broker_role: BrokerRole = "brokerRole", BrokerRole::AsyncMaster;
        /// Copies `SYNC_MASTER` waits for, the master's own included; more than 1 needs slaves and is refused.
        pub in_sync_replicas: u32 = "inSyncReplicas", 1;
        /// Name servers to register with, `host:port;host:port`; also from the environment variable `NAMESRV_ADDR`.
        pub namesrv_addr: String = "namesrvAddr", String::new();
        /// Address all listeners bind to.
        pub bind_address: IpAddr = "bindAddress", IpAddr::from([0, 0, 0, 0]);
        /// Port of the remoting protocol; the VIP port is 2 lower. 0 is any free one for both.
        pub listen_port: u16 = "listenPort", 10_911;
        /// Port announced to slaves; 0 is `listenPort` + 1.
        pub ha_listen_port: u16 = "haListenPort", 0;
        /// Port of the HTTP pages; 0 is any free one.
        pub http_listen_port: u16 = "httpListenPort", 5557;
        /// Address that clients are told; empty: `bindAddress` if it is a real one, or else the first address of the machine that is not loopback.
        pub broker_ip1: String = "brokerIP1", String::new();
        /// Address that slaves are told; empty: as `brokerIP1`.
        pub broker_ip2: String = "brokerIP2", String::new();
        /// Event loops that serve connections; 0: one for each processor.
        pub server_selector_threads: u32 = "serverSelectorThreads", 0, in 0..=256;
        /// Seconds after which a connection that was silent both ways is closed.
        pub server_channel_max_idle_time_seconds: u32 = "serverChannelMaxIdleTimeSeconds", 120, in 1..=86_400;

        /// Milliseconds between two registrations with the name servers; used between 10,000 and 60,000.
        pub register_name_server_period: u64 = "registerNameServerPeriod", 30_000;
        /// Milliseconds to wait for a name server's answer to a registration.
        pub register_broker_timeout_mills: u64 = "registerBrokerTimeoutMills", 24_000, in 1..=600_000;
        /// Whether every registration is sent; or else only to name servers that do not know the current topics.
        pub force_register: bool = "forceRegister", true;
        /// Whether topics are registered in portions.
        pub enable_split_registration: bool = "enableSplitRegistration", false;
        /// Topics in one portion.
        pub split_registration_size: u32 = "splitRegistrationSize", 800, in 1..=1_000_000;

        /// Whether sending to an unknown topic creates it.
        pub auto_create_topic_enable: bool = "autoCreateTopicEnable", true;
        /// Whether a consumer of an unknown group creates it.
        pub auto_create_subscription_group: bool = "autoCreateSubscriptionGroup", true;
        /// Queues of the topic that new topics are modelled on.
        pub default_topic_queue_nums: u32 = "defaultTopicQueueNums", 8, in 1..=65_536;
        /// Whether the topic named as the cluster may be sent to and modelled on.
        pub cluster_topic_enable: bool = "clusterTopicEnable", true;
        /// Whether the topic named as the broker may be sent to and modelled on.
        pub broker_topic_enable: bool = "brokerTopicEnable", true;
        /// Whether the topic for message traces exists.
        pub trace_topic_enable: bool = "traceTopicEnable", false;
        /// Name of the topic for message traces.
        pub msg_trace_topic_name: String = "msgTraceTopicName", "RMQ_SYS_TRACE_TOPIC".into();
        /// What the broker allows: 4 reads, 2 writes, 6 both.
        pub broker_permission: u32 = "brokerPermission", 6, in 0..=7;
        /// Whether system topics are protected against changes by requests.
        pub validate_system_topic_when_update_topic: bool = "validateSystemTopicWhenUpdateTopic", true;
        /// Whether topics may take messages of several types.
        pub enable_mixed_message_type: bool = "enableMixedMessageType", false;

        /// Whether a topic takes only messages of the type that its attribute `message.type` names, `NORMAL` without it.
        pub enable_topic_message_type_check: bool = "enableTopicMessageTypeCheck", false;

        /// Milliseconds in which a message that is sent again, with the same unique key and body, is answered as the first was and
        /// not stored again; 0: it always is. For topics without the attribute `deduplication.window.ms`.
        pub deduplication_window_ms: u32 = "deduplicationWindowMs", 0, in 0..=86_400_000;
        /// Messages that are remembered for that, some 200 bytes each; with more the oldest are forgotten before their time.
        pub deduplication_max_messages: u32 = "deduplicationMaxMessages", 1_000_000, in 1..=100_000_000;

        /// Largest body of a message, in bytes.
        pub max_message_size: u32 = "maxMessageSize", 4_194_304, in 1..=16_000_000;
        /// Region that producers are told.
        pub region_id: String = "regionId", "DefaultRegion".into();
        /// Whether clients are told to trace messages.
        pub trace_on: bool = "traceOn", true;
        /// Whether half messages of transactions are refused.
        pub reject_transaction_message: bool = "rejectTransactionMessage", false;
        /// Whether replies that are pushed to who asked are stored, too.
        pub store_reply_message_enable: bool = "storeReplyMessageEnable", true;
        /// Milliseconds between two rounds of questions how transactions ended.
        pub transaction_check_interval: u64 = "transactionCheckInterval", 30_000, in 100..=86_400_000;
        /// Age in milliseconds at which a half message is asked about.
        pub transaction_time_out: u64 = "transactionTimeOut", 6_000, in 0..=31_536_000_000;
        /// Checks after which a half message goes to `TRANS_CHECK_MAX_TIME_TOPIC`.
        pub transaction_check_max: u32 = "transactionCheckMax", 15, in 0..=65_535;
        /// Whether a check counts only if a producer of the group was connected, who could be asked; a key of this broker's own.
        pub transaction_check_only_when_producer_online: bool = "transactionCheckOnlyWhenProducerOnline", false;
        /// Milliseconds between two looks whether `transactionMetrics` has to be written.
        pub transaction_metric_flush_interval: u64 = "transactionMetricFlushInterval", 3_000, in 10..=3_600_000;
        /// Time before which messages are refused, in milliseconds since 1970.
        pub start_accept_send_request_time_stamp: i64 = "startAcceptSendRequestTimeStamp", 0;

        /// Whether messages may ask for a time (`TIMER_DELAY_SEC`, `TIMER_DELAY_MS`, `TIMER_DELIVER_MS`).
        pub timer_wheel_enable: bool = "timerWheelEnable", true;
        /// Milliseconds of one slot: timed messages are delivered when theirs is over, so up to this much after their time and never before it.
        pub timer_precision_ms: u32 = "timerPrecisionMs", 1_000, in 1..=1_000;
        /// Most seconds a message may ask to be delivered after.
        pub timer_max_delay_sec: u64 = "timerMaxDelaySec", 259_200, in 1..=315_576_000;
        /// Slots after which a timed message is appended to the log again, so that it outlives its file; half of `fileReservedTime` at most.
        pub timer_roll_window_slot: u32 = "timerRollWindowSlot", 172_800, in 1..=2_147_483_647;
        /// Timed messages of one slot from which on some are refused; twice as many is the most a slot takes.
        pub timer_congest_num_each_slot: u32 = "timerCongestNumEachSlot", 2_147_483_647, in 1..=2_147_483_647;
        /// Whether `TIMER_DEL_UNIQKEY` of a message that cancels another names its topic, too: `topic+key`.
        pub append_topic_for_timer_delete_key: bool = "appendTopicForTimerDeleteKey", false;
        /// Bytes of one `timerlog` file, which a Java broker finds after a stop.
        pub mapped_file_size_timer_log: u64 = "mappedFileSizeTimerLog", 104_857_600, in 1_024..=2_147_483_647;
        /// Whether producers may call timed messages back. The reference has this off.
        pub recall_message_enable: bool = "recallMessageEnable", true;
        /// Whether they may while the broker takes no messages.
        pub allow_recall_when_broker_not_writeable: bool = "allowRecallWhenBrokerNotWriteable", true;

        /// Whether a pull waits for messages as long as the client asks.
        pub long_polling_enable: bool = "longPollingEnable", true;
        /// Milliseconds a pull waits with `longPollingEnable` off.
        pub short_polling_time_mills: u64 = "shortPollingTimeMills", 1_000, in 1..=60_000;
        /// Whether the pull of lite pull consumers is served.
        pub lite_pull_message_enable: bool = "litePullMessageEnable", true;
        /// Whether pulls of groups that only pull are refused.
        pub reject_pull_consumer_enable: bool = "rejectPullConsumerEnable", false;
        /// Whether slow consumers are told to read from a slave.
        pub slave_read_enable: bool = "slaveReadEnable", false;
        /// Whether offsets are reset on the broker.
        pub use_server_side_reset_offset: bool = "useServerSideResetOffset", true;
        /// Most bytes one pull returns of recent messages.
        pub max_transfer_bytes_on_message_in_memory: u32 = "maxTransferBytesOnMessageInMemory", 262_144, in 1..=16_000_000;
        /// Most messages one pull returns of recent messages.
        pub max_transfer_count_on_message_in_memory: u32 = "maxTransferCountOnMessageInMemory", 32, in 1..=65_536;
        /// Most bytes one pull returns of old messages.
        pub max_transfer_bytes_on_message_in_disk: u32 = "maxTransferBytesOnMessageInDisk", 65_536, in 1..=16_000_000;
        /// Most messages one pull returns of old messages.
        pub max_transfer_count_on_message_in_disk: u32 = "maxTransferCountOnMessageInDisk", 8, in 1..=65_536;
        /// Percent of the machine's memory: messages written since count as recent.
        pub access_message_in_memory_max_ratio: u32 = "accessMessageInMemoryMaxRatio", 40, in 0..=100;
        /// Most bytes of ConsumeQueue one pull searches for messages that pass its filter.
        pub max_filter_message_size: u32 = "maxFilterMessageSize", 16_000, in 20..=100_000_000;

        /// Milliseconds without a heartbeat after which a client is gone.
        pub channel_expired_timeout: u64 = "channelExpiredTimeout", 120_000, in 1_000..=86_400_000;
        /// Whether consumers are told at once when others come or go.
        pub notify_consumer_ids_changed_enable: bool = "notifyConsumerIdsChangedEnable", true;
        /// Whether they are told at once, or else every 15 seconds.
        pub real_time_notify_consumer_change: bool = "realTimeNotifyConsumerChange", true;
        /// Milliseconds between two writes of consumer offsets to their file.
        pub flush_consumer_offset_interval: u64 = "flushConsumerOffsetInterval", 5_000, in 10..=3_600_000;
        /// Commits after which the version of the offset table changes.
        pub consumer_offset_update_version_step: u32 = "consumerOffsetUpdateVersionStep", 500, in 1..=1_000_000_000;

        /// Keys that requests cannot change, separated by `;`.
        pub config_black_list: String = "configBlackList", "configBlackList;brokerConfigPath".into();
        /// Milliseconds between two writes of the offsets of delay levels to their file.
        pub flush_delay_offset_interval: u64 = "flushDelayOffsetInterval", 10_000, in 10..=3_600_000;
        /// Deliveries after which the version of the offsets of delay levels changes.
        pub delay_offset_update_version_step: u32 = "delayOffsetUpdateVersionStep", 200, in 1..=1_000_000_000;

        /// Directory of the store.
        pub store_path_root_dir: PathBuf = "storePathRootDir", machine::home().join("store");
        /// Directory of the CommitLog; empty: `commitlog` in the directory of the store.
        pub store_path_commit_log: Option<PathBuf> = "storePathCommitLog", None;
        /// Bytes of one CommitLog file. It must not change once there is a store.
        pub mapped_file_size_commit_log: u64 = "mappedFileSizeCommitLog", 1_073_741_824, in 65_536..=2_147_483_647;
        /// Bytes of one ConsumeQueue file, rounded up to whole units of 20. It must not change once there is a store.
        pub mapped_file_size_consume_queue: u64 = "mappedFileSizeConsumeQueue", 6_000_000, in 20..=2_147_483_640;
        /// Bytes of one ConsumeQueue file of a topic with `queue.type=BatchCQ`, rounded up to whole units of 46. It must not change once there is one.
        pub mapper_file_size_batch_consume_queue: u64 = "mapperFileSizeBatchConsumeQueue", 13_800_000, in 46..=2_147_483_640;
        /// Whether topics and groups called `%LMQ%…`, those of light queues, are there without being created. A change is used from the next start on.
        pub enable_lmq: bool = "enableLmq", false;
        /// Whether messages get into the light queues that their property `INNER_MULTI_DISPATCH` names, too; with `enableLmq`. A change is used from the next start on.
        pub enable_multi_dispatch: bool = "enableMultiDispatch", false;
        /// Whether messages that would make too many light queues are refused.
        pub enable_lmq_quota: bool = "enableLmqQuota", false;
        /// Most light queues with `enableLmqQuota`.
        pub max_lmq_consume_queue_num: u32 = "maxLmqConsumeQueueNum", 20_000;
        /// Whether each unit of a ConsumeQueue leads to an ext unit with the tags code and the store time.
        pub enable_consume_queue_ext: bool = "enableConsumeQueueExt", false;
        /// Bytes of one ConsumeQueueExt file. It must not change once there is one.
        pub mapped_file_size_consume_queue_ext: u64 = "mappedFileSizeConsumeQueueExt", 50_331_648, in 64..=2_147_483_647;
        /// When producers are answered.
        pub flush_disk_type: FlushDiskType = "flushDiskType", FlushDiskType::AsyncFlush;
        /// Milliseconds a producer waits for the disk with `SYNC_FLUSH`; then it is answered `FLUSH_DISK_TIMEOUT`.
        pub sync_flush_timeout: u64 = "syncFlushTimeout", 5_000, in 1..=600_000;
        /// Milliseconds between two flushes of the CommitLog with `ASYNC_FLUSH`.
        pub flush_interval_commit_log: u64 = "flushIntervalCommitLog", 500, in 1..=600_000;
        /// Milliseconds between two flushes of ConsumeQueues.
        pub flush_interval_consume_queue: u64 = "flushIntervalConsumeQueue", 1_000, in 1..=600_000;
        /// Delays of messages that wait, from level 1 on. Queues of waiting messages note when each is due.
        pub message_delay_level: MessageDelayLevel = "messageDelayLevel", MessageDelayLevel::default();
        /// Whether records get a checksum over all of them, at the end of their properties.
        pub enabled_append_prop_crc: bool = "enabledAppendPropCRC", false;
        /// Whether recovery with `checkCRCOnRecover` checks that checksum in place of the one over the body; a record without it ends the CommitLog.
        pub force_verify_prop_crc: bool = "forceVerifyPropCRC", false;
        /// Whether messages can be queried by their keys.
        pub message_index_enable: bool = "messageIndexEnable", true;
        /// Whether keys are written to index files; messages can be queried only if this is on, too.
        pub index_file_write_enable: bool = "indexFileWriteEnable", true;
        /// Most messages a query by key returns.
        pub max_msgs_num_batch: u32 = "maxMsgsNumBatch", 64, in 1..=10_000;
        /// Most messages a query by unique key returns.
        pub default_query_max_num: u32 = "defaultQueryMaxNum", 32, in 1..=10_000;
        /// Hash slots of one index file, 4 bytes each. With another number the index is made again at the start.
        pub max_hash_slot_num: u32 = "maxHashSlotNum", 5_000_000, in 1..=500_000_000;
        /// Entries of one index file, 20 bytes each. With another number the index is made again at the start.
        pub max_index_num: u32 = "maxIndexNum", 20_000_000, in 2..=107_000_000;
        /// Whether the checksums of messages are checked during recovery.
        pub check_crc_on_recover: bool = "checkCRCOnRecover", true;

        /// Hours after which a CommitLog file that is not written any more has expired.
        pub file_reserved_time: u32 = "fileReservedTime", 72, in 0..=1_000_000;
        /// Whether expired files are deleted as soon as they have expired; or else only in the hours of `deleteWhen`.
        pub delete_continuously: bool = "deleteContinuously", true;
        /// Hours of the local day in which expired files are deleted, separated by `;`.
        pub delete_when: String = "deleteWhen", "04".into();
        /// Milliseconds between two looks for expired files and full disks.
        pub clean_resource_interval: u64 = "cleanResourceInterval", 10_000, in 10..=86_400_000;
        /// Milliseconds between two deletions of CommitLog files.
        pub delete_commit_log_files_interval: u64 = "deleteCommitLogFilesInterval", 100, in 0..=600_000;
        /// Milliseconds between two queues of which files are deleted.
        pub delete_consume_queue_files_interval: u64 = "deleteConsumeQueueFilesInterval", 100, in 0..=600_000;
        /// Most CommitLog files deleted at one look.
        pub delete_file_batch_max: u32 = "deleteFileBatchMax", 10, in 1..=1_000_000;
        /// Whether files are deleted before they expire when a disk is too full.
        pub clean_file_forcibly_enable: bool = "cleanFileForciblyEnable", true;
        /// Percent of a disk in use above which expired files are deleted at every hour; used between 10 and 95.
        pub disk_max_used_space_ratio: u32 = "diskMaxUsedSpaceRatio", 75, in 0..=100;
        /// Percent of a disk in use above which files are deleted before they expire; used between 30 and 85.
        pub disk_space_clean_forcibly_ratio: u32 = "diskSpaceCleanForciblyRatio", 85, in 0..=100;
        /// Percent of a disk in use above which messages are refused; used between 35 and 90, but 100 is no limit.
        pub disk_space_warning_level_ratio: u32 = "diskSpaceWarningLevelRatio", 90, in 0..=100;
    }
}

/// Bytes a stored message can have besides its body: fixed fields, addresses, topic and properties.
const RECORD_OVERHEAD_BYTES: u64 = 64 * 1024;

const MAX_INDEX_BYTES: u64 = 0x7FFF_FFFF;

impl BrokerConfig {
    /// Name servers to register with, each `host:port`.
    pub fn name_servers(&self) -> Vec<String> {
        let names = self.namesrv_addr.split([';', ',']).map(str::trim);
        names
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Port of the VIP listener, which serves all but pulls; 0 is any free one.
    pub fn vip_port(&self) -> u16 {
        self.listen_port.saturating_sub(2)
    }

    /// Where the CommitLog is.
    pub fn commit_log(&self) -> PathBuf {
        let named = self.store_path_commit_log.clone();
        named.unwrap_or_else(|| self.store_path_root_dir.join("commitlog"))
    }

    /// True for topics that are the broker's own.
    pub fn is_system_topic(&self, topic: &str) -> bool {
        names::is_fixed_system_topic(topic)
            || topic == self.broker_cluster_name
            || topic == self.broker_name
            || self.trace_topic() == Some(topic)
            || topic == names::reply_topic(&self.broker_cluster_name)
    }

    /// The topic for message traces, if there is one.
    pub fn trace_topic(&self) -> Option<&str> {
        self.trace_topic_enable
            .then_some(self.msg_trace_topic_name.as_str())
    }

    /// Whether messages get into the light queues they name.
    pub fn has_light_queues(&self) -> bool {
        self.enable_lmq && self.enable_multi_dispatch
    }

    /// The settings of the store. To be called on settings that are complete.
    pub fn store(&self) -> StoreConfig {
        let root = self.store_path_root_dir.clone();
        StoreConfig {
            commit_log: self.commit_log(),
            root,
            segment_bytes: self.mapped_file_size_commit_log,
            consume_queue_file_bytes: self.mapped_file_size_consume_queue,
            batch_consume_queue_file_bytes: self.mapper_file_size_batch_consume_queue,
            batch_topics: TopicSet::default(),
            light_queues: self.has_light_queues(),
            consume_queue_ext: self.enable_consume_queue_ext,
            consume_queue_ext_file_bytes: self.mapped_file_size_consume_queue_ext,
            max_message_bytes: size(self.max_message_size),
            flush_mode: match self.flush_disk_type {
                FlushDiskType::AsyncFlush => FlushMode::Async,
                FlushDiskType::SyncFlush => FlushMode::Sync,
            },
            flush_interval: Duration::from_millis(self.flush_interval_commit_log),
            index_interval: Duration::from_millis(self.flush_interval_consume_queue),
            index_keys: self.message_index_enable && self.index_file_write_enable,
            index_slots: self.max_hash_slot_num,
            index_entries: self.max_index_num,
            hot_bytes: machine::memory_bytes() / 100
                * u64::from(self.access_message_in_memory_max_ratio),
            read_bytes: (
                size(self.max_transfer_bytes_on_message_in_memory),
                size(self.max_transfer_bytes_on_message_in_disk),
            ),
            read_messages: (
                size(self.max_transfer_count_on_message_in_memory),
                size(self.max_transfer_count_on_message_in_disk),
            ),
            read_filter_bytes: size(self.max_filter_message_size),
            property_crc: PropertyCrc {
                write: self.enabled_append_prop_crc,
                force: self.force_verify_prop_crc,
            },
            delay_levels: self.message_delay_level.levels.clone(),
            check_crc: self.check_crc_on_recover,
            progress: Arc::default(),
            retention: self.retention(),
            // Everything, until it is known what waits.
            needed_from: Arc::default(),
        }
    }

    /// When old files are deleted.
    pub fn retention(&self) -> RetentionConfig {
        RetentionConfig {
            reserved: Duration::from_hours(self.file_reserved_time.into()),
            hours: hours(&self.delete_when).unwrap_or_default(),
            continuously: self.delete_continuously,
            interval: Duration::from_millis(self.clean_resource_interval),
            segment_pause: Duration::from_millis(self.delete_commit_log_files_interval),
            queue_pause: Duration::from_millis(self.delete_consume_queue_files_interval),
            batch: size(self.delete_file_batch_max),
            clean_forcibly: self.clean_file_forcibly_enable,
            max_used_percent: self.disk_max_used_space_ratio.into(),
            forced_percent: self.disk_space_clean_forcibly_ratio.into(),
            warning_percent: self.disk_space_warning_level_ratio.into(),
        }
    }
}

/// A number of bytes or messages that are in memory at once.
fn size(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// The hours of a text as in `04;16`; `None` when one of them is none.
fn hours(text: &str) -> Option<Vec<u32>> {
    let hour = |text: &str| text.trim().parse().ok().filter(|hour| *hour < 24);
    let parts = text.split(';').filter(|part| !part.trim().is_empty());
    let hours: Vec<u32> = parts.map(hour).collect::<Option<_>>()?;
    (!hours.is_empty()).then_some(hours)
}

impl Config for BrokerConfig {
    const IGNORED: &'static [Ignored] = catalogue::IGNORED;
    const REFUSED: &'static [Refused] = catalogue::REFUSED;

    fn complete(&mut self, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
        if self.broker_name.is_empty() {
            self.broker_name = machine::host_name();
        }
        if self.namesrv_addr.is_empty() {
            self.namesrv_addr = std::env::var("NAMESRV_ADDR").unwrap_or_default();
        }
        if self.broker_ip1.is_empty() {
            self.broker_ip1 = machine::announced_address(self.bind_address).to_string();
        }
        if self.broker_ip2.is_empty() {
            self.broker_ip2.clone_from(&self.broker_ip1);
        }
        if self.ha_listen_port == 0 && self.listen_port != 0 {
            self.ha_listen_port = self.listen_port.saturating_add(1);
        }
        if self.store_path_commit_log.is_none() {
            self.store_path_commit_log = Some(self.commit_log());
        }
        if self.broker_id != 0 {
            warnings.push(format!(
                "brokerId={} is taken as 0: brokerRole={} is a master",
                self.broker_id,
                common::config::ConfigValue::to_text(&self.broker_role)
            ));
            self.broker_id = 0;
        }
        self.mapped_file_size_consume_queue =
            self.mapped_file_size_consume_queue.next_multiple_of(20);
        self.mapper_file_size_batch_consume_queue = self
            .mapper_file_size_batch_consume_queue
            .next_multiple_of(46);
        self.check()
    }
}

impl BrokerConfig {
    /// Rules between several settings.
    fn check(&self) -> Result<(), ConfigError> {
        let broken = |text: String| Err(ConfigError::Conflict(text));
        if self.listen_port != 0 && self.listen_port == self.http_listen_port {
            return broken(format!(
                "listenPort and httpListenPort are both {}: they must differ",
                self.listen_port
            ));
        }
        if self.broker_role == BrokerRole::SyncMaster && self.in_sync_replicas > 1 {
            return broken(format!(
                "brokerRole=SYNC_MASTER with inSyncReplicas={}: messages are not replicated yet, so producers would be promised copies that do not exist; \
                 set inSyncReplicas=1",
                self.in_sync_replicas
            ));
        }
        let record = u64::from(self.max_message_size) + RECORD_OVERHEAD_BYTES;
        if record > self.mapped_file_size_commit_log {
            return broken(format!(
                "maxMessageSize={} does not fit into mappedFileSizeCommitLog={}: the file needs {RECORD_OVERHEAD_BYTES} bytes more than the largest body",
                self.max_message_size, self.mapped_file_size_commit_log
            ));
        }
        if hours(&self.delete_when).is_none() {
            return broken(format!(
                "deleteWhen={}: expected hours from 0 to 23, separated by ; as in 04;16",
                self.delete_when
            ));
        }
        let index = 40 + 4 * u64::from(self.max_hash_slot_num) + 20 * u64::from(self.max_index_num);
        if index > MAX_INDEX_BYTES {
            return broken(format!(
                "maxHashSlotNum={} and maxIndexNum={} make index files of {index} bytes; {MAX_INDEX_BYTES} is the most a Java broker can open",
                self.max_hash_slot_num, self.max_index_num
            ));
        }
        if let Some(path) = &self.store_path_commit_log
            && path.to_string_lossy().contains(',')
        {
            return broken(format!(
                "storePathCommitLog={}: a CommitLog spread over several directories is not supported; name one",
                path.display()
            ));
        }
        for name in self.name_servers() {
            let port = name
                .rsplit_once(':')
                .and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none_or(|port| port == 0) {
                return broken(format!("namesrvAddr: {name} must be host:port"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
