use super::*;
use crate::consume_queue::Unit;
use std::sync::atomic::{AtomicBool, Ordering};

fn sent(count: usize) -> Bench {
    let bench = Bench::new();
    for name in names(count) {
        bench.send("T", 0, &name).unwrap();
    }
    bench
}

/// Else the next message that a reader asks for would seem to lie beyond the queue, and stock clients would start anew.
#[test]
fn a_queue_ends_behind_whatever_was_read_of_it() {
    let bench = Bench::new();
    let queue = bench.writer.queue("T", 0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for base in 0..50_000 {
                let unit = Unit {
                    base,
                    messages: 1,
                    physical_offset: base * 100,
                    bytes: 100,
                    ..Unit::BLANK
                };
                assert!(queue.push(unit));
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut units = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let from = queue.max_offset();
            queue.read(from, 32, &mut units).unwrap();
            let read = from + units.len() as u64;
            let end = queue.max_offset();
            assert!(
                read <= end,
                "messages up to {read} were read, but the queue ends at {end}"
            );
        }
    });
}

#[test]
fn every_offset_has_its_status() {
    let bench = sent(7);
    let check = |queue_id, offset, status, next| {
        let result = bench.get("T", queue_id, offset, 2);
        assert_eq!(
            (result.status, result.next_begin),
            (status, next),
            "{queue_id} {offset}"
        );
    };
    check(0, 0, GetStatus::Found, 2);
    check(0, 6, GetStatus::Found, 7);
    check(0, 7, GetStatus::OffsetOverflowOne, 7);
    check(0, 8, GetStatus::OffsetOverflowBadly, 7);
    check(0, -1, GetStatus::OffsetTooSmall, 0);
    check(9, 3, GetStatus::NoMatchedLogicQueue, 0);
    bench.writer.queue("T", 8);
    check(8, 3, GetStatus::NoMessageInQueue, 0);
}

#[test]
fn messages_are_read_from_memory_and_from_files() {
    let bench = sent(23);
    assert_eq!(bench.bodies("T", 0), names(23));
    bench.writer.0.index.sync_now().unwrap();
    bench
        .writer
        .0
        .queues
        .note_dirty(&bench.writer.queue("T", 0));
    bench.writer.0.index.sync_now().unwrap();
    assert_eq!(bench.bodies("T", 0), names(23));
    bench.send("T", 0, "message 23").unwrap();
    assert_eq!(bench.bodies("T", 0), names(24));
}

#[test]
fn neighbours_in_the_log_share_a_slice() {
    let bench = sent(3);
    bench.send("U", 0, "between").unwrap();
    bench.send("T", 0, "message 3").unwrap();
    let result = bench.get("T", 0, 0, 32);
    assert_eq!((result.records.len(), result.count), (2, 4));
    assert_eq!(
        result.bytes,
        result.records.iter().map(bytes::Bytes::len).sum::<usize>()
    );
}

#[test]
fn filter_is_asked_for_at_most_800_units() {
    let bench = Bench::with(
        SimFiles::new(),
        StoreConfig {
            segment_bytes: 1 << 20,
            consume_queue_file_bytes: 6_000_000,
            ..config(FlushMode::Async)
        },
    );
    for n in 0..1000 {
        let tag = if n == 900 {
            "TAGS\u{1}red\u{2}"
        } else {
            "TAGS\u{1}blue\u{2}"
        };
        bench.send_with("T", 0, "x", tag, 0).unwrap();
    }
    let red = tags_code("red");
    let get = |offset| {
        bench.reader.get(GetRequest {
            topic: "T",
            queue_id: 0,
            offset,
            max_messages: 32,
            filter: &|code| code == red,
        })
    };
    let first = get(0);
    assert_eq!(
        (first.status, first.next_begin),
        (GetStatus::NoMatchedMessage, 800)
    );
    let second = get(800);
    assert_eq!(
        (second.status, second.next_begin, second.count),
        (GetStatus::Found, 1000, 1)
    );
}

#[test]
fn size_limits_spare_the_first_message() {
    let limits = |hot_bytes| StoreConfig {
        read_bytes: (700, 300),
        read_messages: (4, 2),
        hot_bytes,
        ..config(FlushMode::Async)
    };
    let check = |hot_bytes, body: usize, expected| {
        let bench = Bench::with(SimFiles::new(), limits(hot_bytes));
        for _ in 0..8 {
            bench.send("T", 0, &"x".repeat(body)).unwrap();
        }
        let result = bench.get("T", 0, 0, 32);
        assert_eq!(result.count, expected, "{hot_bytes} {body}");
        assert_eq!(result.cold, hot_bytes == 0);
    };
    check(u64::MAX, 1, 4);
    check(u64::MAX, 200, 2);
    check(u64::MAX, 900, 1);
    check(0, 1, 2);
    check(0, 150, 1);
}

