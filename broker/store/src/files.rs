//! What the store asks of a file system, so that tests can put another one underneath.

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use common::clock::Millis;

mod disk;
mod named;
#[cfg(any(test, feature = "sim"))]
pub(crate) mod sim;

pub use disk::DiskFiles;
pub(crate) use named::{FileKind, FileSystem, MAX_POSITION, NamedFile, file_name, if_there};

/// The file system a directory is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes in use and those that can be; what only the system's administrator may use is not
    /// among them.
    pub total: u64,
    /// Bytes that can still be used.
    pub free: u64,
}

/// A directory tree. Every method may be called from any thread.
pub trait Files: Debug + Send + Sync + 'static {
    /// Opens an existing file.
    ///
    /// # Errors
    /// What the system says; `NotFound` when there is none.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoreFile>>;

    /// As [`Self::open`], for reading only: who may not write can do that too.
    ///
    /// # Errors
    /// As there.
    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn StoreFile>> {
        self.open(path)
    }

    /// Creates a file of `bytes` zeros that must not exist. `reserve`: the space is taken now, so
    /// that writing to it later cannot fail for lack of space, and the file's name is safe on disk
    /// when this returns; otherwise both come with the first sync.
    ///
    /// # Errors
    /// `StorageFull` when the space is not there (nothing is left behind).
    fn create(&self, path: &Path, bytes: u64, reserve: bool) -> io::Result<Arc<dyn StoreFile>>;

    /// Names and sizes of the files in `directory`, sorted by name; empty when there is no
    /// directory.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, directory: &Path) -> io::Result<Vec<(String, u64)>>;

    /// Names of the directories in `directory`, sorted; empty when there is no directory.
    ///
    /// # Errors
    /// What the system says.
    fn list_directories(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// When the content of a file was changed last.
    ///
    /// # Errors
    /// What the system says; `NotFound` when there is none.
    fn modified(&self, path: &Path) -> io::Result<Millis>;

    /// The file system of `directory`, or of the nearest directory above it that exists.
    ///
    /// # Errors
    /// What the system says.
    fn space(&self, directory: &Path) -> io::Result<Space>;

    /// Deletes a file and makes that safe.
    ///
    /// # Errors
    /// What the system says; `NotFound` when there is none.
    fn delete(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name in the same file system and makes that safe.
    ///
    /// # Errors
    /// What the system says; `NotFound` when there is none.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Deletes a directory with all that is in it; fine when there is none.
    ///
    /// # Errors
    /// What the system says.
    fn delete_all(&self, directory: &Path) -> io::Result<()>;

    /// Creates a directory and its parents; fine when it is there. `safe`: their names are safe on
    /// disk when this returns, otherwise with the next [`Self::sync_below`].
    ///
    /// # Errors
    /// What the system says.
    fn create_directories(&self, directory: &Path, safe: bool) -> io::Result<()>;

    /// Makes the names in a directory safe, whoever gave or took them; not what the files hold.
    ///
    /// # Errors
    /// What the system says; `NotFound` when there is no directory.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// Brings everything written below `directory` to the disk, names included.
    ///
    /// # Errors
    /// What the system says.
    fn sync_below(&self, directory: &Path) -> io::Result<()>;

    /// Takes the store's lock file as a Java broker does; held until the returned guard is dropped.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
}

/// An open file of fixed size.
pub trait StoreFile: Debug + Send + Sync {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// What the system says.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reads exactly `buffer.len()` bytes at `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` beyond the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// A view of written bytes, without copying where possible, valid as long as it is held. The
    /// caller makes sure that these bytes lie within the file and are not written again.
    ///
    /// # Errors
    /// What the system says when the file is first mapped.
    fn view(&self, offset: u64, bytes: usize) -> io::Result<Bytes>;

    /// The next bytes at or behind `from` that may be other than zeros; `None` when there are none.
    ///
    /// # Errors
    /// What the system says.
    fn data_after(&self, from: u64) -> io::Result<Option<Range<u64>>>;

    /// Turns `[from, to)` into zeros. `reserved`: their space stays taken, else it is given back.
    ///
    /// # Errors
    /// What the system says.
    fn zero(&self, from: u64, to: u64, reserved: bool) -> io::Result<()>;

    /// Brings everything written to the disk.
    ///
    /// # Errors
    /// What the system says. After an error the state of the file on disk is unknown.
    fn sync(&self) -> io::Result<()>;
}
