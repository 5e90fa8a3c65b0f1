//! `cat`, `grep`, `export` and `stats`.

use std::io::Read as _;
use std::process::{Command, Stdio};

use serde_json::Value;
use store::FlushMode;

use crate::made::{FIRST_STORED, Made, Message, Opened, long_topic, make, overwrite, run};

/// Each line of the output.
fn lines(made: &Made, args: &[&str]) -> (i32, Vec<Value>) {
    let done = made.run(args);
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{done:?}"));
    (done.code, done.out.lines().map(parse).collect())
}

fn offsets(lines: &[Value]) -> Vec<u64> {
    lines
        .iter()
        .map(|line| line["queueOffset"].as_u64().unwrap())
        .collect()
}

#[test]
fn export_says_everything_a_record_says() {
    let made = make(FlushMode::Sync);
    let (code, all) = lines(&made, &["export"]);
    assert_eq!((code, all.len()), (0, made.stored.len()));
    let at = made.stored[1].physical_offset.0;
    let expected = serde_json::json!({
        "topic": "orders",
        "queueId": 1,
        "queueOffset": 0,
        "physicalOffset": at,
        "storeSize": made.stored[1].bytes,
        "msgId": format!("7F00000100002A9F{at:016X}"),
        "version": 1,
        "flag": 7,
        "sysFlag": 0,
        "bornTimestamp": FIRST_STORED - 5,
        "bornHost": "127.0.0.1:4000",
        "storeTimestamp": FIRST_STORED + 1000,
        "storeHost": "127.0.0.1:10911",
        "reconsumeTimes": 0,
        "preparedTransactionOffset": 0,
        "bodyCrc": all[1]["bodyCrc"],
        "properties": {"TAGS": "paid", "KEYS": "k1 all", "UNIQ_KEY": "id-1"},
        "body": all[1]["body"],
    });
    assert_eq!(all[1], expected);
    // "order number 1, xxx…": a multiple of three bytes.
    let body = all[1]["body"].as_str().unwrap();
    assert!(body.starts_with("b3JkZXIgbnVtYmVyIDEsIHh4eHh4"), "{body}");
    assert_eq!(body.len(), 216 / 3 * 4);
    assert_eq!(
        (&all[24]["topic"], &all[24]["version"]),
        (&long_topic().into(), &2.into())
    );
    assert_eq!(all[25]["bornHost"], "[2001:db8::1]:4000");
    assert_eq!(all[26]["sysFlag"], 1);
}

#[test]
fn properties_an_object_cannot_hold_are_kept_as_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let opened = Opened::new(dir.path(), FlushMode::Async);
    for properties in ["a\u{1}1\u{2}", "a\u{1}1\u{2}a\u{1}2\u{2}", "b\u{1}2"] {
        opened.send(Message {
            properties,
            ..Message::new("t", 0, b"x")
        });
    }
    opened.tasks.shutdown().unwrap();
    let done = run(dir.path(), &["export"]);
    let said: Vec<Value> = done
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(said[0]["properties"], serde_json::json!({"a": "1"}));
    assert_eq!(said[0]["propertiesRaw"], Value::Null);
    assert_eq!(said[1]["properties"], serde_json::json!({"a": "2"}));
    assert_eq!(said[1]["propertiesRaw"], "YQExAmEBMgI=");
    assert_eq!(said[2]["propertiesRaw"], "YgEy");
}

#[test]
fn messages_are_chosen_by_topic_and_time() {
    let made = make(FlushMode::Sync);
    let (_, six) = lines(&made, &["export", "--topic", "six"]);
    assert_eq!(six.len(), 1);
    let (_, some) = lines(
        &made,
        &[
            "export",
            "--from",
            "2026-11-21T00:00:05Z",
            "--to",
            "2026-11-21T00:00:08Z",
        ],
    );
    let times: Vec<_> = some
        .iter()
        .map(|line| line["storeTimestamp"].as_i64().unwrap() - FIRST_STORED)
        .collect();
    assert_eq!(times, [5000, 6000, 7000]);
    let late = (FIRST_STORED + 3_600_000).to_string();
    assert_eq!(lines(&made, &["export", "--from", &late]), (0, vec![]));
    let done = made.run(&["export", "--from", "yesterday"]);
    assert_eq!(done.code, 2);
    assert!(
        done.err
            .contains("\"yesterday\" is no time: 2026-11-21T15:04:05.678Z is"),
        "{done:?}"
    );
}

