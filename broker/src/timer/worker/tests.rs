use super::*;
use crate::config::BrokerConfig;
use crate::delivery::Account;
use crate::kv::Kv;
use crate::thread::Bell;
use crate::timer::TimerRules;
use crate::topic::TopicTable;
use common::clock::{Clock, ManualClock, Millis};
use common::message::RecordView;
use common::message::properties as names;
use common::message::record::RecordParts;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use store::{
    Arrivals, DiskFiles, Queue, RecordBatch, StoreConfig, StoreReader, StoreTasks, StoreWriter,
};

const START: i64 = 1_700_000_000_000;

struct Nobody;

impl Arrivals for Nobody {
    fn arrived(&self, _: &Arc<Queue>, _: u64, _: i64, _: i64) {}
}

/// A store with its timers, whose thread is the test.
struct World {
    clock: Arc<ManualClock>,
    writer: StoreWriter,
    reader: StoreReader,
    worker: Worker,
    ledger: Ledger,
    kv: Kv,
    _tasks: StoreTasks,
}

fn open_with(root: &Path, now: i64, set: impl FnOnce(&mut BrokerConfig)) -> World {
    let mut config = BrokerConfig {
        store_path_root_dir: root.to_owned(),
        timer_precision_ms: 10,
        timer_max_delay_sec: 1_000_000,
        broker_name: "b".into(),
        ..BrokerConfig::default()
    };
    set(&mut config);
    let clock = Arc::new(ManualClock::new(Millis(now)));
    let time = || Arc::clone(&clock) as Arc<dyn Clock>;
    let store = StoreConfig {
        segment_bytes: 8 << 20,
        flush_interval: Duration::from_hours(1),
        index_keys: false,
        ..StoreConfig::new(root)
    };
    let (writer, reader, tasks) =
        store::open(store, Arc::new(DiskFiles), time(), Arc::new(Nobody)).unwrap();
    let mut start = Kv::open(&root.join("kv")).unwrap();
    let settings = Arc::new(config.clone().into());
    let topics = TopicTable::open(&mut start, &root.join("topics.json"), settings, time()).unwrap();
    let bell = Arc::new(Bell::default());
    let timers = Timers::open(&start, &config, reader.clone(), bell, time()).unwrap();
    let accounts: Vec<Arc<dyn crate::delivery::Account>> = vec![Arc::new(timers.clone())];
    let ledger = Ledger::open(&start, (writer.clone(), reader.clone()), accounts).unwrap();
    let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let outbox = Outbox::new(writer.clone(), topics, host, time());
    let mut worker = Worker::new(timers, outbox, ledger.clone(), host);
    while !worker.file(now) {}
    World {
        clock,
        writer,
        reader,
        worker,
        ledger,
        kv: start.kv().clone(),
        _tasks: tasks,
    }
}

fn open(root: &Path, now: i64) -> World {
    open_with(root, now, |_| ())
}

impl World {
    fn now(&self) -> i64 {
        self.clock.now().0
    }

    /// Stores a message of topic `t` that is due when `slot` is over.
    fn send(&self, key: &str, slot: i64, more: &[(&str, &str)]) -> u64 {
        let slot = slot.to_string();
        let mut text = String::new();
        let usual = [
            (names::UNIQUE_KEY, key),
            (names::TIMER_OUT_MS, &slot),
            (names::REAL_TOPIC, "t"),
            (names::REAL_QUEUE_ID, "2"),
        ];
        for (name, value) in usual.iter().chain(more) {
            names::write(&mut text, name, value);
        }
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let parts = RecordParts {
            topic: TIMER_TOPIC,
            queue_id: 0,
            flag: 5,
            sys_flag: 1,
            born_timestamp: 6,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: key.as_bytes(),
            properties: &text,
        };
        let (mut batch, mut appended) = (RecordBatch::default(), Vec::new());
        batch
            .push(&self.writer.queue(TIMER_TOPIC, 0), &parts)
            .unwrap();
        self.writer.append_batch(&mut batch, &mut appended).unwrap();
        appended[0].physical_offset.0
    }

