//! Names of topics and groups: what is allowed, what is reserved, and the names derived from them.
//!
//! The texts of [`NameError`] are the remarks clients of RocketMQ know.

/// Longest name of a topic, in characters (all legal ones are ASCII).
pub const TOPIC_MAX_LENGTH: usize = 127;
/// Longest name of a retry or dead letter topic, in characters.
pub const RETRY_OR_DLQ_TOPIC_MAX_LENGTH: usize = 255;
/// Longest name of a group, in characters.
pub const GROUP_MAX_LENGTH: usize = 120;

/// Prefix of the topic that holds the redeliveries of a group.
pub const RETRY_PREFIX: &str = "%RETRY%";
/// Prefix of the topic that holds what a group could not consume.
pub const DLQ_PREFIX: &str = "%DLQ%";
/// Records that say what a broker has delivered; in the log only, no queue holds them.
pub const DELIVERY_NOTE_TOPIC: &str = "rmq_sys_DELIVERY_NOTE";
/// Longest name of a file or directory, in bytes.
const MAX_FILE_NAME: usize = 255;
/// Prefix of light queues, and of groups that read them; neither needs a config.
pub const LIGHT_PREFIX: &str = "%LMQ%";
/// Prefix of topics and groups of the brokers' own.
pub const SYSTEM_TOPIC_PREFIX: &str = "rmq_sys_";
/// Prefix of consumer groups of the brokers' own.
pub const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";

/// Template of topics that are created by the first send to them.
pub const AUTO_CREATE_TOPIC_KEY_TOPIC: &str = "TBW102";
/// Where messages with a delay level wait, one queue per level.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// The group that messages with a delay level are counted for when they are delivered.
pub const SCHEDULE_GROUP: &str = "SCHEDULE_CONSUMER";
/// Topic of load tests.
pub const BENCHMARK_TOPIC: &str = "BenchmarkTest";
/// Half messages of transactions.
pub const TRANS_HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// Which half messages have ended.
pub const TRANS_OP_HALF_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Half messages of the reference's `RocksDB` engine.
pub const ROCKSDB_TRANS_HALF_TOPIC: &str = "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC";
/// Ends of half messages of the reference's `RocksDB` engine.
pub const ROCKSDB_TRANS_OP_HALF_TOPIC: &str = "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC";
/// Half messages that were checked in vain too often.
pub const TRANS_CHECK_MAX_TIME_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// Default name of the topic that clients write their traces to.
pub const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
/// Topic a broker may test itself with.
pub const SELF_TEST_TOPIC: &str = "SELF_TEST_TOPIC";
/// Events about offsets that had to be corrected.
pub const OFFSET_MOVED_EVENT: &str = "OFFSET_MOVED_EVENT";
/// Reserved by the reference's `RocksDB` ConsumeQueues.
pub const CHECKPOINT_TOPIC: &str = "CHECKPOINT_TOPIC";
/// Where messages with a timer wait.
pub const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
/// Prefix of the topic with the acknowledgements of POP; the cluster's name follows.
pub const REVIVE_LOG_TOPIC_PREFIX: &str = "rmq_sys_REVIVE_LOG_";
/// Prefix of the topic for the membership of a broker group; the broker's name follows.
pub const SYNC_BROKER_MEMBER_TOPIC_PREFIX: &str = "rmq_sys_SYNC_BROKER_MEMBER_";
/// Follows a cluster's name in the topic for answers to requesting producers.
pub const REPLY_TOPIC_POSTFIX: &str = "REPLY_TOPIC";
/// Group that reads half messages.
pub const TRANS_GROUP: &str = "CID_RMQ_SYS_TRANS";

/// Names that are system topics on every broker, whatever it is called.
pub const FIXED_SYSTEM_TOPICS: [&str; 12] = [
    AUTO_CREATE_TOPIC_KEY_TOPIC,
    SCHEDULE_TOPIC,
    BENCHMARK_TOPIC,
    TRANS_HALF_TOPIC,
    TRANS_OP_HALF_TOPIC,
    ROCKSDB_TRANS_HALF_TOPIC,
    ROCKSDB_TRANS_OP_HALF_TOPIC,
    TRACE_TOPIC,
    TRANS_CHECK_MAX_TIME_TOPIC,
    SELF_TEST_TOPIC,
    OFFSET_MOVED_EVENT,
    CHECKPOINT_TOPIC,
];

