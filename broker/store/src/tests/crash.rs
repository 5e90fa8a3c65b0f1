use super::*;

/// 30 messages in two queues, so large that they fill several segments.
fn filled(bench: &Bench) -> Vec<(u32, String, Appended)> {
    let send = |n: u32| {
        let body = format!("{n:0300}");
        let sent = bench.send("T", n % 2, &body).unwrap();
        (n % 2, body, sent)
    };
    (0..30).map(send).collect()
}

fn expected(sent: &[(u32, String, Appended)], queue_id: u32, end: u64) -> Vec<String> {
    let kept = sent
        .iter()
        .filter(|(id, _, at)| *id == queue_id && at.end() <= end);
    kept.map(|(_, body, _)| body.clone()).collect()
}

fn check(bench: &Bench, sent: &[(u32, String, Appended)], end: u64) {
    for queue_id in 0..2 {
        let expected = expected(sent, queue_id, end);
        assert_eq!(bench.bodies("T", queue_id), expected);
        let next = bench.send("T", queue_id, "next").unwrap();
        assert_eq!(next.queue_offset.0, expected.len() as u64);
        assert_eq!(bench.bodies("T", queue_id).len(), expected.len() + 1);
    }
}

#[test]
fn killed_process_loses_nothing() {
    let bench = Bench::new();
    let sent = filled(&bench);
    let bench = Bench::open(bench.kill());
    check(&bench, &sent, u64::MAX);
}

#[test]
fn killed_process_loses_nothing_after_indexes_were_written() {
    let bench = Bench::new();
    let mut sent = filled(&bench);
    bench.writer.0.index.sync_now().unwrap();
    sent.extend(filled(&bench));
    bench.writer.0.queues.write_out().unwrap();
    let bench = Bench::open(bench.kill());
    check(&bench, &sent, u64::MAX);
    let bench = Bench::open(bench.kill());
    assert_eq!(
        bench.bodies("T", 0).len() + bench.bodies("T", 1).len(),
        sent.len() + 2
    );
}

#[test]
fn clean_restart_changes_no_file() {
    let bench = Bench::new();
    let sent = filled(&bench);
    let before = bench.shutdown();
    let bench = Bench::open(before.after_kill());
    let after = bench.shutdown();
    assert_eq!(before.paths(), after.paths());
    for path in before.paths() {
        assert_eq!(
            before.bytes(&path),
            after.bytes(&path),
            "{}",
            path.display()
        );
    }
    check(&Bench::open(after), &sent, u64::MAX);
}

#[test]
fn power_cut_loses_nothing_flushed() {
    for seed in 0..40_u32 {
        let bench = Bench::new();
        let mut sent = filled(&bench);
        if seed % 2 == 0 {
            bench.writer.0.index.sync_now().unwrap();
        }
        bench.writer.flush().unwrap();
        let flushed = *bench.writer.flushed().borrow();
        sent.extend(filled(&bench));
        if seed % 3 == 0 {
            bench.writer.0.queues.write_out().unwrap();
        }
        let mut state = seed;
        let left = bench.files.after_power_cut(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state & 0x10_0000 != 0
        });
        let bench = Bench::open(left);
        let end = bench.reader.status().max_physical;
        assert!(end >= flushed, "seed {seed}");
        check(&bench, &sent, end);
        // What is behind the end must not come back after the next crash.
        let count = bench.bodies("T", 0).len();
        let bench = Bench::open(bench.kill());
        assert_eq!(bench.bodies("T", 0).len(), count, "seed {seed}");
    }
}

#[test]
fn log_cut_at_any_byte_keeps_every_whole_record() {
    let bench = Bench::new();
    let sent = filled(&bench);
    let last = &sent[29].2;
    let base = last.physical_offset.0 - last.physical_offset.0 % SEGMENT_BYTES;
    let files = bench.kill();
    let in_last: Vec<_> = sent
        .iter()
        .filter(|(_, _, at)| at.physical_offset.0 >= base)
        .collect();
    let end = usize::try_from(last.end() - base).unwrap();
    for cut in 0..end {
        let files = files.after_kill();
        files.overwrite(segment_path(base), cut, &vec![0; end - cut]);
        let bench = Bench::open(files);
        let valid = in_last.iter().map(|(_, _, at)| at.end()).take_while(|end| {
            // The last bytes of a record are zeros of its properties' length.
            end - base <= cut as u64 + 2
        });
        let valid = valid.last().unwrap_or(base);
        assert_eq!(bench.reader.status().max_physical, valid, "cut at {cut}");
        for queue_id in 0..2 {
            assert_eq!(
                bench.bodies("T", queue_id),
                expected(&sent, queue_id, valid)
            );
        }
    }
}

#[test]
fn damaged_record_ends_the_log_before_it() {
    let bench = Bench::new();
    let sent = filled(&bench);
    let files = bench.kill();
    for victim in [0, 5, 17, 29] {
        let files = files.after_kill();
        let at = sent[victim].2.physical_offset.0;
        let base = at - at % SEGMENT_BYTES;
        let body_at = usize::try_from(at - base).unwrap() + 100;
        files.overwrite(segment_path(base), body_at, b"!");
        let bench = Bench::open(files);
        let end = bench.reader.status().max_physical;
        assert!(end <= at && at - end < SEGMENT_BYTES);
        check(&bench, &sent, at);
    }
}

