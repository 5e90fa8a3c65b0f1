//! Open transactions.

use super::bodies;

bodies! {
    /// A half message nobody has decided about.
    pub struct OpenTransaction {
        /// What its producer calls it.
        pub transaction_id: String,
        /// Offset message id of its newest half.
        pub offset_msg_id: String,
        /// Topic the message is meant for.
        pub topic: String,
        /// Queue the message is meant for.
        pub queue_id: u32,
        /// Group that is asked.
        pub producer_group: String,
        /// Offset of the newest half in the half queue.
        pub half_offset: i64,
        /// Position of the newest half in the log.
        pub commit_log_offset: i64,
        /// When the producer made it, in milliseconds since 1970.
        pub born_timestamp: i64,
        /// Its age in milliseconds.
        pub age_ms: i64,
        /// How often somebody was asked.
        pub checks: u32,
        /// Bytes of the body.
        pub body_bytes: u64,
    }

    /// Answer of `LIST_TRANSACTIONS`.
    pub struct OpenTransactions {
        /// In the order of their newest halves.
        pub transactions: Vec<OpenTransaction>,
        /// Where the next page begins, if there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub next_offset: Option<i64>,
        /// All that are open.
        pub open: i64,
    }
}
