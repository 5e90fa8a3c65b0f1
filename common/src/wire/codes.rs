//! Request and response codes of the remoting protocol, and the version this server reports.

/// Version ordinal of every frame this server writes: `V5_5_0`.
pub const CURRENT_VERSION: i32 = 513;

/// Text of [`CURRENT_VERSION`], as tools show it.
pub const CURRENT_VERSION_DESC: &str = "V5_5_0";

/// From this client version on, route JSON is standard (integer keys quoted).
pub const STANDARD_JSON_SINCE: i32 = 401;

/// Codes a request carries in its header field `code`.
#[rustfmt::skip]
pub mod request_code {
    /// Served by: broker.
    pub const SEND_MESSAGE: i32 = 10;
    /// Served by: broker.
    pub const PULL_MESSAGE: i32 = 11;
    /// Served by: broker.
    pub const QUERY_MESSAGE: i32 = 12;
    /// Served by: nobody.
    pub const QUERY_BROKER_OFFSET: i32 = 13;
    /// Served by: broker.
    pub const QUERY_CONSUMER_OFFSET: i32 = 14;
    /// Served by: broker.
    pub const UPDATE_CONSUMER_OFFSET: i32 = 15;
    /// Served by: broker.
    pub const UPDATE_AND_CREATE_TOPIC: i32 = 17;
    /// Served by: broker.
    pub const UPDATE_AND_CREATE_TOPIC_LIST: i32 = 18;
    /// Served by: broker.
    pub const GET_ALL_TOPIC_CONFIG: i32 = 21;
    /// Served by: nobody.
    pub const GET_TOPIC_CONFIG_LIST: i32 = 22;
    /// Served by: nobody.
    pub const GET_TOPIC_NAME_LIST: i32 = 23;
    /// Served by: broker.
    pub const UPDATE_BROKER_CONFIG: i32 = 25;
    /// Served by: broker.
    pub const GET_BROKER_CONFIG: i32 = 26;
    /// Served by: nobody.
    pub const TRIGGER_DELETE_FILES: i32 = 27;
    /// Served by: broker.
    pub const GET_BROKER_RUNTIME_INFO: i32 = 28;
    /// Served by: broker.
    pub const SEARCH_OFFSET_BY_TIMESTAMP: i32 = 29;
    /// Served by: broker.
    pub const GET_MAX_OFFSET: i32 = 30;
    /// Served by: broker.
    pub const GET_MIN_OFFSET: i32 = 31;
    /// Served by: broker.
    pub const GET_EARLIEST_MSG_STORETIME: i32 = 32;
    /// Served by: broker.
    pub const VIEW_MESSAGE_BY_ID: i32 = 33;
    /// Served by: broker.
    pub const HEART_BEAT: i32 = 34;
    /// Served by: broker.
    pub const UNREGISTER_CLIENT: i32 = 35;
    /// Served by: broker.
    pub const CONSUMER_SEND_MSG_BACK: i32 = 36;
    /// Served by: broker.
    pub const END_TRANSACTION: i32 = 37;
    /// Served by: broker.
    pub const GET_CONSUMER_LIST_BY_GROUP: i32 = 38;
    /// Served by: client.
    pub const CHECK_TRANSACTION_STATE: i32 = 39;
    /// Served by: client.
    pub const NOTIFY_CONSUMER_IDS_CHANGED: i32 = 40;
    /// Served by: broker.
    pub const LOCK_BATCH_MQ: i32 = 41;
    /// Served by: broker.
    pub const UNLOCK_BATCH_MQ: i32 = 42;
    /// Served by: broker.
    pub const GET_ALL_CONSUMER_OFFSET: i32 = 43;
    /// Served by: broker.
    pub const GET_ALL_DELAY_OFFSET: i32 = 45;
    /// Served by: broker.
    pub const CHECK_CLIENT_CONFIG: i32 = 46;
    /// Served by: nobody.
    pub const GET_CLIENT_CONFIG: i32 = 47;
    /// Served by: broker.
    pub const GET_TIMER_CHECK_POINT: i32 = 60;
    /// Served by: broker.
    pub const GET_TIMER_METRICS: i32 = 61;
    /// Served by: name server.
    pub const PUT_KV_CONFIG: i32 = 100;
    /// Served by: name server.
    pub const GET_KV_CONFIG: i32 = 101;
    /// Served by: name server.
    pub const DELETE_KV_CONFIG: i32 = 102;
    /// Served by: name server.
    pub const REGISTER_BROKER: i32 = 103;
    /// Served by: name server.
    pub const UNREGISTER_BROKER: i32 = 104;
    /// Served by: name server.
    pub const GET_ROUTEINFO_BY_TOPIC: i32 = 105;
    /// Served by: name server.
    pub const GET_BROKER_CLUSTER_INFO: i32 = 106;
    /// Served by: broker.
    pub const UPDATE_AND_CREATE_SUBSCRIPTIONGROUP: i32 = 200;
    /// Served by: broker.
    pub const GET_ALL_SUBSCRIPTIONGROUP_CONFIG: i32 = 201;
    /// Served by: broker.
    pub const GET_TOPIC_STATS_INFO: i32 = 202;
    /// Served by: broker.
    pub const GET_CONSUMER_CONNECTION_LIST: i32 = 203;
    /// Served by: broker.
    pub const GET_PRODUCER_CONNECTION_LIST: i32 = 204;
    /// Served by: name server.
    pub const WIPE_WRITE_PERM_OF_BROKER: i32 = 205;
    /// Served by: name server.
    pub const GET_ALL_TOPIC_LIST_FROM_NAMESERVER: i32 = 206;
    /// Served by: broker.
    pub const DELETE_SUBSCRIPTIONGROUP: i32 = 207;
    /// Served by: broker.
    pub const GET_CONSUME_STATS: i32 = 208;
    /// Served by: nobody.
    pub const SUSPEND_CONSUMER: i32 = 209;
    /// Served by: nobody.
    pub const RESUME_CONSUMER: i32 = 210;
    /// Served by: nobody.
    pub const RESET_CONSUMER_OFFSET_IN_CONSUMER: i32 = 211;
    /// Served by: nobody.
    pub const RESET_CONSUMER_OFFSET_IN_BROKER: i32 = 212;
    /// Served by: nobody.
    pub const ADJUST_CONSUMER_THREAD_POOL: i32 = 213;
    /// Served by: nobody.
    pub const WHO_CONSUME_THE_MESSAGE: i32 = 214;
    /// Served by: broker.
    pub const DELETE_TOPIC_IN_BROKER: i32 = 215;
    /// Served by: name server.
    pub const DELETE_TOPIC_IN_NAMESRV: i32 = 216;
    /// Served by: name server.
    pub const REGISTER_TOPIC_IN_NAMESRV: i32 = 217;
    /// Served by: name server.
    pub const GET_KVLIST_BY_NAMESPACE: i32 = 219;
    /// Served by: client.
    pub const RESET_CONSUMER_CLIENT_OFFSET: i32 = 220;
    /// Served by: client.
    pub const GET_CONSUMER_STATUS_FROM_CLIENT: i32 = 221;
    /// Served by: broker.
    pub const INVOKE_BROKER_TO_RESET_OFFSET: i32 = 222;
    /// Served by: broker.
    pub const INVOKE_BROKER_TO_GET_CONSUMER_STATUS: i32 = 223;
    /// Served by: name server.
    pub const GET_TOPICS_BY_CLUSTER: i32 = 224;
    /// Served by: broker.
    pub const UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST: i32 = 225;
    /// Served by: broker.
    pub const QUERY_TOPIC_CONSUME_BY_WHO: i32 = 300;
    /// Served by: nobody.
    pub const REGISTER_FILTER_SERVER: i32 = 301;
    /// Served by: nobody.
    pub const REGISTER_MESSAGE_FILTER_CLASS: i32 = 302;
    /// Served by: broker.
    pub const QUERY_CONSUME_TIME_SPAN: i32 = 303;
    /// Served by: name server.
    pub const GET_SYSTEM_TOPIC_LIST_FROM_NS: i32 = 304;
    /// Served by: broker.
    pub const GET_SYSTEM_TOPIC_LIST_FROM_BROKER: i32 = 305;
    /// Served by: broker.
    pub const CLEAN_EXPIRED_CONSUMEQUEUE: i32 = 306;
    /// Served by: broker, client.
    pub const GET_CONSUMER_RUNNING_INFO: i32 = 307;
    /// Served by: broker.
    pub const QUERY_CORRECTION_OFFSET: i32 = 308;
    /// Served by: broker, client.
    pub const CONSUME_MESSAGE_DIRECTLY: i32 = 309;
    /// Served by: broker.
    pub const SEND_MESSAGE_V2: i32 = 310;
    /// Served by: name server.
    pub const GET_UNIT_TOPIC_LIST: i32 = 311;
    /// Served by: name server.
    pub const GET_HAS_UNIT_SUB_TOPIC_LIST: i32 = 312;
    /// Served by: name server.
    pub const GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST: i32 = 313;
    /// Served by: broker.
    pub const CLONE_GROUP_OFFSET: i32 = 314;
    /// Served by: broker.
    pub const VIEW_BROKER_STATS_DATA: i32 = 315;
    /// Served by: broker.
    pub const CLEAN_UNUSED_TOPIC: i32 = 316;
    /// Served by: broker.
    pub const GET_BROKER_CONSUME_STATS: i32 = 317;
    /// Served by: name server.
    pub const UPDATE_NAMESRV_CONFIG: i32 = 318;
    /// Served by: name server.
    pub const GET_NAMESRV_CONFIG: i32 = 319;
    /// Served by: broker.
    pub const SEND_BATCH_MESSAGE: i32 = 320;
    /// Served by: broker.
    pub const QUERY_CONSUME_QUEUE: i32 = 321;
    /// Served by: name server.
    pub const QUERY_DATA_VERSION: i32 = 322;
    /// Served by: broker.
    pub const RESUME_CHECK_HALF_MESSAGE: i32 = 323;
    /// Served by: broker.
    pub const SEND_REPLY_MESSAGE: i32 = 324;
    /// Served by: broker.
    pub const SEND_REPLY_MESSAGE_V2: i32 = 325;
    /// Served by: client.
    pub const PUSH_REPLY_MESSAGE_TO_CLIENT: i32 = 326;
    /// Served by: name server.
    pub const ADD_WRITE_PERM_OF_BROKER: i32 = 327;
    /// Served by: broker.
    pub const GET_ALL_PRODUCER_INFO: i32 = 328;
    /// Served by: broker.
    pub const DELETE_EXPIRED_COMMITLOG: i32 = 329;
    /// Served by: broker.
    pub const QUERY_TOPICS_BY_CONSUMER: i32 = 343;
    /// Served by: broker.
    pub const QUERY_SUBSCRIPTION_BY_CONSUMER: i32 = 345;
    /// Served by: broker.
    pub const GET_TOPIC_CONFIG: i32 = 351;
    /// Served by: broker.
    pub const GET_SUBSCRIPTIONGROUP_CONFIG: i32 = 352;
    /// Served by: broker.
    pub const UPDATE_AND_GET_GROUP_FORBIDDEN: i32 = 353;
    /// Served by: broker.
    pub const CHECK_ROCKSDB_CQ_WRITE_PROGRESS: i32 = 354;
    /// Served by: broker.
    pub const EXPORT_ROCKSDB_CONFIG_TO_JSON: i32 = 355;
    /// Served by: broker.
    pub const LITE_PULL_MESSAGE: i32 = 361;
    /// Served by: broker.
    pub const RECALL_MESSAGE: i32 = 370;
    /// Served by: broker.
    pub const QUERY_ASSIGNMENT: i32 = 400;
    /// Served by: broker.
    pub const SET_MESSAGE_REQUEST_MODE: i32 = 401;
    /// Served by: broker.
    pub const GET_ALL_MESSAGE_REQUEST_MODE: i32 = 402;
    /// Served by: broker.
    pub const UPDATE_AND_CREATE_STATIC_TOPIC: i32 = 513;
    /// Served by: name server.
    pub const GET_BROKER_MEMBER_GROUP: i32 = 901;
    /// Served by: container.
    pub const ADD_BROKER: i32 = 902;
    /// Served by: container.
    pub const REMOVE_BROKER: i32 = 903;
    /// Served by: name server, controller.
    pub const BROKER_HEARTBEAT: i32 = 904;
    /// Served by: broker.
    pub const NOTIFY_MIN_BROKER_ID_CHANGE: i32 = 905;
    /// Served by: broker.
    pub const EXCHANGE_BROKER_HA_INFO: i32 = 906;
    /// Served by: broker.
    pub const GET_BROKER_HA_STATUS: i32 = 907;
    /// Served by: broker.
    pub const RESET_MASTER_FLUSH_OFFSET: i32 = 908;
    /// Served by: controller.
    pub const CONTROLLER_ALTER_SYNC_STATE_SET: i32 = 1001;
    /// Served by: controller.
    pub const CONTROLLER_ELECT_MASTER: i32 = 1002;
    /// Served by: controller.
    pub const CONTROLLER_REGISTER_BROKER: i32 = 1003;
    /// Served by: controller.
    pub const CONTROLLER_GET_REPLICA_INFO: i32 = 1004;
    /// Served by: controller.
    pub const CONTROLLER_GET_METADATA_INFO: i32 = 1005;
    /// Served by: controller.
    pub const CONTROLLER_GET_SYNC_STATE_DATA: i32 = 1006;
    /// Served by: broker.
    pub const GET_BROKER_EPOCH_CACHE: i32 = 1007;
    /// Served by: broker.
    pub const NOTIFY_BROKER_ROLE_CHANGED: i32 = 1008;
    /// Served by: controller.
    pub const UPDATE_CONTROLLER_CONFIG: i32 = 1009;
    /// Served by: controller.
    pub const GET_CONTROLLER_CONFIG: i32 = 1010;
    /// Served by: controller.
    pub const CLEAN_BROKER_DATA: i32 = 1011;
    /// Served by: controller.
    pub const CONTROLLER_GET_NEXT_BROKER_ID: i32 = 1012;
    /// Served by: controller.
    pub const CONTROLLER_APPLY_BROKER_ID: i32 = 1013;
    /// Served by: controller.
    pub const BROKER_CLOSE_CHANNEL_REQUEST: i32 = 1014;
    /// Served by: controller.
    pub const CHECK_NOT_ACTIVE_BROKER_REQUEST: i32 = 1015;
    /// Served by: controller.
    pub const GET_BROKER_LIVE_INFO_REQUEST: i32 = 1016;
    /// Served by: controller.
    pub const GET_SYNC_STATE_DATA_REQUEST: i32 = 1017;
    /// Served by: controller.
    pub const RAFT_BROKER_HEART_BEAT_EVENT_REQUEST: i32 = 1018;
    /// Served by: broker.
    pub const UPDATE_COLD_DATA_FLOW_CTR_CONFIG: i32 = 2001;
    /// Served by: broker.
    pub const REMOVE_COLD_DATA_FLOW_CTR_CONFIG: i32 = 2002;
    /// Served by: broker.
    pub const GET_COLD_DATA_FLOW_CTR_INFO: i32 = 2003;
    /// Served by: broker.
    pub const SET_COMMITLOG_READ_MODE: i32 = 2004;
    /// Served by: broker.
    pub const AUTH_CREATE_USER: i32 = 3001;
    /// Served by: broker.
    pub const AUTH_UPDATE_USER: i32 = 3002;
    /// Served by: broker.
    pub const AUTH_DELETE_USER: i32 = 3003;
    /// Served by: broker.
    pub const AUTH_GET_USER: i32 = 3004;
    /// Served by: broker.
    pub const AUTH_LIST_USER: i32 = 3005;
    /// Served by: broker.
    pub const AUTH_CREATE_ACL: i32 = 3006;
    /// Served by: broker.
    pub const AUTH_UPDATE_ACL: i32 = 3007;
    /// Served by: broker.
    pub const AUTH_DELETE_ACL: i32 = 3008;
    /// Served by: broker.
    pub const AUTH_GET_ACL: i32 = 3009;
    /// Served by: broker.
    pub const AUTH_LIST_ACL: i32 = 3010;
    /// Served by: broker.
    pub const SWITCH_TIMER_ENGINE: i32 = 5001;
    /// Served by: broker.
    pub const POP_MESSAGE: i32 = 200_050;
    /// Served by: broker.
    pub const ACK_MESSAGE: i32 = 200_051;
    /// Served by: broker.
    pub const PEEK_MESSAGE: i32 = 200_052;
    /// Served by: broker.
    pub const CHANGE_MESSAGE_INVISIBLETIME: i32 = 200_053;
    /// Served by: broker.
    pub const NOTIFICATION: i32 = 200_054;
    /// Served by: broker.
    pub const POLLING_INFO: i32 = 200_055;
    /// Served by: broker.
    pub const POP_ROLLBACK: i32 = 200_056;
    /// Served by: broker.
    pub const POP_LITE_MESSAGE: i32 = 200_070;
    /// Served by: broker.
    pub const LITE_SUBSCRIPTION_CTL: i32 = 200_071;
    /// Served by: nobody.
    pub const ACK_LITE_MESSAGE: i32 = 200_072;
    /// Served by: client.
    pub const NOTIFY_UNSUBSCRIBE_LITE: i32 = 200_073;
    /// Served by: broker.
    pub const GET_BROKER_LITE_INFO: i32 = 200_074;
    /// Served by: broker.
    pub const GET_PARENT_TOPIC_INFO: i32 = 200_075;
    /// Served by: broker.
    pub const GET_LITE_TOPIC_INFO: i32 = 200_076;
    /// Served by: broker.
    pub const GET_LITE_CLIENT_INFO: i32 = 200_077;
    /// Served by: broker.
    pub const GET_LITE_GROUP_INFO: i32 = 200_078;
    /// Served by: broker.
    pub const TRIGGER_LITE_DISPATCH: i32 = 200_079;
    /// Served by: broker.
    pub const BATCH_ACK_MESSAGE: i32 = 200_151;
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
    /// Peer is too old.
    pub const VERSION_NOT_SUPPORTED: i32 = 15;
    /// Not allowed.
    pub const NO_PERMISSION: i32 = 16;
    /// No such topic.
    pub const TOPIC_NOT_EXIST: i32 = 17;
    /// Topic exists.
    pub const TOPIC_EXIST_ALREADY: i32 = 18;
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
    /// No compiled filter is registered.
    pub const FILTER_DATA_NOT_EXIST: i32 = 27;
    /// The compiled filter is older than the request.
    pub const FILTER_DATA_NOT_LATEST: i32 = 28;
    /// A field is out of its range.
    pub const INVALID_PARAMETER: i32 = 29;
    /// Legacy; producers retry.
    pub const NO_BUYER_ID: i32 = 204;
    /// Legacy; producers retry.
    pub const NOT_IN_CURRENT_UNIT: i32 = 205;
    /// The group has no live consumer.
    pub const CONSUMER_NOT_ONLINE: i32 = 206;
    /// A forwarded call was not answered in time.
    pub const CONSUME_MSG_TIMEOUT: i32 = 207;
    /// Offset outside the queue.
    pub const NO_MESSAGE: i32 = 208;
    /// Too many held requests.
    pub const POLLING_FULL: i32 = 209;
    /// Hold ended without a message.
    pub const POLLING_TIMEOUT: i32 = 210;
    /// Slow down; clients wait 20 ms.
    pub const FLOW_CONTROL: i32 = 215;
    /// Static topic: another broker leads the queue.
    pub const NOT_LEADER_FOR_QUEUE: i32 = 501;
    /// The operation does not fit the state.
    pub const ILLEGAL_OPERATION: i32 = 604;
    /// The server is going down; reconnect.
    pub const GO_AWAY: i32 = 1500;
    /// Too many light queues.
    pub const LMQ_QUOTA_EXCEEDED: i32 = 2017;
}
