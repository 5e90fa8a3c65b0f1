//! Old segments go; queues and readers follow.

use super::*;
use crate::commit_log::segments::Segments;
use crate::sim::Failing;

const RESERVED: Duration = Duration::from_hours(72);

/// Three queues whose messages fill some twenty segments: queue 0 has messages all over the log,
/// queue 1 at its beginning only, queue 2 at its end only.
fn filled(bench: &Bench) -> Vec<(u32, String, Appended)> {
    let mut sent = Vec::new();
    for n in 0..120_u32 {
        for queue_id in [0, if n < 60 { 1 } else { 2 }] {
            let body = format!("{n:0200}");
            let at = bench.send("T", queue_id, &body).unwrap();
            sent.push((queue_id, body, at));
        }
    }
    sent
}

/// All but the last segment have been there for longer than they have to be; one run deletes ten.
fn expire(bench: &Bench) {
    bench.clock.advance(RESERVED);
    bench.writer.0.clean.step();
}

fn start(bench: &Bench) -> u64 {
    bench.reader.status().min_physical
}

fn log_files(files: &SimFiles) -> Vec<String> {
    let paths = files.paths();
    let logs = paths.iter().filter(|path| path.starts_with("/s/commitlog"));
    logs.map(|path| path.display().to_string()).collect()
}

/// Every queue holds exactly what of it is still in the log, and goes on behind what it ever had.
fn check(bench: &Bench, sent: &[(u32, String, Appended)]) {
    let start = start(bench);
    for queue_id in 0..3 {
        let of_queue: Vec<_> = sent.iter().filter(|(id, ..)| *id == queue_id).collect();
        let gone = of_queue
            .iter()
            .take_while(|(.., at)| at.physical_offset.0 < start)
            .count();
        let kept: Vec<_> = of_queue[gone..]
            .iter()
            .map(|(_, body, _)| body.clone())
            .collect();
        let (min, end) = (
            bench.reader.min_offset("T", queue_id),
            bench.reader.max_offset("T", queue_id),
        );
        assert_eq!(
            (min, end),
            (gone as u64, of_queue.len() as u64),
            "queue {queue_id}"
        );
        assert_eq!(bench.bodies("T", queue_id), kept, "queue {queue_id}");
        if min > 0 {
            let before = i64::try_from(min).unwrap() - 1;
            assert_eq!(
                bench.get("T", queue_id, before, 1).status,
                GetStatus::OffsetTooSmall
            );
        }
    }
}

#[test]
fn expired_segments_go_oldest_first_and_queues_follow() {
    let bench = Bench::new();
    let sent = filled(&bench);
    let all = log_files(&bench.files);
    assert!(all.len() > 15, "{}", all.len());
    bench.writer.0.clean.step();
    assert_eq!(log_files(&bench.files), all, "nothing has expired yet");
    expire(&bench);
    assert_eq!(log_files(&bench.files), all[10..]);
    assert_eq!(start(&bench), 10 * SEGMENT_BYTES);
    check(&bench, &sent);
    while log_files(&bench.files).len() > 1 {
        bench.writer.0.clean.step();
        check(&bench, &sent);
    }
    bench.writer.0.clean.step();
    assert_eq!(
        log_files(&bench.files),
        all[all.len() - 1..],
        "the last one stays"
    );
}

