//! Light queues: messages of other topics are in them, too.

use super::*;
use common::message::property_crc;

fn light_config() -> StoreConfig {
    StoreConfig {
        light_queues: true,
        ..config(FlushMode::Async)
    }
}

fn bench(files: Arc<SimFiles>) -> Bench {
    Bench::with(files, light_config())
}

fn dispatch(names: &str) -> String {
    format!("TAGS\u{1}A\u{2}INNER_MULTI_DISPATCH\u{1}{names}\u{2}")
}

fn send(bench: &Bench, topic: &str, names: &str, body: &str) -> Appended {
    let properties = dispatch(names);
    bench.send_with(topic, 1, body, &properties, 0).unwrap()
}

/// The offsets each message of a queue says it has in light queues.
fn offsets(bench: &Bench, topic: &str, queue_id: u32) -> Vec<Option<String>> {
    let found = bench.get(topic, queue_id, 0, 32);
    let offsets = found.messages().map(|record| {
        let record = record.unwrap();
        record
            .property("INNER_MULTI_QUEUE_OFFSET")
            .map(str::to_owned)
    });
    offsets.collect()
}

fn check_three(bench: &Bench) {
    assert_eq!(bench.bodies("T", 1), ["m0", "m1", "m2"]);
    assert_eq!(bench.bodies("%LMQ%a", 0), ["m0", "m1"]);
    assert_eq!(bench.bodies("%LMQ%b", 0), ["m0", "m1", "m2"]);
    let some = |text: &str| Some(text.to_owned());
    let expected = [some("0,0"), some("1,1"), some("2")];
    assert_eq!(offsets(bench, "%LMQ%b", 0), expected);
    assert_eq!(offsets(bench, "T", 1), expected);
    assert_eq!(bench.reader.max_offset("%LMQ%b", 1), 0);
}

fn send_three(bench: &Bench) {
    for (n, names) in ["%LMQ%a,%LMQ%b", "%LMQ%a,%LMQ%b", "%LMQ%b"]
        .into_iter()
        .enumerate()
    {
        let sent = send(bench, "T", names, &format!("m{n}"));
        assert_eq!(sent.queue_offset.0, n as u64);
    }
}

#[test]
fn message_is_in_every_queue_it_names() {
    let store = bench(SimFiles::new());
    send_three(&store);
    check_three(&store);
    let store = bench(store.shutdown());
    check_three(&store);
    let sent = send(&store, "U", "%LMQ%a", "m3");
    assert_eq!(sent.queue_offset.0, 0);
    assert_eq!(store.bodies("%LMQ%a", 0), ["m0", "m1", "m3"]);
    // Sent there itself.
    let sent = store.send("%LMQ%a", 0, "own").unwrap();
    assert_eq!(sent.queue_offset.0, 3);
    assert_eq!(store.bodies("%LMQ%a", 0).len(), 4);
}

#[test]
fn light_queues_are_made_again_after_a_crash() {
    let store = bench(SimFiles::new());
    send_three(&store);
    let store = bench(store.kill());
    check_three(&store);
    let files = store.shutdown();
    let path = format!("/s/consumequeue/%LMQ%b/0/{:020}", 0);
    let units = files.bytes(&path).unwrap();
    files.remove_below("/s/consumequeue");
    let store = bench(files);
    check_three(&store);
    assert_eq!(store.shutdown().bytes(&path).unwrap(), units);
}

#[test]
fn odd_names_take_a_place_without_an_offset() {
    let store = bench(SimFiles::new());
    for (names, expected) in [
        ("%LMQ%n,plain", Some("0,")),
        ("plain,%LMQ%n,%LMQ%n", Some(",1,2")),
        ("%LMQ%a/b,%LMQ%n", Some(",3")),
        (" ", None),
        ("plain", None),
    ] {
        let sent = send(&store, "T", names, "x");
        let found = store.get("T", 1, i64::try_from(sent.queue_offset.0).unwrap(), 1);
        let record = found.messages().next().unwrap().unwrap();
        let said = record.property("INNER_MULTI_QUEUE_OFFSET");
        assert_eq!(said, expected, "{names}");
        assert_eq!(record.property("INNER_MULTI_DISPATCH"), Some(names));
        assert_eq!(record.property("TAGS"), Some("A"));
    }
    assert_eq!(store.reader.max_offset("%LMQ%n", 0), 4);
    assert_eq!(store.reader.max_offset("plain", 0), 0);
}

/// One queue that cannot have a file would keep all others from being written.
#[test]
fn a_name_that_no_directory_can_have_is_no_light_queue() {
    let store = bench(SimFiles::new());
    let named = |bytes: usize| format!("%LMQ%{}", "x".repeat(bytes - 5));
    for (name, taken) in [
        (named(255), true),
        (named(256), false),
        (format!("%LMQ%{}", "\u{e4}".repeat(126)), false),
        ("%LMQ%a\0b".to_owned(), false),
        ("%LMQ%../x".to_owned(), false),
    ] {
        send(&store, "T", &name, "x");
        assert_eq!(store.reader.queue(&name, 0).is_some(), taken, "{name:?}");
        assert_eq!(
            store.reader.max_offset(&name, 0),
            i64::from(taken).cast_unsigned()
        );
    }
    assert_eq!(store.reader.max_offset("T", 1), 5);
    // A record in a topic of such a name keeps no queue from being written either.
    store.send(&named(256), 0, "x").unwrap();
    let store = bench(store.shutdown());
    assert_eq!(store.reader.max_offset("T", 1), 5);
}

