//! The key index as it is on the disk, and what queries find, whatever happened in between.

use proptest::prelude::*;

use super::*;
use common::message::java_hash;

mod crash;

const SLOTS: usize = 16;
const ENTRIES: usize = 24;
const FILE_BYTES: usize = 40 + 4 * SLOTS + 20 * ENTRIES;

/// A message that was sent, and its keys as entries have them.
#[derive(Debug, Clone)]
struct Sent {
    topic: &'static str,
    keys: Vec<String>,
    at: Appended,
}

/// What the reference makes of these messages: the content of its files, entry by entry.
fn reference_files(sent: &[Sent]) -> Vec<Vec<u8>> {
    let mut files: Vec<Vec<u8>> = Vec::new();
    let long = |file: &[u8], at: usize| i64::from_be_bytes(file[at..at + 8].try_into().unwrap());
    let int = |file: &[u8], at: usize| i32::from_be_bytes(file[at..at + 4].try_into().unwrap());
    for Sent { topic, keys, at } in sent {
        for key in keys {
            let full = |file: &Vec<u8>| int(file, 36) >= i32::try_from(ENTRIES).unwrap();
            if files.last().is_none_or(full) {
                let mut file = vec![0; FILE_BYTES];
                if let Some(before) = files.last() {
                    file[..8].copy_from_slice(&before[8..16]);
                    file[8..16].copy_from_slice(&before[8..16]);
                    file[16..24].copy_from_slice(&before[24..32]);
                    file[24..32].copy_from_slice(&before[24..32]);
                }
                file[36..40].copy_from_slice(&1_i32.to_be_bytes());
                files.push(file);
            }
            let file = files.last_mut().unwrap();
            let hash = java_hash(&format!("{topic}#{key}"))
                .checked_abs()
                .unwrap_or(0);
            let slot_at = 40 + 4 * (usize::try_from(hash).unwrap() % SLOTS);
            let (number, previous) = (int(file, 36), int(file, slot_at));
            let begin = long(file, 0);
            let seconds = match begin {
                ..=0 => 0,
                _ => i32::try_from((at.store_timestamp - begin).max(0) / 1000).unwrap(),
            };
            let offset = at.physical_offset.to_wire();
            let mut entry = Vec::new();
            entry.extend(hash.to_be_bytes());
            entry.extend(offset.to_be_bytes());
            entry.extend(seconds.to_be_bytes());
            entry.extend(previous.to_be_bytes());
            let entry_at = 40 + 4 * SLOTS + 20 * usize::try_from(number).unwrap();
            file[entry_at..entry_at + 20].copy_from_slice(&entry);
            file[slot_at..slot_at + 4].copy_from_slice(&number.to_be_bytes());
            if number == 1 {
                file[..8].copy_from_slice(&at.store_timestamp.to_be_bytes());
                file[16..24].copy_from_slice(&offset.to_be_bytes());
            }
            if previous == 0 {
                let used = int(file, 32) + 1;
                file[32..36].copy_from_slice(&used.to_be_bytes());
            }
            file[36..40].copy_from_slice(&(number + 1).to_be_bytes());
            file[8..16].copy_from_slice(&at.store_timestamp.to_be_bytes());
            file[24..32].copy_from_slice(&offset.to_be_bytes());
        }
    }
    files
}

fn index_paths(files: &SimFiles) -> Vec<PathBuf> {
    let paths = files.paths().into_iter();
    paths.filter(|path| path.starts_with("/s/index")).collect()
}

/// Whether the files hold exactly the keys of `sent`, in the reference's bytes. Behind the last entry anything may stand.
fn check_files(files: &SimFiles, sent: &[Sent]) {
    let paths = index_paths(files);
    let expected = reference_files(sent);
    assert_eq!(paths.len(), expected.len());
    for (path, expected) in paths.iter().zip(expected) {
        let next = usize::try_from(i32::from_be_bytes(expected[36..40].try_into().unwrap()));
        let end = 40 + 4 * SLOTS + 20 * next.unwrap();
        let bytes = files.bytes(path).unwrap();
        assert_eq!(bytes.len(), FILE_BYTES);
        assert!(bytes[..end] == expected[..end], "{}", path.display());
    }
}

