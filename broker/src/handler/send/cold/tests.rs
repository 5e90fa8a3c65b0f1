use super::super::testing::handler;
use super::*;
use crate::client::testing::{Client, Loopback, Served};
use crate::config::BrokerConfig;
use crate::testing::Stored;
use common::message::message_id::parse_offset_id;
use common::message::sys_flag;
use common::wire::header::{
    ConsumerSendMsgBackRequestHeader, EndTransactionRequestHeader, SendForm,
    SendMessageRequestHeader,
};
use common::wire::{Command, WireHeader as _, request_code};

/// Every request in a turn of its own; those about old messages leave it.
struct Turns {
    handler: Arc<SendHandler>,
    session: Mutex<SendSession>,
}

impl Served for Turns {
    fn answer(
        &self,
        connection: &Arc<Connection>,
        command: &Command,
        body: &[u8],
    ) -> Option<Reply> {
        let (handler, mut session) = (&self.handler, self.session.lock());
        let fields = &command.fields;
        connection.answer(|replies| {
            match command.code {
                request_code::END_TRANSACTION => {
                    handler.end_transaction(&mut session, connection, command, replies);
                    assert!(session.ends.is_empty());
                }
                request_code::CONSUMER_SEND_MSG_BACK => {
                    let header = ConsumerSendMsgBackRequestHeader::parse(fields).unwrap();
                    handler.send_back(&mut session, connection, command, header, replies);
                    assert!(session.pending.is_empty());
                }
                _ => {
                    let header = SendMessageRequestHeader::parse(fields, SendForm::Short).unwrap();
                    handler.accept(&mut session, connection, command, &header, body, replies);
                }
            }
            handler.commit(&mut session, connection, replies);
        });
        None
    }

    fn closed(&self, _: &Connection) {}
}

fn serve() -> (Stored, Loopback, Client) {
    let stored = Stored::with(BrokerConfig {
        access_message_in_memory_max_ratio: 0,
        ..BrokerConfig::default()
    });
    stored.create("t", 1);
    let handler = Arc::new(handler(&stored));
    let session = Mutex::new(handler.session());
    let loopback = Loopback::serve(Arc::new(Turns { handler, session }));
    let client = loopback.client();
    (stored, loopback, client)
}

/// Stores a message; gives its offset and its position.
async fn send(client: &Client, properties: &str, body: &'static [u8]) -> (i64, i64) {
    let mut command = Command::request(request_code::SEND_MESSAGE_V2);
    let header = SendMessageRequestHeader {
        producer_group: "g",
        topic: "t",
        properties,
        ..SendMessageRequestHeader::default()
    };
    header.write_short(&mut command.fields);
    let (answer, _) = client.call(command, body).await;
    assert_eq!(answer.code, response_code::SUCCESS, "{:?}", answer.remark);
    let (_, position) = parse_offset_id(answer.fields.get("msgId").unwrap()).unwrap();
    let offset = answer.fields.required("queueOffset").unwrap();
    (offset, position.to_wire())
}

async fn end(client: &Client, half: (i64, i64), group: &str, outcome: i32) -> i32 {
    let header = EndTransactionRequestHeader {
        producer_group: Some(group.to_owned()),
        tran_state_table_offset: half.0,
        commit_log_offset: half.1,
        commit_or_rollback: outcome,
        ..EndTransactionRequestHeader::default()
    };
    let command = Command::request(request_code::END_TRANSACTION).with(&header);
    client.call(command, "").await.0.code
}

#[tokio::test]
async fn an_old_half_is_ended_once_outside_of_the_turn() {
    let (stored, _loopback, client) = serve();
    let mut halves = Vec::new();
    for body in [&b"first"[..], b"second", b"third"] {
        halves.push(send(&client, "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}g\u{2}", body).await);
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
    let (stored, _loopback, client) = serve();
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
