//! Looking messages up: by key and by position in the log. Both may have to wait for the disk.

use crate::state::State;
use common::ids::PhysicalOffset;
use common::wire::header::{QueryMessageRequestHeader, ViewMessageRequestHeader};
use common::wire::{Reply, response_code};
use store::{Key, KeyQuery};

/// `indexType` of a query for tags; all others ask for keys.
const TAGS_TYPE: &str = "T";

/// `QUERY_MESSAGE`: messages that carry a key.
pub fn by_key(state: &State, header: &QueryMessageRequestHeader) -> Reply {
    let settings = state.settings.now();
    let asked = match header.unique_key_query {
        Some(true) => settings.default_query_max_num,
        _ => u32::try_from(header.max_num).unwrap_or(0),
    };
    let key = match header.index_type.as_deref() {
        Some(TAGS_TYPE) => Key::Tags(&header.key),
        _ => Key::Key(&header.key),
    };
    let most = asked.min(settings.max_msgs_num_batch);
    let found = state.reader.query(&KeyQuery {
        topic: &header.topic,
        key,
        max_messages: usize::try_from(most).unwrap_or(usize::MAX),
        begin: header.begin_timestamp,
        end: header.end_timestamp,
    });
    let (mut reply, (timestamp, offset)) = if found.records.is_empty() {
        let text = "can not find message, maybe time range not correct";
        (Reply::error(response_code::QUERY_NOT_FOUND, text), (0, 0))
    } else {
        let reply = Reply {
            body: found.records,
            ..Reply::ok()
        };
        (reply, (found.updated_timestamp, found.updated_offset))
    };
    reply.fields.set("indexLastUpdateTimestamp", timestamp);
    reply.fields.set("indexLastUpdatePhyoffset", offset);
    reply
}

/// `VIEW_MESSAGE_BY_ID`: the record at a position of the log.
pub fn by_offset(state: &State, header: &ViewMessageRequestHeader) -> Reply {
    let offset = PhysicalOffset::from_wire(header.offset);
    let record = offset.and_then(|offset| state.reader.record_at(offset));
    record.map_or_else(
        || {
            let text = format!("can not find message by the offset, {}", header.offset);
            Reply::error(response_code::SYSTEM_ERROR, text)
        },
        |record| Reply::ok().with_body(record),
    )
}