fn query<'a>(topic: &'a str, key: &'a str) -> KeyQuery<'a> {
    KeyQuery {
        topic,
        key: match key.strip_prefix("T#") {
            Some(tags) => Key::Tags(tags),
            None => Key::Key(key),
        },
        max_messages: 1000,
        begin: 0,
        end: i64::MAX,
    }
}

fn found(bench: &Bench, query: &KeyQuery<'_>) -> Vec<u64> {
    let records = bench.reader.query(query).records;
    let offset = |record| RecordView::parse(record).unwrap().physical_offset;
    let offsets = records.iter().map(|record| offset(record));
    offsets
        .map(|offset| u64::try_from(offset).unwrap())
        .collect()
}

/// Whether each message is found by each of its keys, and nothing else is.
fn check_queries(bench: &Bench, sent: &[Sent]) {
    let mut all: Vec<_> = sent
        .iter()
        .flat_map(|sent| sent.keys.iter().map(|key| (sent.topic, key.as_str())))
        .collect();
    all.extend([("T", "none"), ("none", "a")]);
    all.sort_unstable();
    all.dedup();
    for (topic, key) in all {
        let carries = |sent: &&Sent| sent.topic == topic && sent.keys.iter().any(|own| own == key);
        let expected = sent.iter().filter(carries);
        let expected: Vec<_> = expected.map(|sent| sent.at.physical_offset.0).collect();
        assert_eq!(found(bench, &query(topic, key)), expected, "{topic}#{key}");
    }
}

/// Sends a message with these properties: unique key, keys, tags, each empty for none.
fn send(bench: &Bench, topic: &'static str, [unique, keys, tags]: [&str; 3], size: usize) -> Sent {
    let mut properties = String::new();
    for (name, value) in [("UNIQ_KEY", unique), ("KEYS", keys), ("TAGS", tags)] {
        common::message::properties::write(&mut properties, name, value);
    }
    let body = "x".repeat(size);
    let at = bench.send_with(topic, 0, &body, &properties, 0).unwrap();
    let mut all: Vec<String> = Vec::new();
    all.extend((!unique.is_empty()).then(|| unique.to_owned()));
    all.extend(
        keys.split(' ')
            .filter(|key| !key.is_empty())
            .map(str::to_owned),
    );
    all.extend((!tags.is_empty()).then(|| format!("T#{tags}")));
    Sent {
        topic,
        keys: all,
        at,
    }
}

/// Thirty messages, enough for several files.
fn filled(bench: &Bench) -> Vec<Sent> {
    let send = |n: usize| {
        bench.clock.advance(Duration::from_millis(700));
        let topic = ["T", "U"][n % 2];
        let (unique, keys) = (format!("U{n}"), format!("k{} k{}", n % 3, n % 5));
        send(bench, topic, [&unique, &keys, "tag"], 100 + n * 7)
    };
    (0..30).map(send).collect()
}

#[test]
fn files_are_the_references() {
    let bench = Bench::new();
    let mut sent = filled(&bench);
    check_queries(&bench, &sent);
    let files = bench.shutdown();
    check_files(&files, &sent);
    let bench = Bench::open(files);
    sent.extend(filled(&bench));
    check_files(&bench.shutdown(), &sent);
}

#[test]
fn killed_process_loses_no_key() {
    let bench = Bench::new();
    let mut sent = filled(&bench);
    for round in 0..4 {
        let bench = Bench::open(bench_after(round, &mut sent));
        check_queries(&bench, &sent);
        check_files(&bench.shutdown(), &sent);
    }
}

/// Files of a process that was killed with keys in all states.
fn bench_after(round: usize, sent: &mut Vec<Sent>) -> Arc<SimFiles> {
    let bench = Bench::new();
    *sent = filled(&bench);
    if round > 0 {
        bench.writer.0.index.sync_now().unwrap();
        sent.extend(filled(&bench));
    }
    if round > 1 {
        check_queries(&bench, sent);
    }
    if round > 2 {
        sent.extend(filled(&bench));
    }
    bench.kill()
}

