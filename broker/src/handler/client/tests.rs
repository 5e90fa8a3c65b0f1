use super::*;
use crate::client::testing::{Client, Loopback, Served};
use crate::config::BrokerConfig;
use crate::testing::Stored;
use common::wire::body::{MessageModel, ProducerData, SubscriptionData, SubscriptionGroupConfig};
use common::wire::header::ConsumerGroupRequestHeader;
use common::wire::{LanguageCode, request_code as code};

struct World(Stored);

impl World {
    fn new(config: &BrokerConfig) -> Arc<Self> {
        Arc::new(Self(Stored::with(config.clone())))
    }
}

impl Served for World {
    fn answer(
        &self,
        connection: &Arc<Connection>,
        command: &Command,
        body: &[u8],
    ) -> Option<Reply> {
        let state = &self.0.state;
        Some(match command.code {
            code::HEART_BEAT => super::heartbeat(state, connection, command, body),
            code::UNREGISTER_CLIENT => {
                super::unregister(state, connection, &command.header().unwrap())
            }
            code::CHECK_CLIENT_CONFIG => check_config(body),
            code::GET_CONSUMER_LIST_BY_GROUP => consumer_list(state, &command.header().unwrap()),
            code::GET_CONSUMER_CONNECTION_LIST => {
                consumer_connections(state, &command.header().unwrap())
            }
            code::GET_PRODUCER_CONNECTION_LIST => {
                producer_connections(state, &command.header().unwrap())
            }
            other => Reply::not_supported(other),
        })
    }

    fn closed(&self, connection: &Connection) {
        self.0.clients.closed(connection);
    }
}

fn consumer(group: &str, topics: &[&str]) -> ConsumerData {
    let subscription = |topic: &&str| SubscriptionData {
        topic: (*topic).to_owned(),
        sub_string: "*".to_owned(),
        sub_version: 1,
        ..SubscriptionData::default()
    };
    ConsumerData {
        group_name: group.to_owned(),
        subscription_data_set: topics.iter().map(subscription).collect(),
        ..ConsumerData::default()
    }
}

fn heartbeat(client_id: &str, consumers: Vec<ConsumerData>) -> HeartbeatData {
    HeartbeatData {
        client_id: client_id.to_owned(),
        consumer_data_set: consumers,
        ..HeartbeatData::default()
    }
}

async fn beat(client: &Client, data: HeartbeatData) -> HeartbeatResponseHeader {
    let mut command = Command::request(code::HEART_BEAT);
    (command.language, command.version) = (LanguageCode::GO, 317);
    let (answer, body) = client.call(command, data.encode()).await;
    assert_eq!(
        (answer.code, &answer.remark),
        (response_code::SUCCESS, &None)
    );
    assert!(body.is_empty());
    answer.header().unwrap()
}

async fn members(client: &Client, group: &str) -> Option<Vec<String>> {
    let header = ConsumerGroupRequestHeader {
        consumer_group: group.to_owned(),
    };
    let command = Command::request(code::GET_CONSUMER_LIST_BY_GROUP).with(&header);
    let (answer, body) = client.call(command, "").await;
    if answer.code != response_code::SUCCESS {
        assert_eq!(
            answer.remark,
            Some(format!("no consumer for this group, {group}"))
        );
        return None;
    }
    Some(
        ConsumerListByGroupResponseBody::decode(&body)
            .unwrap()
            .consumer_id_list,
    )
}

async fn changed_group(client: &mut Client) -> String {
    let pushed = client.pushed().await;
    assert_eq!(pushed.code, code::NOTIFY_CONSUMER_IDS_CHANGED);
    assert!(pushed.is_oneway());
    pushed
        .header::<ConsumerGroupRequestHeader>()
        .unwrap()
        .consumer_group
}

fn unregister(consumer_group: Option<&str>) -> Command {
    let header = UnregisterClientRequestHeader {
        client_id: Some("c".to_owned()),
        producer_group: None,
        consumer_group: consumer_group.map(str::to_owned),
    };
    Command::request(code::UNREGISTER_CLIENT).with(&header)
}

