use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use store::{FlushMode, StoreConfig};

use crate::made::{Made, Message, Opened, SEGMENT, config, long_topic, make, overwrite, run};

const VERIFY: &[&str] = &["verify", "--json", "--limit", "1000"];

fn findings(json: &Value) -> &Vec<Value> {
    json["findings"].as_array().unwrap()
}

/// The store is damaged, and the first finding says so.
fn finds(made: &Made, part: &str, place: &(PathBuf, u64), problem: &str) -> Value {
    let (code, json) = made.json(VERIFY);
    assert_eq!(code, 1, "{json:#}");
    let first = &findings(&json)[0];
    assert_eq!(first["part"], part, "{json:#}");
    assert_eq!(first["file"], place.0.to_str().unwrap(), "{json:#}");
    assert_eq!(first["at"], place.1, "{json:#}");
    assert!(
        first["problem"].as_str().unwrap().contains(problem),
        "{json:#}"
    );
    json
}

#[test]
fn good_stores_are_good_and_left_alone() {
    for mode in [FlushMode::Async, FlushMode::Sync] {
        let made = make(mode);
        let before = made.everything();
        for threads in ["1", "4"] {
            let (code, json) = made.json(&["verify", "--json", "--threads", threads]);
            assert_eq!(code, 0, "{json:#}");
            assert_eq!(
                (&json["ends_with"], &json["damage"]),
                (&"zeros".into(), &0.into())
            );
            assert_eq!(json["log_end"], made.stored.last().unwrap().end());
            // The half has no unit.
            assert_eq!(json["units"], made.stored.len() as u64 - 1);
            let records = json["segments"].as_array().unwrap().iter();
            let records: u64 = records
                .map(|segment| segment["records"].as_u64().unwrap())
                .sum();
            assert_eq!(records, made.stored.len() as u64);
        }
        let text = made.run(&["verify"]);
        assert_eq!(text.code, 0);
        assert!(
            text.out.ends_with("good\n") && text.err.is_empty(),
            "{text:?}"
        );
        assert_eq!(made.everything(), before);
    }
}

#[test]
fn each_part_of_a_record_is_checked() {
    let (topic, v2_topic) = (84 + 4 + 216 + 1, 84 + 4 + 5 + 2);
    let check = |record: usize, add: u64, bytes: &[u8], problem: &str| {
        let made = make(FlushMode::Sync);
        let at = made.stored[record].physical_offset.0;
        let place = made.in_log(at);
        overwrite(&place, add, bytes);
        let json = finds(&made, "record", &place, problem);
        assert_eq!(findings(&json)[0]["offset"], at);
        let end = made.stored.last().unwrap().end();
        assert_eq!(json["log_end"], end, "{json:#}");
        assert_eq!(findings(&json)[0]["behind"], end - at);
        let next = made.stored[record + 1].physical_offset.0;
        if next / SEGMENT == at / SEGMENT {
            let goes_on = format!("the log goes on at {next}");
            assert!(
                findings(&json)[0]["problem"]
                    .as_str()
                    .unwrap()
                    .contains(&goes_on),
                "{json:#}"
            );
        }
    };
    check(5, 4, &[0xDB], "0xdba320a7 is no record magic");
    check(5, 0, &[0x7F], "bytes where the file has");
    check(5, 3, &[0], "in a record of");
    check(5, 35, &[0xFE], "the record says it stands at");
    check(5, 90, b"!", "the body's CRC is");
    check(5, 8, &[1], "the body's CRC is");
    check(5, topic, &[0; 6], "a part of the record is missing");
    check(24, v2_topic + 146, &[0], "a part of the record is missing");
    check(25, 36 + 3, &[0], "in a record of");
}

#[test]
fn all_damage_is_found_not_only_the_first() {
    let made = make(FlushMode::Sync);
    for record in [3, 9, 15] {
        overwrite(
            &made.in_log(made.stored[record].physical_offset.0),
            100,
            b"!!",
        );
    }
    let (code, json) = made.json(VERIFY);
    assert_eq!(code, 1);
    let records: Vec<_> = findings(&json)
        .iter()
        .filter(|f| f["part"] == "record")
        .collect();
    let offsets: Vec<_> = records
        .iter()
        .map(|finding| finding["offset"].as_u64().unwrap())
        .collect();
    let expected: Vec<_> = [3, 9, 15]
        .map(|record| made.stored[record].physical_offset.0)
        .into();
    assert_eq!(offsets, expected);
    // Their units now name what is no good record.
    assert_eq!(json["damage"], 6, "{json:#}");
    let text = made.run(&["verify", "--limit", "1"]);
    assert_eq!(text.code, 1);
    let at = format!("offset {} of the log", expected[0]);
    assert!(
        text.out.contains(&at) && text.out.contains("and 5 more"),
        "{text:?}"
    );
}

