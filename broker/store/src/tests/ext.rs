//! Queues whose units lead to ext units.

use super::*;

/// Three units and the room for the end mark.
const FILE_BYTES: u64 = 64;
const DIRECTORY: &str = "/s/consumequeue_ext/T/0";

fn bench(files: Arc<SimFiles>, writes: bool) -> Bench {
    let config = StoreConfig {
        consume_queue_ext: writes,
        consume_queue_ext_file_bytes: FILE_BYTES,
        ..config(FlushMode::Async)
    };
    Bench::with(files, config)
}

fn send(bench: &Bench, tags: &[&str]) {
    for tag in tags {
        let properties = format!("TAGS\u{1}{tag}\u{2}");
        bench.send_with("T", 0, tag, &properties, 0).unwrap();
    }
}

/// The messages a consumer of `tag` gets.
fn filtered(bench: &Bench, tag: &str) -> Vec<String> {
    let code = tags_code(tag);
    let result = bench.reader.get(GetRequest {
        topic: "T",
        queue_id: 0,
        offset: 0,
        max_messages: 32,
        filter: &|found| found == code,
    });
    result
        .messages()
        .map(|message| body_of(&message.unwrap()))
        .collect()
}

fn addresses(files: &SimFiles, count: usize) -> Vec<i64> {
    let mut bytes = Vec::new();
    for base in (0..count as u64).step_by(5).map(|first| first * 20) {
        bytes.extend(
            files
                .bytes(format!("/s/consumequeue/T/0/{base:020}"))
                .unwrap(),
        );
    }
    let code = |unit: &[u8; 20]| i64::from_be_bytes(*unit[12..].first_chunk().unwrap());
    bytes.as_chunks().0[..count].iter().map(code).collect()
}

fn address(position: i64) -> i64 {
    position + i64::MIN
}

#[test]
fn units_lead_to_ext_units() {
    let store = bench(SimFiles::new(), true);
    let sent = store
        .send_with("T", 0, "x", "TAGS\u{1}TagA\u{2}", 0)
        .unwrap();
    let files = store.shutdown();
    assert_eq!(addresses(&files, 1), [i64::MIN]);
    let bytes = files.bytes(format!("{DIRECTORY}/{:020}", 0)).unwrap();
    assert_eq!(bytes.len() as u64, FILE_BYTES);
    assert_eq!(bytes[..10], [0, 20, 0, 0, 0, 0, 0, 0x27, 0xA8, 0x07]);
    assert_eq!(bytes[10..18], sent.store_timestamp.to_be_bytes());
    assert_eq!(bytes[18..], [0; 46]);
}

#[test]
fn ext_file_that_is_full_is_marked() {
    let store = bench(SimFiles::new(), true);
    send(&store, &["a", "b", "c", "d"]);
    let files = store.shutdown();
    let codes = [0, 20, 40, 64].map(address);
    assert_eq!(addresses(&files, 4), codes);
    let bytes = files.bytes(format!("{DIRECTORY}/{:020}", 0)).unwrap();
    assert_eq!(bytes[60..], [0xFF, 0xFF, 0, 0]);
    let bytes = files
        .bytes(format!("{DIRECTORY}/{FILE_BYTES:020}"))
        .unwrap();
    assert_eq!(bytes[2..10], tags_code("d").to_be_bytes());
}

#[test]
fn consumers_see_tags_whether_ext_units_are_written_or_not() {
    let tags = ["a", "b", "a", "c", "a", "b", "a"];
    let store = bench(SimFiles::new(), true);
    send(&store, &tags);
    assert_eq!(filtered(&store, "a").len(), 4, "from memory");
    let store = bench(store.shutdown(), true);
    assert_eq!(filtered(&store, "a").len(), 4, "from files");
    let store = bench(store.shutdown(), false);
    assert_eq!(filtered(&store, "b").len(), 2, "with the key off");
    send(&store, &["b"]);
    let files = store.shutdown();
    assert_eq!(addresses(&files, 8)[7], tags_code("b"), "none is written");
    let store = bench(files, true);
    assert_eq!(filtered(&store, "b").len(), 3);
    send(&store, &["b"]);
    let files = store.shutdown();
    assert_eq!(addresses(&files, 9)[8], address(148), "behind the last one");
    assert_eq!(filtered(&bench(files, true), "b").len(), 4);
}

#[test]
fn what_no_unit_leads_to_is_wiped() {
    let store = bench(SimFiles::new(), true);
    send(&store, &["a", "b", "c", "d", "e"]);
    let files = store.shutdown();
    // The queue lost all but its first two units, and the store does not know.
    let unit_at = |index: usize| index * 20;
    files.overwrite(
        format!("/s/consumequeue/T/0/{:020}", 0),
        unit_at(2),
        &[0; 60],
    );
    files.remove_below("/s/checkpoint");
    let store = bench(files, true);
    assert_eq!(store.bodies("T", 0), ["a", "b", "c", "d", "e"]);
    let files = store.shutdown();
    assert_eq!(addresses(&files, 5), [0, 20, 40, 64, 84].map(address));
    assert_eq!(filtered(&bench(files, true), "d"), ["d"]);
}

#[test]
fn lost_ext_units_filter_nothing() {
    let store = bench(SimFiles::new(), true);
    send(&store, &["a", "b"]);
    let files = store.shutdown();
    files.remove_below("/s/consumequeue_ext/T/0");
    assert_eq!(filtered(&bench(files, true), "a"), ["a", "b"]);
}

#[test]
fn ext_units_survive_a_kill_and_a_lost_queue() {
    let store = bench(SimFiles::new(), true);
    send(&store, &["a", "b", "c", "d"]);
    let store = bench(store.kill(), true);
    assert_eq!(filtered(&store, "c"), ["c"]);
    let files = store.shutdown();
    assert_eq!(addresses(&files, 4), [0, 20, 40, 64].map(address));
    files.remove_below("/s/consumequeue");
    let files = bench(files, true).shutdown();
    assert_eq!(
        addresses(&files, 4),
        [0, 20, 40, 64].map(address),
        "rebuilt"
    );
    assert_eq!(filtered(&bench(files, false), "d"), ["d"]);
}

#[test]
fn deleted_topic_leaves_no_ext_units() {
    let store = bench(SimFiles::new(), true);
    send(&store, &["a"]);
    let store = bench(store.shutdown(), true);
    store.writer.delete_topic("T").unwrap();
    let files = store.shutdown();
    assert_eq!(files.bytes(format!("{DIRECTORY}/{:020}", 0)), None);
}

#[test]
fn ext_file_of_another_size_is_refused() {
    let store = bench(SimFiles::new(), true);
    send(&store, &["a"]);
    let files = store.shutdown();
    let clock = Arc::new(ManualClock::new(Millis(1)));
    let opened = open(
        config(FlushMode::Async),
        files,
        clock,
        Arc::new(Seen::default()),
    );
    let Err(StoreError::Corrupt { problem, .. }) = opened else {
        panic!("not refused");
    };
    assert!(
        problem.contains("mappedFileSizeConsumeQueueExt says 50331648"),
        "{problem}"
    );
}
