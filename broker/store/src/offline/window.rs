//! A file read in large pieces into one buffer.
//!
//! Positioned reads rather than a mapping: the file may belong to a living broker or lie on a
//! failing disk, where a mapping answers with a signal and a read with an error.

use std::path::Path;

use super::disk;
use crate::error::StoreError;
use crate::files::NamedFile;

/// Read at a time by whoever goes through a whole file; it stays in the cache of a core.
pub(super) const PIECE_BYTES: usize = 256 << 10;

/// The file and what was read last.
#[derive(Debug)]
pub(super) struct Window {
    file: NamedFile,
    /// Bytes of the file.
    pub(super) len: u64,
    piece_bytes: usize,
    buffer: Vec<u8>,
    start: u64,
    filled: usize,
}

impl Window {
    /// Opens `path`, a file of `len` bytes, for reading `piece_bytes` at a time.
    pub(super) fn open(path: &Path, len: u64, piece_bytes: usize) -> Result<Self, StoreError> {
        Ok(Self {
            file: disk().open(path.to_owned())?,
            len,
            piece_bytes,
            buffer: Vec::new(),
            start: 0,
            filled: 0,
        })
    }

    /// The `wanted` bytes at `at`; fewer where the file ends.
    pub(super) fn at(&mut self, at: u64, wanted: usize) -> Result<&[u8], StoreError> {
        let inside = at
            .checked_sub(self.start)
            .and_then(|skip| usize::try_from(skip).ok())
            .filter(|skip| {
                skip.checked_add(wanted)
                    .is_some_and(|end| end <= self.filled)
            });
        let from = if let Some(from) = inside {
            from
        } else {
            self.load(at, wanted)?;
            0
        };
        Ok(&self.buffer[from..self.filled.min(from.saturating_add(wanted))])
    }

    /// All that is in the buffer from `at` on; reads if that is nothing. Empty at the file's end.
    pub(super) fn rest(&mut self, at: u64) -> Result<&[u8], StoreError> {
        let left = self.at(at, 1)?.len();
        let from = usize::try_from(at - self.start).unwrap_or(0);
        Ok(if left == 0 {
            &[]
        } else {
            &self.buffer[from..self.filled]
        })
    }

    /// Makes the next access read again.
    pub(super) fn forget(&mut self) {
        self.filled = 0;
    }

    fn load(&mut self, at: u64, wanted: usize) -> Result<(), StoreError> {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let bytes = wanted.max(self.piece_bytes).min(left);
        if self.buffer.len() < bytes {
            self.buffer.resize(bytes, 0);
        }
        self.filled = 0;
        self.start = at;
        self.file.read_at(&mut self.buffer[..bytes], at)?;
        self.filled = bytes;
        Ok(())
    }

    /// Position of the first byte from `at` on that is not zero.
    pub(super) fn first_data(&self, at: u64) -> Result<Option<u64>, StoreError> {
        self.file.first_data(at, self.len)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::FileExt as _;

    use super::*;

    fn window(bytes: &[u8], piece_bytes: usize) -> Window {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        Window::open(file.path(), bytes.len() as u64, piece_bytes).unwrap()
    }

    #[test]
    fn bytes_come_whole_whatever_the_piece() {
        let bytes: Vec<u8> = (0..100).collect();
        for piece_bytes in [1, 7, 64, 1000] {
            let mut window = window(&bytes, piece_bytes);
            for at in 0..100_u64 {
                let from = usize::try_from(at).unwrap();
                assert_eq!(window.at(at, 10).unwrap(), &bytes[from..100.min(from + 10)]);
            }
            assert_eq!(window.at(3, 2).unwrap(), [3, 4]);
            assert!(window.at(100, 1).unwrap().is_empty());
            assert!(window.rest(200).unwrap().is_empty());
        }
    }

    #[test]
    fn first_data_is_found_behind_zeros_and_holes() {
        let mut bytes = vec![0; 300];
        bytes[201] = 1;
        for piece_bytes in [16, 64, 4096] {
            let window = window(&bytes, piece_bytes);
            assert_eq!(window.first_data(0).unwrap(), Some(201));
            assert_eq!(window.first_data(201).unwrap(), Some(201));
            assert_eq!(window.first_data(202).unwrap(), None);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 30).unwrap();
        file.as_file().write_all_at(b"x", 900 << 20).unwrap();
        let window = Window::open(file.path(), 1 << 30, 4096).unwrap();
        assert_eq!(window.first_data(5).unwrap(), Some(900 << 20));
        assert_eq!(window.first_data((900 << 20) + 1).unwrap(), None);
    }
}
