//! Request and response codes of the remoting protocol, and the version this server reports.

/// Version ordinal of every frame this server writes: `V5_5_0`.
pub const CURRENT_VERSION: i32 = 513;

/// Text of [`CURRENT_VERSION`], as tools show it.
pub const CURRENT_VERSION_DESC: &str = "V5_5_0";

/// From this client version on, route JSON is standard (integer keys quoted).
pub const STANDARD_JSON_SINCE: i32 = 401;

/// Codes a request carries in its header field `code`: those of the tables of requests, and those that servers send.
#[rustfmt::skip]
pub mod request_code {
    pub use crate::wire::request::broker::code::*;
    pub use crate::wire::request::namesrv::code::*;

    /// How did a transaction end?
    pub const CHECK_TRANSACTION_STATE: i32 = 39;
    /// The members of a group have changed.
    pub const NOTIFY_CONSUMER_IDS_CHANGED: i32 = 40;
    /// Go on at other offsets.
    pub const RESET_CONSUMER_CLIENT_OFFSET: i32 = 220;
    /// How far is the consumer?
    pub const GET_CONSUMER_STATUS_FROM_CLIENT: i32 = 221;
    /// What is the consumer doing?
    pub const GET_CONSUMER_RUNNING_INFO: i32 = 307;
    /// Consume this message now.
    pub const CONSUME_MESSAGE_DIRECTLY: i32 = 309;
    /// The reply to a request.
    pub const PUSH_REPLY_MESSAGE_TO_CLIENT: i32 = 326;
    /// A broker group has another smallest id: from a name server to its brokers.
    pub const NOTIFY_MIN_BROKER_ID_CHANGE: i32 = 905;
}

/// Codes a response carries in its header field `code`.
#[rustfmt::skip]
pub mod response_code {
    /// Done.
    pub const SUCCESS: i32 = 0;
    /// Failed; producers retry elsewhere.
    pub const SYSTEM_ERROR: i32 = 1;
    /// Refused for load; producers retry.
    pub const SYSTEM_BUSY: i32 = 2;
    /// Nobody serves this request code here.
    pub const REQUEST_CODE_NOT_SUPPORTED: i32 = 3;
    /// Stored, not known to be on disk.
    pub const FLUSH_DISK_TIMEOUT: i32 = 10;
    /// Stored, no slave is there.
    pub const SLAVE_NOT_AVAILABLE: i32 = 11;
    /// Stored, not confirmed by a slave in time.
    pub const FLUSH_SLAVE_TIMEOUT: i32 = 12;
    /// The message breaks a rule; not retried.
    pub const MESSAGE_ILLEGAL: i32 = 13;
    /// The store takes no messages now.
    pub const SERVICE_NOT_AVAILABLE: i32 = 14;
    /// Not allowed.
    pub const NO_PERMISSION: i32 = 16;
    /// No such topic.
    pub const TOPIC_NOT_EXIST: i32 = 17;
    /// At the end of the queue.
    pub const PULL_NOT_FOUND: i32 = 19;
    /// Nothing matched up to `nextBeginOffset`.
    pub const PULL_RETRY_IMMEDIATELY: i32 = 20;
    /// The offset is outside the queue; use `nextBeginOffset`.
    pub const PULL_OFFSET_MOVED: i32 = 21;
    /// Nothing is stored under this key.
    pub const QUERY_NOT_FOUND: i32 = 22;
    /// The filter expression is not valid.
    pub const SUBSCRIPTION_PARSE_FAILED: i32 = 23;
    /// The group has no live subscription for this.
    pub const SUBSCRIPTION_NOT_EXIST: i32 = 24;
    /// The request knows a newer subscription than the broker.
    pub const SUBSCRIPTION_NOT_LATEST: i32 = 25;
    /// No such group.
    pub const SUBSCRIPTION_GROUP_NOT_EXIST: i32 = 26;
    /// A field is out of its range.
    pub const INVALID_PARAMETER: i32 = 29;
    /// Legacy; producers retry.
    pub const NO_BUYER_ID: i32 = 204;
    /// Legacy; producers retry.
    pub const NOT_IN_CURRENT_UNIT: i32 = 205;
    /// The group has no live consumer.
    pub const CONSUMER_NOT_ONLINE: i32 = 206;
    /// Slow down; clients wait 20 ms.
    pub const FLOW_CONTROL: i32 = 215;
    /// The operation does not fit the state.
    pub const ILLEGAL_OPERATION: i32 = 604;
    /// The server is going down; reconnect.
    pub const GO_AWAY: i32 = 1500;
    /// Too many light queues.
    pub const LMQ_QUOTA_EXCEEDED: i32 = 2017;
}
