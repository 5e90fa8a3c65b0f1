//! Looking at stored messages.

use crate::wire::wire_header;

wire_header! {
    /// `QUERY_MESSAGE` (12).
    pub struct QueryMessageRequestHeader {
        /// Topic.
        pub topic: String = "topic",
        /// What is looked for: a unique key, a key or tags.
        pub key: String = "key",
        /// Messages wanted at most.
        pub max_num: i32 = "maxNum",
        /// First store time, in milliseconds since 1970.
        pub begin_timestamp: i64 = "beginTimestamp",
        /// Last store time.
        pub end_timestamp: i64 = "endTimestamp",
        /// `K` for keys, `U` for unique keys, `T` for tags; keys of both kinds without it.
        pub index_type: Option<String> = "indexType",
        /// A unique key is looked for: the broker says how many messages there can be.
        pub unique_key_query: Option<bool> = "_UNIQUE_KEY_QUERY",
    }

    /// `VIEW_MESSAGE_BY_ID` (33).
    pub struct ViewMessageRequestHeader {
        /// Physical offset.
        pub offset: i64 = "offset",
        /// Not looked at.
        pub topic: Option<String> = "topic",
    }
}