#[test]
fn offset_by_time_is_leftmost_and_rightmost() {
    let bench = Bench::new();
    for times in [10, 0, 0, 20, 0] {
        bench.clock.advance(Duration::from_millis(times));
        bench.send("T", 0, "x").unwrap();
    }
    // Stored at +10, +10, +10, +30, +30.
    let check = |time: i64, lower, upper| {
        let at = |boundary| {
            bench
                .reader
                .offset_by_time("T", 0, 1_000_000 + time, boundary)
        };
        assert_eq!(
            (at(Boundary::Lower), at(Boundary::Upper)),
            (lower, upper),
            "{time}"
        );
    };
    check(0, 0, 0);
    check(10, 0, 2);
    check(20, 3, 2);
    check(30, 3, 4);
    check(31, 5, 4);
    assert_eq!(
        bench.reader.offset_by_time("none", 0, 0, Boundary::Lower),
        0
    );
    assert_eq!(bench.reader.earliest_store_time("T", 0), Some(1_000_010));
    assert_eq!(bench.reader.earliest_store_time_of_all(), Some(1_000_010));
    assert_eq!(bench.reader.store_time_of("T", 0, 4), Some(1_000_030));
    assert_eq!(bench.reader.store_time_of("T", 0, 5), None);
}

#[test]
fn only_the_start_of_a_record_is_one() {
    let bench = sent(2);
    let second = bench.send("T", 0, "third").unwrap();
    assert!(bench.reader.record_at(second.physical_offset).is_some());
    for wrong in [1, second.physical_offset.0 + 1, second.end(), 1 << 40] {
        assert!(
            bench.reader.record_at(PhysicalOffset(wrong)).is_none(),
            "{wrong}"
        );
    }
}

#[test]
fn unflushed_record_is_not_shown_under_synchronous_flush() {
    let bench = Bench::with(SimFiles::new(), config(FlushMode::Sync));
    bench.send("T", 0, "first").unwrap();
    bench.writer.flush().unwrap();
    bench.files.set_syncs_fail(true);
    let sent = bench.send("T", 0, "x").unwrap();
    let _ = bench.writer.flush();
    assert!(bench.reader.record_at(sent.physical_offset).is_none());
    assert_eq!(bench.bodies("T", 0), ["first"]);
}

#[test]
fn idle_queue_holds_no_file_and_no_units() {
    let bench = sent(12);
    bench.writer.0.index.sync_now().unwrap();
    bench.writer.0.index.sync_now().unwrap();
    assert_eq!(bench.writer.queue("T", 0).in_memory(), (0, false));
    assert_eq!(bench.bodies("T", 0).len(), 12);
    assert!(bench.writer.queue("T", 0).in_memory().1);
    bench.writer.0.index.sync_now().unwrap();
    bench.writer.0.index.sync_now().unwrap();
    assert_eq!(bench.writer.queue("T", 0).in_memory(), (0, false));
}

#[test]
fn replay_shows_every_record_from_a_position_on() {
    let store = Bench::new();
    let mut sent = Vec::new();
    for n in 0..100 {
        // Some are in the log only.
        let flag = if n % 7 == 0 {
            sys_flag::TRANSACTION_ROLLBACK
        } else {
            0
        };
        let body = format!("message {n}");
        sent.push(store.send_with("T", 0, &body, "", flag).unwrap());
    }
    let end = sent[99].end();
    assert!(end > 2 * SEGMENT_BYTES);
    let replay = |store: &Bench, from| {
        let mut bodies = Vec::new();
        let to = store
            .reader
            .replay(from, &mut |record| bodies.push(body_of(record)));
        assert_eq!(to.unwrap(), end);
        bodies
    };
    for from in [0, 1, 40, 99] {
        let at = sent[from].physical_offset.0;
        assert_eq!(replay(&store, at), names(100)[from..]);
    }
    assert_eq!(replay(&store, end), [] as [&str; 0]);
    assert_eq!(replay(&store, end + 5), [] as [&str; 0]);
    let store = Bench::open(store.kill());
    assert_eq!(replay(&store, sent[3].physical_offset.0), names(100)[3..]);
}