/// Topics that only the broker itself writes to.
const TOPICS_CLOSED_TO_CLIENTS: [&str; 9] = [
    DELIVERY_NOTE_TOPIC,
    SCHEDULE_TOPIC,
    TRANS_HALF_TOPIC,
    TRANS_OP_HALF_TOPIC,
    ROCKSDB_TRANS_HALF_TOPIC,
    ROCKSDB_TRANS_OP_HALF_TOPIC,
    TRANS_CHECK_MAX_TIME_TOPIC,
    SELF_TEST_TOPIC,
    OFFSET_MOVED_EVENT,
];

/// Consumer groups that exist on every broker.
pub const WELL_KNOWN_GROUPS: [&str; 8] = [
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    TRANS_GROUP,
];

/// Why a name is refused. The text goes to the client as the remark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// None, or one of white space.
    #[error("The specified {0} is blank.")]
    Blank(&'static str),
    /// A character that no name may have.
    #[error(
        "The specified {what}: {name}, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"
    )]
    Characters {
        /// `topic` or `group`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// More characters than a name may have.
    #[error("The specified {what}: {name}, is longer than {what} max length: {limit}")]
    Length {
        /// `topic` or `group`.
        what: &'static str,
        /// The name.
        name: String,
        /// Most characters.
        limit: usize,
    },
    /// A retry or dead letter topic of more than [`RETRY_OR_DLQ_TOPIC_MAX_LENGTH`] characters.
    #[error(
        "The specified topic is DLQ or Retry topic: {0}, and it's longer than topic max length: {RETRY_OR_DLQ_TOPIC_MAX_LENGTH}"
    )]
    RetryOrDlqTopicLength(String),
    /// A system topic where only a user's topic will do.
    #[error("The topic[{0}] is conflict with system topic.")]
    SystemTopic(String),
}

/// Whether `topic` may be the name of a topic.
///
/// # Errors
/// The first rule it breaks.
pub fn validate_topic(topic: &str) -> Result<(), NameError> {
    match validate("topic", topic, TOPIC_MAX_LENGTH) {
        Err(NameError::Length { .. }) if is_retry_or_dlq(topic) => {
            if topic.len() > RETRY_OR_DLQ_TOPIC_MAX_LENGTH {
                return Err(NameError::RetryOrDlqTopicLength(topic.to_owned()));
            }
            Ok(())
        }
        other => other,
    }
}

/// Whether `group` may be the name of a group.
///
/// # Errors
/// The first rule it breaks.
pub fn validate_group(group: &str) -> Result<(), NameError> {
    validate("group", group, GROUP_MAX_LENGTH)
}

fn validate(what: &'static str, name: &str, limit: usize) -> Result<(), NameError> {
    // Legal names are by far the most, and for them one pass over the bytes decides it all.
    let legal = is_legal(name);
    if legal && name.len() <= limit {
        return Ok(());
    }
    if name.chars().all(char::is_whitespace) {
        return Err(NameError::Blank(what));
    }
    let name = name.to_owned();
    Err(if legal {
        NameError::Length { what, name, limit }
    } else {
        NameError::Characters { what, name }
    })
}

/// True for topics that only the broker itself writes to.
pub fn is_not_allowed_to_send(topic: &str) -> bool {
    TOPICS_CLOSED_TO_CLIENTS.contains(&topic)
}

/// True for names that are system topics on every broker. A broker has more: those named after itself and its cluster.
pub fn is_fixed_system_topic(topic: &str) -> bool {
    topic.starts_with(SYSTEM_TOPIC_PREFIX) || FIXED_SYSTEM_TOPICS.contains(&topic)
}

/// True for groups that are the broker's own or its tools'.
pub fn is_system_group(group: &str) -> bool {
    group.starts_with(SYSTEM_GROUP_PREFIX) || WELL_KNOWN_GROUPS.contains(&group)
}

/// True for groups of the brokers' own, which may be created even where others may not.
pub fn has_system_group_prefix(group: &str) -> bool {
    group.starts_with(SYSTEM_GROUP_PREFIX)
}

/// A topic or group that needs no config: of a light queue. Messages name them and nobody has checked the names, but they are
/// directories: what can be none is no light queue.
pub fn is_light_queue(name: &str) -> bool {
    name.starts_with(LIGHT_PREFIX) && is_file_name(name)
}

/// Whether a topic can be a directory. Brokers accept no other, but a record may name anything.
pub fn is_file_name(topic: &str) -> bool {
    let reserved = matches!(topic, "" | "." | "..");
    !reserved && topic.len() <= MAX_FILE_NAME && !topic.contains(['/', '\0'])
}

/// True for topics of redeliveries.
pub fn is_retry_topic(topic: &str) -> bool {
    topic.starts_with(RETRY_PREFIX)
}

