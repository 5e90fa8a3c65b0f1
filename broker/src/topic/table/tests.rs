use super::*;
use crate::attributes;
use crate::error::ChangeError;
use crate::kv::Kv;
use crate::kv::testing::Memory;
use crate::topic::perm::READ_WRITE;
use common::clock::{ManualClock, Millis};
use common::names;
use common::wire::body::KvTable;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

const PEER: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(
    std::net::Ipv4Addr::LOCALHOST,
    1,
));

struct World {
    _directory: tempfile::TempDir,
    path: PathBuf,
    clock: Arc<ManualClock>,
    config: BrokerConfig,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            path: directory.path().join("config/topics.json"),
            _directory: directory,
            clock: Arc::new(ManualClock::new(Millis(1000))),
            config: BrokerConfig {
                broker_cluster_name: "c".to_owned(),
                broker_name: "b".to_owned(),
                broker_topic_enable: false,
                ..BrokerConfig::default()
            },
        }
    }

    fn open(&self) -> TopicTable {
        let clock = Arc::clone(&self.clock);
        let mut start = Kv::open(&self.path.with_file_name("kv")).unwrap();
        TopicTable::open(
            &mut start,
            &self.path,
            Arc::new(self.config.clone().into()),
            clock,
        )
        .unwrap()
    }
}

fn named(topic: &str) -> TopicConfig {
    TopicConfig::new(topic, 4, READ_WRITE)
}

fn send(table: &TopicTable, topic: &str, template: &str, queues: i32) -> Option<Arc<Topic>> {
    table
        .create_on_send(topic, template, queues, false, PEER)
        .unwrap()
}

#[test]
fn a_broker_has_its_system_topics() {
    let table = World::new().open();
    for (topic, queues, perm) in [
        ("TBW102", 8, 7),
        ("c", 16, 7),
        ("b", 1, 1),
        ("SCHEDULE_TOPIC_XXXX", 18, 6),
        ("c_REPLY_TOPIC", 1, 6),
    ] {
        let config = table.get(topic).unwrap();
        assert_eq!(
            (config.read_queue_nums, config.write_queue_nums, config.perm),
            (queues, queues, perm),
            "{topic}"
        );
        assert!(config.is_system());
    }
    assert!(table.get(names::TRACE_TOPIC).is_none());
}

#[test]
fn a_send_creates_a_topic_after_its_model() {
    let world = World::new();
    let table = world.open();
    let made = send(&table, "t", "TBW102", 4).unwrap();
    assert_eq!(
        (made.read_queue_nums, made.write_queue_nums, made.perm),
        (4, 4, 6)
    );
    assert_eq!(
        send(&table, "wide", "TBW102", 16).unwrap().read_queue_nums,
        8
    );
    assert_eq!(
        send(&table, "none", "TBW102", -3).unwrap().read_queue_nums,
        0
    );
    assert!(
        send(&table, "orphan", "t", 4).is_none() && send(&table, "orphan", "nowhere", 4).is_none()
    );
    assert!(table.get("orphan").is_none());
    let unit = table
        .create_on_send("%RETRY%g", "nowhere", 4, true, PEER)
        .unwrap()
        .unwrap();
    assert_eq!((unit.read_queue_nums, unit.topic_sys_flag), (1, 2));
    assert!(matches!(
        table.create_on_send("t.x", "TBW102", 4, false, PEER),
        Err(ChangeError::Name(_))
    ));
}

#[test]
fn without_auto_creation_a_default_topic_made_by_hand_is_no_model() {
    let mut world = World::new();
    world.config.auto_create_topic_enable = false;
    world.config.validate_system_topic_when_update_topic = false;
    let table = world.open();
    assert!(table.get("TBW102").is_none());
    table.update(TopicConfig::new("TBW102", 8, 7)).unwrap();
    assert!(send(&table, "t", "TBW102", 4).is_none());
    assert_eq!(table.get("TBW102").unwrap().perm, 6);
    assert!(send(&table, "u", "c", 4).is_some());
}

