use common::wire::body::TopicConfigSerializeWrapper;

use super::*;

const NOW: Millis = Millis(1_000_000);

/// A table and the helpers that keep the tests short. Every registration gets a data version of its own.
struct Bench {
    table: RouteTable,
    settings: NameserverConfig,
    versions: i64,
}

fn bench() -> Bench {
    Bench {
        table: RouteTable::default(),
        settings: NameserverConfig::default(),
        versions: 0,
    }
}

fn registration(broker: &str, id: i64, addr: &str, topics: &[TopicConfig]) -> Registration {
    let table = topics
        .iter()
        .map(|topic| (topic.topic_name.clone(), topic.clone()));
    Registration {
        header: RegisterBrokerRequestHeader {
            cluster_name: "c".into(),
            broker_addr: addr.into(),
            broker_name: broker.into(),
            broker_id: id,
            ha_server_addr: format!("ha-{addr}"),
            enable_acting_master: Some(false),
            ..RegisterBrokerRequestHeader::default()
        },
        topics: TopicConfigSerializeWrapper {
            topic_config_table: table.collect(),
            ..TopicConfigSerializeWrapper::default()
        },
        filter_servers: Some(Vec::new()),
    }
}

fn acting(mut registration: Registration) -> Registration {
    registration.header.enable_acting_master = Some(true);
    registration
}

fn of_cluster(cluster: &str, mut registration: Registration) -> Registration {
    registration.header.cluster_name = cluster.into();
    registration
}

fn acting_masters(shown: bool) -> NameserverConfig {
    NameserverConfig {
        support_acting_master: shown,
        ..NameserverConfig::default()
    }
}

fn topic(name: &str, perm: i32) -> TopicConfig {
    TopicConfig::new(name, 4, perm)
}

fn two() -> Vec<TopicConfig> {
    vec![topic("t1", 6), topic("t2", 6)]
}

impl Bench {
    fn try_register(
        &mut self,
        mut registration: Registration,
    ) -> Result<Registered, SingleTopicFirst> {
        if registration.topics.data_version.counter == 0 {
            self.versions += 1;
            registration.topics.data_version.counter = self.versions;
        }
        self.table
            .register(registration, ConnectionId(1), NOW, &self.settings)
    }

    fn register(&mut self, registration: Registration) -> Registered {
        self.try_register(registration).unwrap()
    }

    fn unregister(&mut self, broker: &str, addr: &str) -> Option<MinBrokerIdChange> {
        let broker_name = broker.to_owned();
        self.table.unregister(&Unregistration {
            broker: BrokerAddress::new("c", addr),
            broker_name,
        })
    }

    fn perm(&self, topic: &str, broker: &str) -> Option<i32> {
        self.table
            .topics
            .get(topic)?
            .get(broker)
            .map(|queues| queues.perm)
    }

    fn addrs(&self, broker: &str) -> Vec<(i64, String)> {
        let group = self.table.brokers.get(broker);
        group
            .map(|group| group.broker_addrs.clone().into_iter().collect())
            .unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        let table = &self.table;
        table.topics.is_empty()
            && table.brokers.is_empty()
            && table.clusters.is_empty()
            && table.live.is_empty()
            && table.filter_servers.is_empty()
            && table.mappings.is_empty()
    }
}

#[test]
fn a_registered_broker_is_in_its_topics_routes_and_leaves_no_trace() {
    let mut b = bench();
    let mut first = registration("b", 0, "a:1", &two());
    first.filter_servers = Some(vec!["f:1".into()]);
    let mapping = TopicQueueMappingInfo {
        bname: "b".into(),
        topic: "t1".into(),
        ..Default::default()
    };
    first
        .topics
        .topic_queue_mapping_info_map
        .insert("t1".into(), mapping.clone());
    assert_eq!(
        b.register(first),
        Registered {
            first: true,
            ..Registered::default()
        }
    );
    let route = b.table.route("t1", &b.settings, None).unwrap();
    assert_eq!(route.broker_datas.len(), 1);
    assert_eq!(route.queue_datas[0].read_queue_nums, 4);
    assert_eq!(route.filter_server_table["a:1"], ["f:1"]);
    assert_eq!(route.topic_queue_mapping_by_broker.unwrap()["b"], mapping);
    assert_eq!(b.table.route("t3", &b.settings, None), None);
    assert_eq!(b.unregister("b", "a:1"), None);
    assert!(b.is_empty());
}