#[test]
fn consume_queue_files_without_messages_go_but_never_the_last() {
    let bench = Bench::new();
    let sent = filled(&bench);
    bench.writer.0.index.sync_now().unwrap();
    let names = |queue_id: u32| {
        let directory = format!("/s/consumequeue/T/{queue_id}");
        let listed = bench.files.list(Path::new(&directory)).unwrap();
        listed.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(
        (names(0).len(), names(1).len(), names(2).len()),
        (24, 12, 12)
    );
    expire(&bench);
    for queue_id in [0, 2] {
        // Five units in a file of 100 bytes.
        let min = bench.reader.min_offset("T", queue_id);
        assert_eq!(names(queue_id)[0], format!("{:020}", min / 5 * 100));
    }
    while start(&bench) + 2 * SEGMENT_BYTES < bench.reader.status().max_physical {
        bench.writer.0.clean.step();
    }
    assert_eq!(
        names(1),
        ["00000000000000001100"],
        "full, and nothing but old units"
    );
    check(&bench, &sent);
    // The next message begins a file; then the old one can go.
    let next = bench.send("T", 1, "next").unwrap();
    assert_eq!(next.queue_offset.0, 60);
    bench.writer.0.index.sync_now().unwrap();
    bench.writer.0.clean.step();
    assert_eq!(names(1), ["00000000000000001200"]);
    assert_eq!(bench.bodies("T", 1), ["next"]);
}

#[test]
fn offsets_go_on_after_restarts_and_crashes_although_all_messages_are_gone() {
    for crash in [false, true] {
        let bench = Bench::new();
        filled(&bench);
        bench.clock.advance(RESERVED);
        for _ in 0..5 {
            bench.writer.0.clean.step();
        }
        assert_eq!(bench.reader.min_offset("T", 1), 60);
        let bench = Bench::open(if crash {
            bench.kill()
        } else {
            bench.shutdown()
        });
        let ends = (
            bench.reader.min_offset("T", 1),
            bench.reader.max_offset("T", 1),
        );
        assert_eq!(ends, (60, 60));
        assert_eq!(bench.get("T", 1, 0, 1).status, GetStatus::OffsetTooSmall);
        assert_eq!(
            bench.get("T", 1, 60, 1).status,
            GetStatus::OffsetOverflowOne
        );
        assert_eq!(bench.send("T", 1, "next").unwrap().queue_offset.0, 60);
        assert_eq!(bench.bodies("T", 1), ["next"]);
    }
}

#[test]
fn crash_after_any_deletion_leaves_a_log_without_holes() {
    for deleted in 0..12_u32 {
        let bench = Bench::new();
        let sent = filled(&bench);
        // Nothing was synced by anything but the deletion itself.
        bench.clock.advance(RESERVED);
        let one = RetentionConfig {
            batch: 1,
            ..config(FlushMode::Async).retention
        };
        let clean = bench.writer.0.clean.with(one);
        for _ in 0..deleted {
            clean.step();
        }
        let mut state = deleted;
        let left = bench.files.after_power_cut(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state & 0x10_0000 != 0
        });
        let bench = Bench::open(left);
        assert_eq!(start(&bench), u64::from(deleted) * SEGMENT_BYTES);
        let end = bench.reader.status().max_physical;
        let kept: Vec<_> = sent
            .into_iter()
            .filter(|(.., at)| at.end() <= end)
            .collect();
        check(&bench, &kept);
    }
}

#[test]
fn slices_and_later_readers_survive_the_end_of_their_segment() {
    let bench = Bench::new();
    filled(&bench);
    let first = bench.get("T", 1, 0, 3);
    assert_eq!(first.status, GetStatus::Found);
    let record = bench.reader.record_at(PhysicalOffset(0)).unwrap();
    expire(&bench);
    let bodies: Vec<_> = first.messages().map(|m| body_of(&m.unwrap())).collect();
    assert_eq!(bodies[2], format!("{:0200}", 2));
    assert!(RecordView::parse(&record).is_ok());
    assert_eq!(bench.reader.record_at(PhysicalOffset(0)), None);
    assert_eq!(bench.reader.record_of("T", 1, 0), None);
    assert_eq!(bench.reader.store_time_of("T", 1, 0), None);
    assert_eq!(bench.get("T", 1, 0, 3).status, GetStatus::OffsetTooSmall);
    let min = bench.reader.min_offset("T", 0);
    assert_eq!(
        bench.get("T", 0, 0, 3).next_begin,
        i64::try_from(min).unwrap()
    );
    let all = |boundary| bench.reader.offset_by_time("T", 0, 0, boundary);
    assert_eq!((all(Boundary::Lower), all(Boundary::Upper)), (min, min));
    assert!(bench.reader.earliest_store_time("T", 0).is_some());
    assert!(bench.reader.earliest_store_time_of_all().is_some());
}