#[tokio::test]
async fn members_hear_of_those_that_join_leave_or_vanish() {
    let loopback = Loopback::serve(World::new(&BrokerConfig::default()));
    let (mut a, mut b, c) = (loopback.client(), loopback.client(), loopback.client());
    beat(&a, heartbeat("a", vec![consumer("g", &["t"])])).await;
    assert_eq!(changed_group(&mut a).await, "g");
    beat(&a, heartbeat("a", vec![consumer("g", &["t"])])).await;
    beat(&b, heartbeat("b", vec![consumer("g", &["t"])])).await;
    assert_eq!(
        (changed_group(&mut a).await, changed_group(&mut b).await),
        ("g".into(), "g".into())
    );
    beat(&c, heartbeat("c", vec![consumer("g", &["t"])])).await;
    assert_eq!(
        (changed_group(&mut a).await, changed_group(&mut b).await),
        ("g".into(), "g".into())
    );
    assert_eq!(members(&a, "g").await.unwrap(), ["a", "b", "c"]);
    drop(c);
    assert_eq!(
        (changed_group(&mut a).await, changed_group(&mut b).await),
        ("g".into(), "g".into())
    );
    let (answer, _) = b.call(unregister(Some("g")), "").await;
    assert_eq!((answer.code, answer.remark), (response_code::SUCCESS, None));
    assert_eq!(changed_group(&mut a).await, "g");
    assert_eq!(members(&b, "g").await.unwrap(), ["a"]);
    assert!(a.is_silent() && b.is_silent());
    a.call(unregister(Some("g")), "").await;
    assert_eq!(members(&a, "g").await, None);
    assert_eq!(
        a.call(unregister(None), "").await.0.code,
        response_code::SUCCESS
    );
}

#[tokio::test]
async fn notifications_can_be_switched_off() {
    let config = BrokerConfig {
        notify_consumer_ids_changed_enable: false,
        ..Default::default()
    };
    let loopback = Loopback::serve(World::new(&config));
    let mut a = loopback.client();
    beat(&a, heartbeat("a", vec![consumer("g", &["t"])])).await;
    assert_eq!(members(&a, "g").await.unwrap(), ["a"]);
    assert!(a.is_silent());
}

#[tokio::test]
async fn collected_notifications_come_with_the_next_round() {
    let config = BrokerConfig {
        real_time_notify_consumer_change: false,
        ..Default::default()
    };
    let world = World::new(&config);
    let loopback = Loopback::serve(Arc::clone(&world));
    let (mut a, b) = (loopback.client(), loopback.client());
    beat(&a, heartbeat("a", vec![consumer("g", &["t"])])).await;
    beat(&b, heartbeat("b", vec![consumer("g", &["t"])])).await;
    assert_eq!(members(&a, "g").await.unwrap(), ["a", "b"]);
    assert!(a.is_silent());
    world.0.clients.consumers.notify_collected();
    assert_eq!(changed_group(&mut a).await, "g");
    world.0.clients.consumers.notify_collected();
    assert_eq!(members(&a, "g").await.unwrap(), ["a", "b"]);
    assert!(a.is_silent());
}

#[tokio::test]
async fn a_heartbeat_makes_group_and_retry_topic() {
    let world = World::new(&BrokerConfig::default());
    let loopback = Loopback::serve(Arc::clone(&world));
    let config = SubscriptionGroupConfig {
        retry_queue_nums: 3,
        ..SubscriptionGroupConfig::new("g")
    };
    world.0.groups.update(config).unwrap();
    let a = loopback.client();
    let unit = ConsumerData {
        unit_mode: true,
        ..consumer("unit", &["t"])
    };
    let stated = vec![consumer("g", &["t"]), unit, consumer("bad.group", &["t"])];
    let answer = beat(&a, heartbeat("a", stated)).await;
    let both = (answer.is_support_heart_beat_v2, answer.is_sub_change);
    assert_eq!(both, (Some(true), Some(true)));
    let retry = world.0.topics.get("%RETRY%g").unwrap();
    let shape = (
        retry.read_queue_nums,
        retry.write_queue_nums,
        retry.perm,
        retry.topic_sys_flag,
    );
    assert_eq!(shape, (3, 3, 6, 0));
    assert_eq!(world.0.topics.get("%RETRY%unit").unwrap().topic_sys_flag, 2);
    assert_eq!(members(&a, "bad.group").await, None);
}

#[tokio::test]
async fn the_second_kind_of_heartbeat_says_whether_anything_changed() {
    let loopback = Loopback::serve(World::new(&BrokerConfig::default()));
    let a = loopback.client();
    let stated = |fingerprint, without_sub| HeartbeatData {
        heartbeat_fingerprint: fingerprint,
        without_sub,
        ..heartbeat(
            "a",
            vec![consumer("g", if without_sub { &[] } else { &["t"] })],
        )
    };
    let mut changed = Vec::new();
    for (fingerprint, short) in [
        (11, false),
        (11, true),
        (22, false),
        (0, false),
        (22, false),
    ] {
        changed.push(
            beat(&a, stated(fingerprint, short))
                .await
                .is_sub_change
                .unwrap(),
        );
    }
    assert_eq!(changed, [false, false, true, true, true]);
}