#[test]
fn zeros_in_the_middle_are_damage_zeros_at_the_end_are_not() {
    let made = make(FlushMode::Sync);
    let at = made.stored[4].physical_offset.0;
    overwrite(
        &made.in_log(at),
        0,
        &vec![0; usize::try_from(made.stored[4].bytes).unwrap()],
    );
    finds(
        &made,
        "record",
        &made.in_log(at),
        "zeros where a record has to stand",
    );

    // From a record to the end of a file that is not the last.
    let made = make(FlushMode::Sync);
    let at = made.stored[4].physical_offset.0;
    let left = usize::try_from(SEGMENT - at % SEGMENT).unwrap();
    overwrite(&made.in_log(at), 0, &vec![0; left]);
    finds(
        &made,
        "record",
        &made.in_log(at),
        "zeros where a record has to stand",
    );
}

#[test]
fn blanks_reach_to_the_end_of_their_file() {
    let made = make(FlushMode::Sync);
    let last = made
        .stored
        .iter()
        .rfind(|stored| stored.physical_offset.0 < SEGMENT)
        .unwrap();
    overwrite(&made.in_log(last.end()), 3, &[0xFF]);
    finds(&made, "record", &made.in_log(last.end()), "a blank of");
}

#[test]
fn each_part_of_a_unit_is_checked() {
    let check = |add: u64, bytes: &[u8], problem: &str| {
        let made = make(FlushMode::Sync);
        let place = made.unit("orders", 1, 7);
        overwrite(&place, add, bytes);
        finds(&made, "unit", &place, problem);
    };
    check(6, &[0xFF], "names position");
    check(0, &1_000_000_u64.to_be_bytes(), "the log ends at");
    check(8, &1_u32.to_be_bytes(), "says 1 bytes, the record at");
    check(19, &[0xAA], "says tags code");
    check(0, &0_u64.to_be_bytes(), "which is of queue 0 of orders");
    check(
        0,
        &[0, 0, 0, 0, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF],
        "is blank",
    );
}

#[test]
fn each_part_of_the_index_is_checked() {
    // 10 slots; entry 1 stands behind 40 + 10 * 4 + 20 bytes.
    let entry = |number: u64| 80 + number * 20;
    let check = |file: usize, at: u64, bytes: &[u8], place: u64, problem: &str| {
        let made = make(FlushMode::Sync);
        let path = made.index()[file].clone();
        overwrite(&(path.clone(), 0), at, bytes);
        finds(&made, "index", &(path, place), problem);
    };
    let made = make(FlushMode::Sync);
    assert!(made.index().len() > 2);
    let (_, json) = made.json(VERIFY);
    assert_eq!(
        (&json["index_entries"], &json["unindexed"]),
        (&96.into(), &0.into()),
        "{json:#}"
    );
    check(0, 32, &[0x7F], 32, "slots are used, the file has 40 and 10");
    check(0, 36, &[0x7F], 32, "is next and");
    check(0, 24, &[1], 16, "the header says records 0 to");
    check(
        0,
        40,
        &7_u32.to_be_bytes(),
        40,
        "slot 0 begins with entry 7",
    );
    check(
        1,
        entry(6) + 16,
        &3_u32.to_be_bytes(),
        entry(6),
        "entry 6 follows entry 3 of its slot",
    );
    check(1, entry(6) + 11, &[0xFF], entry(6), "where none stands");
    check(0, entry(6), &[0x80], entry(6), "entry 6 has the hash");
    // The last digit of a hash and ten more: the same slot.
    let path = made.index()[0].clone();
    let bytes = fs::read(&path).unwrap();
    let at = usize::try_from(entry(6)).unwrap();
    let hash = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    check(
        0,
        entry(6),
        &(hash - 10).to_be_bytes(),
        entry(8),
        "which none of its keys has",
    );
}

