//! The only unsafe code of the store: mapping a file for reading.
#![expect(unsafe_code, reason = "a mapping cannot be made without it")]

use memmap2::Mmap;
use std::fs::File;
use std::io;

/// A read-only mapping of a whole file.
pub(crate) struct ReadMap(Mmap);

impl ReadMap {
    /// Maps `file` as long as it is now.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: The store's files never shrink while they are open (the process holds the store's lock, and nothing here
        // truncates an open file), so no page of the mapping can vanish. Other bytes than those the caller asks for may
        // change under the mapping (the log grows by positioned writes); `StoreFile::view` is only called for bytes
        // below the published end of the log, which are never written again while views of them exist.
        unsafe { Mmap::map(file) }.map(Self)
    }
}

impl AsRef<[u8]> for ReadMap {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
