//! Queues for whole batches: a record stands for many messages.

use super::*;

const UNIT: usize = 46;
const INNER_BATCH: i32 = sys_flag::INNER_BATCH | sys_flag::NEED_UNWRAP;

/// Topics whose names begin with a `B` are for batches; five units are a file.
fn batch_config() -> StoreConfig {
    StoreConfig {
        batch_consume_queue_file_bytes: 5 * UNIT as u64,
        batch_topics: TopicSet::new(|topic| topic.starts_with('B')),
        ..config(FlushMode::Async)
    }
}

fn bench(files: Arc<SimFiles>) -> Bench {
    Bench::with(files, batch_config())
}

/// Sends a batch of `messages` messages, or a single one for 0.
fn send(bench: &Bench, body: &str, messages: u32) -> Appended {
    let properties = format!("INNER_NUM\u{1}{messages}\u{2}TAGS\u{1}A\u{2}");
    let (properties, flag) = match messages {
        0 => ("TAGS\u{1}A\u{2}", 0),
        _ => (&*properties, INNER_BATCH),
    };
    bench.clock.advance(Duration::from_secs(1));
    bench.send_with("B", 0, body, properties, flag).unwrap()
}

fn units(files: &SimFiles) -> Vec<u8> {
    let paths = files.paths();
    let mine = paths
        .iter()
        .filter(|path| path.starts_with("/s/batchconsumequeue/B/0"));
    let contents = mine.map(|path| files.bytes(path).unwrap());
    contents.collect::<Vec<_>>().concat()
}

/// First offsets of the records a pull gives, and where the next one begins.
fn pull(bench: &Bench, offset: i64, max: u32) -> (Vec<i64>, i64) {
    let found = bench.get("B", 0, offset, max);
    let bases = found.messages().map(|found| found.unwrap().queue_offset);
    (bases.collect(), found.next_begin)
}

fn check_ten_tens(bench: &Bench) {
    let (min, max) = (
        bench.reader.min_offset("B", 0),
        bench.reader.max_offset("B", 0),
    );
    assert_eq!((min, max), (0, 100));
    for (offset, count, bases, next) in [
        (5, 32, vec![0, 10, 20], 30),
        (0, 1, vec![0], 10),
        (0, 19, vec![0], 10),
        (0, 20, vec![0, 10], 20),
        (10, 10, vec![10], 20),
        (49, 100, vec![40, 50, 60, 70], 80),
        (99, 32, vec![90], 100),
    ] {
        assert_eq!(pull(bench, offset, count), (bases, next), "{offset}");
    }
    let at_end = bench.get("B", 0, 100, 32).status;
    assert_eq!(at_end, GetStatus::OffsetOverflowOne);
    assert_eq!(bench.get("B", 0, 0, 32).count, 30);
}

#[test]
fn batches_are_one_record_and_many_offsets() {
    let store = bench(SimFiles::new());
    for n in 0..10 {
        let sent = send(&store, &format!("batch {n}"), 10);
        assert_eq!(sent.queue_offset.0, 10 * n);
    }
    check_ten_tens(&store);
    let found = store.get("B", 0, 30, 1);
    let record = found.messages().next().unwrap().unwrap();
    assert_eq!(record.property("INNER_BASE"), Some("30"));
    assert_eq!(record.property("INNER_NUM"), Some("10"));
    let store = bench(store.shutdown());
    check_ten_tens(&store);
    assert_eq!(send(&store, "one", 0).queue_offset.0, 100);
    assert_eq!(pull(&store, 95, 32), (vec![90, 100], 101));
}

#[test]
fn units_have_the_bytes_of_the_reference() {
    let store = bench(SimFiles::new());
    let first = send(&store, "x", 7);
    let second = send(&store, "y", 0);
    let files = store.shutdown();
    let units = units(&files);
    assert_eq!(units.len(), 5 * UNIT);
    for (unit, sent, base, messages) in [(0, first, 0_u64, 7_u16), (1, second, 7, 1)] {
        let mut expected = sent.physical_offset.0.to_be_bytes().to_vec();
        expected.extend_from_slice(&sent.bytes.to_be_bytes());
        expected.extend_from_slice(&65_i64.to_be_bytes());
        expected.extend_from_slice(&sent.store_timestamp.to_be_bytes());
        expected.extend_from_slice(&base.to_be_bytes());
        expected.extend_from_slice(&messages.to_be_bytes());
        expected.extend_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]);
        assert_eq!(units[unit * UNIT..][..UNIT], expected, "{unit}");
    }
    assert_eq!(units[2 * UNIT..], [0; 3 * UNIT]);
}

