//! The topics every broker has.

use super::perm::{INHERIT, READ_WRITE};
use crate::config::BrokerConfig;
use common::names;
use common::wire::body::TopicConfig;

const BENCHMARK_QUEUES: i32 = 1024;
const CLUSTER_TOPIC_QUEUES: i32 = 16;
/// One queue per delay level.
const SCHEDULE_QUEUES: i32 = 18;
const REVIVE_QUEUES: i32 = 8;

/// The topics a broker creates when it starts.
pub(super) fn topics(config: &BrokerConfig) -> Vec<TopicConfig> {
    let template = |enabled: bool| {
        if enabled {
            READ_WRITE | INHERIT
        } else {
            INHERIT
        }
    };
    let plain = |name: &str| TopicConfig::new(name, 1, READ_WRITE);
    let (cluster_name, broker_name) = (&config.broker_cluster_name, &config.broker_name);
    let revive = format!("{}{cluster_name}", names::REVIVE_LOG_TOPIC_PREFIX);
    let members = format!("{}{broker_name}", names::SYNC_BROKER_MEMBER_TOPIC_PREFIX);
    let mut topics = vec![
        plain(names::SELF_TEST_TOPIC),
        TopicConfig::new(names::BENCHMARK_TOPIC, BENCHMARK_QUEUES, READ_WRITE),
        TopicConfig::new(
            cluster_name,
            CLUSTER_TOPIC_QUEUES,
            template(config.cluster_topic_enable),
        ),
        TopicConfig::new(broker_name, 1, template(config.broker_topic_enable)),
        plain(names::OFFSET_MOVED_EVENT),
        TopicConfig::new(names::SCHEDULE_TOPIC, SCHEDULE_QUEUES, READ_WRITE),
        plain(&names::reply_topic(cluster_name)),
        TopicConfig::new(revive, REVIVE_QUEUES, READ_WRITE),
        TopicConfig::new(members, 1, INHERIT),
        plain(names::TRANS_HALF_TOPIC),
        plain(names::TRANS_OP_HALF_TOPIC),
        plain(names::ROCKSDB_TRANS_HALF_TOPIC),
        plain(names::ROCKSDB_TRANS_OP_HALF_TOPIC),
        plain(names::TIMER_TOPIC),
    ];
    if config.auto_create_topic_enable {
        let queues = i32::try_from(config.default_topic_queue_nums).unwrap_or(i32::MAX);
        let name = names::AUTO_CREATE_TOPIC_KEY_TOPIC;
        topics.push(TopicConfig::new(name, queues, READ_WRITE | INHERIT));
    }
    topics.extend(config.trace_topic().map(plain));
    topics
}