    fn cancel(&self, key: &str, slot: i64) {
        self.send("marker", slot, &[(names::TIMER_DEL_UNIQKEY, key)]);
    }

    /// Works until there is nothing to do at this moment.
    fn work(&mut self) {
        loop {
            let now = self.now();
            let step = self.worker.step(now);
            // Pages are read in the order in which they were asked for.
            self.kv.read(range(RowKey::first_of(0), None)).unwrap();
            if !step.storm && step.next > now && self.worker.mail.lock().is_empty() {
                return;
            }
        }
    }

    fn work_until(&mut self, moment: i64) {
        let ahead = u64::try_from(moment - self.now()).unwrap();
        self.clock.advance(Duration::from_millis(ahead));
        self.work();
    }

    /// Keys of what was delivered, in order.
    fn delivered(&self) -> Vec<String> {
        let end = self.reader.max_offset("t", 2);
        let key = |offset| {
            let bytes = self.reader.record_of("t", 2, offset).unwrap();
            let view = RecordView::parse(&bytes).unwrap();
            String::from_utf8(view.body.to_vec()).unwrap()
        };
        (0..end).map(key).collect()
    }

    fn waiting(&self) -> i64 {
        let figures = self.worker.timers.figures();
        figures.topics.iter().map(|(_, count)| count.waiting).sum()
    }

    fn listed(&self) -> Vec<String> {
        let list = self.worker.timers.list("b", None, None, 1_000).unwrap();
        list.timers
            .into_iter()
            .map(|timer| timer.unique_key)
            .collect()
    }

    fn rows(&self) -> usize {
        self.kv
            .read(range(RowKey::first_of(0), None))
            .unwrap()
            .len()
    }

    /// Writes down what the ledger has settled, as the broker does every few seconds.
    fn hand_over(&self) {
        self.ledger.settle().unwrap();
        let shared = &self.worker.timers.shared;
        let standing = shared.state.lock().settled;
        shared.hand_over(standing.unwrap(), false).unwrap();
    }

    /// Ends in order, as the broker does.
    fn stop(self) {
        self.ledger.settle().unwrap();
        self.worker.timers.hand_over().unwrap();
        self.kv.shutdown().unwrap();
    }
}

#[test]
fn a_message_is_delivered_when_its_slot_is_over_with_what_it_had() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = open(directory.path(), START + 7);
    world.send(
        "a",
        START + 500,
        &[("mine", "1"), ("TIMER_DELAY_MS", "490")],
    );
    world.work();
    assert_eq!((world.waiting(), world.listed()), (1, vec!["a".to_owned()]));
    world.work_until(START + 509);
    assert!(world.delivered().is_empty());
    world.work_until(START + 510);
    assert_eq!(
        (world.delivered(), world.waiting()),
        (vec!["a".to_owned()], 0)
    );
    let bytes = world.reader.record_of("t", 2, 0).unwrap();
    let view = RecordView::parse(&bytes).unwrap();
    assert_eq!((view.flag, view.sys_flag, view.born_timestamp), (5, 1, 6));
    assert_eq!((view.born_host.port(), view.store_host.port()), (9, 1));
    let text = view.properties_text().into_owned();
    let property = |name| names::get(&text, name).map(str::to_owned);
    assert_eq!(property("mine").as_deref(), Some("1"));
    assert_eq!(property(names::TIMER_ENQUEUE_MS), Some(START.to_string()));
    assert_eq!(
        property(names::TIMER_DEQUEUE_MS),
        Some((START + 510).to_string())
    );
    assert!(world.listed().is_empty());
}

