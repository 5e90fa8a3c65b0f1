//! A topic's route, joined: the queues producers may write, the queues consumers read. Pure.

use std::collections::BTreeMap;

use common::wire::body::{QueueData, TopicRouteData};

use crate::MessageQueue;

/// Broker id of a master.
pub const MASTER_ID: i64 = 0;

/// Permission bit of a topic on a broker: consumers may read.
const PERM_READ: i32 = 1 << 2;
/// Permission bit of a topic on a broker: producers may write.
const PERM_WRITE: i32 = 1 << 1;

/// Addresses of a broker by its id: 0 is the master.
pub type BrokerAddresses = BTreeMap<i64, String>;

/// What the client knows about a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicRoute {
    /// Queues to write, sorted by broker name, then queue id.
    pub publish: Vec<MessageQueue>,
    /// Queues to read, sorted likewise.
    pub subscribe: Vec<MessageQueue>,
    /// The brokers of the topic by name.
    pub brokers: BTreeMap<String, BrokerAddresses>,
}

impl TopicRoute {
    /// Joins what the name server says about `topic`.
    ///
    /// Queues to write exist only on brokers that may be written and have a master registered, since only
    /// a master takes messages. An order configuration (`broker:n;broker:n`) overrides all of that.
    pub fn join(topic: &str, data: &TopicRouteData) -> Self {
        let brokers: BTreeMap<String, BrokerAddresses> = data
            .broker_datas
            .iter()
            .map(|broker| (broker.broker_name.clone(), broker.broker_addrs.clone()))
            .collect();
        let has_master =
            |name: &str| (brokers.get(name)).is_some_and(|ids| ids.contains_key(&MASTER_ID));
        let publish = match data.order_topic_conf.as_deref() {
            Some(conf) if !conf.is_empty() => order_queues(topic, conf),
            _ => queues(topic, data, |queue| {
                (queue.perm & PERM_WRITE != 0 && has_master(&queue.broker_name))
                    .then_some(queue.write_queue_nums)
            }),
        };
        let subscribe = queues(topic, data, |queue| {
            (queue.perm & PERM_READ != 0).then_some(queue.read_queue_nums)
        });
        Self {
            publish,
            subscribe,
            brokers,
        }
    }

    /// The route a producer assumes for a topic nobody created yet: that of the template topic, with at most
    /// `queues` queues per broker.
    pub fn from_template(topic: &str, template: &TopicRouteData, queues: i32) -> Self {
        let mut capped = template.clone();
        for data in &mut capped.queue_datas {
            let nums = queues.min(data.read_queue_nums);
            data.read_queue_nums = nums;
            data.write_queue_nums = nums;
        }
        Self::join(topic, &capped)
    }
}

/// Address of the replica with this id, or of the one with the next id, or of any.
pub(crate) fn replica(addresses: &BrokerAddresses, broker_id: i64) -> Option<(i64, &str)> {
    let known = |id: i64| addresses.get_key_value(&id);
    let (id, address) = known(broker_id)
        .or_else(|| known(broker_id.saturating_add(1)))
        .or_else(|| addresses.first_key_value())?;
    Some((*id, address))
}

fn queues(
    topic: &str,
    data: &TopicRouteData,
    count: impl Fn(&QueueData) -> Option<i32>,
) -> Vec<MessageQueue> {
    let mut queues: Vec<MessageQueue> = data
        .queue_datas
        .iter()
        .filter_map(|queue| count(queue).map(|count| (&queue.broker_name, count)))
        .flat_map(|(broker, count)| (0..count).map(move |id| MessageQueue::new(topic, broker, id)))
        .collect();
    queues.sort_by(|a, b| (&a.broker_name, a.queue_id).cmp(&(&b.broker_name, b.queue_id)));
    queues.dedup();
    queues
}

/// Queues of an order configuration, in the order written there. Parts that cannot be read name no queue.
fn order_queues(topic: &str, conf: &str) -> Vec<MessageQueue> {
    conf.split(';')
        .filter_map(|part| {
            let (broker, count) = part.trim().split_once(':')?;
            Some((broker, count.parse::<i32>().ok()?))
        })
        .flat_map(|(broker, count)| (0..count).map(move |id| MessageQueue::new(topic, broker, id)))
        .collect()
}

#[cfg(test)]
mod tests;