#[test]
fn an_empty_filter_list_forgets_the_servers_and_no_list_keeps_them() {
    let mut b = bench();
    let mut first = registration("b", 0, "a:1", &two());
    first.filter_servers = Some(vec!["f:1".into()]);
    b.register(first);
    let mut ancient = registration("b", 0, "a:1", &two());
    ancient.filter_servers = None;
    b.register(ancient);
    assert_eq!(b.table.filter_servers.len(), 1);
    b.register(registration("b", 0, "a:1", &two()));
    assert!(b.table.filter_servers.is_empty());
}

#[test]
fn a_single_topic_before_the_full_table_is_refused_and_changes_nothing() {
    let mut b = bench();
    let single = || registration("b", 0, "a:1", &[topic("t3", 6)]);
    assert_eq!(b.try_register(single()), Err(SingleTopicFirst));
    assert!(b.is_empty());
    b.register(registration("b", 0, "a:1", &two()));
    b.register(single());
    assert_eq!(b.table.topics(), ["t1", "t2", "t3"]);
}

#[test]
fn an_equal_data_version_only_adds_what_is_missing() {
    let mut b = bench();
    let versioned = |counter, topics: &[TopicConfig]| {
        let mut registration = registration("b", 0, "a:1", topics);
        registration.topics.data_version.counter = counter;
        registration
    };
    b.register(versioned(77, &two()));
    b.register(versioned(77, &[topic("t1", 4), topic("t3", 6)]));
    assert_eq!((b.perm("t1", "b"), b.perm("t3", "b")), (Some(6), Some(6)));
    b.register(versioned(78, &[topic("t1", 4), topic("t3", 6)]));
    assert_eq!((b.perm("t1", "b"), b.perm("t2", "b")), (Some(4), Some(6)));
}

#[test]
fn absent_topics_go_only_when_so_configured_and_without_static_topics() {
    let mut b = bench();
    b.register(registration("b", 0, "a:1", &two()));
    b.register(registration(
        "b",
        0,
        "a:1",
        &[topic("t2", 6), topic("t3", 6)],
    ));
    assert_eq!(b.table.topics(), ["t1", "t2", "t3"]);
    b.settings.delete_topic_with_broker_registration = true;
    let mut mapped = registration("b", 0, "a:1", &[topic("t2", 6), topic("t3", 6)]);
    mapped
        .topics
        .topic_queue_mapping_info_map
        .insert("t2".into(), TopicQueueMappingInfo::default());
    b.register(mapped);
    assert_eq!(b.table.topics(), ["t1", "t2", "t3"]);
    b.register(registration(
        "b",
        0,
        "a:1",
        &[topic("t2", 6), topic("t3", 6)],
    ));
    assert_eq!(b.table.topics(), ["t2", "t3"]);
}

#[test]
fn an_address_has_one_id_and_a_new_address_takes_an_id_over() {
    let mut b = bench();
    b.register(registration("b", 1, "a:1", &two()));
    b.register(registration("b", 0, "a:1", &two()));
    assert_eq!(b.addrs("b"), [(0, "a:1".to_owned())]);
    b.register(registration("b", 0, "a:2", &two()));
    assert_eq!(b.addrs("b"), [(0, "a:2".to_owned())]);
    // What is left of the displaced address goes without touching the group.
    let displaced = b.table.leaving(&BrokerAddress::new("c", "a:1"));
    assert_eq!(b.table.unregister(&displaced), None);
    assert_eq!(b.addrs("b"), [(0, "a:2".to_owned())]);
    assert_eq!(b.table.live.len(), 1);
}

#[test]
fn a_lower_state_version_does_not_take_an_id_over() {
    let mut b = bench();
    let of_state = |addr, state| {
        let mut registration = registration("b", 0, addr, &two());
        registration.topics.data_version.state_version = state;
        registration
    };
    b.register(of_state("a:1", 9));
    assert_eq!(b.register(of_state("a:2", 8)), Registered::default());
    assert_eq!(b.addrs("b"), [(0, "a:1".to_owned())]);
    assert!(!b.table.live.contains_key(&BrokerAddress::new("c", "a:2")));
    b.register(of_state("a:1", 7));
    assert_eq!(b.addrs("b"), [(0, "a:1".to_owned())]);
    b.register(of_state("a:2", 7));
    assert_eq!(b.addrs("b"), [(0, "a:2".to_owned())]);
}