#[test]
fn nothing_is_delivered_twice_or_lost_whatever_kv_has_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = open(directory.path(), START);
    world.send("a", START + 100, &[]);
    world.send("b", START + 200, &[]);
    world.send("c", START + 300, &[]);
    world.work();
    world.ledger.settle().unwrap();
    world.work_until(START + 110);
    // The ledger does not learn of the second and third delivery: kv has their rows at the next start.
    world.ledger.settle().unwrap();
    world.send("d", START + 150, &[]);
    world.work_until(START + 210);
    assert_eq!(world.delivered(), ["a", "d", "b"]);
    assert_eq!(world.rows(), 3);
    drop(world);
    let mut world = open(directory.path(), START + 220);
    world.work();
    assert_eq!(
        (world.delivered(), world.waiting()),
        (vec!["a".into(), "d".into(), "b".into()], 1)
    );
    // After days nothing has changed.
    world.ledger.settle().unwrap();
    assert_eq!(world.rows(), 1);
    world.work_until(START + 86_400_000);
    assert_eq!(world.delivered(), ["a", "d", "b", "c"]);
    drop(world);
    let mut world = open(directory.path(), START + 86_400_001);
    world.work();
    assert_eq!(world.delivered(), ["a", "d", "b", "c"]);
}

#[test]
fn what_was_delivered_before_its_row_was_written_is_not_filed_again() {
    let directory = tempfile::tempdir().unwrap();
    let world = open(directory.path(), START);
    world.ledger.settle().unwrap();
    drop(world);
    let before = directory.path().join("before");
    copy(&directory.path().join("kv"), &before);
    let mut world = open(directory.path(), START);
    world.send("a", START + 100, &[]);
    world.work_until(START + 200);
    assert_eq!(world.delivered(), ["a"]);
    drop(world);
    fs::remove_dir_all(directory.path().join("kv")).unwrap();
    fs::rename(&before, directory.path().join("kv")).unwrap();
    let mut world = open(directory.path(), START + 300);
    world.ledger.settle().unwrap();
    world.ledger.settle().unwrap();
    world.work();
    assert_eq!((world.delivered(), world.rows()), (vec!["a".to_owned()], 0));
}

#[test]
fn an_announced_recall_counts_however_late_it_is_stored_and_holds_nothing_up_for_long() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = open(directory.path(), START);
    for key in ["recalled", "stays", "never stored"] {
        world.send(key, START + 100, &[]);
    }
    let slot = u64::try_from(START + 100).unwrap();
    for key in ["recalled", "never stored"] {
        assert_eq!(world.worker.timers.announce(slot, key), START);
    }
    world.work_until(START + 130);
    assert_eq!(world.delivered(), ["stays"]);
    world.cancel("recalled", START + 100);
    world.work();
    assert_eq!((world.delivered().len(), world.waiting()), (1, 1));
    world.work_until(START + crate::timer::HELD_MS);
    assert_eq!(world.delivered(), ["stays", "never stored"]);
    assert_eq!(world.waiting(), 0);
}

#[test]
fn a_message_is_cancelled_by_what_comes_before_or_after_it_in_the_same_slot() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = open(directory.path(), START);
    world.cancel("before", START + 100);
    world.send("before", START + 100, &[]);
    for key in ["after", "stays", "twice"] {
        world.send(key, START + 100, &[]);
    }
    world.work();
    for key in ["after", "twice", "twice"] {
        world.cancel(key, START + 100);
    }
    world.cancel("stays", START + 110);
    world.work();
    assert_eq!(world.listed(), ["stays"]);
    // One that was cancelled in advance counts until its time has come.
    assert_eq!(world.waiting(), 2);
    // Cancelled in time, although its slot has ended since.
    let last = world.send("last", START + 100, &[]);
    world.cancel("last", START + 100);
    world.work_until(START + 130);
    assert_eq!(
        (world.delivered(), world.waiting(), last > 0),
        (vec!["stays".to_owned()], 0, true)
    );
    world.work_until(START + 5_000);
    world.ledger.settle().unwrap();
    assert_eq!(world.rows(), 0);
    drop(world);
    let mut world = open(directory.path(), START + 6_000);
    world.work();
    assert_eq!(
        (world.delivered(), world.waiting()),
        (vec!["stays".to_owned()], 0)
    );
}

#[test]
fn counts_are_made_anew_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = open(directory.path(), START);
    for key in ["a", "b", "c"] {
        world.send(key, START + 100, &[]);
    }
    world.cancel("b", START + 100);
    world.work();
    assert_eq!(world.waiting(), 2);
    world.ledger.settle().unwrap();
    drop(world);
    let mut world = open(directory.path(), START + 1);
    world.send("d", START + 100, &[]);
    world.work();
    assert_eq!((world.waiting(), world.listed().len()), (3, 3));
    world.work_until(START + 200);
    assert_eq!((world.waiting(), world.delivered().len()), (0, 3));
}