#[tokio::test]
async fn malformed_heartbeats_are_answered() {
    let loopback = Loopback::serve(World::new(&BrokerConfig::default()));
    let a = loopback.client();
    for (body, expected) in [
        ("", response_code::SYSTEM_ERROR),
        ("{nope", response_code::SYSTEM_ERROR),
        (
            r#"{"producerDataSet":[{"groupName":"x"}]}"#,
            response_code::SYSTEM_ERROR,
        ),
        ("{}", response_code::SUCCESS),
    ] {
        let (answer, _) = a.call(Command::request(code::HEART_BEAT), body).await;
        assert_eq!(answer.code, expected, "{body}");
    }
}

#[tokio::test]
async fn pull_consumers_are_not_registered_where_they_are_rejected() {
    let config = BrokerConfig {
        reject_pull_consumer_enable: true,
        ..Default::default()
    };
    let loopback = Loopback::serve(World::new(&config));
    let a = loopback.client();
    let pulls = ConsumerData {
        consume_type: ConsumeType::ConsumeActively,
        ..consumer("pulls", &["t"])
    };
    beat(&a, heartbeat("a", vec![pulls, consumer("g", &["t"])])).await;
    assert_eq!(
        (members(&a, "pulls").await, members(&a, "g").await),
        (None, Some(vec!["a".into()]))
    );
}

#[tokio::test]
async fn tag_lists_are_accepted_and_other_expressions_are_not() {
    let loopback = Loopback::serve(World::new(&BrokerConfig::default()));
    let a = loopback.client();
    let check = async |body: &'static str| {
        let (answer, _) = a
            .call(Command::request(code::CHECK_CLIENT_CONFIG), body)
            .await;
        (answer.code, answer.remark)
    };
    let ok = (response_code::SUCCESS, None);
    assert_eq!(check("").await, ok);
    assert_eq!(check("{}").await, ok);
    let tag = r#"{"subscriptionData":{"topic":"t","subString":"((","expressionType":"TAG"}}"#;
    assert_eq!(check(tag).await, ok);
    let sql = r#"{"subscriptionData":{"topic":"t","subString":"a = 5","expressionType":"SQL92"}}"#;
    let remark = "The broker does not support consumer to filter message by SQL92".to_owned();
    assert_eq!(
        check(sql).await,
        (response_code::SYSTEM_ERROR, Some(remark))
    );
    assert_eq!(check("zz").await.0, response_code::SYSTEM_ERROR);
}

#[tokio::test]
async fn lists_of_connections_show_who_is_there() {
    let loopback = Loopback::serve(World::new(&BrokerConfig::default()));
    let a = loopback.client();
    let producers = |group: &str| {
        let header = GetProducerConnectionListRequestHeader {
            producer_group: group.to_owned(),
        };
        Command::request(code::GET_PRODUCER_CONNECTION_LIST).with(&header)
    };
    let consumers = |group: &str| {
        let header = ConsumerGroupRequestHeader {
            consumer_group: group.to_owned(),
        };
        Command::request(code::GET_CONSUMER_CONNECTION_LIST).with(&header)
    };
    let (none, _) = a.call(producers("p"), "").await;
    let absent = "the producer group[p] not exist".to_owned();
    assert_eq!(
        (none.code, none.remark),
        (response_code::SYSTEM_ERROR, Some(absent))
    );
    let (none, _) = a.call(consumers("g"), "").await;
    let absent = "the consumer group[g] not online".to_owned();
    assert_eq!(
        (none.code, none.remark),
        (response_code::CONSUMER_NOT_ONLINE, Some(absent))
    );

    let broadcasts = ConsumerData {
        message_model: MessageModel::Broadcasting,
        ..consumer("g", &["t", "u"])
    };
    let stated = HeartbeatData {
        producer_data_set: vec![ProducerData {
            group_name: "p".to_owned(),
        }],
        ..heartbeat("a", vec![broadcasts])
    };
    beat(&a, stated).await;
    let shown = ConnectionBody {
        client_addr: a.local().await.to_string(),
        client_id: "a".to_owned(),
        language: "GO".to_owned(),
        version: 317,
    };
    let (_, body) = a.call(producers("p"), "").await;
    assert_eq!(
        ProducerConnection::decode(&body).unwrap().connection_set,
        std::slice::from_ref(&shown)
    );
    let (_, body) = a.call(consumers("g"), "").await;
    let connections = ConsumerConnection::decode(&body).unwrap();
    assert_eq!(connections.connection_set, [shown]);
    assert_eq!(connections.message_model, MessageModel::Broadcasting);
    assert_eq!(
        connections.subscription_table.keys().collect::<Vec<_>>(),
        ["t", "u"]
    );
}