#[test]
fn what_follows_damage_is_kept_aside() {
    let bench = Bench::new();
    let sent = filled(&bench);
    let files = bench.kill();
    let at = sent[5].2.physical_offset.0;
    let position = usize::try_from(at).unwrap();
    files.overwrite(segment_path(0), position + 100, b"!");
    let first = files.bytes(segment_path(0)).unwrap()[position..].to_vec();
    let second = files.bytes(segment_path(SEGMENT_BYTES)).unwrap();
    // The last record has no properties: its last two bytes are zeros.
    let end = sent[29].2.end() - 2;
    // Recovery may be killed and done again without keeping anything twice.
    let (again, paths) = {
        let bench = Bench::open(files.after_kill());
        let cut = bench.reader.recovery().cut.clone().unwrap();
        assert_eq!((cut.at, cut.bytes), (at, end - at));
        assert_eq!(cut.kept_in, Path::new("/s/commitlog/cut"));
        (bench.kill(), files.paths())
    };
    let kept = |files: &SimFiles, base: u64| files.bytes(format!("/s/commitlog/cut/{base:020}-1"));
    let copy = kept(&again, at).unwrap();
    assert_eq!(copy[..], first[..copy.len()]);
    assert!(first[copy.len()..].iter().all(|byte| *byte == 0));
    assert_eq!(kept(&again, SEGMENT_BYTES), Some(second));
    assert!(
        paths
            .iter()
            .all(|path| !path.starts_with("/s/commitlog/cut"))
    );
    let cut = Path::new("/s/commitlog/cut");
    files.create_directories(cut, true).unwrap();
    for path in again.paths() {
        if path.starts_with(cut) {
            files
                .create(&path, again.bytes(&path).unwrap().len() as u64, false)
                .unwrap();
            files.overwrite(&path, 0, &again.bytes(&path).unwrap());
        }
    }
    let bench = Bench::open(files);
    let kept = bench.files.paths();
    let kept = kept
        .iter()
        .filter(|path| path.starts_with("/s/commitlog/cut"));
    let names: Vec<_> = kept
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(
        names
            .iter()
            .filter(|name| name.starts_with(&format!("{at:020}")))
            .count(),
        1
    );
    check(&bench, &sent, at);
}

#[test]
fn nothing_is_cut_where_nothing_is_lost() {
    for clean in [true, false] {
        let bench = Bench::new();
        filled(&bench);
        let files = if clean {
            bench.shutdown()
        } else {
            bench.kill()
        };
        let bench = Bench::open(files);
        assert_eq!(bench.reader.recovery().clean, clean);
        assert_eq!(bench.reader.recovery().cut, None);
    }
}

#[test]
fn lost_queues_are_rebuilt() {
    let bench = Bench::new();
    let sent = filled(&bench);
    let files = bench.shutdown();
    files.remove_below("/s/consumequeue");
    check(&Bench::open(files), &sent, u64::MAX);
}

#[test]
fn lost_checkpoint_is_no_harm() {
    for clean in [true, false] {
        let bench = Bench::new();
        let sent = filled(&bench);
        bench.writer.0.index.sync_now().unwrap();
        let files = if clean {
            bench.shutdown()
        } else {
            bench.kill()
        };
        files.remove_below("/s/checkpoint");
        check(&Bench::open(files), &sent, u64::MAX);
    }
}

#[test]
fn another_brokers_checkpoint_is_followed() {
    for clean in [true, false] {
        let bench = Bench::new();
        let sent = filled(&bench);
        let files = if clean {
            bench.shutdown()
        } else {
            bench.kill()
        };
        // As the reference leaves it: newest unit known to be on disk belongs to a record in the
        // second segment.
        let start = sent[15].2.physical_offset.to_wire();
        files.overwrite("/s/checkpoint", 0, &[0; 512]);
        files.overwrite("/s/checkpoint", 8, &1_000_000_i64.to_be_bytes());
        files.overwrite("/s/checkpoint", 40, &start.to_be_bytes());
        check(&Bench::open(files), &sent, u64::MAX);
    }
}

#[test]
fn empty_queue_file_of_a_crash_is_removed() {
    let bench = Bench::new();
    let sent = filled(&bench);
    bench.writer.0.index.sync_now().unwrap();
    let files = bench.kill();
    let path = Path::new("/s/consumequeue/T/0/00000000000000000300");
    files.create(path, 0, false).unwrap();
    check(&Bench::open(files), &sent, u64::MAX);
}

#[test]
fn lost_log_leaves_no_units() {
    let bench = Bench::new();
    filled(&bench);
    let files = bench.shutdown();
    files.remove_below("/s/commitlog");
    let bench = Bench::open(files);
    assert_eq!(bench.bodies("T", 0), Vec::<String>::new());
    assert_eq!(bench.send("T", 0, "first").unwrap().queue_offset.0, 0);
    assert_eq!(bench.bodies("T", 0), ["first"]);
}

