//! Files read through the page cache.

mod map;
pub(crate) use map::ReadMap;
