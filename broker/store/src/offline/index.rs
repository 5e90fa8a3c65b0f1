//! Files of the key index.

use std::io;
use std::path::{Path, PathBuf};

use super::window::Window;
use crate::error::StoreError;
use crate::index::{HEADER_BYTES, Header, Shape};

/// Digits of a file's name: the local time at which it was made.
const NAME_DIGITS: usize = 17;
/// Entries for each slot in files of the usual shape.
const ENTRIES_FOR_SLOT: u64 = 4;

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
    fn open(path: PathBuf) -> io::Result<Self> {
        let mut window = Window::open(&path, HEADER_BYTES)?;
        let bytes = window.len;
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

    /// Numbers of slots and entries. `slots` says the one, where the proportion is not the usual.
    pub fn slots_and_entries(&self, slots: Option<u32>) -> Option<(u32, u32)> {
        self.shape(slots).map(|shape| (shape.slots, shape.entries))
    }

    /// Numbers of slots and entries: the file does not say them, its size allows for one pair of
    /// the usual proportion.
    pub(super) fn shape(&self, slots: Option<u32>) -> Option<Shape> {
        let body = self.bytes.checked_sub(HEADER_BYTES as u64)?;
        let entries_after =
            |slots: u64| body.checked_sub(slots * 4).map(|entries| (slots, entries));
        let (slots, entries) =
            entries_after(slots.map_or(body / (4 + ENTRIES_FOR_SLOT * 20), u64::from))?;
        let shape = Shape {
            slots: u32::try_from(slots).ok().filter(|slots| *slots > 0)?,
            entries: u32::try_from(entries / 20).ok()?,
        };
        entries.is_multiple_of(20).then_some(shape)
    }
}

/// The index files in `directory`, oldest first.
pub(super) fn list(directory: &Path) -> Result<Vec<IndexFile>, StoreError> {
    let io = |error| StoreError::io("list", directory)(error);
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        let is_time = |name: &str| {
            name.len() == NAME_DIGITS && name.bytes().all(|byte| byte.is_ascii_digit())
        };
        if name.to_str().is_some_and(is_time) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        match IndexFile::open(path.clone()) {
            // A living broker has just deleted it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => files.push(opened.map_err(StoreError::io("read", &path))?),
        }
    }
    Ok(files)
}
