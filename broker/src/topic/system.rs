//! The topics every broker has.

use super::TopicRules;
use super::perm::{INHERIT, READ_WRITE};
use common::names;
use common::wire::body::TopicConfig;

const BENCHMARK_QUEUES: i32 = 1024;
const CLUSTER_TOPIC_QUEUES: i32 = 16;
/// One queue per delay level.
const SCHEDULE_QUEUES: i32 = 18;
const REVIVE_QUEUES: i32 = 8;

/// The topics a broker creates when it starts.
pub(super) fn topics(rules: &TopicRules) -> Vec<TopicConfig> {
    let template = |enabled: bool| {
        if enabled {
            READ_WRITE | INHERIT
        } else {
            INHERIT
        }
    };
    let plain = |name: &str| TopicConfig::new(name, 1, READ_WRITE);
    let TopicRules {
        cluster_name,
        broker_name,
        ..
    } = rules;
    let revive = format!("{}{cluster_name}", names::REVIVE_LOG_TOPIC_PREFIX);
    let members = format!("{}{broker_name}", names::SYNC_BROKER_MEMBER_TOPIC_PREFIX);
    let mut topics = vec![
        plain(names::SELF_TEST_TOPIC),
        TopicConfig::new(names::BENCHMARK_TOPIC, BENCHMARK_QUEUES, READ_WRITE),
        TopicConfig::new(
            cluster_name,
            CLUSTER_TOPIC_QUEUES,
            template(rules.cluster_topic),
        ),
        TopicConfig::new(broker_name, 1, template(rules.broker_topic)),
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
    if rules.auto_create {
        let default = names::AUTO_CREATE_TOPIC_KEY_TOPIC;
        topics.push(TopicConfig::new(
            default,
            rules.default_queue_nums,
            READ_WRITE | INHERIT,
        ));
    }
    topics.extend(rules.trace_topic.as_deref().map(plain));
    topics
}
