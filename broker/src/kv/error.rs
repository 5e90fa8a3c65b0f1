//! What goes wrong with the database.

use std::path::PathBuf;

/// What to do about a database that does not open. True of every table in it.
const ADVICE: &str = "if the files in it are damaged, stop the broker and delete this directory: consumer offsets, topics and groups then \
     come from the JSON files in the store's config directory, which are a few seconds older at most";

/// What went wrong with the database in `<store>/kv`.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// It cannot be opened.
    #[error("open {}: {source} ({ADVICE})", path.display())]
    Open {
        /// Its directory.
        path: PathBuf,
        /// What RocksDB says.
        source: rocksdb::Error,
    },
    /// It cannot be read.
    #[error("read {}: {source} ({ADVICE})", path.display())]
    Read {
        /// Its directory.
        path: PathBuf,
        /// What RocksDB says.
        source: rocksdb::Error,
    },
    /// A row means nothing.
    #[error("{}: the row {key:?} of {family} is not what it has to be ({reason}; {ADVICE})", path.display())]
    Row {
        /// Directory of the database.
        path: PathBuf,
        /// The table.
        family: &'static str,
        /// The row's key, as text.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A write failed, or was not brought to the disk.
    #[error("write {}: {reason}", path.display())]
    Write {
        /// Its directory.
        path: PathBuf,
        /// What RocksDB says.
        reason: String,
    },
    /// The thread that writes could not be started.
    #[error("start the thread kv-write: {0}")]
    Thread(#[from] std::io::Error),
    /// Too many wait for the disk already.
    #[error("too many changes wait for the disk already")]
    Busy,
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
}
