//! Configuration of the servers: Java `.properties` files with RocketMQ's own keys.
//!
//! A server declares one struct with [`config!`](crate::config!) and says in [`Config`] which other keys it knows:
//! those it accepts and ignores, and those it refuses because ignoring them would be unsafe. [`load()`] brings
//! the sources together (`--set` over flag over file over environment over default) and reports everything
//! that is wrong at once. [`Live`] holds the settings of a running server and takes changes.
//!
//! Nothing here knows what a key means.

mod catalogue;
mod document;
mod error;
mod live;
mod load;
pub mod properties;
mod schema;
mod value;

pub use catalogue::{Ignored, Refused, Unsafe, known_keys};
pub use document::{document, with_tables};
pub use error::{ConfigError, ConfigErrors, Origin};
pub use live::{ChangeError, Live};
pub use load::{Flag, Loaded, Sources, load};
pub use schema::{Config, Field, Fields, to_text};
pub use value::{ConfigValue, expected_in, parse, parse_in};
