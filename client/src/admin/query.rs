//! Looking messages up by key.

use std::ops::RangeInclusive;

use common::wire::header::QueryMessageRequestHeader;
use common::wire::{request_code, response_code};

use super::Admin;
use crate::MessageExt;
use crate::error::ClientError;
use crate::instance::unreadable_body;

impl Admin {
    /// The newest `max` messages of each broker that carry a key, or have it as the id their client gave them, stored
    /// within `times`, in milliseconds since the epoch; oldest first.
    ///
    /// # Errors
    /// [`ClientError::NoRoute`]; a broker's refusal, or what kept it from answering.
    pub async fn query_messages(
        &self,
        topic: &str,
        key: &str,
        max: u32,
        times: RangeInclusive<i64>,
    ) -> Result<Vec<MessageExt>, ClientError> {
        let header = QueryMessageRequestHeader {
            topic: topic.to_owned(),
            key: key.to_owned(),
            max_num: i32::try_from(max).unwrap_or(i32::MAX),
            begin_timestamp: *times.start(),
            end_timestamp: *times.end(),
            ..QueryMessageRequestHeader::default()
        };
        let mut found = Vec::new();
        for address in self.masters_of(topic).await? {
            let answer = self.tell(&address, request_code::QUERY_MESSAGE, &header);
            let body = match answer.await {
                Err(error) if error.is_response(response_code::QUERY_NOT_FOUND) => continue,
                answer => answer?,
            };
            let messages = MessageExt::read_all(&body, "").map_err(unreadable_body(&address))?;
            // Brokers of the reference know keys by their hashes only.
            let carries = |message: &MessageExt| {
                message.msg_id == key || message.keys().any(|own| own == key)
            };
            found.extend(messages.into_iter().filter(carries));
        }
        found.sort_by_key(|message| message.store_timestamp);
        Ok(found)
    }
}