#[test]
fn first_and_last_of_several_hits_are_those_asked_for() {
    let bench = Bench::new();
    let sent: Vec<_> = (0..60)
        .map(|_| {
            bench.clock.advance(Duration::from_millis(500));
            send(&bench, "T", ["", "a", ""], 1)
        })
        .collect();
    let offsets: Vec<_> = sent.iter().map(|sent| sent.at.physical_offset.0).collect();
    let newest = KeyQuery {
        max_messages: 7,
        ..query("T", "a")
    };
    assert_eq!(found(&bench, &newest), offsets[53..]);
    for (first, last) in [(0, 0), (3, 9), (20, 40), (59, 59)] {
        let range = KeyQuery {
            begin: sent[first].at.store_timestamp,
            end: sent[last].at.store_timestamp,
            ..query("T", "a")
        };
        assert_eq!(found(&bench, &range), offsets[first..=last]);
    }
    let nothing = KeyQuery {
        max_messages: 0,
        ..query("T", "a")
    };
    assert!(found(&bench, &nothing).is_empty());
    let result = bench.reader.query(&query("T", "a"));
    let last = sent[59].at;
    assert_eq!(result.updated_timestamp, last.store_timestamp);
    assert_eq!(result.updated_offset, last.physical_offset.0);
}

#[test]
fn long_chain_is_followed_to_its_end() {
    let bench = Bench::with(
        SimFiles::new(),
        StoreConfig {
            index_entries: 5000,
            ..config(FlushMode::Async)
        },
    );
    let first = send(&bench, "T", ["", "Aa", ""], 1).at;
    let many = "BB ".repeat(40);
    for _ in 0..60 {
        send(&bench, "T", ["", &many, ""], 1);
    }
    assert_eq!(found(&bench, &query("T", "Aa")), [first.physical_offset.0]);
    assert_eq!(found(&bench, &query("T", "BB")).len(), 60);
}

#[test]
fn keys_of_one_hash_are_told_apart() {
    let bench = Bench::new();
    assert_eq!(java_hash("Aa"), java_hash("BB"));
    let one = send(&bench, "T", ["", "Aa", ""], 1).at.physical_offset.0;
    let other = send(&bench, "T", ["", "BB", ""], 1).at.physical_offset.0;
    let both = send(&bench, "T", ["Aa", "BB Aa", "t"], 1)
        .at
        .physical_offset
        .0;
    // The same text behind another topic.
    send(&bench, "T#x", ["", "y", ""], 1);
    assert_eq!(found(&bench, &query("T", "Aa")), [one, both]);
    assert_eq!(found(&bench, &query("T", "BB")), [other, both]);
    assert!(found(&bench, &query("T", "x#y")).is_empty());
    assert_eq!(found(&bench, &query("T", "T#t")), [both]);
    let as_key = KeyQuery {
        key: Key::Key("T#t"),
        ..query("T", "")
    };
    assert_eq!(found(&bench, &as_key), [both]);
}

#[test]
fn halves_are_indexed_and_rollbacks_are_not() {
    let bench = Bench::new();
    let properties = "KEYS\u{1}a\u{2}";
    let half = bench.send_with("T", 0, "x", properties, sys_flag::TRANSACTION_PREPARED);
    let rollback = bench.send_with("T", 0, "x", properties, sys_flag::TRANSACTION_ROLLBACK);
    let half = half.unwrap().physical_offset.0;
    rollback.unwrap();
    assert_eq!(found(&bench, &query("T", "a")), [half]);
    // Read back from the log it is the same.
    let bench = Bench::open(bench.kill());
    assert_eq!(found(&bench, &query("T", "a")), [half]);
}

#[test]
fn nothing_is_found_before_it_is_on_disk() {
    let bench = Bench::with(SimFiles::new(), config(FlushMode::Sync));
    let sent = send(&bench, "T", ["u", "a", "t"], 1);
    bench.writer.flush().unwrap();
    bench.files.set_syncs_fail(true);
    send(&bench, "T", ["v", "a", "t"], 1);
    let _ = bench.writer.flush();
    check_queries(&bench, &[sent]);
}

