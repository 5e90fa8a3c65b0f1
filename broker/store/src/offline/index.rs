//! Files of the key index.

use std::path::{Path, PathBuf};

use super::window::Window;
use super::{OfflineStore, disk};
use crate::error::StoreError;
use crate::files::if_there;
use crate::index::{ENTRY_BYTES, HEADER_BYTES, Header};

/// Digits of a file's name: the local time at which it was made.
const NAME_DIGITS: usize = 17;
/// Entries for each slot in files of the usual shape.
const ENTRIES_FOR_SLOT: u64 = 4;
const SLOT_BYTES: u64 = 4;

/// A file of the key index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    pub(super) header: Header,
}

impl IndexFile {
    fn open(path: PathBuf, bytes: u64) -> Result<Self, StoreError> {
        let mut window = Window::open(&path, bytes, HEADER_BYTES)?;
        let header = window.at(0, HEADER_BYTES)?.first_chunk().copied();
        Ok(Self {
            path,
            bytes,
            // A file without a whole header has no entry.
            header: Header::decode(&header.unwrap_or([0; HEADER_BYTES])),
        })
    }

    /// Keys in it.
    pub fn entries(&self) -> u32 {
        self.header.next - 1
    }

    /// Store time of the first and of the newest record in it, in milliseconds.
    pub fn times(&self) -> (i64, i64) {
        (self.header.begin_timestamp, self.header.end_timestamp)
    }

    /// Position in the log of the first and of the newest record in it.
    pub fn offsets(&self) -> (u64, u64) {
        (self.header.begin_offset, self.header.end_offset)
    }
}

impl OfflineStore {
    /// Numbers of slots and entries of the index files, which no file says: their size allows for
    /// one pair of the usual proportion, and a file with another behind it is full. `slots` has the
    /// one where that does not help.
    pub fn index_shape(&self, slots: Option<u32>) -> Option<(u32, u32)> {
        let oldest = self.indexes.first()?;
        let body = oldest.bytes.checked_sub(HEADER_BYTES as u64)?;
        let whole = |bytes: u64, each: u64| bytes.is_multiple_of(each).then_some(bytes / each);
        let full = || {
            let entries = u64::from(oldest.header.next) * ENTRY_BYTES as u64;
            let slots = body
                .checked_sub(entries)
                .filter(|_| self.indexes.len() > 1)?;
            whole(slots, SLOT_BYTES)
        };
        let usual = || whole(body, SLOT_BYTES + ENTRIES_FOR_SLOT * ENTRY_BYTES as u64);
        let slots = slots.map(u64::from).or_else(usual).or_else(full)?;
        let entries = whole(body.checked_sub(slots * SLOT_BYTES)?, ENTRY_BYTES as u64)?;
        let slots = u32::try_from(slots).ok().filter(|slots| *slots > 0)?;
        Some((slots, u32::try_from(entries).ok()?))
    }
}

/// The index files in `directory`, oldest first.
pub(super) fn list(directory: &Path) -> Result<Vec<IndexFile>, StoreError> {
    let mut files = Vec::new();
    for (name, bytes) in disk().list(directory)? {
        if name.len() != NAME_DIGITS || !name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // A living broker may have just deleted it.
        files.extend(if_there(IndexFile::open(directory.join(name), bytes))?);
    }
    Ok(files)
}
