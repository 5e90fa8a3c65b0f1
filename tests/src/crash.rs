//! A broker that is killed, or loses its power, under load; and what has to be true afterwards.
//!
//! [`Books`] holds what producers were promised and consumers have seen. [`Load`] makes both happen
//! until the broker goes away. After each restart [`Books::check`] reads the broker's queues and
//! compares. Every message is a function of its number and the seed, so that what is read can be
//! compared byte for byte without keeping it.

mod bodies;
mod books;
mod check;
mod consume;
mod disk;
mod kinds;
mod load;
mod moments;
mod produce;
mod site;
mod trial;

pub use bodies::Bodies;
pub use books::{Books, Faults, Queue, Unpromised};
pub use check::Extent;
pub use disk::PowerCut;
pub use kinds::{
    Kind, KindCycle, KindTrial, Order, Repeats, Spread, Stop, Timers, Transactions, Verdict,
};
pub use load::Load;
pub use moments::Moments;
pub use site::Site;
pub use trial::{Cycle, Trial};
