//! The key index: which records carry a key.
//!
//! Entries are derived from the log and can be rebuilt from it. They wait in a memory tail until the index thread
//! brings them into the newest file; a file is never mapped.

mod file;
mod fill;
mod gap;
pub(crate) mod keys;
mod layout;
mod recover;
mod table;
mod tail;

pub(crate) use file::Wanted;
pub(crate) use layout::{ENTRY_BYTES, Entry, HEADER_BYTES, Header, Shape};
pub(crate) use recover::Found;
pub(crate) use table::{IndexMark, IndexTable};
pub(crate) use tail::Resume;
