//! Routes as name servers send them, joined.

use super::*;

fn data(json: &str) -> TopicRouteData {
    TopicRouteData::decode(json.as_bytes()).unwrap()
}

const TWO_BROKERS: &str = r#"{"brokerDatas":[
    {"brokerAddrs":{0:"10.0.0.2:10911"},"brokerName":"broker-b","cluster":"c"},
    {"brokerAddrs":{"0":"10.0.0.1:10911","1":"10.0.0.3:10911"},"brokerName":"broker-a","cluster":"c"}],
    "filterServerTable":{},
    "queueDatas":[
    {"brokerName":"broker-b","perm":6,"readQueueNums":1,"writeQueueNums":1,"topicSysFlag":0},
    {"brokerName":"broker-a","perm":6,"readQueueNums":3,"writeQueueNums":2,"topicSysFlag":0}]}"#;

fn names(queues: &[MessageQueue]) -> Vec<String> {
    queues
        .iter()
        .map(|queue| format!("{}:{}", queue.broker_name, queue.queue_id))
        .collect()
}

#[test]
fn queues_are_sorted_by_broker_and_id() {
    let route = TopicRoute::join("T", &data(TWO_BROKERS));
    assert_eq!(
        names(&route.publish),
        ["broker-a:0", "broker-a:1", "broker-b:0"]
    );
    assert_eq!(
        names(&route.subscribe),
        ["broker-a:0", "broker-a:1", "broker-a:2", "broker-b:0"]
    );
    assert!(route.publish.iter().all(|queue| queue.topic == "T"));
    assert_eq!(route.brokers["broker-a"][&1], "10.0.0.3:10911");
}

#[test]
fn producers_need_a_master_and_the_permission_to_write() {
    let mut data = data(TWO_BROKERS);
    data.broker_datas[0].broker_addrs = [(1, "10.0.0.4:10911".to_owned())].into();
    let route = TopicRoute::join("T", &data);
    assert_eq!(
        names(&route.publish),
        ["broker-a:0", "broker-a:1"],
        "broker-b has no master"
    );
    assert_eq!(route.subscribe.len(), 4, "its slave can be read");
    data.queue_datas[1].perm = 4;
    assert_eq!(names(&TopicRoute::join("T", &data).publish), [""; 0]);
    data.queue_datas[1].perm = 2;
    assert_eq!(
        names(&TopicRoute::join("T", &data).subscribe),
        ["broker-b:0"]
    );
}

#[test]
fn queues_of_a_broker_nobody_lists_cannot_be_written() {
    let mut data = data(TWO_BROKERS);
    data.broker_datas.clear();
    assert!(TopicRoute::join("T", &data).publish.is_empty());
}

#[test]
fn an_order_configuration_decides_alone() {
    let mut data = data(TWO_BROKERS);
    data.order_topic_conf = Some("broker-b:2; broker-a:1;broken;other:x".into());
    let route = TopicRoute::join("T", &data);
    assert_eq!(
        names(&route.publish),
        ["broker-b:0", "broker-b:1", "broker-a:0"]
    );
    assert_eq!(route.subscribe.len(), 4);
    data.order_topic_conf = Some(String::new());
    assert_eq!(TopicRoute::join("T", &data).publish.len(), 3);
}

#[test]
fn the_template_lends_its_brokers_with_few_queues() {
    let mut data = data(TWO_BROKERS);
    data.queue_datas[1].read_queue_nums = 8;
    data.queue_datas[1].write_queue_nums = 8;
    let route = TopicRoute::from_template("new", &data, 4);
    assert_eq!(route.publish.len(), 5);
    assert_eq!(route.publish, route.subscribe);
    assert!(route.publish.iter().all(|queue| queue.topic == "new"));
    assert_eq!(
        data.queue_datas[1].read_queue_nums, 8,
        "the template stays as it is"
    );
}

#[test]
fn a_replica_that_is_gone_is_replaced_by_the_next_then_by_any() {
    let addresses: BrokerAddresses = [(0, "m".to_owned()), (2, "s".to_owned())].into();
    assert_eq!(replica(&addresses, 2), Some((2, "s")));
    assert_eq!(replica(&addresses, 1), Some((2, "s")));
    assert_eq!(replica(&addresses, 7), Some((0, "m")));
    assert_eq!(replica(&BrokerAddresses::new(), 0), None);
}

#[test]
fn negative_queue_numbers_are_no_queues() {
    let mut data = data(TWO_BROKERS);
    data.queue_datas[0].write_queue_nums = -1;
    data.queue_datas[0].read_queue_nums = i32::MIN;
    let route = TopicRoute::join("T", &data);
    assert_eq!((route.publish.len(), route.subscribe.len()), (2, 3));
}
