//! Consuming messages.

mod allocate;
mod assigned;
mod broker;
mod builder;
mod consume;
mod listener;
mod local_offsets;
mod offsets;
mod orderly;
mod process_queue;
mod pull;
mod push;
mod rebalance;
mod requests;
mod start_offset;
mod subscription;

pub use allocate::AllocateStrategy;
pub use builder::PushConsumerBuilder;
pub use listener::{ConsumeStatus, Messages, OrderlyStatus};
pub use process_queue::FlowThresholds;
pub use push::PushConsumer;
pub use start_offset::ConsumeFromWhere;

/// The delay level with which a message goes to the dead letter queue at once.
const GIVEN_UP: i32 = -1;

/// Whether the members of a group share the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MessageModel {
    /// Each message goes to one member; failed ones are delivered again.
    #[default]
    Clustering,
    /// Each message goes to every member; failed ones are not delivered again. Offsets are kept in a file on
    /// the member's machine.
    Broadcasting,
}
