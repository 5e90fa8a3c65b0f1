use store::FlushMode;

use crate::made::{FIRST_STORED, make, run};

#[test]
fn files_topics_and_queues_are_listed() {
    let made = make(FlushMode::Sync);
    let (code, json) = made.json(&["ls", "--json"]);
    assert_eq!(code, 0);
    let queues: Vec<_> = json["queues"].as_array().unwrap().iter().collect();
    let orders = queues
        .iter()
        .find(|q| q["topic"] == "orders" && q["queue"] == 1)
        .unwrap();
    assert_eq!((&orders["min"], &orders["max"]), (&0.into(), &12.into()));
    assert_eq!(orders["files"], 3);
    assert_eq!(queues.len(), 5);
    let segments = json["segments"].as_array().unwrap();
    assert_eq!(segments[0]["first_store_time"], FIRST_STORED);
    let used: u64 = segments
        .iter()
        .rev()
        .find_map(|s| s["used"].as_u64().filter(|used| *used > 0))
        .unwrap();
    let last = made.stored.last().unwrap();
    assert_eq!(used, last.end() % 4096);
    let newest = segments
        .iter()
        .filter_map(|s| s["last_store_time"].as_i64())
        .max();
    assert_eq!(newest, Some(last.store_timestamp));
    // Every file knows its last record, although only the last one's is named by a queue.
    for (segment, next) in segments.iter().zip(&segments[1..]) {
        if let Some(first_of_next) = next["first_store_time"].as_i64() {
            assert_eq!(segment["last_store_time"], first_of_next - 1000);
        }
    }
    let text = made.run(&["ls"]);
    assert_eq!(text.code, 0);
    assert!(
        text.out.contains("closed in order") && text.out.contains("2026-11-21T00:00:00.000Z"),
        "{text:?}"
    );
}

#[test]
fn one_topic_is_listed_alone_and_an_unknown_one_refused() {
    let made = make(FlushMode::Async);
    let (code, json) = made.json(&["ls", "--json", "--topic", "six"]);
    assert_eq!((code, json["queues"].as_array().unwrap().len()), (0, 1));
    let done = made.run(&["ls", "--topic", "order"]);
    assert_eq!(done.code, 2);
    assert!(
        done.err.contains("no ConsumeQueue of a topic \"order\"")
            && done.err.contains("there are: orders"),
        "{done:?}"
    );
}

#[test]
fn what_is_no_store_is_named() {
    let made = make(FlushMode::Async);
    let check = |path: &str, problem: &str| {
        let done = run(&made.root().join(path), &["ls"]);
        assert_eq!(done.code, 3, "{done:?}");
        assert!(done.err.contains(problem), "{done:?}");
    };
    check("nowhere", "no directory; name the one of storePathRootDir");
    check("commitlog", "name the directory above it");
    check("consumequeue", "no store: there is no directory");
    let done = made.run(&["ls", "--colour"]);
    assert_eq!(done.code, 2, "{done:?}");
}
