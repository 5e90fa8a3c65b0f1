//! The only unsafe code of the store: mapping a file for reading.
#![expect(unsafe_code, reason = "a mapping cannot be made without it")]

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// A read-only mapping of a whole file.
pub(crate) struct ReadMap(Mmap);

impl ReadMap {
    /// Maps `file` as long as it is now.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: No page of the mapping can vanish: the process holds the store's lock, and the
        // store never shrinks a file. Bytes may change under the mapping where the log grows by
        // positioned writes, but `StoreFile::view` is asked only for bytes below the published end
        // of the log (or, during recovery, while nobody writes), and those are never written again.
        unsafe { Mmap::map(file) }.map(Self)
    }
}

impl AsRef<[u8]> for ReadMap {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