#[test]
fn what_is_due_before_anything_is_counted_is_delivered_and_counted_as_that() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = open(directory.path(), START);
    for key in ["a", "b", "c"] {
        world.send(key, START + 100, &[]);
    }
    world.work();
    world.ledger.settle().unwrap();
    drop(world);
    let mut world = open(directory.path(), START + 200);
    world.work();
    assert_eq!(world.delivered().len(), 3);
    let figures = world.worker.timers.figures();
    let count = figures.topics["t"];
    assert_eq!((count.waiting, count.delivered), (0, 3));
}

#[test]
fn a_message_is_appended_again_before_the_log_forgets_it() {
    let directory = tempfile::tempdir().unwrap();
    let rolling = |config: &mut BrokerConfig| config.timer_roll_window_slot = 1_000;
    let mut world = open_with(directory.path(), START, rolling);
    world.send("far", START + 60_000, &[]);
    world.send("recalled", START + 60_000, &[]);
    world.send("soon", START + 14_000, &[]);
    world.work();
    for second in 1..=12 {
        world.work_until(START + second * 1_000 + 500);
    }
    // Ten seconds old, and not due within five.
    assert_eq!(world.reader.max_offset(TIMER_TOPIC, 0), 5);
    let copy = world.reader.record_of(TIMER_TOPIC, 0, 4).unwrap();
    let copy = RecordView::parse(&copy).unwrap();
    assert_eq!(copy.property(names::TIMER_ROLL_TIMES), Some("1"));
    assert_eq!((world.waiting(), world.listed().len()), (3, 3));
    drop(world);
    let mut world = open_with(directory.path(), START + 13_000, rolling);
    world.cancel("recalled", START + 60_000);
    world.work();
    assert_eq!((world.waiting(), world.listed().len()), (2, 2));
    for second in 14..=62 {
        world.work_until(START + second * 1_000 + 500);
    }
    assert_eq!(
        (world.delivered(), world.waiting()),
        (vec!["soon".into(), "far".into()], 0)
    );
    // Rolled four times, every ten seconds; the one that was recalled only once.
    assert_eq!(world.reader.max_offset(TIMER_TOPIC, 0), 4 + 4 + 1);
}

#[test]
fn what_was_appended_again_last_before_a_stop_is_taken_over_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = open(directory.path(), START);
    world.send("a", START + 60_000, &[]);
    world.work();
    // Nobody has filed it.
    world.send("a", START + 60_000, &[(names::TIMER_ROLL_TIMES, "1")]);
    world.stop();
    fs::remove_dir_all(directory.path().join("kv")).unwrap();
    let mut world = open(directory.path(), START + 1_000);
    world.work_until(START + 62_000);
    assert_eq!(world.delivered(), ["a"]);
}

#[test]
fn what_is_filed_while_all_rows_are_walked_through_is_not_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = open(directory.path(), START);
    let needed = |world: &World| world.worker.timers.needed_from(&world.reader);
    world.worker.step(START);
    assert_eq!(needed(&world), 0);
    // The page is read, and the worker has not seen it yet.
    world.kv.read(range(RowKey::first_of(0), None)).unwrap();
    world.send("b", START + 2_000, &[]);
    let at = world.reader.position_of(TIMER_TOPIC, 0, 0).unwrap();
    while !world.worker.file(START) {}
    world.work();
    assert_eq!((world.worker.oldest, needed(&world)), (at, at));
}