#[test]
fn an_update_that_changes_nothing_keeps_the_version() {
    let world = World::new();
    let table = world.open();
    let fifo = || TopicConfig {
        attributes: attributes::parse("+message.type=FIFO").unwrap(),
        ..named("t")
    };
    table.update(fifo()).unwrap();
    let (version, generation) = (table.snapshot().0, table.generation());
    table.update(fifo()).unwrap();
    table.update(named("t")).unwrap();
    assert_eq!(
        (table.snapshot().0, table.generation()),
        (version, generation)
    );
    world.clock.advance(Duration::from_secs(1));
    table
        .update(TopicConfig {
            read_queue_nums: 5,
            ..named("t")
        })
        .unwrap();
    let after = table.snapshot().0;
    assert_eq!(
        (after.counter, after.timestamp),
        (version.counter + 1, version.timestamp + 1000)
    );
    let config = table.get("t").unwrap();
    assert_eq!(
        (
            config.read_queue_nums,
            config.attributes["message.type"].as_str()
        ),
        (5, "FIFO")
    );
    assert!(table.generation() > generation);
}

#[test]
fn a_list_is_taken_whole_or_not_at_all() {
    let table = World::new().open();
    assert!(table.update_all(vec![named("a"), named("b.c")]).is_err());
    assert!(table.update_all(vec![named("a"), named("TBW102")]).is_err());
    let wrong = TopicConfig {
        attributes: attributes::parse("+foo=1").unwrap(),
        ..named("z")
    };
    assert!(table.update_all(vec![named("a"), wrong]).is_err());
    assert!(table.get("a").is_none());
    table.update_all(vec![named("a"), named("z")]).unwrap();
    assert!(table.contains("a") && table.contains("z"));
}

#[test]
fn numbers_outside_their_range_are_refused_by_name() {
    let table = World::new().open();
    let text = |config| table.update(config).unwrap_err().to_string();
    assert_eq!(
        text(TopicConfig {
            perm: 99,
            ..named("t")
        }),
        "perm is 99, expected 0 to 15"
    );
    assert_eq!(
        text(TopicConfig {
            read_queue_nums: -5,
            ..named("t")
        }),
        "readQueueNums is -5, expected 0 to 65536"
    );
    assert!(table.get("t").is_none());
}

#[test]
fn a_restart_finds_everything_and_what_was_changed_of_system_topics() {
    let mut world = World::new();
    world.config.validate_system_topic_when_update_topic = false;
    let table = world.open();
    table
        .update(TopicConfig {
            order: true,
            ..named("t")
        })
        .unwrap();
    table.update(TopicConfig::new("TBW102", 3, 7)).unwrap();
    table.update(named("gone")).unwrap();
    assert!(table.delete("gone").unwrap() && !table.delete("gone").unwrap());
    let version = table.snapshot().0;
    drop(table);
    let table = world.open();
    assert_eq!(table.snapshot().0, version);
    assert!(table.get("t").unwrap().order && table.get("gone").is_none());
    assert_eq!(table.get("TBW102").unwrap().read_queue_nums, 3);
}

#[test]
fn a_file_of_a_java_broker_is_read() {
    let world = World::new();
    fs::create_dir_all(world.path.parent().unwrap()).unwrap();
    let java = r#"{
	"dataVersion":{
		"counter":7,
		"stateVersion":2,
		"timestamp":1700000000000
	},
	"topicConfigTable":{
		"java":{
			"attributes":{
				"message.type":"FIFO"
			},
			"multiType":false,
			"order":false,
			"perm":6,
			"readQueueNums":5,
			"topicFilterType":"MULTI_TAG",
			"topicName":"java",
			"topicSysFlag":0,
			"writeQueueNums":5
		}
	}
}"#;
    fs::write(&world.path, java).unwrap();
    let table = world.open();
    let topic = table.get("java").unwrap();
    assert!(
        topic.has_multi_tags()
            && topic.read_queue_nums == 5
            && topic.attributes["message.type"] == "FIFO"
    );
    assert_eq!(
        table.snapshot().0,
        DataVersion {
            counter: 7,
            state_version: 2,
            timestamp: 1_700_000_000_000
        }
    );
}