#[test]
fn switched_off_index_is_completed_when_it_is_on_again() {
    let off = || StoreConfig {
        index_keys: false,
        ..config(FlushMode::Async)
    };
    for unclean in [false, true] {
        let bench = Bench::new();
        let mut sent = filled(&bench);
        let bench = Bench::with(bench.shutdown(), off());
        sent.extend(filled(&bench));
        assert!(found(&bench, &query("T", "k1")).is_empty());
        let files = if unclean {
            bench.kill()
        } else {
            bench.shutdown()
        };
        let bench = Bench::open(files);
        check_queries(&bench, &sent);
        check_files(&bench.shutdown(), &sent);
    }
}

#[test]
fn oldest_files_go_with_their_records() {
    let bench = Bench::new();
    let sent = filled(&bench);
    bench.writer.0.index.sync_now().unwrap();
    let index = &bench.writer.0.index;
    let count = index_paths(&bench.files).len();
    assert!(count > 3);
    let ends = |file: &PathBuf| {
        let bytes = bench.files.bytes(file).unwrap();
        u64::from_be_bytes(bytes[24..32].try_into().unwrap())
    };
    let paths = index_paths(&bench.files);
    assert_eq!(index.delete_index_before(ends(&paths[1])).unwrap(), 1);
    assert_eq!(index_paths(&bench.files), paths[1..]);
    assert_eq!(index.delete_index_before(u64::MAX).unwrap(), count - 2);
    assert_eq!(index_paths(&bench.files), paths[count - 1..]);
    let last = sent.last().unwrap();
    let found = found(&bench, &query(last.topic, &last.keys[0]));
    assert_eq!(found, [last.at.physical_offset.0]);
    // The older records are still in the log: whoever keeps them gets their keys back only if the file is lost.
    for files in [bench.files.after_kill(), bench.shutdown()] {
        assert_eq!(index_paths(&Bench::open(files).files), paths[count - 1..]);
    }
}

/// Files as another broker has left them: what only Arugula writes is gone.
fn foreign(files: &SimFiles, index_timestamp: i64) {
    files.overwrite("/s/checkpoint", 0, &[0; 512]);
    files.overwrite("/s/checkpoint", 16, &index_timestamp.to_be_bytes());
}

/// The header's field at this position.
fn header_long(files: &SimFiles, path: &Path, at: usize) -> i64 {
    i64::from_be_bytes(files.bytes(path).unwrap()[at..at + 8].try_into().unwrap())
}

#[test]
fn another_brokers_files_are_gone_on_with() {
    let bench = Bench::new();
    let mut sent = filled(&bench);
    let files = bench.shutdown();
    let before = index_paths(&files);
    foreign(&files, 0);
    let bench = Bench::open(files);
    assert_eq!(index_paths(&bench.files), before);
    check_queries(&bench, &sent);
    sent.extend(filled(&bench));
    check_queries(&bench, &sent);
    check_files(&bench.shutdown(), &sent);
}

#[test]
fn index_of_another_broker_that_lacks_the_newest_keys_is_completed() {
    // Between two keys of one message, too.
    for lost in [1, 2, 3, 20, 24, 25, 47, 70] {
        let bench = Bench::new();
        let sent = filled(&bench);
        let files = bench.shutdown();
        lose_entries(&files, &sent, lost);
        foreign(&files, 0);
        let bench = Bench::open(files);
        check_queries(&bench, &sent);
        check_files(&bench.shutdown(), &sent);
    }
}

/// Makes the index as it was so many keys ago.
fn lose_entries(files: &SimFiles, sent: &[Sent], count: usize) {
    let mut sent = sent.to_vec();
    for _ in 0..count {
        while sent.last().unwrap().keys.is_empty() {
            sent.pop();
        }
        sent.last_mut().unwrap().keys.pop();
    }
    let (paths, expected) = (index_paths(files), reference_files(&sent));
    for (path, bytes) in paths.iter().zip(&expected) {
        files.overwrite(path, 0, bytes);
    }
    paths[expected.len()..]
        .iter()
        .for_each(|path| files.remove_below(path));
}