#[test]
fn a_slave_learns_its_living_master_and_its_topics_are_not_taken() {
    let mut b = bench();
    let alone = b.register(registration("b", 1, "a:2", &two())).answer;
    assert_eq!(alone, RegisterBrokerResponseHeader::default());
    b.register(registration("b", 0, "a:1", &two()));
    let slave = registration("b", 1, "a:2", &[topic("t1", 4), topic("t9", 6)]);
    let master = RegisterBrokerResponseHeader {
        master_addr: Some("a:1".into()),
        ha_server_addr: Some("ha-a:1".into()),
    };
    assert_eq!(b.register(slave).answer, master);
    assert_eq!((b.perm("t1", "b"), b.perm("t9", "b")), (Some(6), None));
}

#[test]
fn only_a_slave_of_a_broker_since_5_0_speaks_for_a_group_without_master() {
    let mut b = bench();
    let mut old = registration("old", 1, "a:1", &two());
    old.header.enable_acting_master = None;
    b.register(old);
    assert_eq!(b.perm("t1", "old"), None);
    b.register(registration("new", 1, "a:2", &two()));
    assert_eq!(b.perm("t1", "new"), Some(6));
    b.register(acting(registration("acting", 2, "a:3", &two())));
    assert_eq!(b.perm("t1", "acting"), Some(4));
    b.register(acting(registration(
        "acting",
        3,
        "a:4",
        &[topic("t1", 6), topic("t9", 6)],
    )));
    assert_eq!(
        (b.perm("t1", "acting"), b.perm("t9", "acting")),
        (Some(4), None)
    );
}

#[test]
fn an_acting_master_is_read_only_and_presented_as_master_until_the_master_is_back() {
    let mut b = bench();
    b.register(acting(registration("b", 0, "a:1", &two())));
    b.register(acting(registration("b", 2, "a:2", &two())));
    b.unregister("b", "a:1");
    assert_eq!(b.perm("t1", "b"), Some(4));
    let shown = |b: &Bench, topic: &str, acting| {
        let settings = acting_masters(acting);
        let route = b.table.route(topic, &settings, None).unwrap();
        route.broker_datas[0]
            .broker_addrs
            .clone()
            .into_iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(&b, "t1", false), [(2, "a:2".to_owned())]);
    assert_eq!(shown(&b, "t1", true), [(0, "a:2".to_owned())]);
    assert_eq!(
        b.table.member_group("c", "b").broker_addrs,
        [(2, "a:2".to_owned())].into()
    );
    b.register(acting(registration("b", 0, "a:1", &two())));
    assert_eq!(b.perm("t1", "b"), Some(6));
    assert_eq!(
        shown(&b, "t1", true),
        [(0, "a:1".to_owned()), (2, "a:2".to_owned())]
    );
}

#[test]
fn topics_between_brokers_never_show_an_acting_master() {
    let mut b = bench();
    let name = "rmq_sys_SYNC_BROKER_MEMBER_b";
    b.register(acting(registration(
        "b",
        1,
        "a:2",
        &[topic(name, 6), topic("t1", 6)],
    )));
    let route = b.table.route(name, &acting_masters(true), None).unwrap();
    assert_eq!(
        route.broker_datas[0].broker_addrs,
        [(1, "a:2".to_owned())].into()
    );
}

#[test]
fn without_acting_master_a_dead_master_leaves_slaves_and_permissions() {
    let mut b = bench();
    b.register(registration("b", 0, "a:1", &two()));
    b.register(registration("b", 1, "a:2", &two()));
    b.unregister("b", "a:1");
    assert_eq!(b.perm("t1", "b"), Some(6));
    let route = b.table.route("t1", &acting_masters(true), None).unwrap();
    assert_eq!(
        route.broker_datas[0].broker_addrs,
        [(1, "a:2".to_owned())].into()
    );
}

#[test]
fn a_new_smallest_id_is_told_to_the_rest() {
    let mut b = bench();
    b.register(registration("b", 1, "a:2", &two()));
    b.register(registration("b", 2, "a:3", &two()));
    let change = b
        .register(registration("b", 0, "a:1", &two()))
        .min_broker_id_change
        .unwrap();
    assert_eq!(
        (
            change.what.min_broker_id,
            change.what.min_broker_addr.as_deref()
        ),
        (Some(0), Some("a:1"))
    );
    assert_eq!(change.notify, ["a:2", "a:3"]);
    assert_eq!(
        (change.what.offline_broker_addr, change.what.ha_broker_addr),
        (None, Some("ha-a:1".into()))
    );
    assert_eq!(
        b.register(registration("b", 0, "a:1", &two()))
            .min_broker_id_change,
        None
    );
    assert_eq!(b.unregister("b", "a:3"), None);
    let change = b.unregister("b", "a:1").unwrap();
    assert_eq!(
        (change.what.min_broker_id, change.notify),
        (Some(1), vec!["a:2".to_owned()])
    );
    assert_eq!(change.what.offline_broker_addr.as_deref(), Some("a:1"));
    assert_eq!(b.unregister("b", "a:2"), None);
    assert!(b.is_empty());
}

