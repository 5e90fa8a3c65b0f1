use super::check::Taken;
use super::*;
use crate::testing::Stored;
use common::message::RecordView;
use std::panic::{AssertUnwindSafe, catch_unwind};
use store::Appended;

fn checks(stored: &Stored) -> Arc<Checks> {
    let told = (stored.clients.producers.clone(), stored.topics.clone());
    Checks::new(stored.transactions.clone(), told, stored.writer.clone())
}

/// Stores a record as the broker itself would.
fn append(stored: &Stored, topic: &str, key: &str) -> Appended {
    let mut text = String::new();
    for (name, value) in [
        (names_of::REAL_TOPIC, "t"),
        (names_of::REAL_QUEUE_ID, "0"),
        (names_of::PRODUCER_GROUP, "g"),
        (names_of::UNIQUE_KEY, key),
    ] {
        names_of::write(&mut text, name, value);
    }
    let host = stored.transactions.shared.store_host;
    let parts = RecordParts {
        topic,
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 0,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: b"half",
        properties: &text,
    };
    let (mut batch, mut appended) = (stored.writer.batch(), Vec::new());
    batch.push(&stored.writer.queue(topic, 0), &parts).unwrap();
    stored
        .writer
        .append_batch(&mut batch, &mut appended)
        .unwrap();
    appended[0]
}

#[test]
fn a_discarded_transaction_is_taken_up_once() {
    let stored = Stored::new();
    let before = checks(&stored);
    let discarded = ["first", "second"].map(|key| {
        let at = append(&stored, TRANS_CHECK_MAX_TIME_TOPIC, key).physical_offset;
        at.to_wire()
    });
    for at in discarded {
        assert_eq!(before.resume(at).unwrap(), Resumed::Open);
        assert_eq!(before.resume(at).unwrap(), Resumed::Again);
    }
    assert_eq!(stored.transactions.list(0, 10).open, 2);
    // One that has seen nothing of it, as after a restart.
    let after = checks(&stored);
    append(&stored, TRANS_HALF_TOPIC, "other");
    for at in discarded {
        assert_eq!(after.resume(at).unwrap(), Resumed::Again);
    }
    let at = append(&stored, TRANS_CHECK_MAX_TIME_TOPIC, "first").physical_offset;
    assert_eq!(after.resume(at.to_wire()).unwrap(), Resumed::Open);
    assert_eq!(stored.reader.max_offset(TRANS_HALF_TOPIC, 0), 4);
}

#[test]
fn a_round_that_panics_lets_go_of_what_it_has() {
    let stored = Stored::new();
    let transactions = &stored.transactions;
    let at = append(&stored, TRANS_HALF_TOPIC, "K").physical_offset;
    let record = transactions.record_at(at.to_wire()).unwrap();
    let view = RecordView::parse(&record).unwrap();
    let half = HalfMessage::of(&view).unwrap().entry(&transactions.rules());
    transactions.opened(std::iter::once(half));
    let take = || {
        transactions
            .table()
            .due(&mut 0, 1, i64::MAX / 2, &transactions.rules())
    };
    let round = || {
        let _taken = Taken::new(transactions, take().unwrap());
        assert_eq!(take(), None);
        let mut endings = Endings::new(transactions.clone());
        assert!(endings.claim(0));
        panic!("a planted one");
    };
    assert!(catch_unwind(AssertUnwindSafe(round)).is_err());
    assert!(take().is_some());
    assert!(Endings::new(transactions.clone()).claim(0));
}