#[test]
fn units_that_outlive_their_segment_for_a_moment_are_told_as_such() {
    let bench = Bench::new();
    filled(&bench);
    // Between the end of a segment and the moment its queues follow.
    let segments: &Segments = &bench.writer.0.log.segments;
    segments.take_first().unwrap();
    let result = bench.get("T", 1, 0, 32);
    assert_eq!(result.status, GetStatus::Found);
    assert_eq!(result.messages().count(), result.count);
    assert!(
        result
            .messages()
            .all(|message| message.unwrap().physical_offset >= SEGMENT_BYTES.cast_signed())
    );
    for _ in 0..10 {
        segments.take_first().unwrap();
    }
    let result = bench.get("T", 1, 0, 1);
    assert_eq!(result.status, GetStatus::MessageWasRemoving);
    assert_eq!(
        (result.count, result.bytes, result.records.len()),
        (0, 0, 0)
    );
    assert_eq!(result.next_begin, 60);
}

#[test]
fn file_that_cannot_be_deleted_is_tried_again_before_the_next_goes() {
    let bench = Bench::new();
    let sent = filled(&bench);
    let before = log_files(&bench.files);
    bench.clock.advance(RESERVED);
    for _ in 0..2 {
        bench.files.fail(Failing::Delete, 0);
        bench.writer.0.clean.step();
    }
    assert_eq!(log_files(&bench.files), before);
    // It has left the list nevertheless, alone.
    assert_eq!(start(&bench), SEGMENT_BYTES);
    check(&bench, &sent);
    let bench = Bench::open(bench.kill());
    assert_eq!(start(&bench), 0, "it is back after a crash");
    check(&bench, &sent);
    expire(&bench);
    assert_eq!(start(&bench), 10 * SEGMENT_BYTES);
    check(&bench, &sent);
}

#[test]
fn broken_disk_deletes_nothing_recovery_would_need() {
    let bench = Bench::new();
    filled(&bench);
    let before = log_files(&bench.files);
    bench.files.set_syncs_fail(true);
    expire(&bench);
    assert_eq!(log_files(&bench.files), before);
}

#[test]
fn touched_segment_protects_itself_and_those_behind_it() {
    let bench = Bench::new();
    filled(&bench);
    bench
        .files
        .touch(segment_path(3 * SEGMENT_BYTES), Millis(1_000_001));
    expire(&bench);
    assert_eq!(start(&bench), 3 * SEGMENT_BYTES);
}

#[test]
fn request_deletes_all_that_has_expired_though_it_is_not_the_hour() {
    let quiet = RetentionConfig {
        continuously: false,
        hours: Vec::new(),
        ..config(FlushMode::Async).retention
    };
    let config = StoreConfig {
        retention: quiet,
        ..config(FlushMode::Async)
    };
    let bench = Bench::with(SimFiles::new(), config);
    filled(&bench);
    expire(&bench);
    assert_eq!(start(&bench), 0);
    // The thread does it.
    bench.writer.delete_expired();
    while log_files(&bench.files).len() > 1 {
        std::thread::yield_now();
    }
}

#[test]
fn request_waits_until_it_is_known_what_still_waits() {
    let config = StoreConfig {
        needed_from: Arc::default(),
        ..config(FlushMode::Async)
    };
    let bench = Bench::with(SimFiles::new(), config);
    filled(&bench);
    expire(&bench);
    bench.writer.delete_expired();
    bench.writer.0.clean.step();
    assert_eq!(start(&bench), 0);
    bench.reader.need_from(SEGMENT_BYTES);
    while start(&bench) == 0 {
        std::thread::yield_now();
    }
    bench.writer.0.clean.step();
    assert_eq!(start(&bench), SEGMENT_BYTES);
}

