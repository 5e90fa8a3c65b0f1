//! What the store can answer instead of doing.

use std::io;
use std::path::{Path, PathBuf};

use common::message::record::RecordError;

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A record, or messages sent as one batch, do not fit into a file of the log.
    #[error("{bytes} bytes exceed {limit}, the room in a file of mappedFileSizeCommitLog bytes")]
    RecordTooLarge {
        /// Bytes of what was to be stored together.
        bytes: u64,
        /// Bytes a file has room for.
        limit: u64,
    },
    /// A part of the message does not fit into a record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// No room for the next segment. Sending goes on by itself once there is.
    #[error("the disk is full: no room for {bytes} bytes in {}", path.display())]
    DiskFull {
        /// The file that could not be reserved.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// More of a disk is in use than allowed. Sending goes on by itself once there is room.
    #[error(transparent)]
    DiskLevel(DiskLevel),
    /// A write or sync failed earlier; nobody knows what is on disk, so nothing more is taken.
    #[error("the store is read-only since {} failed: {reason}", path.display())]
    Fenced {
        /// The file that failed.
        path: PathBuf,
        /// The operation, and what the system said.
        reason: String,
    },
    /// The store is being shut down.
    #[error("the store is shutting down")]
    ShuttingDown,
    /// Another process has the store open.
    #[error("the store {} is locked by another process", path.display())]
    Locked {
        /// Directory of the store.
        path: PathBuf,
    },
    /// No store can be made with these settings.
    #[error("{problem}")]
    Config {
        /// Which setting, its value and what would be right.
        problem: String,
    },
    /// A file is not what it has to be.
    #[error("{}: {problem}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The system refused an operation.
    #[error("{op} {}", path.display())]
    Io {
        /// The operation.
        op: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// How full the file system of a directory is, and may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the disk is full: {used_percent} % of the file system of {} are in use, \
     diskSpaceWarningLevelRatio allows {limit_percent} %", path.display()
)]
pub struct DiskLevel {
    /// A directory of the store.
    pub path: PathBuf,
    /// Percent of its file system in use.
    pub used_percent: u64,
    /// Percent allowed.
    pub limit_percent: u64,
}

impl StoreError {
    /// Wraps an error of the system; a full disk becomes its own kind.
    pub(crate) fn io(op: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, bytes: 0 }
            }
            _ => Self::Io { op, path, source },
        }
    }

    /// Whether the system refused an operation for this reason.
    pub(crate) fn is(&self, kind: io::ErrorKind) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == kind)
    }
}
