//! For tests of the handler.

use super::{SendHandler, SendSession};
use crate::client::testing::{Client, Loopback, Served};
use crate::config::BrokerConfig;
use crate::testing::Stored;
use common::message::message_id::parse_offset_id;
use common::transport::Connection;
use common::wire::header::{
    ConsumerSendMsgBackRequestHeader, EndTransactionRequestHeader, SendForm,
    SendMessageRequestHeader,
};
use common::wire::{Command, Reply, WireHeader as _, request_code, response_code};
use parking_lot::Mutex;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Properties of a half message of the group `g`.
pub const HALF: &str = "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}g\u{2}";

/// A handler that stores in `stored`.
pub fn handler(stored: &Stored) -> SendHandler {
    let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let later = (stored.transactions.clone(), stored.timers.clone());
    SendHandler::new(stored.state.clone(), later, host)
}

/// Every request in a turn of its own.
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
                }
                request_code::CONSUMER_SEND_MSG_BACK => {
                    let header = ConsumerSendMsgBackRequestHeader::parse(fields).unwrap();
                    handler.send_back(&mut session, connection, command, header, replies);
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

/// A broker with the topic `t`, and a client of it.
pub fn serve(config: BrokerConfig) -> (Stored, Loopback, Client) {
    let stored = Stored::with(config);
    stored.create("t", 1);
    let handler = Arc::new(handler(&stored));
    let mut session = handler.session();
    // Topics that come into being by their use are written at once.
    session.begin(true);
    let session = Mutex::new(session);
    let loopback = Loopback::serve(Arc::new(Turns { handler, session }));
    let client = loopback.client();
    (stored, loopback, client)
}

/// Stores a message; gives its offset and its position.
pub async fn send(client: &Client, properties: &str, body: &'static [u8]) -> (i64, i64) {
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

/// Ends a transaction; gives the code of the answer.
pub async fn end(client: &Client, half: (i64, i64), group: &str, outcome: i32) -> i32 {
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
