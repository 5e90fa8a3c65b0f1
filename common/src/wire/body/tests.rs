use std::collections::BTreeMap;

use super::*;

#[test]
fn a_route_is_written_as_the_reference_does() {
    let route = TopicRouteData {
        broker_datas: vec![BrokerData {
            broker_addrs: [
                (0, "127.0.0.1:10911".to_owned()),
                (1, "127.0.0.1:10921".to_owned()),
            ]
            .into(),
            broker_name: "broker-a".into(),
            cluster: "DefaultCluster".into(),
            ..BrokerData::default()
        }],
        queue_datas: vec![QueueData {
            broker_name: "broker-a".into(),
            perm: 6,
            read_queue_nums: 3,
            topic_sys_flag: 0,
            write_queue_nums: 3,
        }],
        ..TopicRouteData::default()
    };
    let rest = r#","brokerName":"broker-a","cluster":"DefaultCluster","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":3,"topicSysFlag":0,"writeQueueNums":3}]}"#;
    let raw = format!(
        r#"{{"brokerDatas":[{{"brokerAddrs":{{0:"127.0.0.1:10911",1:"127.0.0.1:10921"}}{rest}"#
    );
    let standard = format!(
        r#"{{"brokerDatas":[{{"brokerAddrs":{{"0":"127.0.0.1:10911","1":"127.0.0.1:10921"}}{rest}"#
    );
    assert_eq!(String::from_utf8(route.encode()), Ok(raw));
    assert_eq!(String::from_utf8(route.encode_standard()), Ok(standard));
    assert_eq!(TopicRouteData::decode(&route.encode()), Ok(route.clone()));
    assert_eq!(TopicRouteData::decode(&route.encode_standard()), Ok(route));
}