#[test]
fn a_change_that_cannot_be_written_does_not_happen() {
    let (world, memory) = (World::new(), Memory::default());
    let mut start = memory.start();
    let clock = world.clock.clone();
    let table = TopicTable::open(
        &mut start,
        &world.path,
        Arc::new(world.config.clone().into()),
        clock,
    )
    .unwrap();
    table.update(named("t")).unwrap();
    let generation = table.generation();
    memory.fail(true);
    assert!(matches!(
        table.update(named("u")),
        Err(ChangeError::Kv { .. })
    ));
    assert!(matches!(table.delete("t"), Err(ChangeError::Kv { .. })));
    assert!(table.create_on_send("v", "TBW102", 4, false, PEER).is_err());
    assert!(table.get("u").is_none() && table.get("v").is_none() && table.contains("t"));
    assert_eq!(table.generation(), generation);
    // What has reached the disk all the same is taken back.
    memory.fail(false);
    start.kv().shutdown().unwrap();
    assert_eq!(memory.keys(), ["", "t"]);
}

#[test]
fn the_file_follows_the_rows_and_they_count_until_somebody_else_writes_it() {
    let world = World::new();
    let table = world.open();
    table.update(named("t")).unwrap();
    assert!(!world.path.exists());
    table.persist().unwrap();
    let ours = fs::read_to_string(&world.path).unwrap();
    assert!(ours.contains("\"t\"") && ours.contains("TBW102"));
    table.update(named("u")).unwrap();
    let version = table.snapshot().0;
    drop(table);
    let table = world.open();
    assert!(table.contains("t") && table.contains("u"));
    assert_eq!(table.snapshot().0, version);
    // The file is behind, and is written although nothing has changed since.
    table.persist().unwrap();
    let ours = fs::read_to_string(&world.path).unwrap();
    assert!(ours.contains("\"u\""));
    drop(table);
    fs::write(&world.path, ours.replace("\"u\"", "\"w\"")).unwrap();
    let table = world.open();
    assert!(table.contains("t") && table.contains("w") && !table.contains("u"));
    drop(table);
    fs::remove_dir_all(world.path.with_file_name("kv")).unwrap();
    assert!(world.open().contains("w"));
}

#[test]
fn other_settings_are_no_other_topics() {
    let table = World::new().open();
    let (before, generation) = (*table.changes().borrow(), table.generation());
    table.settings_changed();
    assert_ne!(table.generation(), generation);
    // A name server that is told another version takes every topic anew, and undoes what was changed there.
    assert_eq!(table.wrapper().data_version, before);
}

#[test]
fn what_changed_since_a_version_is_told_apart() {
    let table = World::new().open();
    let mut versions = table.changes();
    let before = versions.borrow_and_update().counter;
    table.update(named("t")).unwrap();
    table.update(named("u")).unwrap();
    assert!(versions.has_changed().unwrap());
    let changed = table.changed_since(before);
    assert_eq!(
        changed.topic_config_table.keys().collect::<Vec<_>>(),
        ["t", "u"]
    );
    let after_t = changed.data_version.counter - 1;
    assert_eq!(
        table
            .changed_since(after_t)
            .topic_config_table
            .keys()
            .collect::<Vec<_>>(),
        ["u"]
    );
    assert!(table.step_version().counter > changed.data_version.counter);
}

#[test]
fn changes_are_told_apart_however_long_ago_they_were() {
    let table = World::new().open();
    let mut expected = Vec::new();
    let start = table.snapshot().0.counter;
    for n in 0..RECENT_CHANGES + 100 {
        let name = format!("topic{n:05}");
        table.update(named(&name)).unwrap();
        expected.push((table.snapshot().0.counter, name));
    }
    // Changed again, and gone.
    table.delete("topic01100").unwrap();
    table
        .update(TopicConfig {
            order: true,
            ..named("topic01101")
        })
        .unwrap();
    expected.retain(|(_, name)| name != "topic01100" && name != "topic01101");
    expected.push((table.snapshot().0.counter, "topic01101".to_owned()));
    let last = table.snapshot().0.counter;
    for counter in (start..start + 200).chain(last - 50..=last) {
        let changed = table.changed_since(counter).topic_config_table;
        let newer = expected.iter().filter(|(since, _)| *since > counter);
        let mut newer: Vec<_> = newer.map(|(_, name)| name).collect();
        newer.sort();
        assert_eq!(changed.keys().collect::<Vec<_>>(), newer, "{counter}");
    }
}