#[test]
fn search_by_time_finds_whole_batches() {
    let store = bench(SimFiles::new());
    let times: Vec<i64> = (0..3)
        .map(|n| send(&store, &format!("{n}"), 10).store_timestamp)
        .collect();
    let search = |time, boundary| store.reader.offset_by_time("B", 0, time, boundary);
    for (at, time) in times.iter().enumerate() {
        let base = 10 * at as u64;
        assert_eq!(search(*time, Boundary::Lower), base);
        assert_eq!(search(*time, Boundary::Upper), base);
        assert_eq!(search(*time - 1, Boundary::Lower), base);
    }
    assert_eq!(search(times[2] + 1, Boundary::Lower), 20);
    assert_eq!(search(times[0] - 1, Boundary::Upper), 0);
    assert_eq!(store.reader.earliest_store_time("B", 0), Some(times[0]));
    assert_eq!(store.reader.store_time_of("B", 0, 17), Some(times[1]));
}

#[test]
fn units_are_made_again_after_a_crash() {
    for written in [false, true] {
        let store = bench(SimFiles::new());
        let sizes = [10, 3, 0, 32, 0, 1, 7, 2, 0, 0, 5, 4];
        for (n, messages) in sizes.into_iter().enumerate() {
            send(&store, &format!("batch {n}"), messages);
            if written && n == 8 {
                store.writer.0.index.write_out_now().unwrap();
            }
        }
        let bodies = store.bodies("B", 0);
        assert_eq!(bodies.len(), sizes.len());
        let end = store.reader.max_offset("B", 0);
        let killed = store.kill();
        let store = bench(Arc::clone(&killed));
        assert_eq!(store.reader.max_offset("B", 0), end);
        assert_eq!(store.bodies("B", 0), bodies);
        assert_eq!(send(&store, "more", 3).queue_offset.0, end);
        let files = store.shutdown();
        let after_crash = units(&files);
        assert!(after_crash.len() > 2 * 5 * UNIT);

        files.remove_below("/s/batchconsumequeue");
        let store = bench(files);
        assert_eq!(store.bodies("B", 0).len(), bodies.len() + 1);
        assert_eq!(units(&store.shutdown()), after_crash);
    }
}

#[test]
fn cut_log_takes_the_units_of_its_batches() {
    let store = bench(SimFiles::new());
    for n in 0..7 {
        send(&store, &format!("batch {n}"), 10);
    }
    let last = send(&store, "lost", 10);
    store.writer.0.index.write_out_now().unwrap();
    let files = store.kill();
    files.overwrite(
        segment_path(0),
        usize::try_from(last.physical_offset.0).unwrap(),
        &[0; 64],
    );
    let store = bench(files);
    assert_eq!(store.reader.max_offset("B", 0), 70);
    assert_eq!(send(&store, "again", 4).queue_offset.0, 70);
    assert_eq!(pull(&store, 60, 32), (vec![60, 70], 74));
    let units = units(&store.shutdown());
    assert_eq!(
        units[8 * UNIT..].iter().filter(|byte| **byte != 0).count(),
        0
    );
}

#[test]
fn queue_follows_the_log_and_goes_on_behind_what_it_ever_had() {
    let store = bench(SimFiles::new());
    let body = "x".repeat(700);
    let sent: Vec<_> = (0..60).map(|_| send(&store, &body, 10)).collect();
    store.clock.advance(Duration::from_hours(73));
    store.writer.0.clean.step();
    let start = store.reader.status().min_physical;
    assert!(start > 0);
    let oldest = |start: u64| {
        let kept = sent.iter().find(|sent| sent.physical_offset.0 >= start);
        kept.map_or(600, |kept| kept.queue_offset.0)
    };
    assert_eq!(store.reader.min_offset("B", 0), oldest(start));
    assert!(oldest(start) > 0 && oldest(start) < 600);
    let before = i64::try_from(oldest(start)).unwrap() - 1;
    assert_eq!(
        store.get("B", 0, before, 1).status,
        GetStatus::OffsetTooSmall
    );
    let first = format!("/s/batchconsumequeue/B/0/{:020}", 0);
    assert_eq!(store.files.bytes(&first), None, "its messages are gone");

    let store = bench(store.shutdown());
    assert_eq!(store.reader.min_offset("B", 0), oldest(start));
    assert_eq!(pull(&store, before + 1, 10).0, [before + 1]);
    assert_eq!(send(&store, "x", 2).queue_offset.0, 600);

    // Other topics fill the log until nothing of the queue is left in it.
    for _ in 0..40 {
        store.send("T", 0, &body).unwrap();
    }
    for _ in 0..10 {
        store.clock.advance(Duration::from_hours(73));
        store.writer.0.clean.step();
    }
    assert_eq!(store.reader.min_offset("B", 0), 602);
    assert_eq!(store.reader.max_offset("B", 0), 602);
    let store = bench(store.kill());
    assert_eq!(store.reader.min_offset("B", 0), 602);
    assert_eq!(send(&store, "x", 3).queue_offset.0, 602);
    assert_eq!(pull(&store, 602, 32), (vec![602], 605));
}