/// True for dead letter topics.
pub fn is_dlq_topic(topic: &str) -> bool {
    topic.starts_with(DLQ_PREFIX)
}

/// True for topics made for one group: its redeliveries or its dead letters.
pub fn is_retry_or_dlq(topic: &str) -> bool {
    is_retry_topic(topic) || is_dlq_topic(topic)
}

/// The topic of a group's redeliveries.
pub fn retry_topic(group: &str) -> String {
    format!("{RETRY_PREFIX}{group}")
}

/// The group whose redeliveries `topic` holds.
pub fn group_of_retry_topic(topic: &str) -> Option<&str> {
    topic.strip_prefix(RETRY_PREFIX)
}

/// The topic of a group's dead letters.
pub fn dlq_topic(group: &str) -> String {
    format!("{DLQ_PREFIX}{group}")
}

/// The topic of a group's redeliveries by POP from `topic`, in the older form.
pub fn pop_retry_topic_v1(topic: &str, group: &str) -> String {
    format!("{RETRY_PREFIX}{group}_{topic}")
}

/// The topic of a group's redeliveries by POP from `topic`, in the form that can be taken apart again.
pub fn pop_retry_topic_v2(topic: &str, group: &str) -> String {
    format!("{RETRY_PREFIX}{group}+{topic}")
}

/// The topic for answers to requesting producers of a cluster.
pub fn reply_topic(cluster: &str) -> String {
    format!("{cluster}_{REPLY_TOPIC_POSTFIX}")
}

/// Bits of a topic's `topicSysFlag` for a topic that a message in unit mode creates.
pub fn unit_sys_flag(topic: &str, unit_mode: bool) -> i32 {
    const UNIT: i32 = 1;
    const UNIT_SUB: i32 = 2;
    match (unit_mode, is_retry_topic(topic)) {
        (false, _) => 0,
        (true, false) => UNIT,
        (true, true) => UNIT_SUB,
    }
}

fn is_legal(name: &str) -> bool {
    let legal =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'%' | b'|' | b'-' | b'_');
    !name.is_empty() && name.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remark(result: Result<(), NameError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn legal_names_pass() {
        for name in ["a", "t%|-_09azAZ", &"t".repeat(127)] {
            assert_eq!(validate_topic(name), Ok(()), "{name}");
        }
        assert_eq!(validate_group(&"g".repeat(120)), Ok(()));
        assert_eq!(validate_topic(&retry_topic(&"g".repeat(248))), Ok(()));
        assert_eq!(validate_topic(&dlq_topic(&"g".repeat(250))), Ok(()));
    }

    #[test]
    fn refusals_have_the_texts_clients_know() {
        assert_eq!(
            remark(validate_topic("  \t")),
            "The specified topic is blank."
        );
        assert_eq!(
            remark(validate_topic("t\u{e4}s.003")),
            "The specified topic: t\u{e4}s.003, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"
        );
        let long = "a".repeat(128);
        assert_eq!(
            remark(validate_topic(&long)),
            format!("The specified topic: {long}, is longer than topic max length: 127")
        );
        let long = dlq_topic(&"a".repeat(251));
        assert_eq!(
            remark(validate_topic(&long)),
            format!(
                "The specified topic is DLQ or Retry topic: {long}, and it's longer than topic max length: 255"
            )
        );
        assert_eq!(remark(validate_group("")), "The specified group is blank.");
        let long = "g".repeat(121);
        assert_eq!(
            remark(validate_group(&long)),
            format!("The specified group: {long}, is longer than group max length: 120")
        );
    }

    #[test]
    fn system_topics_go_by_name_or_prefix() {
        assert!(is_fixed_system_topic("TBW102") && is_fixed_system_topic("rmq_sys_x"));
        assert!(!is_fixed_system_topic("orders") && !is_fixed_system_topic("DefaultCluster"));
        assert!(is_not_allowed_to_send(SELF_TEST_TOPIC) && !is_not_allowed_to_send("TBW102"));
    }

    #[test]
    fn derived_names() {
        assert_eq!(retry_topic("g"), "%RETRY%g");
        assert_eq!(group_of_retry_topic("%RETRY%g"), Some("g"));
        assert_eq!(dlq_topic("g"), "%DLQ%g");
        assert_eq!(pop_retry_topic_v1("t", "g"), "%RETRY%g_t");
        assert_eq!(pop_retry_topic_v2("t", "g"), "%RETRY%g+t");
        assert_eq!(unit_sys_flag("t", true), 1);
        assert_eq!(unit_sys_flag("%RETRY%g", true), 2);
        assert_eq!(unit_sys_flag("t", false), 0);
    }
}
