use super::*;
use common::config::{Fields, Loaded, Sources, document, known_keys, load, with_tables};
use std::collections::HashSet;
use std::fs;
use std::io::Write as _;

fn from(sets: &[&str]) -> Result<Loaded<BrokerConfig>, String> {
    let sources = Sources {
        sets: sets.iter().map(|set| (*set).to_owned()).collect(),
        ..Sources::default()
    };
    load::<BrokerConfig>(&sources).map_err(|errors| errors.to_string())
}

fn from_file(text: &str) -> Result<Loaded<BrokerConfig>, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let sources = Sources {
        file: Some(file.path().into()),
        ..Sources::default()
    };
    load::<BrokerConfig>(&sources).map_err(|errors| errors.to_string())
}

#[test]
fn defaults_are_those_of_the_reference() {
    let config = from(&[]).unwrap().config;
    for (key, value) in [
        ("brokerClusterName", "DefaultCluster"),
        ("brokerId", "0"),
        ("brokerRole", "ASYNC_MASTER"),
        ("flushDiskType", "ASYNC_FLUSH"),
        ("listenPort", "10911"),
        ("haListenPort", "10912"),
        ("httpListenPort", "5557"),
        ("bindAddress", "0.0.0.0"),
        ("brokerPermission", "6"),
        ("defaultTopicQueueNums", "8"),
        ("maxMessageSize", "4194304"),
        ("mappedFileSizeCommitLog", "1073741824"),
        ("mappedFileSizeConsumeQueue", "6000000"),
        ("registerNameServerPeriod", "30000"),
        ("flushConsumerOffsetInterval", "5000"),
        (
            "messageDelayLevel",
            "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h",
        ),
    ] {
        assert_eq!(config.get(key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(config.vip_port(), 10909);
    assert!(config.store_path_root_dir.ends_with("store"));
    assert_eq!(
        config.store_path_commit_log,
        Some(config.store_path_root_dir.join("commitlog"))
    );
    assert!(!config.broker_name.is_empty() && !config.broker_ip1.is_empty());
    assert_eq!(config.broker_ip2, config.broker_ip1);
}

#[test]
fn the_configuration_file_that_comes_with_the_reference_starts() {
    let stock = "# Licensed\n\nbrokerClusterName = DefaultCluster\nbrokerName = broker-a\nbrokerId = 0\ndeleteWhen = 04\n\
                 fileReservedTime = 48\nbrokerRole = ASYNC_MASTER\nflushDiskType = ASYNC_FLUSH\n";
    let loaded = from_file(stock).unwrap();
    assert_eq!(loaded.config.broker_name, "broker-a");
    assert!(loaded.ignored.is_empty());
    assert_eq!(loaded.config.file_reserved_time, 48);
}

#[test]
fn a_synchronous_master_without_slaves_promises_what_it_does_there() {
    let loaded = from(&["brokerRole=SYNC_MASTER", "flushDiskType=SYNC_FLUSH"]).unwrap();
    assert_eq!(loaded.config.flush_disk_type, FlushDiskType::SyncFlush);
    let error = from(&["brokerRole=SYNC_MASTER", "inSyncReplicas=2"]).unwrap_err();
    assert!(
        error.starts_with("brokerRole=SYNC_MASTER with inSyncReplicas=2: "),
        "{error}"
    );
    from(&["brokerRole=ASYNC_MASTER", "inSyncReplicas=2"]).unwrap();
}

#[test]
fn what_would_be_unsafe_to_ignore_is_refused() {
    for set in [
        "enableDLegerCommitLog=true",
        "enableControllerMode=true",
        "brokerRole=SLAVE",
        "aclEnable=true",
        "authenticationEnabled=true",
        "authorizationEnabled=true",
        "tls.server.mode=enforcing",
        "storeType=defaultRocksDB",
        "readOnlyCommitLogStorePaths=/a",
        "messageStorePlugIn=org.apache.rocketmq.tieredstore.TieredMessageStore",
    ] {
        let error = from(&[set]).unwrap_err();
        assert!(
            error.starts_with(&format!("--set: {set} is refused: ")),
            "{error}"
        );
    }
    for set in [
        "enableDLegerCommitLog=false",
        "storeType=default",
        "aclEnable=false",
        "messageStorePlugIn=",
    ] {
        assert!(from(&[set]).unwrap().ignored.is_empty(), "{set}");
    }
}

#[test]
fn delay_levels_are_read_or_refused() {
    let config = from(&["messageDelayLevel=1s 2d"]).unwrap().config;
    assert_eq!(config.get("messageDelayLevel").as_deref(), Some("1s 2d"));
    assert_eq!(
        Some(config.store().delay_levels),
        store::DelayLevels::parse("1s 2d")
    );
    let error = from(&["messageDelayLevel=1s,2d"]).unwrap_err();
    assert!(
        error.contains("must be whole numbers with one of the units s, m, h and d"),
        "{error}"
    );
}

#[test]
fn a_wrong_role_is_told_apart_from_a_refused_one() {
    assert_eq!(
        from(&["brokerRole=MASTER"]).unwrap_err(),
        "--set: brokerRole=MASTER must be ASYNC_MASTER or SYNC_MASTER"
    );
}

#[test]
fn rules_between_settings_are_checked() {
    for (sets, begins) in [
        (
            ["listenPort=1", "httpListenPort=1"],
            "listenPort and httpListenPort are both 1",
        ),
        (
            ["maxMessageSize=70000", "mappedFileSizeCommitLog=131072"],
            "maxMessageSize=70000 does not fit into mappedFileSizeCommitLog=131072",
        ),
        (
            ["storePathCommitLog=/a,/b", "brokerName=x"],
            "storePathCommitLog=/a,/b: ",
        ),
        (
            ["namesrvAddr=a:1;b", "brokerName=x"],
            "namesrvAddr: b must be host:port",
        ),
    ] {
        let error = from(&sets).unwrap_err();
        assert!(error.starts_with(begins), "{error}");
    }
}

#[test]
fn a_master_with_another_id_than_0_is_told() {
    let loaded = from(&["brokerId=3"]).unwrap();
    assert_eq!(loaded.config.broker_id, 0);
    assert_eq!(
        loaded.warnings,
        ["brokerId=3 is taken as 0: brokerRole=ASYNC_MASTER is a master"]
    );
}

#[test]
fn addresses_follow_the_listener_where_it_has_one() {
    let config = from(&["bindAddress=127.0.0.1"]).unwrap().config;
    assert_eq!(
        (config.broker_ip1.as_str(), config.broker_ip2.as_str()),
        ("127.0.0.1", "127.0.0.1")
    );
    let config = from(&["brokerIP1=10.0.0.1", "bindAddress=127.0.0.1"])
        .unwrap()
        .config;
    assert_eq!(
        (config.broker_ip1.as_str(), config.broker_ip2.as_str()),
        ("10.0.0.1", "10.0.0.1")
    );
}

#[test]
fn port_0_stays_free_for_every_listener() {
    let config = from(&["listenPort=0", "httpListenPort=0"]).unwrap().config;
    assert_eq!((config.vip_port(), config.ha_listen_port), (0, 0));
}

#[test]
fn name_servers_are_a_list() {
    let config = from(&["namesrvAddr= a:1; b:2 ;"]).unwrap().config;
    assert_eq!(config.name_servers(), ["a:1", "b:2"]);
    assert_eq!(BrokerConfig::default().name_servers(), Vec::<String>::new());
}

#[test]
fn consume_queue_files_hold_whole_units() {
    let config = from(&["mappedFileSizeConsumeQueue=6000001"])
        .unwrap()
        .config;
    assert_eq!(config.mapped_file_size_consume_queue, 6_000_020);
}

#[test]
fn the_store_gets_its_settings() {
    let sets = [
        "storePathRootDir=/s",
        "flushDiskType=SYNC_FLUSH",
        "mappedFileSizeCommitLog=67108864",
        "maxMessageSize=1000",
        "flushIntervalCommitLog=20",
        "maxTransferCountOnMessageInDisk=3",
        "accessMessageInMemoryMaxRatio=0",
        "checkCRCOnRecover=false",
    ];
    let store = from(&sets).unwrap().config.store();
    assert_eq!(
        (store.root, store.commit_log),
        ("/s".into(), "/s/commitlog".into())
    );
    assert_eq!(
        (store.segment_bytes, store.max_message_bytes),
        (64 << 20, 1000)
    );
    assert_eq!(
        (store.consume_queue_file_bytes, store.hot_bytes),
        (6_000_000, 0)
    );
    assert_eq!(store.flush_mode, FlushMode::Sync);
    assert_eq!(store.flush_interval, Duration::from_millis(20));
    assert_eq!(store.index_interval, Duration::from_secs(1));
    assert_eq!(
        (store.read_bytes, store.read_messages),
        ((262_144, 65_536), (32, 3))
    );
    assert!(!store.check_crc);
    assert!(from(&[]).unwrap().config.store().hot_bytes > 0);
}

#[test]
fn no_key_is_listed_twice() {
    let mut seen = HashSet::new();
    // A role is the one setting with good and refused values.
    for key in known_keys::<BrokerConfig>() {
        assert!(key == "brokerRole" || seen.insert(key), "{key}");
    }
}

#[test]
fn the_documentation_lists_the_same_keys() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/compatibility.md");
    let page = fs::read_to_string(path).unwrap();
    let fresh = with_tables(&page, "mqbroker", &document::<BrokerConfig>());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, &fresh).unwrap();
    } else {
        assert!(
            page == fresh,
            "docs/compatibility.md differs from the code: run this test with UPDATE_DOCS=1"
        );
    }
}