/// The newest unit alone in its file, and lost with its record: the file before it says where to go on.
#[test]
fn file_before_the_oldest_message_is_kept() {
    let store = bench(SimFiles::new());
    for _ in 0..10 {
        send(&store, "old", 10);
    }
    let body = "x".repeat(900);
    for _ in 0..10 {
        store.send("T", 0, &body).unwrap();
    }
    send(&store, "new", 10);
    store.writer.0.index.sync_now().unwrap();
    store.clock.advance(Duration::from_hours(73));
    for _ in 0..4 {
        store.writer.0.clean.step();
    }
    assert_eq!(store.reader.min_offset("B", 0), 100);
    let paths = store.files.paths();
    let kept = paths
        .iter()
        .filter(|path| path.starts_with("/s/batchconsumequeue"));
    assert_eq!(kept.count(), 2);
    let last = store.reader.0.queues.unit(&store.writer.queue("B", 0), 100);
    let at = last.unwrap().unwrap().physical_offset;
    let files = store.kill();
    files.overwrite(
        segment_path(at - at % SEGMENT_BYTES),
        usize::try_from(at % SEGMENT_BYTES).unwrap(),
        &[0; 64],
    );
    // The checkpoint says that the record was there; somebody else's does not.
    files.remove_below("/s/checkpoint");
    let store = bench(files);
    assert_eq!(store.reader.max_offset("B", 0), 100);
    assert_eq!(send(&store, "again", 1).queue_offset.0, 100);
}

#[test]
fn long_queue_is_searched_in_its_files() {
    let store = Bench::with(
        SimFiles::new(),
        StoreConfig {
            segment_bytes: 1 << 20,
            batch_consume_queue_file_bytes: 1000 * UNIT as u64,
            ..batch_config()
        },
    );
    let sent: Vec<_> = (0..2500_u32)
        .map(|n| send(&store, "x", n % 5).queue_offset.0)
        .collect();
    let check = |store: &Bench| {
        for (at, base) in sent.iter().enumerate().step_by(7) {
            let last = sent.get(at + 1).map_or(*base, |next| next - 1);
            for offset in [*base, last] {
                let found = pull(store, i64::try_from(offset).unwrap(), 1).0;
                assert_eq!(found, [i64::try_from(*base).unwrap()], "{offset}");
            }
        }
    };
    check(&store);
    store.writer.0.index.write_out_now().unwrap();
    store.writer.0.index.write_out_now().unwrap();
    check(&store);
    let (in_memory, _) = store.writer.queue("B", 0).in_memory();
    assert!(in_memory < 300);
    let config = StoreConfig {
        segment_bytes: 1 << 20,
        batch_consume_queue_file_bytes: 1000 * UNIT as u64,
        ..batch_config()
    };
    let store = Bench::with(store.shutdown(), config.clone());
    check(&store);
    let store = Bench::with(store.kill(), config);
    check(&store);
}

#[test]
fn deleted_batch_topic_begins_again_and_may_be_a_plain_one() {
    let store = bench(SimFiles::new());
    send(&store, "x", 10);
    store.writer.delete_topic("B").unwrap();
    assert_eq!(units(&store.files).len(), 0);
    assert_eq!(send(&store, "y", 3).queue_offset.0, 0);
    store.writer.delete_topic("B").unwrap();
    let plain = Bench::open(store.shutdown());
    assert_eq!(plain.send("B", 0, "z").unwrap().queue_offset.0, 0);
    assert_eq!(plain.bodies("B", 0), ["z"]);
}

#[test]
fn queue_keeps_its_kind_whatever_its_topic_has_become() {
    let store = bench(SimFiles::new());
    send(&store, "x", 10);
    let plain = Bench::with(
        store.shutdown(),
        StoreConfig {
            batch_topics: TopicSet::default(),
            ..batch_config()
        },
    );
    assert_eq!(plain.send("B", 0, "z").unwrap().queue_offset.0, 10);
    assert_eq!(plain.bodies("B", 0), ["x", "z"]);
    // A batch in a plain queue is one message.
    let sent = plain.send_with("T", 0, "b", "INNER_NUM\u{1}10\u{2}", INNER_BATCH);
    assert_eq!(sent.unwrap().queue_offset.0, 0);
    assert_eq!(plain.send("T", 0, "c").unwrap().queue_offset.0, 1);
}
