//! Parked pulls: requests at the end of a queue that wait for its next message.

mod hold;
mod service;

pub use hold::Parked;
pub use service::{Held, PullHoldService};