/// The names of all settings of Apache RocketMQ 5.5.0 that its `-c` file can hold, one a line.
const REFERENCE_KEYS: &str = include_str!("keys-5.5.0.txt");

#[test]
fn every_key_of_the_reference_is_known() {
    let known: HashSet<&str> = known_keys::<BrokerConfig>().collect();
    let unknown: Vec<&str> = REFERENCE_KEYS
        .lines()
        .filter(|key| !known.contains(key))
        .collect();
    assert_eq!(unknown, Vec::<&str>::new());
}

#[test]
fn settings_of_test_suites_and_tools_start() {
    for sets in [
        "brokerClusterName=DefaultCluster brokerName=broker-a brokerId=0 listenPort=20011 haListenPort=20021 brokerIP1=127.0.0.1 \
         brokerIP2=127.0.0.1 namesrvAddr=127.0.0.1:9876 storePathRootDir=/s storePathCommitLog=/s/commitlog \
         mappedFileSizeCommitLog=67108864 autoCreateTopicEnable=true enablePropertyFilter=true recallMessageEnable=true \
         httpListenPort=20031 grpcServerPort=20041 bindAddress=127.0.0.1",
        "autoCreateTopicEnable=false autoCreateSubscriptionGroup=false traceTopicEnable=true traceOn=false regionId=R1 \
         clusterTopicEnable=false brokerTopicEnable=false enableMixedMessageType=true rejectTransactionMessage=true \
         storeReplyMessageEnable=false maxMessageSize=100000 validateSystemTopicWhenUpdateTopic=false brokerPermission=4",
        "enablePropertyFilter=false litePullMessageEnable=false longPollingEnable=false useServerSideResetOffset=false \
         slaveReadEnable=true accessMessageInMemoryMaxRatio=0",
        "transactionCheckInterval=1500 transactionTimeOut=1000 transactionCheckMax=5 transactionOpBatchInterval=100 \
         timerMaxDelaySec=30 timerRollWindowSlot=8 timerCongestNumEachSlot=2 appendTopicForTimerDeleteKey=true timerWheelEnable=false",
        "popPollingSize=1 enableRetryTopicV2=true initPopOffsetByCheckMsgInMem=false enablePopMessageThreshold=true \
         popInflightMessageThreshold=20 enablePopBufferMerge=true popConsumerKVServiceInit=true popConsumerKVServiceEnable=true",
        "enableLmq=true enableMultiDispatch=true maxLmqConsumeQueueNum=4 enableSplitRegistration=true splitRegistrationSize=5",
        "authenticationMetadataProvider=a.B authorizationMetadataProvider=a.C",
    ] {
        let sets: Vec<&str> = sets.split_whitespace().collect();
        if let Err(errors) = from(&sets) {
            panic!("{errors}");
        }
    }
}

#[test]
fn hours_of_deletion_are_hours_of_the_day() {
    assert_eq!(hours("04"), Some(vec![4]));
    assert_eq!(hours("0; 23;7;"), Some(vec![0, 23, 7]));
    for text in ["", ";", "24", "4,5", "-1", "four"] {
        assert_eq!(hours(text), None, "{text}");
    }
}

#[test]
fn levels_and_times_of_deletion_reach_the_store() {
    let config = BrokerConfig {
        file_reserved_time: 5,
        delete_when: "1;13".into(),
        delete_continuously: false,
        disk_space_warning_level_ratio: 88,
        ..BrokerConfig::default()
    };
    let retention = config.store().retention;
    assert_eq!(retention.reserved, Duration::from_hours(5));
    assert_eq!(retention.hours, [1, 13]);
    assert!(!retention.continuously && retention.clean_forcibly);
    assert_eq!((retention.warning_percent, retention.batch), (88, 10));
}
