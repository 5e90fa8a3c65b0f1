//! Delay levels: messages wait in the queues of one topic, a queue for each level, and go where they were sent when they
//! are due. One thread serves all levels; how far each is stands in `<store>/kv` and in `config/delayOffset.json`.

mod message;
mod offsets;
mod scheduler;

pub use offsets::DelayOffsets;
pub use scheduler::{SchedulerParts, start};

#[cfg(test)]
mod tests;
