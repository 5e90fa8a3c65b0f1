//! Queues for whole batches, and light queues.

use std::fs;

use common::message::sys_flag;
use serde_json::Value;
use store::{FlushMode, StoreConfig, TopicSet};

use crate::made::{Made, Message, Opened, config, overwrite};

const UNIT: u64 = 46;
const FILE: &str = "batchconsumequeue/wholes/0/00000000000000000000";

/// Nine batches of three in `wholes`, with a single message between every two; messages of `plain` that
/// are in light queues, too.
fn make() -> Made {
    let dir = tempfile::tempdir().unwrap();
    let opened = Opened::with(StoreConfig {
        batch_consume_queue_file_bytes: 5 * UNIT,
        batch_topics: TopicSet::new(|topic| topic == "wholes"),
        light_queues: true,
        ..config(dir.path(), FlushMode::Async)
    });
    let mut stored = Vec::new();
    for n in 0..9 {
        let body = format!("batch {n}");
        let batch = Message::new("wholes", 0, body.as_bytes());
        stored.push(opened.send(Message {
            properties: "INNER_NUM\u{1}3\u{2}",
            sys_flag: sys_flag::INNER_BATCH | sys_flag::NEED_UNWRAP,
            ..batch
        }));
        stored.push(opened.send(Message::new("wholes", 0, b"one")));
        let light = Message::new("plain", 1, b"light");
        stored.push(opened.send(Message {
            properties: "INNER_MULTI_DISPATCH\u{1}%LMQ%a,%LMQ%b\u{2}",
            ..light
        }));
    }
    opened.tasks.shutdown().unwrap();
    Made { dir, stored }
}

fn verified(made: &Made) -> (i32, Value) {
    made.json(&["verify", "--json", "--limit", "1000"])
}

#[test]
fn good_queues_are_good() {
    let made = make();
    let (code, json) = verified(&made);
    assert_eq!(
        (code, &json["units"]),
        (0, &(18 + 3 * 9).into()),
        "{json:#}"
    );
    assert_eq!(json["not_read"], Value::Array(Vec::new()));
    let (_, json) = made.json(&["ls", "--json"]);
    let ends: Vec<_> = json["queues"]
        .as_array()
        .unwrap()
        .iter()
        .map(|queue| {
            (
                queue["topic"].as_str().unwrap(),
                &queue["min"],
                &queue["max"],
            )
        })
        .collect();
    let zero = &0.into();
    let expected = [
        ("%LMQ%a", zero, &9.into()),
        ("%LMQ%b", zero, &9.into()),
        ("plain", zero, &9.into()),
        ("wholes", zero, &36.into()),
    ];
    assert_eq!(ends, expected);
}

#[test]
fn messages_are_shown_with_the_batch_they_are_in() {
    let made = make();
    let shown = |args: &[&str]| {
        let done = made.run(&[&["cat"], args].concat());
        assert_eq!(done.code, 0, "{done:?}");
        let bodies = ["batch 0", "batch 1", "batch 2", "one", "light"];
        bodies.map(|body| done.out.matches(body).count())
    };
    // The second message of the second batch; and from there to the beginning of the third.
    assert_eq!(shown(&["wholes", "--offset", "5"]), [0, 1, 0, 0, 0]);
    assert_eq!(shown(&["wholes", "--offset", "5..9"]), [0, 1, 1, 1, 0]);
    assert_eq!(shown(&["%LMQ%b", "--offset", "2..4"]), [0, 0, 0, 0, 2]);
}

#[test]
fn wrong_units_are_found() {
    for (unit, at, bytes, problem) in [
        (2, 7, &[0xFF][..], "names position"),
        (2, 37, &[4], "stands for 4 messages"),
        (2, 27, &[9], "says store time"),
        (2, 35, &[5], "names the record at"),
        (3, 0, &[0; 46], "more stands behind that"),
    ] {
        let made = make();
        let file = made.root().join(FILE);
        overwrite(&(file.clone(), unit * UNIT), at, bytes);
        let (code, json) = verified(&made);
        assert_eq!(code, 1, "{problem}: {json:#}");
        let findings = json["findings"].as_array().unwrap();
        let named = findings.iter().any(|finding| {
            finding["file"] == file.to_str().unwrap()
                && finding["problem"].as_str().unwrap().contains(problem)
        });
        assert!(named, "{problem}: {json:#}");
    }
    let made = make();
    let light = made
        .root()
        .join("consumequeue/%LMQ%b/0/00000000000000000000");
    overwrite(&(light, 40), 0, &[0; 60]);
    let (code, json) = verified(&made);
    let findings = json["findings"].as_array().unwrap().iter();
    let missing = findings.filter(|finding| {
        let problem = finding["problem"].as_str().unwrap();
        problem.contains("of %LMQ%b has no unit")
    });
    assert_eq!((code, missing.count()), (1, 7), "{json:#}");
}

/// The units of each queue, without what is free behind them.
fn units(made: &Made) -> Vec<Vec<u8>> {
    let files = made.everything();
    let queue = |name: &str| {
        let of_queue = files
            .iter()
            .filter(|(path, _)| path.to_str().unwrap().contains(name));
        let mut bytes: Vec<u8> = of_queue.flat_map(|(_, bytes)| bytes.clone()).collect();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        bytes.truncate(used);
        bytes
    };
    let names = ["consumequeue/wholes", "e/plain", "e/%LMQ%a", "e/%LMQ%b"];
    names.map(queue).into()
}

#[test]
fn both_are_made_anew() {
    for topics in [false, true] {
        let made = make();
        let before = units(&made);
        fs::remove_dir_all(made.root().join("consumequeue")).unwrap();
        if topics {
            // Nothing is left of the queues; the table says which are for batches.
            fs::remove_dir_all(made.root().join("batchconsumequeue")).unwrap();
            fs::create_dir(made.root().join("config")).unwrap();
            let table = r#"{"topicConfigTable":{"plain":{},"wholes":{"attributes":{"queue.type":"BatchCQ"}}}}"#;
            fs::write(made.root().join("config/topics.json"), table).unwrap();
        } else {
            overwrite(&(made.root().join(FILE), UNIT), 0, &[0; 92]);
        }
        let done = made.run(&["rebuild"]);
        assert_eq!((done.code, &*done.err), (0, ""), "{done:?}");
        let said = "made 4 queues with 63 messages";
        assert!(done.out.starts_with(said), "{done:?}");
        assert_eq!(verified(&made).0, 0);
        assert!(units(&made) == before, "other units");
    }
}