#[test]
fn request_is_over_although_the_very_first_message_still_waits() {
    let config = StoreConfig {
        needed_from: Arc::default(),
        retention: RetentionConfig {
            continuously: false,
            hours: Vec::new(),
            ..config(FlushMode::Async).retention
        },
        ..config(FlushMode::Async)
    };
    let bench = Bench::with(SimFiles::new(), config);
    filled(&bench);
    expire(&bench);
    bench.reader.need_from(0);
    bench.writer.delete_expired();
    bench.writer.0.clean.step();
    // From here on one that is still there would be served.
    bench.reader.need_from(u64::MAX);
    bench.writer.0.clean.step();
    assert_eq!(start(&bench), 0);
}

#[test]
fn too_full_a_disk_refuses_messages_until_there_is_room() {
    let config = StoreConfig {
        retention: RetentionConfig {
            clean_forcibly: false,
            ..config(FlushMode::Async).retention
        },
        ..config(FlushMode::Async)
    };
    let bench = Bench::with(SimFiles::new(), config.clone());
    let sent = filled(&bench);
    let used = |bench: &Bench, percent: u64| {
        bench.files.set_space(Space {
            total: 100,
            free: 100 - percent,
        });
        bench.writer.0.clean.step();
    };
    used(&bench, 90);
    bench.send("T", 0, "taken").unwrap();
    used(&bench, 91);
    let error = bench.send("T", 0, "refused").unwrap_err().to_string();
    assert_eq!(
        error,
        "the disk is full: 91 % of the file system of /s/commitlog are in use, \
         diskSpaceWarningLevelRatio allows 90 %"
    );
    assert_eq!(bench.reader.status().refusal.unwrap().to_string(), error);
    // Reading and deleting go on.
    assert_eq!(bench.bodies("T", 0).len(), 121);
    expire(&bench);
    assert_eq!(start(&bench), 10 * SEGMENT_BYTES);
    // A store that is opened on a full disk refuses from the beginning.
    let left = bench.kill();
    left.set_space(Space {
        total: 100,
        free: 5,
    });
    let bench = Bench::with(left, config);
    bench.send("T", 0, "refused").unwrap_err();
    used(&bench, 90);
    assert_eq!(bench.send("T", 0, "taken").unwrap().queue_offset.0, 121);
    assert!(bench.reader.status().refusal.is_none());
    drop(sent);
}

#[test]
fn forced_deletion_makes_room() {
    let bench = Bench::new();
    filled(&bench);
    // One percent too much, which is less than a segment.
    bench.files.set_space(Space {
        total: 100 * SEGMENT_BYTES,
        free: 14 * SEGMENT_BYTES,
    });
    bench.writer.0.clean.step();
    assert_eq!(start(&bench), SEGMENT_BYTES);
}

#[test]
fn deleted_topic_and_deleted_segments_do_not_meet() {
    let bench = Bench::new();
    let sent = filled(&bench);
    bench.writer.0.index.sync_now().unwrap();
    let queue = bench.reader.queue("T", 0).unwrap();
    bench.writer.delete_topic("T").unwrap();
    expire(&bench);
    assert!(queue.min_offset() < sent.len() as u64);
    assert!(
        bench
            .files
            .paths()
            .iter()
            .all(|path| !path.starts_with("/s/consumequeue"))
    );
    assert_eq!(bench.send("T", 0, "again").unwrap().queue_offset.0, 0);
}

#[test]
fn queue_with_lost_units_in_its_middle_begins_with_its_first_message() {
    let bench = Bench::new();
    let unit = |n: u64| crate::consume_queue::unit::Unit {
        physical_offset: n * 10,
        bytes: 10,
        base: n,
        ..crate::consume_queue::unit::Unit::BLANK
    };
    for log_start in 0..30 {
        let topic = format!("holes{log_start}");
        let queue = bench.writer.queue(&topic, 0);
        // Messages 0 to 3 and 9 to 12; 4 to 8 are blank.
        for n in [0, 1, 2, 3, 9, 10, 11, 12] {
            assert!(queue.push(unit(n)));
        }
        bench.writer.0.queues.note_dirty(&queue);
        if log_start % 2 == 0 {
            bench.writer.0.queues.write_out().unwrap();
            bench.writer.0.queues.write_out().unwrap();
        }
        bench.writer.0.queues.advance_min(log_start * 5).unwrap();
        let expected = [0, 1, 2, 3, 9, 10, 11, 12]
            .into_iter()
            .find(|n| n * 10 >= log_start * 5);
        assert_eq!(queue.min_offset(), expected.unwrap_or(13), "{log_start}");
    }
}