#[test]
fn missing_members_have_javas_defaults() {
    let topic = TopicConfig::decode(br#"{"topicName":"t"}"#).unwrap();
    assert_eq!(
        (
            topic.read_queue_nums,
            topic.write_queue_nums,
            topic.perm,
            topic.order
        ),
        (16, 16, 6, false)
    );
    let group = SubscriptionGroupConfig::decode(br#"{"groupName":"g","later":1}"#).unwrap();
    assert_eq!(group, SubscriptionGroupConfig::new("g"));
    assert_eq!(
        group.encode(),
        br#"{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"g","groupRetryPolicy":{"type":"CUSTOMIZED"},"groupSysFlag":0,"notifyConsumerIdsChangedEnable":true,"retryMaxTimes":16,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}"#
    );
    assert_eq!(ExponentialRetryPolicy::default().max, 7_200_000);
}

#[test]
fn a_heartbeat_of_a_java_client_is_read() {
    let body = br#"{"clientID":"10.0.0.1@7","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"g","messageModel":"CLUSTERING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[97,98],"expressionType":"TAG","subString":"a || b","subVersion":1700000000000,"tagsSet":["a","b"],"topic":"t"}],"unitMode":false}],"heartbeatFingerprint":0,"producerDataSet":[{"groupName":"p"}],"withoutSub":false}"#;
    let heartbeat = HeartbeatData::decode(body).unwrap();
    assert_eq!(heartbeat.client_id, "10.0.0.1@7");
    assert_eq!(
        heartbeat.consumer_data_set[0].consume_from_where,
        ConsumeFromWhere::ConsumeFromFirstOffset
    );
    assert_eq!(
        heartbeat.consumer_data_set[0].subscription_data_set[0].code_set,
        [97, 98].into()
    );
    assert_eq!(
        String::from_utf8(heartbeat.encode()),
        String::from_utf8(body.to_vec())
    );
}

#[test]
fn enums_are_read_by_name_or_ordinal_and_unknown_ones_as_the_default() {
    let model = |text: &str| ConsumerData::decode(text.as_bytes()).unwrap().message_model;
    assert_eq!(
        model(r#"{"messageModel":"BROADCASTING"}"#),
        MessageModel::Broadcasting
    );
    assert_eq!(model(r#"{"messageModel":0}"#), MessageModel::Broadcasting);
    assert_eq!(model(r"{messageModel:0}"), MessageModel::Broadcasting);
    assert_eq!(
        model(r#"{"messageModel":"LATER"}"#),
        MessageModel::Clustering
    );
    assert_eq!(model(r#"{"messageModel":null}"#), MessageModel::Clustering);
    assert_eq!(model(r#"{"messageModel":99}"#), MessageModel::Clustering);
}

#[test]
fn quoted_numbers_of_a_heartbeat_are_read() {
    let body = br#"{"clientID":"c","consumerDataSet":[{"groupName":"g","subscriptionDataSet":[{"codeSet":["97"],"subVersion":"12","topic":"t"}]}]}"#;
    let heartbeat = HeartbeatData::decode(body).unwrap();
    let subscription = &heartbeat.consumer_data_set[0].subscription_data_set[0];
    assert_eq!(
        (subscription.sub_version, &subscription.code_set),
        (12, &[97].into())
    );
}

#[test]
fn tables_by_queue_have_objects_as_keys() {
    let queue = MessageQueue::new("t", "b", 1);
    let stats = TopicStatsTable {
        offset_table: [(
            queue.clone(),
            TopicOffset {
                last_update_timestamp: 3,
                max_offset: 2,
                min_offset: 1,
            },
        )]
        .into(),
        topic_put_tps: 0.0,
    };
    let text = br#"{"offsetTable":{{"brokerName":"b","queueId":1,"topic":"t"}:{"lastUpdateTimestamp":3,"maxOffset":2,"minOffset":1}},"topicPutTps":0.0}"#;
    assert_eq!(stats.encode(), text);
    assert_eq!(TopicStatsTable::decode(text), Ok(stats));

    let reset = ResetOffsetBody {
        offset_table: [(queue.clone(), 5)].into(),
    };
    assert_eq!(
        reset.encode(),
        br#"{"offsetTable":{{"brokerName":"b","queueId":1,"topic":"t"}:5}}"#
    );
    assert_eq!(
        reset.encode_list(),
        br#"{"offsetTable":[{"brokerName":"b","offset":5,"queueId":1,"topic":"t"}]}"#
    );
    assert_eq!(ResetOffsetBody::decode(&reset.encode()), Ok(reset));

    let consumer = GetConsumerStatusBody {
        consumer_table: [("{x".to_owned(), [(queue.clone(), 5)].into())].into(),
        message_queue_table: BTreeMap::new(),
    };
    assert_eq!(consumer.encode(), br#"{"consumerTable":{"{x":{{"brokerName":"b","queueId":1,"topic":"t"}:5}},"messageQueueTable":{}}"#);
    assert_eq!(
        GetConsumerStatusBody::decode(&consumer.encode()),
        Ok(consumer)
    );

    let progress = ConsumeStats {
        consume_tps: 1.5,
        offset_table: [(
            queue.clone(),
            OffsetWrapper {
                broker_offset: 9,
                consumer_offset: 8,
                last_timestamp: 7,
                pull_offset: 8,
            },
        )]
        .into(),
    };
    assert_eq!(
        progress.encode(),
        br#"{"consumeTps":1.5,"offsetTable":{{"brokerName":"b","queueId":1,"topic":"t"}:{"brokerOffset":9,"consumerOffset":8,"lastTimestamp":7,"pullOffset":8}}}"#
    );
    assert_eq!(
        ConsumeStats::decode(&progress.encode()),
        Ok(progress.clone())
    );
    let list = ConsumeStatsList {
        broker_addr: "a:1".into(),
        consume_stats_list: vec![[("g".to_owned(), vec![progress])].into()],
        total_diff: 1,
        total_inflight_diff: 0,
    };
    assert_eq!(ConsumeStatsList::decode(&list.encode()), Ok(list));

    let running = ConsumerRunningInfo {
        mq_table: [(
            queue,
            ProcessQueueInfo {
                locked: true,
                ..ProcessQueueInfo::default()
            },
        )]
        .into(),
        ..ConsumerRunningInfo::default()
    };
    assert_eq!(ConsumerRunningInfo::decode(&running.encode()), Ok(running));
}

#[test]
fn offsets_by_queue_id_have_bare_keys() {
    let offsets = ConsumerOffsetSerializeWrapper {
        offset_table: [("t@g".to_owned(), [(0, 4), (10, 5)].into())].into(),
        ..Default::default()
    };
    assert_eq!(
        offsets.encode(),
        br#"{"dataVersion":{"counter":0,"stateVersion":0,"timestamp":0},"groupTopicMap":{},"offsetTable":{"t@g":{0:4,10:5}},"pullOffsetTable":{}}"#
    );
    assert_eq!(
        ConsumerOffsetSerializeWrapper::decode(&offsets.encode()),
        Ok(offsets)
    );
}

#[test]
fn locks_and_lists_have_the_wires_names() {
    let locked = LockBatchResponseBody {
        lock_ok_mq_set: [MessageQueue::new("t", "b", 0)].into(),
    };
    assert_eq!(
        locked.encode(),
        br#"{"lockOKMQSet":[{"brokerName":"b","queueId":0,"topic":"t"}]}"#
    );
    assert_eq!(TopicList::of(["a"]).encode(), br#"{"topicList":["a"]}"#);
}