#[test]
fn many_that_are_due_at_once_are_delivered_once_and_their_rows_are_read_in_pages() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = open(directory.path(), START);
    let total = 3 * i64::try_from(PAGE_ROWS).unwrap();
    for key in 0..total {
        world.send(&key.to_string(), START + 1_000 + key % 777, &[]);
    }
    world.work();
    world.ledger.settle().unwrap();
    drop(world);
    // Days later, and killed in the middle.
    let mut world = open(directory.path(), START + 250_000_000);
    while world.delivered().len() < 3 * PAGE_ROWS / 2 {
        world.worker.step(START + 250_000_000);
        world.kv.read(range(RowKey::first_of(0), None)).unwrap();
    }
    drop(world);
    let mut world = open(directory.path(), START + 250_000_001);
    world.work();
    let mut delivered: Vec<i64> = world
        .delivered()
        .iter()
        .map(|key| key.parse().unwrap())
        .collect();
    delivered.sort_unstable();
    assert_eq!(delivered, (0..total).collect::<Vec<_>>());
}

#[test]
fn rows_that_are_ahead_of_the_log_after_a_power_cut_mean_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = open(directory.path(), START);
    let lost = world.send("lost", START + 1_000, &[]);
    world.work();
    world.kv.store([]).unwrap();
    drop(world);
    for log in ["commitlog", "consumequeue", "checkpoint"] {
        let path = directory.path().join(log);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else if path.exists() {
            fs::remove_file(&path).unwrap();
        }
    }
    let mut world = open(directory.path(), START);
    let other = world.send("other", START + 2_000, &[]);
    assert_eq!(lost, other);
    world.work();
    assert_eq!(world.listed(), ["other"]);
    world.work_until(START + 9_000);
    assert_eq!(world.delivered(), ["other"]);
}

#[test]
fn what_another_broker_left_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = open(directory.path(), START);
    // Stale: another broker has delivered it since.
    world.send("delivered", START + 1_000, &[]);
    world.work();
    world.send("late", START + 3_000, &[]);
    world.send("rolled", START + 90_000, &[]);
    world.send("cancelled", START + 90_000, &[]);
    world.cancel("cancelled", START + 90_000);
    world.send("rolled", START + 90_000, &[(names::TIMER_ROLL_TIMES, "1")]);
    world.send("unread", START + 1_500, &[]);
    drop(world);
    let check = crate::timer::files::Check {
        read_ms: START + 2_000,
        log_position: 0,
        queue_offset: 6,
        changed: 0,
    };
    let mut file = check.encode().to_vec();
    file.resize(4_096, 0);
    fs::create_dir_all(directory.path().join("config")).unwrap();
    fs::write(directory.path().join("config/timercheck"), &file).unwrap();
    let mut world = open(directory.path(), START + 4_000);
    world.work();
    assert_eq!(world.delivered(), ["unread", "late"]);
    assert_eq!(
        (world.waiting(), world.listed()),
        (1, vec!["rolled".to_owned()])
    );
    world.ledger.settle().unwrap();
    drop(world);
    // The same file says nothing new at the next start.
    let mut world = open(directory.path(), START + 5_000);
    world.work();
    assert_eq!((world.delivered().len(), world.waiting()), (2, 1));
    world.work_until(START + 100_000);
    assert_eq!(world.delivered(), ["unread", "late", "rolled"]);
}

