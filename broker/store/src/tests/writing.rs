use super::*;
use common::message::record::body_crc;

#[test]
fn messages_get_consecutive_offsets() {
    let bench = Bench::new();
    let sent: Vec<_> = (0..3)
        .map(|_| bench.send("T", 1, "hello").unwrap())
        .collect();
    let other = bench.send("T", 2, "hello").unwrap();
    let bytes = u64::from(sent[0].bytes);
    assert_eq!(
        sent.iter().map(|a| a.queue_offset.0).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert_eq!(
        sent.iter().map(|a| a.physical_offset.0).collect::<Vec<_>>(),
        [0, bytes, 2 * bytes]
    );
    assert_eq!(
        (other.queue_offset.0, other.physical_offset.0),
        (0, 3 * bytes)
    );
    assert_eq!(sent[0].store_timestamp, 1_000_000);
}

#[test]
fn record_is_stamped() {
    let bench = Bench::new();
    bench.send("T", 1, "first").unwrap();
    bench.clock.advance(Duration::from_millis(7));
    let second = bench.send("T", 1, "second").unwrap();
    let bytes = bench.reader.record_at(second.physical_offset).unwrap();
    let record = RecordView::parse(&bytes).unwrap();
    assert_eq!((record.queue_offset, record.queue_id), (1, 1));
    assert_eq!(record.physical_offset, second.physical_offset.to_wire());
    assert_eq!(record.store_timestamp, 1_000_007);
    assert_eq!((record.topic, record.body), (&b"T"[..], &b"second"[..]));
}

#[test]
fn what_a_batch_does_not_keep_was_never_in_it() {
    let bench = Bench::new();
    let queue = bench.writer.queue("T", 0);
    let batch_of = |numbers: &[usize]| {
        let mut batch = RecordBatch::default();
        for n in numbers {
            let (body, keys) = ("b".repeat(*n), format!("KEYS\u{1}k{n} k\u{2}"));
            let parts = parts("T", 0, &body, &keys, 0);
            batch.push(&queue, &parts).unwrap();
            assert_eq!(batch.body_crc(batch.len() - 1), body_crc(body.as_bytes()));
        }
        batch
    };
    for kept in 0..16_usize {
        let keeps = |n: &usize| kept >> n & 1 == 1;
        let mut batch = batch_of(&[0, 1, 2, 3]);
        batch.retain(|n| keeps(&n));
        let numbers: Vec<usize> = (0..4).filter(keeps).collect();
        let expected = batch_of(&numbers);
        assert_eq!(batch.bytes, expected.bytes);
        let all = |batch: &RecordBatch| -> Vec<_> {
            let records = batch.records();
            records
                .map(|(entry, keys)| (entry.start, keys.to_vec()))
                .collect()
        };
        assert_eq!(all(&batch), all(&expected));
    }
}

#[test]
fn batch_is_appended_in_order_across_queues() {
    let bench = Bench::new();
    let mut batch = RecordBatch::default();
    for n in 0..4 {
        let queue = bench.writer.queue("T", n % 2);
        batch
            .push(&queue, &parts("T", n % 2, &format!("b{n}"), "", 0))
            .unwrap();
    }
    let mut appended = Vec::new();
    bench
        .writer
        .append_batch(&mut batch, &mut appended)
        .unwrap();
    assert_eq!(
        appended
            .iter()
            .map(|a| a.queue_offset.0)
            .collect::<Vec<_>>(),
        [0, 0, 1, 1]
    );
    assert_eq!(bench.bodies("T", 0), ["b0", "b2"]);
    assert_eq!(bench.bodies("T", 1), ["b1", "b3"]);
}

#[test]
fn full_segment_ends_with_a_blank() {
    let bench = Bench::new();
    let sent: Vec<_> = (0..40)
        .map(|n| bench.send("T", 0, &format!("{n:0200}")).unwrap())
        .collect();
    let rolled = sent
        .iter()
        .position(|a| a.physical_offset.0 == SEGMENT_BYTES)
        .unwrap();
    let end = sent[rolled - 1].end();
    let left = u32::try_from(SEGMENT_BYTES - end).unwrap();
    let first = bench.files.bytes(segment_path(0)).unwrap();
    let at = usize::try_from(end).unwrap();
    assert_eq!(first[at..at + 4], left.to_be_bytes());
    assert_eq!(first[at + 4..at + 8], [0xCB, 0xD4, 0x31, 0x94]);
    assert_eq!(bench.bodies("T", 0).len(), 40);
}

#[test]
fn group_stays_in_one_segment() {
    let bench = Bench::new();
    let filler = bench.send("T", 0, &"x".repeat(3500)).unwrap();
    let queue = bench.writer.queue("T", 0);
    let mut batch = RecordBatch::default();
    batch.begin_group();
    for n in 0..4 {
        batch
            .push(&queue, &parts("T", 0, &format!("{n:0100}"), "", 0))
            .unwrap();
    }
    batch.end_group();
    let mut appended = Vec::new();
    bench
        .writer
        .append_batch(&mut batch, &mut appended)
        .unwrap();
    assert!(filler.end() + u64::from(appended[0].bytes) + 8 < SEGMENT_BYTES);
    assert_eq!(appended[0].physical_offset.0, SEGMENT_BYTES);
    assert_eq!(bench.bodies("T", 0).len(), 5);
}

#[test]
fn group_too_large_for_a_file_is_stored_nevertheless() {
    let bench = Bench::new();
    let queue = bench.writer.queue("T", 0);
    let mut batch = RecordBatch::default();
    batch.begin_group();
    for _ in 0..10 {
        batch
            .push(&queue, &parts("T", 0, &"x".repeat(900), "", 0))
            .unwrap();
    }
    let mut appended = Vec::new();
    bench
        .writer
        .append_batch(&mut batch, &mut appended)
        .unwrap();
    assert_eq!(bench.bodies("T", 0).len(), 10);
}

#[test]
fn record_larger_than_a_segment_is_refused() {
    let bench = Bench::new();
    let error = bench.send("T", 0, &"x".repeat(5000)).unwrap_err();
    assert!(
        matches!(error, StoreError::RecordTooLarge { limit: 4088, .. }),
        "{error}"
    );
    assert_eq!(bench.send("T", 0, "next").unwrap().queue_offset.0, 0);
}

#[test]
fn halves_and_rollbacks_take_no_place_in_their_queue() {
    let bench = Bench::new();
    bench.send("T", 0, "a").unwrap();
    let half = bench
        .send_with("T", 0, "half", "", sys_flag::TRANSACTION_PREPARED)
        .unwrap();
    bench
        .send_with("T", 0, "back", "", sys_flag::TRANSACTION_ROLLBACK)
        .unwrap();
    let commit = bench
        .send_with("T", 0, "b", "", sys_flag::TRANSACTION_COMMIT)
        .unwrap();
    assert_eq!((half.queue_offset.0, commit.queue_offset.0), (0, 1));
    assert_eq!(bench.bodies("T", 0), ["a", "b"]);
}

#[test]
fn full_disk_is_an_answer_and_passes() {
    let files = SimFiles::new();
    // One segment and the small files.
    files.set_room(SEGMENT_BYTES + 2048);
    let bench = Bench::open(files.clone());
    let body = "x".repeat(1500);
    bench.send("T", 0, &body).unwrap();
    bench.send("T", 0, &body).unwrap();
    let error = bench.send("T", 0, &body).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::DiskFull {
                bytes: SEGMENT_BYTES,
                ..
            }
        ),
        "{error}"
    );
    assert!(matches!(
        bench.reader.status().refusal,
        Some(StoreError::DiskFull { .. })
    ));
    assert_eq!(bench.bodies("T", 0).len(), 2);

    files.set_room(u64::MAX);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.send("T", 0, &body).unwrap().queue_offset.0, 2);
    assert!(bench.reader.status().refusal.is_none());
    assert_eq!(bench.bodies("T", 0).len(), 3);
}