#[test]
fn retry_and_dead_letter_topics_are_made_once_and_follow_the_order_flag() {
    let table = World::new().open();
    let retry = table.ensure_retry_topic("g", 3, false, false).unwrap();
    assert_eq!(
        (retry.topic_name.as_str(), retry.read_queue_nums, retry.perm),
        ("%RETRY%g", 3, 6)
    );
    let version = table.snapshot().0;
    assert!(Arc::ptr_eq(
        &retry,
        &table.ensure_retry_topic("g", 9, false, false).unwrap()
    ));
    assert_eq!(table.snapshot().0, version);
    let ordered = table.ensure_retry_topic("g", 9, true, true).unwrap();
    assert_eq!(
        (
            ordered.order,
            ordered.topic_sys_flag,
            ordered.read_queue_nums
        ),
        (true, 2, 3)
    );
    assert_eq!(
        table.ensure_dead_letter_topic("g").unwrap().read_queue_nums,
        1
    );
}

#[test]
fn order_topics_of_the_name_server_are_marked() {
    let table = World::new().open();
    table.update(named("t")).unwrap();
    let listed = KvTable {
        table: [("t", "b:4"), ("unknown", "b:4")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
    };
    table.mark_order_topics(&listed).unwrap();
    assert!(table.get("t").unwrap().order);
    let generation = table.generation();
    table.mark_order_topics(&listed).unwrap();
    assert_eq!(table.generation(), generation);
}

#[test]
fn counters_survive_a_change_of_the_configuration() {
    use crate::topic::MessageType;
    let table = World::new().open();
    table.update(named("t")).unwrap();
    table
        .get("t")
        .unwrap()
        .counters()
        .stored(MessageType::Normal, 3, 300);
    table
        .update(TopicConfig {
            order: true,
            ..named("t")
        })
        .unwrap();
    let topic = table.get("t").unwrap();
    let traffic = topic.counters().of(MessageType::Normal);
    assert_eq!((traffic.messages(), traffic.bytes()), (3, 300));
}

#[test]
fn threads_that_create_the_same_topic_make_one() {
    let table = World::new().open();
    let before = table.snapshot().0.counter;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| send(&table, "t", "TBW102", 4).unwrap());
        }
    });
    assert_eq!(table.snapshot().0.counter, before + 1);
}

#[test]
fn a_retry_topic_does_not_wait_for_the_disk() {
    let (world, memory) = (World::new(), Memory::default());
    let mut start = memory.start();
    let settings = Arc::new(world.config.clone().into());
    let clock = world.clock.clone();
    let table = TopicTable::open(&mut start, &world.path, settings, clock).unwrap();
    let held = memory.hold();
    let (done, made) = std::sync::mpsc::channel();
    let using = table.clone();
    std::thread::spawn(move || done.send(using.ensure_retry_topic("g", 1, false, false).is_ok()));
    let made = made.recv_timeout(std::time::Duration::from_secs(20));
    assert!(made.unwrap() && memory.keys().is_empty());
    drop(held);
    start.kv().shutdown().unwrap();
    assert_eq!(memory.keys(), ["", "%RETRY%g"]);
}

#[test]
fn a_retry_topic_has_no_more_queues_than_a_topic_may() {
    let table = World::new().open();
    let retry = table.ensure_retry_topic("g", i32::MAX, false, false);
    assert_eq!(retry.unwrap().read_queue_nums, 65_536);
}

#[test]
fn topics_of_light_queues_are_what_they_were_at_the_start() {
    let world = World::new();
    let live: Arc<Live<BrokerConfig>> = Arc::new(world.config.clone().into());
    let mut start = Memory::default().start();
    let clock = world.clock.clone();
    let table = TopicTable::open(&mut start, &world.path, live.clone(), clock).unwrap();
    live.update(&live.asked(b"enableLmq=true").unwrap());
    assert!(live.get().enable_lmq && !table.contains("%LMQ%t") && table.get("%LMQ%t").is_none());
}
