//! Timed messages that wait.

use super::bodies;

bodies! {
    /// Answer of `LIST_TIMERS`: messages in the order of their times.
    pub struct TimerList {
        /// The messages.
        pub timers: Vec<WaitingTimer>,
        /// Where the next page begins, if there is one.
        pub next: Option<String>,
    }

    /// A message that waits.
    pub struct WaitingTimer {
        /// Its topic.
        pub topic: String,
        /// Its queue.
        pub queue_id: u32,
        /// When it is delivered, in milliseconds since 1970.
        pub deliver_time: i64,
        /// When it was stored, in milliseconds since 1970.
        pub store_timestamp: i64,
        /// Bytes of its body.
        pub body_bytes: u64,
        /// Its unique key.
        pub unique_key: String,
        /// How often it was appended to the log again.
        pub rolled: u32,
        /// With this it can be called back.
        pub recall_handle: String,
    }
}
