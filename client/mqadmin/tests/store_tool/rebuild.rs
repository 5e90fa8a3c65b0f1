use std::fs;

use store::FlushMode;

use crate::made::{Made, Message, Opened, SEGMENT, make, overwrite, run};

/// The tool refuses and leaves everything as it was.
fn refused(made: &Made, code: i32, problem: &str) {
    let before = made.everything();
    let done = made.run(&["rebuild"]);
    assert_eq!(done.code, code, "{done:?}");
    assert!(done.err.contains(problem), "{done:?}");
    assert_eq!(made.everything(), before);
}

fn is_good(made: &Made) {
    let (code, json) = made.json(&["verify", "--json"]);
    assert_eq!((code, &json["unindexed"]), (0, &0.into()), "{json:#}");
}

#[test]
fn damaged_and_missing_queues_are_made_anew() {
    for mode in [FlushMode::Async, FlushMode::Sync] {
        let made = make(mode);
        let before = made.everything();
        overwrite(&made.unit("orders", 1, 7), 0, &[0; 20]);
        overwrite(&made.unit("orders", 0, 3), 0, &[0xFF; 20]);
        fs::remove_dir_all(made.root().join("consumequeue/six")).unwrap();
        overwrite(&(made.index()[0].clone(), 0), 40, &[0xFF; 100]);
        assert_eq!(made.run(&["verify"]).code, 1);
        let done = made.run(&["rebuild"]);
        assert_eq!((done.code, &*done.err), (0, ""), "{done:?}");
        let end = made.stored.last().unwrap().end();
        let said = format!(
            "made 5 queues with 27 messages from {},{:03} bytes",
            end / 1000,
            end % 1000
        );
        assert!(done.out.starts_with(&said), "{done:?}");
        is_good(&made);
        let after = made.everything();
        for (path, bytes) in &before {
            // Index files are named by the time at which they were made.
            let changes = ["checkpoint", "lock"]
                .iter()
                .any(|name| path.ends_with(name));
            if !changes && !path.starts_with(made.root().join("index")) {
                assert_eq!(after.get(path), Some(bytes), "{}", path.display());
            }
        }
    }
}

#[test]
fn a_dry_run_changes_nothing() {
    let made = make(FlushMode::Sync);
    fs::remove_dir_all(made.root().join("consumequeue/six")).unwrap();
    let before = made.everything();
    let done = made.run(&["rebuild", "--dry-run"]);
    assert_eq!(done.code, 0, "{done:?}");
    let queues = made.root().join("consumequeue");
    assert!(
        done.out
            .contains(&format!("would delete {}", queues.display())),
        "{done:?}"
    );
    assert!(
        done.out.contains("would make 5 queues with 27 messages"),
        "{done:?}"
    );
    assert_eq!(made.everything(), before);
}

#[test]
fn an_open_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let opened = Opened::new(dir.path(), FlushMode::Async);
    opened.send(Message::new("live", 0, b"one"));
    let done = run(dir.path(), &["rebuild"]);
    assert_eq!(done.code, 3);
    let process = std::process::id();
    assert!(
        done.err.contains(&format!(
            "the store is open, by process {process}: stop its broker first"
        )),
        "{done:?}"
    );
    opened.send(Message::new("live", 0, b"two"));
    opened.tasks.shutdown().unwrap();
    assert_eq!(run(dir.path(), &["rebuild"]).code, 0);
}

#[test]
fn a_log_that_cannot_give_everything_back_is_left_alone() {
    let made = make(FlushMode::Sync);
    let at = made.stored[5].physical_offset.0;
    overwrite(&made.in_log(at), 100, b"!!");
    refused(&made, 1, &format!("the log is damaged at offset {at}"));

    let made = make(FlushMode::Sync);
    fs::remove_file(made.in_log(SEGMENT).0).unwrap();
    refused(
        &made,
        3,
        "the file 00000000000000004096 is missing before it",
    );

    let made = make(FlushMode::Sync);
    let other = made.root().join("consumequeue_rocksdb");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("CURRENT"), "x").unwrap();
    refused(&made, 1, "there is consumequeue_rocksdb");

    let made = make(FlushMode::Sync);
    fs::remove_dir_all(made.root().join("commitlog")).unwrap();
    fs::create_dir(made.root().join("commitlog")).unwrap();
    refused(&made, 3, "there is no log in");
}

#[test]
fn messages_of_deleted_topics_do_not_come_back() {
    let made = make(FlushMode::Sync);
    fs::remove_dir_all(made.root().join("consumequeue/six")).unwrap();
    fs::create_dir(made.root().join("config")).unwrap();
    let topics = format!(
        r#"{{"topicConfigTable":{{"orders":{{}},"packed":{{}},"{}":{{}}}}}}"#,
        crate::made::long_topic()
    );
    fs::write(made.root().join("config/topics.json"), topics).unwrap();
    assert_eq!(made.run(&["rebuild"]).code, 0);
    assert!(!made.root().join("consumequeue/six").exists());
    is_good(&made);

    // Nobody can tell which of these messages are gone.
    let opened = Opened::new(made.root(), FlushMode::Async);
    opened.writer.delete_topic("packed").unwrap();
    opened.send(Message::new("packed", 0, b"new"));
    opened.tasks.shutdown().unwrap();
    is_good(&made);
    refused(&made, 1, "queue 0 of packed begins anew at offset");
}

#[test]
fn queues_begin_where_the_log_begins() {
    let made = make(FlushMode::Sync);
    fs::remove_file(made.in_log(0).0).unwrap();
    assert_eq!(made.run(&["rebuild"]).code, 0);
    is_good(&made);
    let (_, json) = made.json(&["ls", "--json", "--topic", "orders"]);
    let first = made
        .stored
        .iter()
        .position(|stored| stored.physical_offset.0 >= SEGMENT)
        .unwrap();
    let queue = &json["queues"][first % 2];
    assert_eq!(
        (&queue["min"], &queue["max"]),
        (&made.stored[first].queue_offset.0.into(), &12.into()),
        "{json:#}"
    );
}

#[test]
fn a_torn_end_is_put_aside() {
    let made = make(FlushMode::Sync);
    let end = made.stored.last().unwrap().end();
    overwrite(
        &made.in_log(end),
        0,
        &[0, 0, 1, 0, 0xDA, 0xA3, 0x20, 0xA7, 1, 2, 3],
    );
    let done = made.run(&["rebuild"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        done.out
            .contains("11 bytes behind the end of the log now lie in"),
        "{done:?}"
    );
    is_good(&made);
}

#[test]
fn what_was_interrupted_the_next_start_does() {
    let made = make(FlushMode::Sync);
    // As it is when the tool is killed while it deletes.
    fs::write(made.root().join("abort"), "4711").unwrap();
    overwrite(&(made.root().join("checkpoint"), 0), 8, &[0; 200]);
    fs::remove_dir_all(made.root().join("consumequeue/orders/1")).unwrap();
    fs::remove_file(made.unit("orders", 0, 11).0).unwrap();
    Opened::new(made.root(), FlushMode::Sync)
        .tasks
        .shutdown()
        .unwrap();
    is_good(&made);
    let (_, json) = made.json(&["ls", "--json", "--topic", "orders"]);
    assert_eq!(
        (&json["queues"][0]["max"], &json["queues"][1]["max"]),
        (&12.into(), &12.into())
    );
}
