use super::super::testing::{HALF, end, send, serve};
use super::*;
use crate::config::BrokerConfig;
use common::message::sys_flag;
use common::wire::header::ConsumerSendMsgBackRequestHeader;
use common::wire::{Command, request_code};

/// Every message is an old one.
const OLD: fn() -> BrokerConfig = || BrokerConfig {
    access_message_in_memory_max_ratio: 0,
    ..BrokerConfig::default()
};

#[tokio::test]
async fn an_old_half_is_ended_once_outside_of_the_turn() {
    let (stored, _loopback, client) = serve(OLD());
    let mut halves = Vec::new();
    for body in [&b"first"[..], b"second", b"third"] {
        halves.push(send(&client, HALF, body).await);
    }
    let commit = sys_flag::TRANSACTION_COMMIT;
    let rollback = sys_flag::TRANSACTION_ROLLBACK;
    let refused = end(&client, halves[0], "another", commit).await;
    assert_eq!(refused, response_code::SYSTEM_ERROR);
    for (half, outcome) in [
        (2, commit),
        (1, rollback),
        (0, commit),
        (2, commit),
        (1, commit),
    ] {
        assert_eq!(end(&client, halves[half], "g", outcome).await, 0);
    }
    let body_of = |offset| {
        let record = stored.reader.record_of("t", 0, offset)?;
        let record = common::message::record::RecordView::parse(&record).ok()?;
        Some(record.body.to_vec())
    };
    assert_eq!(body_of(0).as_deref(), Some(&b"third"[..]));
    assert_eq!(body_of(1).as_deref(), Some(&b"first"[..]));
    assert_eq!(stored.reader.max_offset("t", 0), 2);
    assert_eq!(stored.transactions.list(0, 10).open, 0);
}

#[tokio::test]
async fn an_old_message_comes_back_outside_of_the_turn() {
    let (stored, _loopback, client) = serve(OLD());
    let (_, offset) = send(&client, "", b"body").await;
    let header = ConsumerSendMsgBackRequestHeader {
        group: "consumers".to_owned(),
        offset,
        delay_level: -1,
        ..ConsumerSendMsgBackRequestHeader::default()
    };
    let command = Command::request(request_code::CONSUMER_SEND_MSG_BACK).with(&header);
    let (answer, _) = client.call(command, "").await;
    assert_eq!(answer.code, response_code::SUCCESS, "{:?}", answer.remark);
    assert_eq!(stored.reader.max_offset("%DLQ%consumers", 0), 1);
}

#[tokio::test]
async fn of_two_ends_of_an_old_half_the_first_one_counts() {
    const HALVES: u64 = 20;
    let (stored, _loopback, client) = serve(OLD());
    for _ in 0..HALVES {
        let half = send(&client, HALF, b"body").await;
        let commit = end(&client, half, "g", sys_flag::TRANSACTION_COMMIT);
        let rollback = end(&client, half, "g", sys_flag::TRANSACTION_ROLLBACK);
        assert_eq!(tokio::join!(commit, rollback), (0, 0));
    }
    assert_eq!(stored.reader.max_offset("t", 0), HALVES);
}