#[test]
fn a_java_broker_finds_wheel_and_log_after_a_stop_and_we_find_them_known() {
    let directory = tempfile::tempdir().unwrap();
    let small = |config: &mut BrokerConfig| {
        config.timer_precision_ms = 1_000;
        config.mapped_file_size_timer_log = 1_024;
        config.timer_roll_window_slot = 3_600;
    };
    let mut world = open_with(directory.path(), START, small);
    for at in 0..30 {
        world.send(&format!("k{at}"), START + at / 3 * 1_000 + 5_000, &[]);
    }
    world.cancel("k0", START + 5_000);
    world.send("far", START + 3_600_000 + 30_000, &[]);
    world.work_until(START + 1_500);
    world.stop();
    let root = directory.path();
    let read = |path: &str| fs::read(root.join(path)).unwrap();
    let number =
        |bytes: &[u8], at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let check = read("config/timercheck");
    assert_eq!(check.len(), 4_096);
    assert_eq!(
        (number(&check, 0), number(&check, 16), number(&check, 24)),
        (START + 1_000, 32, 32)
    );
    let mut log = Vec::new();
    let mut names: Vec<_> = fs::read_dir(root.join("timerlog")).unwrap().collect();
    names.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
    for entry in names {
        let entry = entry.unwrap();
        assert_eq!(
            entry.file_name().to_string_lossy(),
            format!("{:020}", log.len())
        );
        let file = fs::read(entry.path()).unwrap();
        assert_eq!(file.len(), 1_024);
        log.extend(file);
    }
    let wheel = read("timerwheel");
    assert_eq!(wheel.len(), 38_707_200);
    // Follows a slot back through the log; positions of the records.
    let follow = |slot: i64| {
        let at = usize::try_from(slot / 1_000 % 1_209_600 * 32).unwrap();
        assert_eq!(number(&wheel, at), slot / 1_000);
        let (first, mut unit) = (number(&wheel, at + 8), number(&wheel, at + 16));
        let mut found = Vec::new();
        while let Ok(at) = usize::try_from(unit) {
            assert!(unit >= first && log[at..at + 4] == [0, 0, 0, 52]);
            let after = i32::from_be_bytes(log[at + 24..at + 28].try_into().unwrap());
            assert_eq!(number(&log, at + 16) + i64::from(after), slot);
            found.push((log[at + 15], number(&log, at + 28)));
            unit = number(&log, at + 4);
        }
        found
    };
    assert_eq!(follow(START + 5_000).len(), 4);
    assert_eq!(follow(START + 6_000).len(), 3);
    // Beyond the window by less than a third of it: it waits in the middle.
    assert_eq!(
        follow(START + 1_000 + 1_800_000)
            .iter()
            .map(|(magic, _)| *magic)
            .collect::<Vec<_>>(),
        [3]
    );
    // The last unit says how far the topic was read.
    let end = usize::try_from(number(&check, 8)).unwrap();
    let mut world = open_with(root, START + 2_000, small);
    let last = world.reader.record_of(TIMER_TOPIC, 0, 31).unwrap();
    let last = RecordView::parse(&last).unwrap().physical_offset;
    assert_eq!(number(&log, end - 52 + 28), last);
    world.work();
    assert_eq!((world.waiting(), world.listed().len()), (30, 30));
    world.work_until(START + 4_000_000);
    assert_eq!(world.delivered().len(), 30);
    world.stop();
    // Nothing waits: all that the log says is how far the topic was read. It begins behind the one before.
    let check = read("config/timercheck");
    let begin = log.len();
    assert_eq!(number(&check, 8), i64::try_from(begin + 52).unwrap());
    let names: Vec<_> = fs::read_dir(root.join("timerlog")).unwrap().collect();
    assert_eq!(names.len(), 1);
    let name = names[0].as_ref().unwrap().file_name();
    assert_eq!(name.to_string_lossy(), format!("{begin:020}"));
    assert_eq!(number(&check, 16), 32);
}

/// What a crash leaves, with `kv` deleted: other brokers find no more.
fn crash_without_kv(world: World, root: &Path) {
    drop(world);
    fs::remove_dir_all(root.join("kv")).unwrap();
}

#[test]
fn after_a_crash_without_kv_only_what_was_delivered_last_comes_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = open(directory.path(), START);
    for (key, ahead) in [("a", 1_000), ("b", 2_000), ("c", 3_000), ("far", 90_000)] {
        world.send(key, START + ahead, &[]);
    }
    world.work_until(START + 1_500);
    world.hand_over();
    world.work_until(START + 2_500);
    world.send("d", START + 2_900, &[]);
    world.work_until(START + 3_500);
    world.hand_over();
    assert_eq!(world.delivered(), ["a", "b", "d", "c"]);
    world.send("last", START + 3_600, &[]);
    world.work_until(START + 4_000);
    assert_eq!(world.delivered().len(), 5);
    crash_without_kv(world, directory.path());
    let mut world = open(directory.path(), START + 5_000);
    world.work();
    assert_eq!(world.delivered(), ["a", "b", "d", "c", "last", "last"]);
    assert_eq!(world.listed(), ["far"]);
    // What was written down is known: no start believes it as long as there are rows.
    world.hand_over();
    world.send("e", START + 5_100, &[]);
    world.work_until(START + 6_000);
    drop(world);
    let mut world = open(directory.path(), START + 7_000);
    world.work_until(START + 100_000);
    assert_eq!(
        world.delivered(),
        ["a", "b", "d", "c", "last", "last", "e", "far"]
    );
}