#[test]
fn a_closed_connection_takes_its_brokers_and_no_others() {
    let mut b = bench();
    let mut over = |broker: &str, addr: &str, connection| {
        let registration = registration(broker, 0, addr, &two());
        b.table
            .register(registration, ConnectionId(connection), NOW, &b.settings)
            .unwrap();
    };
    over("b1", "a:1", 1);
    over("b2", "a:2", 1);
    over("b3", "a:3", 1);
    over("b3", "a:3", 2);
    let disconnect = |b: &mut Bench, connection| -> Vec<String> {
        let lost = b.table.disconnect(ConnectionId(connection));
        let mut lost: Vec<String> = lost.into_iter().map(|lost| lost.broker.addr).collect();
        lost.sort_unstable();
        lost
    };
    assert_eq!(disconnect(&mut b, 3), [""; 0]);
    assert_eq!(disconnect(&mut b, 1), ["a:1", "a:2"]);
    assert_eq!(
        b.table.system_topics().into_iter().collect::<Vec<_>>(),
        ["b3", "c"]
    );
    assert_eq!(disconnect(&mut b, 2), ["a:3"]);
    assert!(b.is_empty());
}

#[test]
fn a_broker_expires_after_its_own_timeout_since_its_last_sign_of_life() {
    let mut b = bench();
    let mut quick = registration("b1", 0, "a:1", &two());
    quick.header.heartbeat_timeout_millis = Some(3000);
    b.register(quick);
    b.register(registration("b2", 0, "a:2", &two()));
    let expire = |b: &mut Bench, after: i64| -> Vec<String> {
        let expired = b.table.expire(Millis(NOW.0 + after));
        expired
            .into_iter()
            .map(|expired| expired.broker.addr)
            .collect()
    };
    assert_eq!(expire(&mut b, 3000), [""; 0]);
    b.table
        .heartbeat(&BrokerAddress::new("c", "a:1"), Millis(NOW.0 + 1000));
    b.table.heartbeat(&BrokerAddress::new("x", "a:1"), NOW);
    assert_eq!(b.table.live.len(), 2);
    assert_eq!(expire(&mut b, 4000), [""; 0]);
    assert_eq!(expire(&mut b, 4001), ["a:1"]);
    assert_eq!((b.addrs("b1"), b.perm("t1", "b1")), (Vec::new(), None));
    assert_eq!(expire(&mut b, 120_000), [""; 0]);
    assert_eq!(expire(&mut b, 120_001), ["a:2"]);
    assert!(b.is_empty());
}

#[test]
fn data_versions_differ_in_any_of_three_numbers() {
    let mut b = bench();
    let version = DataVersion {
        counter: 5,
        state_version: 0,
        timestamp: 17,
    };
    let broker = BrokerAddress::new("c", "a:1");
    assert!(b.table.is_data_version_changed(&broker, &version));
    let mut first = registration("b", 0, "a:1", &two());
    first.topics.data_version = version;
    b.register(first);
    assert!(!b.table.is_data_version_changed(&broker, &version));
    assert_eq!(b.table.data_version(&broker), Some(version));
    for other in [
        DataVersion {
            counter: 6,
            ..version
        },
        DataVersion {
            state_version: 1,
            ..version
        },
        DataVersion {
            timestamp: 1,
            ..version
        },
    ] {
        assert!(b.table.is_data_version_changed(&broker, &other));
    }
}

#[test]
fn write_permission_is_taken_bitwise_and_given_as_read_and_write() {
    let mut b = bench();
    b.register(registration(
        "b",
        0,
        "a:1",
        &[topic("t1", 6), topic("t2", 7), topic("t3", 2)],
    ));
    let perms = |b: &Bench| ["t1", "t2", "t3"].map(|topic| b.perm(topic, "b").unwrap());
    assert_eq!(b.table.set_write_permission("b", false), 3);
    assert_eq!(perms(&b), [4, 5, 0]);
    assert_eq!(b.table.set_write_permission("b", true), 3);
    assert_eq!(perms(&b), [6, 6, 6]);
    assert_eq!(b.table.set_write_permission("nobody", false), 0);
}