#[test]
fn some_topics_dispatch_to_no_light_queue() {
    let store = bench(SimFiles::new());
    for topic in ["%RETRY%g", "%DLQ%g", "rmq_sys_wheel_timer"] {
        send(&store, topic, "%LMQ%a", "x");
        assert_eq!(offsets(&store, topic, 1), [None], "{topic}");
    }
    let plain = Bench::open(SimFiles::new());
    send(&plain, "T", "%LMQ%a", "x");
    assert_eq!(offsets(&plain, "T", 1), [None]);
    for store in [store, plain] {
        assert_eq!(store.reader.max_offset("%LMQ%a", 0), 0);
    }
}

/// Offsets longer and shorter than each other, between other records of one append and over the end
/// of a segment, with and without checksums.
#[test]
fn records_stand_behind_each_other_however_long_their_offsets_are() {
    for crc in [false, true] {
        let config = StoreConfig {
            property_crc: PropertyCrc {
                write: crc,
                force: crc,
            },
            ..light_config()
        };
        let store = Bench::with(SimFiles::new(), config.clone());
        let (mut batch, mut appended) = (store.writer.batch(), Vec::new());
        let queue = store.writer.queue("T", 1);
        for n in 0..110 {
            let body = format!("body {n}");
            let properties = match n % 3 {
                0 => String::new(),
                1 => dispatch("%LMQ%a,%LMQ%b,%LMQ%c"),
                // As a client sends it that knows better; and the last end mark is missing.
                _ => dispatch("%LMQ%b") + "INNER_MULTI_QUEUE_OFFSET\u{1}77",
            };
            let parts = parts("T", 1, &body, &properties, 0);
            batch.push(&queue, &parts).unwrap();
            if n % 10 == 9 {
                store
                    .writer
                    .append_batch(&mut batch, &mut appended)
                    .unwrap();
                batch.clear();
            }
        }
        assert!(store.reader.status().max_physical > 4 * SEGMENT_BYTES);
        let expected: Vec<String> = (0..110).map(|n| format!("body {n}")).collect();
        let in_b: Vec<String> = (0..110)
            .filter(|n| n % 3 != 0)
            .map(|n| format!("body {n}"))
            .collect();
        let store = Bench::with(store.kill(), config.clone());
        assert_eq!(store.bodies("T", 1), expected);
        assert_eq!(store.bodies("%LMQ%b", 0), in_b);
        for (sent, n) in appended.iter().zip(0_u64..) {
            let record = store.reader.record_at(sent.physical_offset).unwrap();
            assert_eq!(record.len(), usize::try_from(sent.bytes).unwrap());
            assert_eq!(property_crc::is_intact(&record), crc);
            let record = RecordView::parse(&record).unwrap();
            let (a, b) = (n / 3, (n - n / 3).saturating_sub(1));
            let said = record.property("INNER_MULTI_QUEUE_OFFSET");
            match n % 3 {
                0 => assert_eq!(said, None),
                1 => assert_eq!(said, Some(&*format!("{a},{b},{a}"))),
                _ => assert_eq!(said, Some(&*b.to_string())),
            }
        }
    }
}

#[test]
fn failed_append_takes_no_offset() {
    let store = bench(SimFiles::new());
    send(&store, "T", "%LMQ%a,%LMQ%b", "first");
    let (mut batch, mut appended) = (store.writer.batch(), Vec::new());
    let queue = store.writer.queue("T", 1);
    let properties = dispatch("%LMQ%b,%LMQ%b");
    let body = "x".repeat(1000);
    for _ in 0..6 {
        let parts = parts("T", 1, &body, &properties, 0);
        batch.push(&queue, &parts).unwrap();
    }
    // The first segment takes three of them, and there is no room for a second one.
    store.files.set_room(0);
    let failed = store.writer.append_batch(&mut batch, &mut appended);
    assert!(matches!(failed, Err(StoreError::DiskFull { .. })));
    assert_eq!(appended.len(), 3);
    store.files.set_room(u64::MAX);
    store.clock.advance(Duration::from_secs(1));
    assert_eq!(send(&store, "T", "%LMQ%b", "next").queue_offset.0, 4);
    assert_eq!(store.reader.max_offset("%LMQ%b", 0), 8);
    let said = offsets(&store, "%LMQ%b", 0);
    assert_eq!(said.last(), Some(&Some("7".to_owned())));
}

#[test]
fn light_queues_are_counted() {
    let store = bench(SimFiles::new());
    let count = |named: &str| store.writer.light_queues(named);
    assert_eq!(count("%LMQ%a,plain"), (true, 0));
    send(&store, "T", "%LMQ%a,%LMQ%b", "x");
    assert_eq!(count("%LMQ%b,plain"), (false, 2));
    assert_eq!(count("%LMQ%b,%LMQ%c"), (true, 2));
    store.writer.delete_topic("%LMQ%a").unwrap();
    assert_eq!(count("%LMQ%a"), (true, 1));
    let store = bench(store.shutdown());
    assert_eq!(store.writer.light_queues("%LMQ%b"), (false, 1));
}
