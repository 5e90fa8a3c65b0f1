//! Transactions: their end, and the question how they ended.

use crate::wire::wire_header;

wire_header! {
    /// `END_TRANSACTION` (37).
    pub struct EndTransactionRequestHeader {
        /// Topic of the message; answers to a check repeat that of the check.
        pub topic: Option<String> = "topic",
        /// Group of the producer.
        pub producer_group: Option<String> = "producerGroup",
        /// Offset of the half message in its queue.
        pub tran_state_table_offset: i64 = "tranStateTableOffset",
        /// Physical offset of the half message.
        pub commit_log_offset: i64 = "commitLogOffset",
        /// The outcome: transaction type bits of a `sysFlag`, 0 unknown.
        pub commit_or_rollback: i32 = "commitOrRollback",
        /// The answer to a check.
        pub from_transaction_check: Option<bool> = "fromTransactionCheck",
        /// Unique key of the message.
        pub msg_id: Option<String> = "msgId",
        /// Id of the transaction, which is the unique key.
        pub transaction_id: Option<String> = "transactionId",
        /// Name of the broker the producer means.
        pub broker_name: Option<String> = "bname",
    }

    /// `CHECK_TRANSACTION_STATE` (39), broker to client; the body is the half message's record.
    pub struct CheckTransactionStateRequestHeader {
        /// Topic the half message lies in.
        pub topic: Option<String> = "topic",
        /// Offset of the half message in its queue.
        pub tran_state_table_offset: i64 = "tranStateTableOffset",
        /// Physical offset of the half message.
        pub commit_log_offset: i64 = "commitLogOffset",
        /// Unique key of the message.
        pub msg_id: Option<String> = "msgId",
        /// Id of the transaction.
        pub transaction_id: Option<String> = "transactionId",
        /// Offset message id.
        pub offset_msg_id: Option<String> = "offsetMsgId",
        /// Name of the asking broker.
        pub broker_name: Option<String> = "bname",
    }
    /// `RESUME_CHECK_HALF_MESSAGE` (323).
    pub struct ResumeCheckHalfMessageRequestHeader {
        /// Not looked at.
        pub topic: Option<String> = "topic",
        /// Offset message id.
        pub msg_id: String = "msgId",
    }

    /// `LIST_TRANSACTIONS` (9102).
    pub struct ListTransactionsRequestHeader {
        /// Offset in the half queue to begin at.
        pub offset: Option<i64> = "offset",
        /// Transactions wanted at most.
        pub max_num: Option<i32> = "maxNum",
    }
}