#[test]
fn what_was_stored_before_an_error_is_told() {
    let files = SimFiles::new();
    // One segment and the small files.
    files.set_room(SEGMENT_BYTES + 2048);
    let bench = Bench::open(files);
    let queue = bench.writer.queue("T", 0);
    let body = "x".repeat(1500);
    let mut batch = RecordBatch::default();
    for _ in 0..4 {
        batch.push(&queue, &parts("T", 0, &body, "", 0)).unwrap();
    }
    let mut appended = Vec::new();
    bench
        .writer
        .append_batch(&mut batch, &mut appended)
        .unwrap_err();
    assert_eq!(appended.len(), 2);
    assert_eq!(bench.bodies("T", 0).len(), 2);
    assert_eq!(bench.send("T", 1, "still fits").unwrap().queue_offset.0, 0);
}

#[test]
fn arrivals_are_reported_for_watched_queues_only() {
    let bench = Bench::new();
    bench.send("T", 0, "nobody waits").unwrap();
    let queue = bench.writer.queue("T", 0);
    queue.watch();
    bench
        .send_with("T", 0, "x", "TAGS\u{1}red\u{2}", 0)
        .unwrap();
    bench.send("T", 1, "x").unwrap();
    queue.unwatch();
    bench.send("T", 0, "x").unwrap();
    assert_eq!(*bench.arrivals.0.lock(), [(0, 2, tags_code("red"))]);
}

