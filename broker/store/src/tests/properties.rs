use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Batches of any sizes, crashes of any kind between them: every message is read back, in
    /// order, exactly once.
    #[test]
    fn what_is_sent_is_read(
        steps in proptest::collection::vec(
            (proptest::collection::vec((0_u32..3, 0_usize..900), 1..6), 0_u8..8), 1..20)
    ) {
        let mut bench = Bench::new();
        let mut sent = vec![Vec::new(); 3];
        let mut number = 0;
        for (messages, event) in steps {
            let mut batch = RecordBatch::default();
            for (queue_id, size) in messages {
                let body = format!("{number} {}", "x".repeat(size));
                number += 1;
                let queue = bench.writer.queue("T", queue_id);
                batch.push(&queue, &parts("T", queue_id, &body, "", 0)).unwrap();
                sent[queue_id as usize].push(body);
            }
            bench.writer.append_batch(&mut batch, &mut Vec::new()).unwrap();
            match event {
                0 => bench = Bench::open(bench.kill()),
                1 => bench = Bench::open(bench.shutdown()),
                2 => bench.writer.0.queues.write_out().unwrap(),
                3 => bench.writer.0.index.sync_now().unwrap(),
                4 => bench.writer.flush().unwrap(),
                _ => {}
            }
        }
        for (queue_id, bodies) in sent.iter().enumerate() {
            prop_assert_eq!(&bench.bodies("T", u32::try_from(queue_id).unwrap()), bodies);
        }
    }
}