#[test]
fn the_shape_of_index_files_is_found_or_told() {
    let dir = tempfile::tempdir().unwrap();
    let unusual = StoreConfig {
        index_slots: 7,
        index_entries: 12,
        ..config(dir.path(), FlushMode::Async)
    };
    let opened = Opened::with(unusual);
    let send = |n: u32| {
        let properties = format!("KEYS\u{1}k{n}\u{2}");
        let message = Message::new("t", 0, b"x");
        opened.send(Message {
            properties: &properties,
            ..message
        });
    };
    (0..14).for_each(send);
    opened.tasks.shutdown().unwrap();
    assert_eq!(run(dir.path(), VERIFY).code, 0);
    assert_eq!(run(dir.path(), &["rebuild"]).code, 0);
    let index = fs::read_dir(dir.path().join("index")).unwrap();
    let mut index: Vec<_> = index.map(|file| file.unwrap().path()).collect();
    index.sort();
    assert_eq!(
        (index.len(), fs::metadata(&index[0]).unwrap().len()),
        (2, 40 + 7 * 4 + 12 * 20)
    );
    fs::remove_file(&index[1]).unwrap();
    let done = run(dir.path(), VERIFY);
    assert_eq!(done.code, 1);
    assert!(
        done.out
            .contains("308 bytes: the number of its slots has to be told"),
        "{done:?}"
    );
    assert_eq!(run(dir.path(), &["rebuild"]).code, 2);
    let told = [VERIFY, &["--index-slots", "7"]].concat();
    let json: Value = serde_json::from_str(&run(dir.path(), &told).out).unwrap();
    assert_eq!(
        (&json["damage"], &json["unindexed"]),
        (&0.into(), &3.into()),
        "{json:#}"
    );
}

#[test]
fn records_without_an_index_entry_are_named_or_counted() {
    let made = make(FlushMode::Sync);
    let index = made.index();
    let (_, json) = made.json(&["ls", "--json"]);
    let files = json["index"].as_array().unwrap();
    assert_eq!((files.len(), &files[0]["keys"]), (index.len(), &39.into()));
    let without = StoreConfig {
        index_keys: false,
        ..config(made.root(), FlushMode::Sync)
    };
    let opened = Opened::with(without);
    let keyed = Message::new("orders", 0, b"late");
    opened.send(Message {
        properties: "KEYS\u{1}late\u{2}",
        ..keyed
    });
    opened.tasks.shutdown().unwrap();
    let (code, json) = made.json(VERIFY);
    assert_eq!((code, &json["unindexed"]), (0, &1.into()), "{json:#}");
    // Several keys of one record stand in two files.
    fs::remove_file(index.last().unwrap()).unwrap();
    let (code, json) = made.json(VERIFY);
    assert_eq!(code, 1);
    assert!(
        findings(&json)[0]["problem"]
            .as_str()
            .unwrap()
            .starts_with("2 of 4 keys of the record at"),
        "{json:#}"
    );
    let made = make(FlushMode::Sync);
    fs::remove_file(&made.index()[1]).unwrap();
    let (code, json) = made.json(VERIFY);
    assert_eq!(code, 1);
    assert!(
        findings(&json)
            .iter()
            .any(|f| f["problem"] == "no entry of the key index for this record's keys"),
        "{json:#}"
    );
}

#[test]
fn ext_units_are_checked_and_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let with_ext = |root: &Path| StoreConfig {
        consume_queue_ext: true,
        consume_queue_ext_file_bytes: 64,
        ..config(root, FlushMode::Async)
    };
    let opened = Opened::with(with_ext(dir.path()));
    for n in 0..12 {
        let body = format!("message {n}");
        let properties = format!("TAGS\u{1}t{n}\u{2}");
        let message = Message::new("ext", 0, body.as_bytes());
        opened.send(Message {
            properties: &properties,
            ..message
        });
    }
    opened.tasks.shutdown().unwrap();
    assert_eq!(run(dir.path(), VERIFY).code, 0);
    // Each file holds three.
    let file = dir
        .path()
        .join("consumequeue_ext/ext/0/00000000000000000128");
    overwrite(&(file, 0), 2, &[0xFF; 8]);
    let done = run(dir.path(), VERIFY);
    assert_eq!(done.code, 1);
    assert!(
        done.out
            .contains("unit 6 of queue 0 of ext says tags code -1, the tags"),
        "{done:?}"
    );
    fs::remove_dir_all(dir.path().join("consumequeue_ext/ext/0/")).unwrap();
    let done = run(dir.path(), VERIFY);
    assert!(
        done.out
            .contains("unit 0 of queue 0 of ext leads to no ext unit at 0, the tags"),
        "{done:?}"
    );
    // Without any ext file left the queue becomes an ordinary one.
    assert_eq!(run(dir.path(), &["rebuild"]).code, 0);
    let done = run(dir.path(), VERIFY);
    assert_eq!(done.code, 0, "{done:?}");
    Opened::with(with_ext(dir.path())).tasks.shutdown().unwrap();
}

