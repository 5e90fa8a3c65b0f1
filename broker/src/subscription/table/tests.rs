use super::*;
use crate::attributes::Attributes;
use crate::kv::Kv;
use crate::kv::testing::Memory;
use common::clock::{ManualClock, Millis};
use std::fs;
use std::path::PathBuf;

fn world() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config/subscriptionGroup.json");
    (directory, path)
}

fn settings(auto_create: bool) -> Arc<Live<BrokerConfig>> {
    let config = BrokerConfig {
        auto_create_subscription_group: auto_create,
        ..BrokerConfig::default()
    };
    Arc::new(config.into())
}

fn open(path: &Path, auto_create: bool) -> SubscriptionGroupTable {
    let mut start = Kv::open(&path.with_file_name("kv")).unwrap();
    let clock = Arc::new(ManualClock::new(Millis(1)));
    SubscriptionGroupTable::open(&mut start, path, settings(auto_create), clock).unwrap()
}

#[test]
fn well_known_groups_exist_and_others_come_with_their_first_use() {
    let (_directory, path) = world();
    let table = open(&path, true);
    assert!(
        names::WELL_KNOWN_GROUPS
            .iter()
            .all(|group| table.contains(group))
    );
    assert!(table.get("g").is_none());
    assert_eq!(
        *table.find_or_create("g").unwrap(),
        SubscriptionGroupConfig::new("g")
    );
    assert!(table.find_or_create("g.x").is_none() && table.find_or_create("").is_none());
    drop(table);
    assert!(open(&path, false).contains("g"));
}

#[test]
fn without_auto_creation_only_system_groups_come_into_being() {
    let (_directory, path) = world();
    let table = open(&path, false);
    assert!(table.find_or_create("g").is_none());
    assert!(table.find_or_create("CID_RMQ_SYS_x").is_some());
}

#[test]
fn groups_are_changed_kept_and_deleted() {
    let (_directory, path) = world();
    let table = open(&path, true);
    let config = SubscriptionGroupConfig {
        retry_max_times: 3,
        ..SubscriptionGroupConfig::new("g")
    };
    table.update(config.clone()).unwrap();
    let version = table.wrapper().data_version;
    table.update(config.clone()).unwrap();
    assert_eq!(table.wrapper().data_version, version);
    drop(table);
    let table = open(&path, true);
    assert_eq!(*table.get("g").unwrap(), config);
    assert_eq!(table.wrapper().data_version, version);
    assert!(table.delete("g").unwrap() && !table.delete("g").unwrap());
    drop(table);
    assert!(open(&path, true).get("g").is_none());
}

#[test]
fn attributes_change_by_their_prefix() {
    let (_directory, path) = world();
    let table = open(&path, true);
    let change = |key: &str, value: &str| SubscriptionGroupConfig {
        attributes: Attributes::from([(key.to_owned(), value.to_owned())]),
        ..SubscriptionGroupConfig::new("g")
    };
    table.update(change("+priority.factor", "50")).unwrap();
    assert_eq!(table.get("g").unwrap().attributes["priority.factor"], "50");
    assert!(table.update(change("+priority.factor", "-1")).is_err());
    assert_eq!(
        table.update(change("+foo", "x")).unwrap_err().to_string(),
        "unsupported key: foo"
    );
    table.update(change("-priority.factor", "")).unwrap();
    assert!(table.get("g").unwrap().attributes.is_empty());
}

#[test]
fn a_list_is_taken_whole_or_not_at_all() {
    let (_directory, path) = world();
    let table = open(&path, true);
    let groups = |names: &[&str]| {
        names
            .iter()
            .map(|name| SubscriptionGroupConfig::new(*name))
            .collect()
    };
    assert!(table.update_all(groups(&["a", "b.c"])).is_err() && table.get("a").is_none());
    table.update_all(groups(&["a", "b"])).unwrap();
    assert!(table.contains("a") && table.contains("b"));
}

#[test]
fn a_file_of_a_java_broker_is_read_and_its_forbidden_table_counts() {
    let (_directory, path) = world();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let java = r#"{
	"dataVersion":{"counter":3,"stateVersion":0,"timestamp":1700000000000},
	"forbiddenTable":{"g":{"t":4}},
	"subscriptionGroupTable":{
		"g":{"attributes":{},"brokerId":0,"consumeBroadcastEnable":false,"consumeEnable":true,"groupName":"g",
			"groupRetryPolicy":{"type":"CUSTOMIZED"},"retryMaxTimes":5,"retryQueueNums":2}
	}
}"#;
    fs::write(&path, java).unwrap();
    let table = open(&path, true);
    let group = table.get("g").unwrap();
    assert_eq!(
        (
            group.retry_max_times,
            group.retry_queue_nums,
            group.consume_broadcast_enable
        ),
        (5, 2, false)
    );
    assert!(table.is_read_forbidden("g", "t") && !table.is_read_forbidden("g", "u"));
    assert_eq!(table.wrapper().data_version.counter, 3);
}

#[test]
fn consumers_come_first_when_the_disk_cannot_be_written() {
    let (_directory, path) = world();
    let memory = Memory::default();
    let mut start = memory.start();
    let clock = Arc::new(ManualClock::new(Millis(1)));
    let table = SubscriptionGroupTable::open(&mut start, &path, settings(true), clock).unwrap();
    memory.fail(true);
    assert!(table.find_or_create("g").is_some() && table.contains("g"));
    let refused = table.update(SubscriptionGroupConfig::new("h"));
    assert!(refused.is_err() && !table.contains("h"));
    memory.fail(false);
    start.kv().shutdown().unwrap();
    assert_eq!(memory.keys(), ["", "gg"]);
}

#[test]
fn a_group_that_comes_with_its_first_use_does_not_wait_for_the_disk() {
    let (_directory, path) = world();
    let memory = Memory::default();
    let mut start = memory.start();
    let clock = Arc::new(ManualClock::new(Millis(1)));
    let table = SubscriptionGroupTable::open(&mut start, &path, settings(true), clock).unwrap();
    let held = memory.hold();
    let (done, created) = std::sync::mpsc::channel();
    let using = table.clone();
    std::thread::spawn(move || done.send(using.find_or_create("g").is_some()).unwrap());
    let created = created.recv_timeout(std::time::Duration::from_secs(20));
    assert!(created.unwrap() && memory.keys().is_empty());
    drop(held);
    start.kv().shutdown().unwrap();
    assert_eq!(memory.keys(), ["", "gg"]);
}

#[test]
fn groups_of_light_queues_are_what_they_were_at_the_start() {
    let (_directory, path) = world();
    let mut start = Memory::default().start();
    let (live, clock) = (settings(true), Arc::new(ManualClock::new(Millis(1))));
    let table = SubscriptionGroupTable::open(&mut start, &path, live.clone(), clock).unwrap();
    live.update(&live.asked(b"enableLmq=true").unwrap());
    assert!(live.get().enable_lmq && !table.contains("%LMQ%g"));
}
