//! Queues of messages that wait.

use super::*;

const TOPIC: &str = "SCHEDULE_TOPIC_XXXX";

fn bench(files: Arc<SimFiles>) -> Bench {
    let config = StoreConfig {
        delay_levels: DelayLevels::parse("3s 1m").unwrap(),
        ..config(FlushMode::Async)
    };
    Bench::with(files, config)
}

fn tags_codes(files: &SimFiles) -> Vec<i64> {
    let bytes = files
        .bytes(format!("/s/consumequeue/{TOPIC}/1/{:020}", 0))
        .unwrap();
    let code = |unit: &[u8; 20]| i64::from_be_bytes(*unit[12..].first_chunk().unwrap());
    bytes.as_chunks().0[..3].iter().map(code).collect()
}

#[test]
fn units_of_waiting_messages_say_when_each_is_due() {
    let store = bench(SimFiles::new());
    let mut due = Vec::new();
    for (level, delay) in [("1", 3_000), ("2", 60_000), ("9", 60_000)] {
        let properties = format!("DELAY\u{1}{level}\u{2}TAGS\u{1}A\u{2}");
        let sent = store.send_with(TOPIC, 1, "later", &properties, 0).unwrap();
        due.push(sent.store_timestamp + delay);
    }
    let files = store.shutdown();
    assert_eq!(tags_codes(&files), due);

    files.remove_below("/s/consumequeue");
    let files = bench(files).shutdown();
    assert_eq!(tags_codes(&files), due, "rebuilt");
}