#[test]
fn a_hole_among_units_is_found_from_both_sides() {
    let made = make(FlushMode::Sync);
    let place = made.unit("orders", 1, 7);
    overwrite(&place, 0, &[0; 20]);
    let (code, json) = made.json(VERIFY);
    assert_eq!(code, 1);
    let has = |problem: &str| {
        findings(&json)
            .iter()
            .any(|f| f["problem"].as_str().unwrap().contains(problem))
    };
    assert!(
        has("the queue ends at 7, but more stands behind that"),
        "{json:#}"
    );
    for offset in 7..12 {
        assert!(
            has(&format!(
                "message {offset} of queue 1 of orders has no unit"
            )),
            "{json:#}"
        );
    }
}

#[test]
fn a_queue_without_units_is_damage_unless_its_topic_was_deleted() {
    let made = make(FlushMode::Sync);
    fs::remove_dir_all(made.root().join("consumequeue/six")).unwrap();
    let at = made.stored[25].physical_offset.0;
    finds(
        &made,
        "unit",
        &made.in_log(at),
        "no ConsumeQueue for queue 3 of six",
    );
    fs::create_dir(made.root().join("config")).unwrap();
    let topics = r#"{"topicConfigTable":{"orders":{}}}"#;
    fs::write(made.root().join("config/topics.json"), topics).unwrap();
    let (code, json) = made.json(VERIFY);
    assert_eq!((code, &json["orphans"]), (0, &1.into()), "{json:#}");
}

#[test]
fn topics_made_anew_leave_records_behind() {
    let dir = tempfile::tempdir().unwrap();
    let opened = Opened::new(dir.path(), FlushMode::Async);
    for _ in 0..9 {
        opened.send(Message::new("again", 0, b"old"));
    }
    opened.writer.delete_topic("again").unwrap();
    for _ in 0..4 {
        opened.send(Message::new("again", 0, b"new"));
    }
    opened.tasks.shutdown().unwrap();
    let done = run(dir.path(), VERIFY);
    let json: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((done.code, &json["orphans"]), (0, &9.into()), "{json:#}");
}

#[test]
fn an_offset_given_twice_is_damage() {
    let made = make(FlushMode::Sync);
    // Message 6 of queue 0 says that it is message 5.
    let at = made.stored[12].physical_offset.0;
    overwrite(&made.in_log(at), 20, &5_u64.to_be_bytes());
    let (code, json) = made.json(VERIFY);
    assert_eq!(code, 1);
    let twice = format!(
        "message 5 of queue 0 of orders is stored here and at {}",
        made.stored[10].physical_offset.0
    );
    assert!(
        findings(&json)[0]["problem"]
            .as_str()
            .unwrap()
            .contains(&twice),
        "{json:#}"
    );
}

#[test]
fn missing_and_stray_files_are_named() {
    let made = make(FlushMode::Sync);
    fs::remove_file(made.in_log(SEGMENT).0).unwrap();
    let (code, json) = made.json(VERIFY);
    assert_eq!(code, 1);
    let has = |problem: &str| {
        findings(&json)
            .iter()
            .any(|f| f["problem"].as_str().unwrap().contains(problem))
    };
    assert!(
        has("the file 00000000000000004096 is missing before it"),
        "{json:#}"
    );
    assert!(has("where no record stands"), "{json:#}");

    let made = make(FlushMode::Sync);
    let stray = made.root().join("commitlog/notes.txt");
    fs::write(&stray, "x").unwrap();
    finds(
        &made,
        "file",
        &(stray, 0),
        "its name is no position of 20 digits",
    );
    let short = made.unit("orders", 0, 5).0;
    fs::OpenOptions::new()
        .write(true)
        .open(&short)
        .unwrap()
        .set_len(80)
        .unwrap();
    let (_, json) = made.json(VERIFY);
    assert!(
        findings(&json)
            .iter()
            .any(|f| f["problem"] == "80 bytes long, the files before it have 100"),
        "{json:#}"
    );
}

#[test]
fn the_checkpoint_has_to_fit_the_log() {
    let made = make(FlushMode::Sync);
    let checkpoint = |at| (made.root().join("checkpoint"), at);
    let physical = made.stored[3].physical_offset.0;
    overwrite(&checkpoint(0), 40, &1_000_000_u64.to_be_bytes());
    finds(
        &made,
        "checkpoint",
        &checkpoint(40),
        "logicsPhysicalOffset is 1000000, the log ends at",
    );
    overwrite(&checkpoint(0), 40, &(physical + 1).to_be_bytes());
    finds(
        &made,
        "checkpoint",
        &checkpoint(40),
        "where no record begins",
    );
    overwrite(&checkpoint(0), 40, &physical.to_be_bytes());
    overwrite(&checkpoint(0), 0, &(-1_i64).to_be_bytes());
    finds(
        &made,
        "checkpoint",
        &checkpoint(0),
        "physicMsgTimestamp is -1",
    );
}