#[test]
fn synchronous_messages_are_visible_once_flushed() {
    let bench = Bench::with(SimFiles::new(), config(FlushMode::Sync));
    let mut flushed = bench.writer.flushed();
    let sent = bench.send("T", 0, "x").unwrap();
    bench.writer.ask_for_flush();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let wait = flushed.wait_for(|offset| *offset >= sent.end());
        tokio::time::timeout(Duration::from_secs(10), wait)
            .await
            .unwrap()
            .unwrap();
    });
    assert_eq!(bench.bodies("T", 0), ["x"]);
}

#[test]
fn failed_sync_fences_the_log_and_is_not_tried_again() {
    let bench = Bench::with(SimFiles::new(), config(FlushMode::Async));
    bench.send("T", 0, "before").unwrap();
    let mut flushed = bench.writer.flushed();
    bench.files.set_syncs_fail(true);
    bench.writer.flush().unwrap_err();
    bench.files.set_syncs_fail(false);

    assert!(matches!(
        bench.writer.flush(),
        Err(StoreError::Fenced { .. })
    ));
    assert!(matches!(
        bench.send("T", 0, "after"),
        Err(StoreError::Fenced { .. })
    ));
    assert!(matches!(
        bench.reader.status().refusal,
        Some(StoreError::Fenced { .. })
    ));
    assert_eq!(bench.bodies("T", 0), ["before"]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    assert!(
        runtime
            .block_on(flushed.wait_for(|offset| *offset > 0))
            .is_err()
    );
}

#[test]
fn deleted_topic_begins_again() {
    let bench = Bench::new();
    let stale = bench.writer.queue("T", 0);
    for _ in 0..9 {
        bench.send("T", 0, "old").unwrap();
    }
    bench.send("U", 0, "other").unwrap();
    bench.writer.delete_topic("T").unwrap();
    assert!(bench.reader.queue("T", 0).is_none());
    assert!(
        bench
            .files
            .paths()
            .iter()
            .all(|path| !path.starts_with("/s/consumequeue/T"))
    );

    let mut batch = RecordBatch::default();
    batch.push(&stale, &parts("T", 0, "new", "", 0)).unwrap();
    let mut appended = Vec::new();
    bench
        .writer
        .append_batch(&mut batch, &mut appended)
        .unwrap();
    assert_eq!(appended[0].queue_offset.0, 0);
    assert_eq!(bench.bodies("T", 0), ["new"]);
    let bench = Bench::open(bench.kill());
    assert_eq!(bench.bodies("T", 0), ["new"]);
    assert_eq!(bench.bodies("U", 0), ["other"]);
}

#[test]
fn concurrent_producers_keep_the_order_of_their_queue() {
    let bench = Bench::with(
        SimFiles::new(),
        StoreConfig {
            segment_bytes: 1 << 16,
            ..config(FlushMode::Async)
        },
    );
    std::thread::scope(|scope| {
        for producer in 0..4 {
            let bench = &bench;
            scope.spawn(move || {
                for n in 0..200 {
                    bench
                        .send("T", producer % 2, &format!("{producer} {n}"))
                        .unwrap();
                }
            });
        }
    });
    for queue_id in 0..2 {
        let bodies = bench.bodies("T", queue_id);
        assert_eq!(bodies.len(), 400);
        for producer in [queue_id, queue_id + 2] {
            let prefix = format!("{producer} ");
            let own: Vec<_> = bodies
                .iter()
                .filter_map(|body| body.strip_prefix(&prefix))
                .collect();
            assert_eq!(own, (0..200).map(|n| n.to_string()).collect::<Vec<_>>());
        }
    }
}

#[test]
fn topic_that_can_be_no_directory_stays_in_memory() {
    let bench = Bench::new();
    bench.send("../../etc", 0, "x").unwrap();
    bench.writer.0.index.sync_now().unwrap();
    assert_eq!(bench.bodies("../../etc", 0), ["x"]);
    assert!(
        bench
            .files
            .paths()
            .iter()
            .all(|path| path.starts_with("/s"))
    );
}

#[test]
fn shut_down_store_refuses() {
    let bench = Bench::new();
    let writer = bench.writer.clone();
    bench.shutdown();
    let queue = writer.queue("T", 0);
    let mut batch = RecordBatch::default();
    batch.push(&queue, &parts("T", 0, "x", "", 0)).unwrap();
    let outcome = writer.append_batch(&mut batch, &mut Vec::new());
    assert!(matches!(outcome, Err(StoreError::ShuttingDown)));
}

#[test]
fn unused_prepared_segment_is_deleted_at_shutdown() {
    let bench = Bench::new();
    bench.send("T", 0, &"x".repeat(3000)).unwrap();
    let files = bench.shutdown();
    assert_eq!(files.list(Path::new("/s/commitlog")).unwrap().len(), 1);
}