#[test]
fn files_another_broker_left_in_a_crash_are_kept_if_they_are_known_to_be_on_disk() {
    for kept in 0..4 {
        let bench = Bench::new();
        let sent = filled(&bench);
        bench.writer.0.index.sync_now().unwrap();
        let files = bench.kill();
        let paths = index_paths(&files);
        // The newest may be torn anywhere, whatever its header says.
        let newest = paths.last().unwrap();
        let at = 40 + SLOTS * 4 + 20;
        files.overwrite(newest, at, &[0; 10]);
        let time = |file: usize| header_long(&files, &paths[file], 8);
        foreign(&files, if kept == 0 { 0 } else { time(kept - 1) });
        // What is rebuilt gets another name.
        let bench = Bench::open(files);
        assert_eq!(index_paths(&bench.files)[..kept], paths[..kept]);
        check_queries(&bench, &sent);
        check_files(&bench.shutdown(), &sent);
    }
}

#[test]
fn lost_and_damaged_files_are_made_again() {
    type Damage = fn(&SimFiles, &[PathBuf]);
    let damages: [(&str, Damage); 10] = [
        ("all lost", |files, _| files.remove_below("/s/index")),
        ("oldest lost", |files, paths| files.remove_below(&paths[0])),
        ("newest lost", |files, paths| {
            files.remove_below(paths.last().unwrap());
        }),
        ("one in the middle lost", |files, paths| {
            files.remove_below(&paths[1]);
        }),
        ("one in the middle cut off", |files, paths| {
            files.remove_below(&paths[1]);
            let file = files.create(&paths[1], 100, false).unwrap();
            file.sync().unwrap();
        }),
        ("too many entries", |files, paths| {
            files.overwrite(&paths[1], 36, &[0, 0, 0, 25]);
        }),
        ("newest ends beyond the log", |files, paths| {
            files.overwrite(paths.last().unwrap(), 24, &[1]);
        }),
        ("no entries", |files, paths| {
            files.overwrite(&paths[2], 36, &[0; 4]);
        }),
        ("a file that was never written", |files, _| {
            let bytes = FILE_BYTES as u64;
            let path = Path::new("/s/index/99990101000000000");
            files.create(path, bytes, false).unwrap().sync().unwrap();
        }),
        ("older begins behind the newer", |files, paths| {
            files.overwrite(&paths[1], 16, &[0; 8]);
        }),
    ];
    for (name, damage) in damages {
        for (ours, clean) in [(true, true), (true, false), (false, true)] {
            let bench = Bench::new();
            let mut sent = filled(&bench);
            bench.writer.0.index.sync_now().unwrap();
            let files = if clean {
                bench.shutdown()
            } else {
                sent.extend(filled(&bench));
                bench.kill()
            };
            damage(&files, &index_paths(&files));
            if !ours {
                foreign(&files, 0);
            }
            let bench = Bench::open(files);
            println!("{name}, ours {ours}, clean {clean}");
            check_queries(&bench, &sent);
            check_files(&bench.shutdown(), &sent);
        }
    }
}

#[test]
fn torn_slots_and_entries_behind_the_mark_are_of_no_consequence() {
    let bench = Bench::new();
    let mut sent = filled(&bench);
    bench.writer.0.index.sync_now().unwrap();
    let newest = index_paths(&bench.files).pop().unwrap();
    let next = bench.files.bytes(&newest).unwrap()[39];
    sent.extend(filled(&bench));
    let files = bench.kill();
    let entries_end = 40 + 4 * SLOTS + 20 * usize::from(next);
    files.overwrite(&newest, 0, &[0xA5; 40 + 4 * SLOTS]);
    files.overwrite(&newest, entries_end, &vec![0xA5; FILE_BYTES - entries_end]);
    let bench = Bench::open(files);
    check_queries(&bench, &sent);
    check_files(&bench.shutdown(), &sent);
}