/// Leaves the store as a crash does.
fn crashed(made: &Made) {
    fs::write(made.root().join("abort"), "4711").unwrap();
}

#[test]
fn a_torn_end_is_told_from_damage() {
    let made = make(FlushMode::Sync);
    crashed(&made);
    let end = made.stored.last().unwrap().end();
    overwrite(
        &made.in_log(end),
        0,
        &[0, 0, 1, 0, 0xDA, 0xA3, 0x20, 0xA7, 1, 2, 3],
    );
    let json = finds(
        &made,
        "record",
        &made.in_log(end),
        "a write cut short looks like this",
    );
    assert_eq!(
        (&json["ends_with"], &json["log_end"]),
        (&"torn".into(), &end.into())
    );
    let text = made.run(&["verify"]);
    assert!(
        text.out.contains("not closed in order by process 4711"),
        "{text:?}"
    );

    // Closed in order, and no queue knows more: an earlier life of the log.
    fs::remove_file(made.root().join("abort")).unwrap();
    let (code, json) = made.json(VERIFY);
    assert_eq!(
        (code, &json["ends_with"]),
        (0, &"leftover".into()),
        "{json:#}"
    );
}

#[test]
fn the_last_message_damaged_is_damage() {
    let made = make(FlushMode::Sync);
    // The half behind it too, or the log would go on.
    for record in [26, 27] {
        overwrite(
            &made.in_log(made.stored[record].physical_offset.0),
            90,
            b"!!",
        );
    }
    let place = made.in_log(made.stored[26].physical_offset.0);
    let json = finds(&made, "record", &place, "the body's CRC is");
    assert_eq!(json["ends_with"], "torn");
}

#[test]
fn what_the_next_start_mends_is_no_damage() {
    let made = make(FlushMode::Sync);
    crashed(&made);
    // The mark is at the end: before that everything has to be right, crash or not.
    let place = made.unit("orders", 1, 11);
    overwrite(&place, 0, &[0; 20]);
    let (code, json) = made.json(VERIFY);
    assert_eq!((code, &json["pending"]), (1, &0.into()), "{json:#}");
    // Without a mark nobody has promised anything.
    overwrite(&(made.root().join("checkpoint"), 0), 40, &[0; 64]);
    let (code, json) = made.json(VERIFY);
    assert_eq!((code, &json["pending"]), (0, &1.into()), "{json:#}");
    // A unit that came to the disk before its record did.
    let end = made.stored.last().unwrap().end();
    overwrite(&place, 0, &end.to_be_bytes());
    overwrite(&place, 8, &100_u32.to_be_bytes());
    let (code, json) = made.json(VERIFY);
    assert_eq!(
        (code, &json["damage"], &json["mended"]),
        (0, &0.into(), &1.into()),
        "{json:#}"
    );
}

#[test]
fn a_store_somebody_has_open_is_verified_beside_him() {
    let dir = tempfile::tempdir().unwrap();
    let opened = Opened::new(dir.path(), FlushMode::Async);
    for n in 0..30 {
        opened.send(Message::new("live", 0, format!("message {n}").as_bytes()));
    }
    let done = run(dir.path(), VERIFY);
    let json: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(done.code, 0, "{json:#}");
    assert_eq!(
        (&json["live"], &json["pending"]),
        (&true.into(), &30.into()),
        "{json:#}"
    );
    let text = run(dir.path(), &["verify"]);
    let process = format!("open, by process {}", std::process::id());
    assert!(
        text.out.contains(&process) && text.out.contains("30 records have no unit yet"),
        "{text:?}"
    );
    // The lock is still ours: nobody else can open the store.
    let done = run(dir.path(), &["ls"]);
    assert!(done.out.contains(&process), "{done:?}");
    opened.tasks.shutdown().unwrap();
    assert_eq!(run(dir.path(), &["verify"]).code, 0);
}

#[test]
fn a_log_elsewhere_is_named() {
    let made = make(FlushMode::Async);
    let other = tempfile::tempdir().unwrap();
    let log = other.path().join("log");
    fs::rename(made.root().join("commitlog"), &log).unwrap();
    assert_eq!(made.run(&["verify"]).code, 3);
    let done = made.run(&["verify", "--commitlog", log.to_str().unwrap()]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(long_topic().len() > 127);
}
