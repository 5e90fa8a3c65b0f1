//! Messages for tests.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;

use crate::{MessageExt, MessageQueue};

/// A message of queue 0 of the topic `T`.
pub(crate) fn message_at(queue_offset: i64, body: &'static [u8]) -> Arc<MessageExt> {
    let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 10911));
    Arc::new(MessageExt {
        topic: "T".to_owned(),
        body: Bytes::from_static(body),
        flag: 0,
        msg_id: format!("ID{queue_offset}"),
        offset_msg_id: String::new(),
        queue: MessageQueue::new("T", "broker-a", 0),
        queue_offset,
        physical_offset: queue_offset * 100,
        sys_flag: 0,
        born_timestamp: 0,
        born_host: host,
        store_timestamp: 0,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        properties: String::new(),
    })
}
