//! The file system as the store uses it: what goes wrong is told with the operation and the name.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::{Files, StoreFile};
use crate::error::StoreError;

/// Bytes looked at at a time where there should be none.
const PIECE_BYTES: u64 = 256 << 10;

/// Positions are signed numbers in all formats.
pub(crate) const MAX_POSITION: u64 = i64::MAX.unsigned_abs() - u32::MAX as u64;

/// A directory tree; see [`Files`] for what the methods do. Clones are cheap.
#[derive(Debug, Clone)]
pub(crate) struct FileSystem {
    files: Arc<dyn Files>,
    read_only: bool,
}

/// An open file and its name; see [`StoreFile`].
#[derive(Debug)]
pub(crate) struct NamedFile {
    pub(crate) path: PathBuf,
    file: Arc<dyn StoreFile>,
}

/// Files of one size that follow each other, named by their positions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileKind {
    pub(crate) name: &'static str,
    /// The setting that says how large they are.
    pub(crate) size_key: &'static str,
    pub(crate) bytes: u64,
}

impl FileKind {
    /// Positions of the files of a directory, as it was `listed`: each is named by its own, and is of the same size.
    pub(crate) fn positions(&self, directory: &Path, listed: &[(String, u64)]) -> Told<Vec<u64>> {
        let Self {
            name: what,
            size_key,
            bytes,
        } = *self;
        let position = |(name, size): &(String, u64)| {
            let position = name.parse().ok().filter(|at| *at <= MAX_POSITION);
            let position = position.filter(|at| file_name(*at) == *name);
            let problem = match position {
                None => format!("not a {what} file: its name is no position"),
                Some(_) if *size != bytes => {
                    format!("{size} bytes long, {size_key} says {bytes}")
                }
                Some(at) if !u64::is_multiple_of(at, bytes) => {
                    format!("no file of {bytes} bytes starts at {at}")
                }
                Some(at) => return Ok(at),
            };
            let path = directory.join(name);
            Err(StoreError::Corrupt { path, problem })
        };
        listed.iter().map(position).collect()
    }
}

/// Name of the file whose first byte stands at `position`.
pub(crate) fn file_name(position: u64) -> String {
    format!("{position:020}")
}

type Told<T> = Result<T, StoreError>;

fn told<T>(op: &'static str, path: &Path, outcome: io::Result<T>) -> Told<T> {
    outcome.map_err(|source| StoreError::io(op, path, source))
}

impl FileSystem {
    pub(crate) fn new(files: Arc<dyn Files>) -> Self {
        Self {
            files,
            read_only: false,
        }
    }

    /// Opens what may not be written.
    pub(crate) fn read_only(files: Arc<dyn Files>) -> Self {
        Self {
            files,
            read_only: true,
        }
    }

    /// For what is not an error of the store.
    pub(crate) fn raw(&self) -> &dyn Files {
        &*self.files
    }

    pub(crate) fn open(&self, path: PathBuf) -> Told<NamedFile> {
        let opened = if self.read_only {
            self.files.open_to_read(&path)
        } else {
            self.files.open(&path)
        };
        let file = told("open", &path, opened)?;
        Ok(NamedFile { path, file })
    }

    /// As [`Self::open`]; `None` when there is no such file.
    pub(crate) fn open_if_there(&self, path: PathBuf) -> Told<Option<NamedFile>> {
        if_there(self.open(path))
    }

    pub(crate) fn create(&self, path: PathBuf, bytes: u64, reserve: bool) -> Told<NamedFile> {
        let op = if reserve { "reserve" } else { "create" };
        let file = told(op, &path, self.files.create(&path, bytes, reserve))?;
        Ok(NamedFile { path, file })
    }

    pub(crate) fn list(&self, directory: &Path) -> Told<Vec<(String, u64)>> {
        told("list", directory, self.files.list(directory))
    }

    pub(crate) fn directories(&self, directory: &Path) -> Told<Vec<String>> {
        told("list", directory, self.files.list_directories(directory))
    }

    pub(crate) fn delete(&self, path: &Path) -> Told<()> {
        told("delete", path, self.files.delete(path))
    }

    /// As [`Self::delete`]; fine when there is no such file.
    pub(crate) fn delete_if_there(&self, path: &Path) -> Told<()> {
        if_there(self.delete(path)).map(drop)
    }

    pub(crate) fn delete_all(&self, directory: &Path) -> Told<()> {
        told("delete", directory, self.files.delete_all(directory))
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Told<()> {
        told("rename", from, self.files.rename(from, to))
    }

    pub(crate) fn create_directories(&self, directory: &Path, safe: bool) -> Told<()> {
        let made = self.files.create_directories(directory, safe);
        told("create", directory, made)
    }

    pub(crate) fn sync_below(&self, directory: &Path) -> Told<()> {
        told("sync", directory, self.files.sync_below(directory))
    }

    pub(crate) fn sync_directory(&self, directory: &Path) -> Told<()> {
        told("sync", directory, self.files.sync_directory(directory))
    }
}

/// `None` for the error that says there is no such file.
pub(crate) fn if_there<T>(outcome: Told<T>) -> Told<Option<T>> {
    match outcome {
        Err(error) if error.is(io::ErrorKind::NotFound) => Ok(None),
        outcome => outcome.map(Some),
    }
}

impl NamedFile {
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Told<()> {
        told("read", &self.path, self.file.read_at(buffer, offset))
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Told<()> {
        told("write", &self.path, self.file.write_at(bytes, offset))
    }

    pub(crate) fn view(&self, offset: u64, bytes: usize) -> Told<Bytes> {
        told("map", &self.path, self.file.view(offset, bytes))
    }

    /// Position of the first byte from `at` on that is not zero; `end` is where the file ends. Holes
    /// are passed without reading them.
    pub(crate) fn first_data(&self, mut at: u64, end: u64) -> Told<Option<u64>> {
        let mut piece = Vec::new();
        while at < end
            && let Some(data) = self.data_after(at)?
        {
            let bytes = (data.end.min(end) - data.start).min(PIECE_BYTES);
            piece.resize(usize::try_from(bytes).unwrap_or(0), 0);
            self.read_at(&mut piece, data.start)?;
            if let Some(found) = piece.iter().position(|byte| *byte != 0) {
                return Ok(Some(data.start + found as u64));
            }
            at = data.start + bytes;
        }
        Ok(None)
    }

    pub(crate) fn data_after(&self, from: u64) -> Told<Option<Range<u64>>> {
        told("search", &self.path, self.file.data_after(from))
    }

    pub(crate) fn zero(&self, from: u64, to: u64, reserved: bool) -> Told<()> {
        told("zero", &self.path, self.file.zero(from, to, reserved))
    }

    /// No error of it passes by itself, not even that of a full disk.
    pub(crate) fn sync(&self) -> Told<()> {
        self.file.sync().map_err(|source| StoreError::Io {
            op: "sync",
            path: self.path.clone(),
            source,
        })
    }
}