#[test]
fn a_crash_between_two_files_for_other_brokers_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let mut world = open(root, START);
    for (key, ahead) in [("a", 1_000), ("b", 2_000), ("c", 3_000)] {
        world.send(key, START + ahead, &[]);
    }
    world.work_until(START + 1_500);
    world.hand_over();
    let check = root.join("config/timercheck");
    let before = fs::read(&check).unwrap();
    world.work_until(START + 2_500);
    // kv knows of the next file, which does not come into its place.
    fs::create_dir(root.join("config/timercheck.tmp")).unwrap();
    world.ledger.settle().unwrap();
    assert!(world.worker.timers.hand_over().is_err());
    assert_eq!(fs::read(&check).unwrap(), before);
    drop(world);
    let mut world = open(root, START + 2_600);
    world.work_until(START + 9_000);
    assert_eq!(world.delivered(), ["a", "b", "c"]);
}

#[test]
fn wheel_and_log_are_written_again_only_when_that_is_cheap_or_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = open(directory.path(), START);
    let written = |world: &World| world.worker.timers.shared.handed_over.lock().wheel;
    world.send("a", START + 1_000, &[]);
    world.send("b", START + 90_000, &[]);
    world.work_until(START + 1_500);
    world.hand_over();
    let first = written(&world).unwrap();
    assert!(first.is_told && first.filed == 2);
    // Nothing was filed since.
    world.work_until(START + 2_000);
    world.hand_over();
    assert_eq!(written(&world), Some(first));
    // Something was, but it is too early.
    world.worker.timers.shared.handed_over.lock().next_wheel = Duration::MAX;
    world.send("c", START + 2_100, &[]);
    world.work_until(START + 3_000);
    world.hand_over();
    assert_eq!(written(&world), Some(first));
    let root = directory.path().to_owned();
    let check = || fs::read(root.join("config/timercheck")).unwrap();
    assert_eq!(check()[16..24], 3_i64.to_be_bytes());
    world.send("d", START + 3_100, &[]);
    world.work();
    let timers = world.worker.timers.clone();
    world.stop();
    let last = timers.shared.handed_over.lock().wheel.unwrap();
    assert_eq!((last.filed, last.begin > first.end), (4, true));
    let files = fs::read_dir(root.join("timerlog")).unwrap().count();
    assert_eq!(files, 1);
}

#[test]
fn figures_tell_when_messages_are_due_and_how_long_they_were_to_wait() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = open(directory.path(), START + 4_000);
    for ahead in [4_990, 5_000, 59_990, 60_000, 86_399_990, 86_400_000] {
        world.send("k", START + ahead, &[]);
    }
    world.work();
    let figures = world.worker.timers.figures();
    assert_eq!(figures.soon, [1, 2, 1, 0, 0, 0, 0, 1]);
    let delays = world.worker.timers.delays();
    let delays = delays.collector().with_label_values(&["t"]);
    assert_eq!(delays.get_sample_count(), 6);
    world.work_until(START + 5_500);
    let figures = world.worker.timers.figures();
    assert_eq!(figures.soon, [0, 2, 0, 0, 0, 0, 0, 2]);
}

#[test]
fn a_slot_counts_what_waits_in_it_where_that_is_limited() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = open_with(directory.path(), START, |config| {
        config.timer_congest_num_each_slot = 5;
    });
    for key in ["a", "b"] {
        world.send(key, START + 100, &[]);
    }
    world.work();
    let slot = u64::try_from(START + 100).unwrap();
    assert_eq!(world.worker.timers.in_slot(slot), 2);
    world.work_until(START + 200);
    assert_eq!(world.worker.timers.in_slot(slot), 0);
    let rules: &TimerRules = world.worker.timers.rules();
    assert_eq!(rules.slot_limit, Some(5));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
