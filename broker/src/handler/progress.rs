//! Who is connected and how far groups are, as tools ask for it.

use crate::state::State;
use common::wire::Reply;
use common::wire::body::{
    ConsumeStats, ConsumeStatsList, GroupList, MessageQueue, OffsetWrapper, ProducerInfo,
    ProducerTableInfo, QuerySubscriptionResponseBody, TopicList,
};
use common::wire::header::{
    GetBrokerConsumeStatsRequestHeader, GetConsumeStatsRequestHeader, GroupRequestHeader,
    QuerySubscriptionByConsumerRequestHeader, TopicRequestHeader,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// `GET_ALL_CONSUMER_OFFSET`.
pub fn all_offsets(state: &State) -> Reply {
    Reply::ok().with_body(state.offsets.wrapper().encode())
}

/// `GET_CONSUME_STATS`: of the topics named, or of all that the group has offsets of.
pub fn of_group(state: &State, header: &GetConsumeStatsRequestHeader) -> Reply {
    let group = &header.consumer_group;
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let topics = match (given(&header.topic_list), given(&header.topic)) {
        (Some(list), _) => list.split(';').map(str::to_owned).collect(),
        (None, Some(topic)) => vec![topic],
        (None, None) => state.offsets.topics_of(group),
    };
    let mut all = ConsumeStats::default();
    for topic in topics
        .iter()
        .filter_map(|topic| stats_of(state, group, topic))
    {
        all.consume_tps += topic.consume_tps;
        all.offset_table.extend(topic.offset_table);
    }
    Reply::ok().with_body(all.encode())
}

/// `GET_BROKER_CONSUME_STATS`: of every group in every topic it has offsets of.
pub fn of_broker(
    state: &State,
    address: SocketAddr,
    header: &GetBrokerConsumeStatsRequestHeader,
) -> Reply {
    let mut list = ConsumeStatsList {
        broker_addr: address.to_string(),
        ..ConsumeStatsList::default()
    };
    let counts = |topic: &String| {
        !header.is_order || state.topics.get(topic).is_some_and(|topic| topic.order)
    };
    for group in state.groups.names() {
        let topics = state.offsets.topics_of(&group).into_iter().filter(counts);
        let topics = topics.filter_map(|topic| stats_of(state, &group, &topic));
        let topics: Vec<ConsumeStats> = topics.collect();
        for queue in topics.iter().flat_map(|topic| topic.offset_table.values()) {
            list.total_diff += queue.broker_offset - queue.consumer_offset;
            list.total_inflight_diff += queue.pull_offset - queue.consumer_offset;
        }
        let entry = BTreeMap::from([(group.to_string(), topics)]);
        list.consume_stats_list.push(entry);
    }
    Reply::ok().with_body(list.encode())
}

/// How far a group is in a topic; `None` when there is no such topic, or the group is online and does not subscribe to it.
fn stats_of(state: &State, group: &str, topic: &str) -> Option<ConsumeStats> {
    let known = state.topics.get(topic)?;
    if state.clients.consumers.table().has_left(group, topic) {
        return None;
    }
    let settings = state.settings.get();
    let progress = (0..known.read_queue_nums).map(|queue_id| {
        let key = MessageQueue::new(topic, &settings.broker_name, queue_id);
        (key, progress_of(state, group, topic, queue_id))
    });
    Some(ConsumeStats {
        consume_tps: state.metrics.delivery_rate(group, topic),
        offset_table: progress.collect(),
    })
}

fn progress_of(state: &State, group: &str, topic: &str, queue_id: i32) -> OffsetWrapper {
    let consumed = state.offsets.committed(group, topic, queue_id).unwrap_or(0);
    let pulled = state.offsets.pull_offset(group, topic, queue_id);
    let stored = state.stored_at(topic, queue_id, consumed - 1);
    OffsetWrapper {
        broker_offset: state.range(topic, queue_id).1,
        consumer_offset: consumed,
        last_timestamp: stored.unwrap_or(0),
        pull_offset: pulled.unwrap_or(0).max(consumed),
    }
}

/// `QUERY_TOPICS_BY_CONSUMER`: the topics a group has committed offsets of.
pub fn topics_of(state: &State, address: SocketAddr, header: &GroupRequestHeader) -> Reply {
    let list = TopicList {
        broker_addr: Some(address.to_string()),
        topic_list: state.offsets.topics_of(&header.group),
    };
    Reply::ok().with_body(list.encode())
}

/// `QUERY_TOPIC_CONSUME_BY_WHO`: groups that subscribe to a topic or have offsets of it.
pub fn groups_of(state: &State, header: &TopicRequestHeader) -> Reply {
    let online = state.clients.consumers.table().groups_of(&header.topic);
    let all = state.offsets.groups_of(&header.topic).into_iter();
    let all: BTreeSet<String> = all.chain(online).collect();
    let group_list = all.into_iter().collect();
    Reply::ok().with_body(GroupList { group_list }.encode())
}

/// `QUERY_SUBSCRIPTION_BY_CONSUMER`.
pub fn subscription(state: &State, header: &QuerySubscriptionByConsumerRequestHeader) -> Reply {
    let (group, topic) = (header.group.clone(), header.topic.clone());
    let view = state.clients.consumers.table().pull_view(&group, &topic);
    let subscription = view.and_then(|view| view.subscription);
    let body = QuerySubscriptionResponseBody {
        group,
        subscription_data: subscription.map(|subscription| subscription.data.clone()),
        topic,
    };
    Reply::ok().with_body(body.encode())
}

/// `GET_ALL_PRODUCER_INFO`.
pub fn producers(state: &State) -> Reply {
    let (now, monotonic) = (state.clock.now().0, state.clock.monotonic());
    let mut info = ProducerTableInfo::default();
    let table = state.clients.producers.table();
    for group in table.groups() {
        let members = table.members(&group).into_iter();
        let members = members.map(|member| {
            let silent = monotonic.saturating_sub(member.seen).as_millis();
            ProducerInfo {
                client_id: member.client.client_id,
                language: member.client.language.name().to_owned(),
                last_update_timestamp: now - i64::try_from(silent).unwrap_or(0),
                remote_ip: format!("/{}", member.handle.peer()),
                version: member.client.version,
            }
        });
        info.data.insert(group.to_string(), members.collect());
    }
    Reply::ok().with_body(info.encode())
}