#[test]
fn entries_that_contradict_each_other_are_made_again() {
    for at in [4, 16] {
        let bench = Bench::new();
        let mut sent = filled(&bench);
        bench.writer.0.index.sync_now().unwrap();
        let newest = index_paths(&bench.files).pop().unwrap();
        sent.extend(filled(&bench));
        let files = bench.kill();
        files.overwrite(&newest, 40 + 4 * SLOTS + 20 * 3 + at, &[0x7E]);
        let bench = Bench::open(files);
        check_queries(&bench, &sent);
        check_files(&bench.shutdown(), &sent);
    }
}

#[test]
fn another_shape_is_an_index_made_again() {
    let bench = Bench::new();
    let sent = filled(&bench);
    let larger = StoreConfig {
        index_entries: 30,
        ..config(FlushMode::Async)
    };
    let bench = Bench::with(bench.shutdown(), larger);
    check_queries(&bench, &sent);
    let bench = Bench::open(bench.shutdown());
    check_queries(&bench, &sent);
    check_files(&bench.shutdown(), &sent);
}

#[test]
fn failed_writes_are_made_up_for() {
    for after in 0..14 {
        let bench = Bench::new();
        let mut sent = filled(&bench);
        check_queries(&bench, &sent);
        sent.extend(filled(&bench));
        bench.files.fail(crate::sim::Failing::Write, after);
        // What cannot be written is found nevertheless, except that a torn file hides some of its own.
        let _ = bench.writer.0.index.sync_now();
        bench.clock.advance(Duration::from_secs(6));
        let _ = bench.writer.0.index.sync_now();
        check_queries(&bench, &sent);
        check_files(&bench.shutdown(), &sent);
    }
}

#[test]
fn messages_the_tail_has_no_room_for_are_read_back() {
    let bench = Bench::new();
    let mut sent = filled(&bench);
    let index = bench.reader.0.reput.index.clone().unwrap();
    index.fall_behind(bench.reader.0.reput.dispatched());
    sent.extend(filled(&bench));
    bench.writer.0.index.sync_now().unwrap();
    let behind = bench.files.after_kill();
    index.catch_up(&bench.reader.0.reput);
    sent.extend(filled(&bench));
    check_queries(&bench, &sent);
    check_files(&bench.shutdown(), &sent);
    let bench = Bench::open(behind);
    check_queries(&bench, &sent[..60]);
    check_files(&bench.shutdown(), &sent[..60]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Messages with any keys, crashes of any kind between them: every message that is left is found by each of its keys,
    /// and each of its entries is there once.
    #[test]
    fn what_is_sent_is_found(
        steps in proptest::collection::vec(
            (proptest::collection::vec((0_usize..2, "(|u[a-c])", "[ab]{0,2}( [ab]{1,2}){0,3}", "(|t)", 0_usize..500), 1..8),
             0_u8..10, any::<u32>()), 1..16)
    ) {
        let mut bench = Bench::new();
        let mut sent: Vec<Sent> = Vec::new();
        for (messages, event, mut seed) in steps {
            for (topic, unique, keys, tags, size) in messages {
                bench.clock.advance(Duration::from_millis(size as u64 * 10));
                sent.push(send(&bench, ["T", "Ü"][topic], [&unique, &keys, &tags], size));
            }
            match event {
                0 => bench = Bench::open(bench.kill()),
                1 => bench = Bench::open(bench.shutdown()),
                2 => check_queries(&bench, &sent),
                3 => bench.writer.0.index.sync_now().unwrap(),
                4 => bench.writer.flush().unwrap(),
                5 => {
                    let flushed = *bench.writer.flushed().borrow();
                    let left = bench.files.after_power_cut(|| {
                        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        seed & 0x10_0000 != 0
                    });
                    bench = Bench::open(left);
                    let end = bench.reader.status().max_physical;
                    prop_assert!(end >= flushed);
                    sent.retain(|sent| sent.at.end() <= end);
                }
                _ => {}
            }
        }
        check_queries(&bench, &sent);
        check_files(&bench.shutdown(), &sent);
    }
}