#[test]
fn queue_that_began_later_starts_at_its_first_message() {
    let config = || StoreConfig {
        consume_queue_file_bytes: 160,
        ..config(FlushMode::Async)
    };
    let bench = Bench::with(SimFiles::new(), config());
    let sent = filled(&bench);
    let files = bench.shutdown();
    files.remove_below("/s/consumequeue");
    files.remove_below(segment_path(0));
    let bench = Bench::with(files, config());
    for queue_id in 0..2 {
        let kept: Vec<_> = sent
            .iter()
            .filter(|(id, _, at)| *id == queue_id && at.physical_offset.0 >= SEGMENT_BYTES)
            .collect();
        assert_eq!(
            bench.reader.min_offset("T", queue_id),
            kept[0].2.queue_offset.0
        );
        let bodies: Vec<_> = kept.iter().map(|(_, body, _)| body.clone()).collect();
        assert_eq!(bench.bodies("T", queue_id), bodies);
    }
    let min = bench.reader.min_offset("T", 0);
    let bench = Bench::with(bench.shutdown(), config());
    assert_eq!(bench.reader.min_offset("T", 0), min);
    let first = bench
        .files
        .bytes("/s/consumequeue/T/0/00000000000000000000")
        .unwrap();
    assert_eq!(
        first[..20],
        [
            0, 0, 0, 0, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0
        ]
    );
}

#[test]
fn abort_file_is_there_while_the_store_is_open() {
    let bench = Bench::new();
    let process = std::process::id().to_string();
    assert_eq!(bench.files.bytes("/s/abort"), Some(process.into_bytes()));
    assert_eq!(bench.shutdown().bytes("/s/abort"), None);
}

#[test]
fn broken_disk_keeps_the_abort_file() {
    let bench = Bench::new();
    bench.send("T", 0, "x").unwrap();
    bench.files.set_syncs_fail(true);
    let files = bench.files.clone();
    bench.tasks.shutdown().unwrap_err();
    assert!(files.bytes("/s/abort").is_some());
}

#[test]
fn units_have_the_documented_bytes() {
    let bench = Bench::new();
    bench.send("U", 0, "before").unwrap();
    let sent = bench
        .send_with("T", 3, "x", "TAGS\u{1}TagA\u{2}", 0)
        .unwrap();
    let files = bench.shutdown();
    let unit = files
        .bytes("/s/consumequeue/T/3/00000000000000000000")
        .unwrap()[..20]
        .to_vec();
    assert_eq!(unit[..8], sent.physical_offset.0.to_be_bytes());
    assert_eq!(unit[8..12], sent.bytes.to_be_bytes());
    assert_eq!(unit[12..], [0, 0, 0, 0, 0, 0x27, 0xA8, 0x07]);
}

/// Paths of queue files that were written.
#[derive(Default)]
struct QueueWrites(Mutex<Vec<std::path::PathBuf>>);

impl crate::sim::Observer for QueueWrites {
    fn before(&self, op: &crate::sim::Op) {
        if let crate::sim::Op::Write(path, ..) = op
            && path.starts_with("/s/consumequeue")
        {
            self.0.lock().push(path.clone());
        }
    }

    fn after(&self, _: &crate::sim::Op) {}
}

#[test]
fn recovery_writes_only_queues_that_were_being_written() {
    let bench = Bench::new();
    for queue_id in 0..40 {
        bench.send("T", queue_id, "synced").unwrap();
    }
    bench.writer.0.index.sync_now().unwrap();
    bench.send("T", 7, "written, not synced").unwrap();
    bench.writer.0.queues.write_out().unwrap();
    let files = bench.kill();
    let writes = Arc::new(QueueWrites::default());
    files.observe(Some(writes.clone()));
    let bench = Bench::open(files);
    let written = writes.0.lock().clone();
    let of_seven = |path: &std::path::PathBuf| path.starts_with("/s/consumequeue/T/7");
    assert!(
        !written.is_empty() && written.iter().all(of_seven),
        "{written:?}"
    );
    assert_eq!(bench.bodies("T", 7).len(), 2);
}

#[test]
fn long_queues_are_opened_where_they_end() {
    let config = || StoreConfig {
        consume_queue_file_bytes: 20 * 1_000,
        segment_bytes: 1 << 20,
        ..config(FlushMode::Async)
    };
    for crash in [false, true] {
        for messages in [199, 200, 201, 999, 1_000, 1_001, 1_200] {
            let bench = Bench::with(SimFiles::new(), config());
            for n in 0..messages {
                bench.send("T", 0, &n.to_string()).unwrap();
            }
            bench.writer.0.index.sync_now().unwrap();
            let files = if crash {
                bench.kill()
            } else {
                bench.shutdown()
            };
            let bench = Bench::with(files, config());
            assert_eq!(bench.reader.max_offset("T", 0), messages);
            assert_eq!(bench.bodies("T", 0).len() as u64, messages);
            assert_eq!(bench.send("T", 0, "next").unwrap().queue_offset.0, messages);
        }
    }
}
