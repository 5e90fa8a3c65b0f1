//! Small state that must survive: one RocksDB in `<store>/kv`, with a column family for every table, and beside it the JSON
//! files of the reference.
//!
//! `database` is the only file that knows RocksDB. `writer` brings changes to the disk, many with one sync. `table` decides at
//! the start whether rows or a JSON file are the truth, and writes that file; `export` says when.

mod database;
mod digest;
mod error;
mod export;
mod table;
mod writer;

pub use digest::Digest;
pub use error::KvError;
pub use export::{Exported, export_on_change};
pub use table::{Document, KvTable, Row, TableError, json_value, put_rows, version_row};
#[cfg(test)]
pub use writer::testing;
pub use writer::{Kv, KvAtStart, Page, Range, Written};

/// A column family: one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// What is known about the JSON files, by table, and how far the log is accounted for.
    Exchange,
    /// Committed offsets.
    Offsets,
    /// Topics.
    Topics,
    /// Consumer groups.
    Groups,
    /// How far the delay levels are.
    DelayOffsets,
    /// Timers that wait, by their due time: millions of rows that are read in pages, see [`Kv::read`].
    Timers,
}

impl Family {
    /// All of them.
    const ALL: [Self; 6] = [
        Self::Exchange,
        Self::Offsets,
        Self::Topics,
        Self::Groups,
        Self::DelayOffsets,
        Self::Timers,
    ];

    /// Whether its rows are read when the broker starts, and live in memory from then on.
    const fn is_in_memory(self) -> bool {
        !matches!(self, Self::Timers)
    }

    /// The name on the disk.
    const fn name(self) -> &'static str {
        match self {
            // The one every database has.
            Self::Exchange => "default",
            Self::Offsets => "offsets",
            Self::Topics => "topics",
            Self::Groups => "groups",
            Self::DelayOffsets => "delay_offsets",
            Self::Timers => "timers",
        }
    }
}

/// A row's key, and its value from now on; `None`: the row goes.
pub type RowChange = (Box<[u8]>, Option<Box<[u8]>>);

/// What becomes of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its table.
    pub family: Family,
    /// Its key.
    pub key: Box<[u8]>,
    /// Its value from now on; `None`: it goes.
    pub value: Option<Box<[u8]>>,
}

impl Change {
    /// A row of this table that is there from now on.
    pub fn put(family: Family, key: &[u8], value: impl Into<Box<[u8]>>) -> Self {
        Self {
            family,
            key: key.into(),
            value: Some(value.into()),
        }
    }
}