#[test]
fn full_disk_keeps_units_in_memory_and_the_checkpoint_as_it_was() {
    for crash_while_full in [false, true] {
        let bench = Bench::new();
        for n in 0..3 {
            bench.send("T", 0, &format!("before {n}")).unwrap();
        }
        bench.writer.0.index.sync_now().unwrap();
        let checkpoint = bench.files.bytes("/s/checkpoint");
        bench.files.set_room(0);
        let mut expected: Vec<_> = (0..3).map(|n| format!("before {n}")).collect();
        for n in 0..7 {
            // The segment is reserved.
            expected.push(format!("while full {n}"));
            bench.send("T", 0, &expected[3 + n]).unwrap();
            bench.send("New", 0, "while full").unwrap();
            assert!(bench.writer.0.queues.write_out().is_err());
            assert!(bench.writer.0.index.sync_now().is_err());
        }
        assert_eq!(bench.files.bytes("/s/checkpoint"), checkpoint);
        assert_eq!(bench.bodies("T", 0), expected);
        assert_eq!(bench.bodies("New", 0).len(), 7);
        let bench = if crash_while_full {
            bench
        } else {
            bench.files.set_room(u64::MAX);
            bench.writer.0.index.sync_now().unwrap();
            assert_ne!(bench.files.bytes("/s/checkpoint"), checkpoint);
            bench
        };
        let bench = Bench::open(bench.kill());
        assert_eq!(bench.bodies("T", 0), expected);
        assert_eq!(bench.bodies("New", 0).len(), 7);
    }
}

#[test]
fn queue_that_began_later_is_not_cut_short_by_a_full_disk() {
    let bench = Bench::new();
    for _ in 0..13 {
        bench.send("T", 0, &"x".repeat(1_000)).unwrap();
    }
    let files = bench.shutdown();
    files.remove_below("/s/consumequeue");
    files.remove_below(segment_path(0));
    let bench = Bench::open(files);
    let (min, bodies) = (bench.reader.min_offset("T", 0), bench.bodies("T", 0));
    assert!(min > 0 && bodies.len() == 13 - usize::try_from(min).unwrap());
    let files = bench.kill();
    files.remove_below("/s/consumequeue");
    // The first writes of a queue file fail for lack of space, wherever that begins.
    for room in (0..2_048).step_by(512) {
        let image = files.after_kill();
        image.remove_below("/s/checkpoint");
        image.set_room(room);
        let opened = crate::sim::open(
            config(FlushMode::Async),
            image.clone(),
            Arc::new(ManualClock::new(Millis(1_000_000))),
            Arc::new(Seen::default()),
        );
        drop(opened);
        let image = image.after_kill();
        let bench = Bench::open(image);
        assert_eq!(bench.reader.min_offset("T", 0), min, "{room}");
        assert_eq!(bench.bodies("T", 0), bodies, "{room}");
        let bench = Bench::open(bench.shutdown());
        assert_eq!(bench.bodies("T", 0), bodies, "{room}");
    }
}

#[test]
fn messages_that_come_while_the_oldest_is_searched_for_stay() {
    let bench = Bench::new();
    let queue = bench.writer.queue("T", 0);
    bench.send("T", 0, "old").unwrap();
    // More than stay in memory.
    let new = names(300);
    for body in &new {
        bench.send("T", 0, body).unwrap();
    }
    for _ in 0..2 {
        bench.writer.0.index.write_out_now().unwrap();
    }
    assert!(!queue.begin_with(None, 1), "the search saw one message");
    assert_eq!((queue.min_offset(), queue.max_offset()), (0, 301));
    bench.writer.0.queues.advance_min(1).unwrap();
    assert_eq!(bench.bodies("T", 0), new);
    bench.send("T", 0, "next").unwrap();
    assert_eq!(queue.min_offset(), 1);
}