#[test]
fn damage_is_told_and_passed_over() {
    let made = make(FlushMode::Sync);
    let at = made.stored[5].physical_offset.0;
    overwrite(&made.in_log(at), 100, b"!!");
    let done = made.run(&["export"]);
    assert_eq!(
        (done.code, done.out.lines().count()),
        (1, made.stored.len() - 1)
    );
    let told = format!("at offset {at} of the log: the body's CRC is");
    assert!(
        done.err.contains(&told) && done.err.contains("349 bytes passed over"),
        "{done:?}"
    );
    assert_eq!(made.run(&["stats"]).code, 1);
    let done = made.run(&["cat", "orders", "--queue", "1"]);
    assert_eq!(done.code, 1);
    assert!(
        done.err.contains("queue 1 offset 2: no good record"),
        "{done:?}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let opened = Opened::new(dir.path(), FlushMode::Async);
    let body = vec![b'x'; 3000];
    for _ in 0..200 {
        opened.send(Message::new("t", 0, &body));
    }
    opened.tasks.shutdown().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqadmin"));
    command.args(["store", "export", "--store"]).arg(dir.path());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    // Far more than fits a pipe follows.
    stdout.read_exact(&mut [0; 100]).unwrap();
    drop(stdout);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(
        (ended.status.code(), ended.stderr.len()),
        (Some(0), 0),
        "{ended:?}"
    );
}

#[test]
fn cat_shows_what_was_asked_for() {
    let made = make(FlushMode::Sync);
    let check = |args: &[&str], expected: &[u64]| {
        let args = [&["cat", "orders", "--json", "--queue", "1"], args].concat();
        let (code, shown) = lines(&made, &args);
        assert_eq!((code, &offsets(&shown)[..]), (0, expected), "{args:?}");
    };
    check(&["--offset", "3..6"], &[3, 4, 5]);
    check(&["--offset", "10.."], &[10, 11]);
    check(&["--offset", "..2"], &[0, 1]);
    check(&["--offset", "7"], &[7]);
    check(&["--limit", "2"], &[0, 1]);
    let (_, both) = lines(&made, &["cat", "orders", "--json"]);
    assert_eq!(both.len(), 24);
    let at = made.stored[6].physical_offset.0;
    let (_, one) = lines(&made, &["cat", "--json", "--physical", &at.to_string()]);
    assert_eq!(offsets(&one), [3]);
    let id = format!("7F00000100002A9F{at:016x}");
    for id in [&*id, "id-6"] {
        let (code, one) = lines(&made, &["cat", "--json", "--msg-id", id]);
        assert_eq!((code, offsets(&one)), (0, vec![3]), "{id}");
    }
    check(&["--limit", "0"], &[]);
    let none = made.run(&["cat", "--json", "--msg-id", "id-6", "--limit", "0"]);
    assert_eq!(none.out, "");
}

#[test]
fn cat_is_readable() {
    let made = make(FlushMode::Sync);
    let shown = made.run(&["cat", "orders", "--queue", "1", "--offset", "0"]);
    assert_eq!(shown.code, 0);
    for part in [
        "orders queue 1 offset 0",
        "stored   2026-11-21T00:00:01.000Z by 127.0.0.1:10911",
        "TAGS = paid",
        "order number 1, xxx",
    ] {
        assert!(shown.out.contains(part), "{shown:?}");
    }
    let packed = made.run(&["cat", "packed"]);
    assert!(
        packed.out.contains("body     500 bytes, ") && packed.out.contains("pack pack pack"),
        "{packed:?}"
    );
    assert!(packed.out.contains("compressed (sysFlag 1)"), "{packed:?}");
    let hex = made.run(&["cat", "six", "--body", "hex", "--bytes", "4"]);
    assert!(
        hex.out.contains("00000000  66 72 6f 6d") && hex.out.contains("from\n… 5 more bytes"),
        "{hex:?}"
    );
    let base64 = made.run(&["cat", "six", "--body", "base64"]);
    assert!(base64.out.contains("\nZnJvbSBhZmFy\n"), "{base64:?}");
}

#[test]
fn what_is_not_there_is_named() {
    let made = make(FlushMode::Sync);
    let check = |args: &[&str], code: i32, problem: &str| {
        let done = made.run(args);
        assert_eq!(done.code, code, "{done:?}");
        assert!(done.err.contains(problem), "{done:?}");
    };
    check(&["cat"], 2, "required");
    check(
        &["cat", "nobody"],
        2,
        "no ConsumeQueue of a topic \"nobody\"",
    );
    check(
        &["cat", "orders", "--queue", "9"],
        2,
        "orders has no queue 9; there are: 0, 1",
    );
    check(
        &["cat", "orders", "--offset", "50.."],
        2,
        "no such offset in orders: queue 0 has 0 to 12",
    );
    check(
        &["cat", "orders", "--offset", "8..3"],
        2,
        "\"8..3\" is no range of offsets",
    );
    check(
        &["cat", "--physical", "1"],
        2,
        "no message begins at position 1 of the log: ",
    );
    check(
        &["cat", "--physical", "9999999"],
        2,
        "its files hold 0 to 12288",
    );
    check(
        &["cat", "--msg-id", "id-99"],
        1,
        "no message has the id id-99",
    );
    check(&["grep", "("], 2, "unclosed group");
    check(&["grep"], 2, "required");
}

#[test]
fn grep_finds_by_pattern_key_and_time() {
    let made = make(FlushMode::Sync);
    let count = |args: &[&str], expected: u64| {
        let done = made.run(&[&["grep", "--count"], args].concat());
        let code = i32::from(expected == 0);
        assert_eq!(
            (done.code, done.out.trim()),
            (code, &*expected.to_string()),
            "{args:?}"
        );
    };
    count(&["number 1[0-9],"], 10);
    count(&["NUMBER 1[0-9],"], 0);
    count(&["-i", "NUMBER 1[0-9],"], 10);
    count(&["^new$"], 8);
    count(&["^six$"], 1);
    // In a compressed body.
    count(&["pack pack"], 1);
    count(&["--key", "k7"], 1);
    count(&["--key", "all"], 24);
    count(&["--key", "id-3"], 1);
    count(&["--key", "k"], 0);
    count(&["--key", "all", "number 1[0-9],"], 10);
    count(&["order", "--from", "2026-11-21T00:00:20Z"], 5);
    let (code, found) = lines(&made, &["grep", "number 1[0-9],", "--json", "--limit", "3"]);
    assert_eq!((code, offsets(&found)), (0, vec![5, 5, 6]));
    let none = made.run(&["grep", "number", "--limit", "0"]);
    assert_eq!((none.code, &*none.out), (1, ""));
    let done = made.run(&["grep", "ber 17"]);
    let at = made.stored[17].physical_offset.0;
    let line =
        format!("{at} 2026-11-21T00:00:17.000Z orders queue 1 offset 8 body: order number 17, xxx");
    assert!(done.out.starts_with(&line), "{done:?}");
}

#[test]
fn stats_count_by_topic_and_queue() {
    let made = make(FlushMode::Sync);
    let (code, json) = made.json(&["stats", "--json"]);
    assert_eq!(code, 0);
    let orders = &json["topics"]["orders"];
    // The half is a message of the log.
    assert_eq!(
        (
            &orders["all"]["messages"],
            &orders["queues"]["1"]["messages"]
        ),
        (&25.into(), &12.into())
    );
    assert_eq!(orders["tags"], serde_json::json!({"new": 8, "paid": 16}));
    assert_eq!(
        (
            &orders["all"]["smallest_body"],
            &orders["all"]["largest_body"]
        ),
        (&4.into(), &217.into())
    );
    assert_eq!(orders["all"]["first_store_time"], FIRST_STORED);
    assert_eq!(json["body_sizes_up_to"]["256"], 24);
    let bytes: u64 = made
        .stored
        .iter()
        .map(|stored| u64::from(stored.bytes))
        .sum();
    let counted: u64 = json["topics"]
        .as_object()
        .unwrap()
        .values()
        .map(|topic| topic["all"]["bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, bytes);
    let text = made.run(&["stats"]);
    assert!(
        text.out.contains("tags of orders: paid 16, new 8"),
        "{text:?}"
    );
    assert!(
        text.out
            .contains("≤ 256 B ██████████████████████████████████████████████████ 24"),
        "{text:?}"
    );
}
