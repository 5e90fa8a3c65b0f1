//! The identity of a message queue and the versions of tables.

use super::bodies;

bodies! {
    /// One queue of a topic on one broker. The order of members is the one clients that split this text by hand rely on.
    #[derive(Eq, PartialOrd, Ord, Hash)]
    pub struct MessageQueue {
        /// Broker name (the name of the master-slave group).
        pub broker_name: String,
        /// Queue id, from 0.
        pub queue_id: i32,
        /// Topic.
        pub topic: String,
    }

    /// Version of a table: two tables are the same when all three numbers are.
    #[derive(Copy, Eq, Hash)]
    pub struct DataVersion {
        /// Changes since the table was made.
        pub counter: i64,
        /// Epoch of the writer; a registration with a lower one does not displace one with a higher one.
        pub state_version: i64,
        /// When the table was last changed, in milliseconds since 1970.
        pub timestamp: i64,
    }
}

impl MessageQueue {
    /// The queue `queue_id` of `topic` on `broker_name`.
    pub fn new(topic: impl Into<String>, broker_name: impl Into<String>, queue_id: i32) -> Self {
        Self {
            broker_name: broker_name.into(),
            queue_id,
            topic: topic.into(),
        }
    }
}

impl DataVersion {
    /// The version of a table made at `now_ms`.
    pub const fn new(now_ms: i64) -> Self {
        Self {
            counter: 0,
            state_version: 0,
            timestamp: now_ms,
        }
    }

    /// Steps to the version of a table changed at `now_ms` by a writer of epoch `state_version`.
    pub fn advance(&mut self, state_version: i64, now_ms: i64) {
        self.timestamp = now_ms;
        self.state_version = state_version;
        self.counter += 1;
    }
}