#[test]
fn a_topic_is_deleted_in_one_cluster_or_everywhere() {
    let mut b = bench();
    b.register(registration("b1", 0, "a:1", &two()));
    b.register(of_cluster("d", registration("b2", 0, "a:2", &two())));
    b.table.delete_topic("t1", Some("nowhere"));
    assert_eq!((b.perm("t1", "b1"), b.perm("t1", "b2")), (Some(6), Some(6)));
    b.table.delete_topic("t1", Some("c"));
    assert_eq!((b.perm("t1", "b1"), b.perm("t1", "b2")), (None, Some(6)));
    b.table.delete_topic("t1", Some("d"));
    b.table.delete_topic("t2", None);
    b.table.delete_topic("t3", None);
    assert_eq!(b.table.topics(), [""; 0]);
}

#[test]
fn a_topic_can_be_added_to_known_brokers_only() {
    let mut b = bench();
    b.register(registration("b", 0, "a:1", &two()));
    let queues = |broker: &str| QueueData {
        broker_name: broker.into(),
        perm: 6,
        ..QueueData::default()
    };
    assert!(b.table.register_topic("t3", vec![queues("b")]));
    assert!(!b.table.register_topic("t4", vec![queues("b"), queues("x")]));
    assert!(b.table.register_topic("t5", Vec::new()));
    assert_eq!(b.table.topics(), ["t1", "t2", "t3"]);
}

#[test]
fn a_zone_keeps_its_own_brokers_and_those_without_master() {
    let mut b = bench();
    let zoned = |broker: &str, id, addr: &str, zone: &str| {
        let mut zoned = registration(broker, id, addr, &two());
        zoned.header.zone_name = Some(zone.to_owned());
        zoned.filter_servers = Some(vec![format!("f-{addr}")]);
        zoned
    };
    b.register(zoned("b1", 0, "a:1", "zoneA"));
    b.register(zoned("b2", 0, "a:2", "zoneB"));
    b.register(zoned("b3", 1, "a:3", "zoneB"));
    b.register(registration("b4", 0, "a:4", &two()));
    assert_eq!(
        b.table
            .route("t1", &b.settings, None)
            .unwrap()
            .broker_datas
            .len(),
        4
    );
    let route = b.table.route("t1", &b.settings, Some("ZONEa")).unwrap();
    let groups: Vec<&str> = route
        .broker_datas
        .iter()
        .map(|group| group.broker_name.as_str())
        .collect();
    let queues: Vec<&str> = route
        .queue_datas
        .iter()
        .map(|queues| queues.broker_name.as_str())
        .collect();
    assert_eq!(
        (groups.as_slice(), queues),
        (["b1", "b3"].as_slice(), vec!["b1", "b3"])
    );
    assert_eq!(
        route.filter_server_table.into_keys().collect::<Vec<_>>(),
        ["a:1", "a:3"]
    );
}

#[test]
fn lists_are_by_cluster_and_by_flag() {
    let mut b = bench();
    let flagged = |flag| TopicConfig {
        topic_sys_flag: flag,
        ..topic(&format!("u{flag}"), 6)
    };
    b.register(registration(
        "b1",
        0,
        "a:1",
        &[flagged(0), flagged(1), flagged(2), flagged(3)],
    ));
    b.register(of_cluster("d", registration("b2", 0, "a:2", &two())));
    let table = &b.table;
    assert_eq!(table.unit_topics(), ["u1", "u3"]);
    assert_eq!(table.unit_sub_topics(), ["u2", "u3"]);
    assert_eq!(table.unit_sub_ununit_topics(), ["u2"]);
    assert_eq!(table.topics_of_cluster("d"), ["t1", "t2"]);
    assert_eq!(table.topics_of_cluster("x"), [""; 0]);
    assert_eq!(table.topics().len(), 6);
    assert_eq!(
        table.system_topics().into_iter().collect::<Vec<_>>(),
        ["b1", "b2", "c", "d"]
    );
    assert_eq!(table.any_broker_addr(), Some("a:1"));
    assert_eq!(
        (
            table.topics.len(),
            table.clusters.len(),
            table.brokers.len()
        ),
        (6, 2, 2)
    );
    let info = table.cluster_info();
    assert_eq!(info.cluster_addr_table["d"], ["b2".to_owned()].into());
    assert_eq!(info.broker_addr_table["b1"].broker_addrs[&0], "a:1");
}
