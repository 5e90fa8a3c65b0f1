//! The operating system's files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use common::clock::Millis;
use rustix::fs::{FallocateFlags, FlockOperation, SeekFrom};

use super::{Files, Space, StoreFile};
use crate::mapped_file::ReadMap;

/// Zeros written at a time where the file system cannot zero a range itself.
const ZEROS_BYTES: usize = 16 * 1024;

/// The file system of the machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct DiskFiles;

#[derive(Debug)]
struct DiskFile {
    file: File,
    map: OnceLock<Bytes>,
}

impl DiskFile {
    fn of(file: File) -> Arc<dyn StoreFile> {
        let map = OnceLock::new();
        Arc::new(Self { file, map })
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn reserve_now(file: &File, bytes: u64, path: &Path) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        // A file system without reservations: the best to be had is a file of the right size.
        Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(bytes)?,
        reserved => reserved?,
    }
    file.sync_all()?;
    sync_parent(path)
}

impl Files for DiskFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoreFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(DiskFile::of(file))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn StoreFile>> {
        Ok(DiskFile::of(File::open(path)?))
    }

    fn create(&self, path: &Path, bytes: u64, reserve: bool) -> io::Result<Arc<dyn StoreFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        let made = if reserve {
            reserve_now(&file, bytes, path)
        } else {
            file.set_len(bytes)
        };
        if let Err(error) = made {
            // Half a file would be taken for a damaged one at the next start.
            let _ = fs::remove_file(path);
            return Err(error);
        }
        Ok(DiskFile::of(file))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(String, u64)>> {
        entries(directory, |entry| {
            let meta = entry.metadata()?;
            Ok(meta
                .is_file()
                .then(|| (entry.file_name().to_string_lossy().into_owned(), meta.len())))
        })
    }

    fn list_directories(&self, directory: &Path) -> io::Result<Vec<String>> {
        entries(directory, |entry| {
            Ok(entry
                .file_type()?
                .is_dir()
                .then(|| entry.file_name().to_string_lossy().into_owned()))
        })
    }

    fn modified(&self, path: &Path) -> io::Result<Millis> {
        use std::os::unix::fs::MetadataExt;
        let meta = fs::metadata(path)?;
        let seconds = meta.mtime().saturating_mul(1000);
        Ok(Millis(
            seconds.saturating_add(meta.mtime_nsec() / 1_000_000),
        ))
    }

    fn space(&self, directory: &Path) -> io::Result<Space> {
        let there = directory.ancestors().find(|path| path.is_dir());
        let found = rustix::fs::statvfs(there.unwrap_or(directory))?;
        let used = found.f_blocks.saturating_sub(found.f_bfree);
        Ok(Space {
            total: (used.saturating_add(found.f_bavail)).saturating_mul(found.f_frsize),
            free: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)?;
        sync_parent(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if from.parent() != to.parent() {
            // What a killed process has deleted there must not come back once this file is gone.
            sync_parent(from)?;
        }
        fs::rename(from, to)?;
        sync_parent(to)?;
        sync_parent(from)
    }

    fn delete_all(&self, directory: &Path) -> io::Result<()> {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync_parent(directory),
        }
    }

    fn create_directories(&self, directory: &Path, safe: bool) -> io::Result<()> {
        if let Some(parent) = directory.parent()
            && !parent.as_os_str().is_empty()
            && !parent.is_dir()
        {
            self.create_directories(parent, safe)?;
        }
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            // Also if it is there: whoever made it may have been killed before its name was safe.
            _ if safe => sync_parent(directory),
            _ => Ok(()),
        }
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn sync_below(&self, directory: &Path) -> io::Result<()> {
        // Thousands of small files one by one would keep the disk busy for minutes.
        Ok(rustix::fs::syncfs(File::open(directory)?)?)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::ACCESS | rustix::io::Errno::AGAIN) => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(errno) => Err(errno.into()),
            Ok(()) => {
                file.write_all(b"lock")?;
                file.sync_all()?;
                Ok(Box::new(file))
            }
        }
    }
}

fn entries<T: Ord>(
    directory: &Path,
    pick: impl Fn(&fs::DirEntry) -> io::Result<Option<T>>,
) -> io::Result<Vec<T>> {
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut picked = Vec::new();
    for entry in listed {
        match pick(&entry?) {
            // Somebody has just deleted it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => picked.extend(found?),
        }
    }
    picked.sort();
    Ok(picked)
}

fn write_zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    let zeros = [0_u8; ZEROS_BYTES];
    let mut at = from;
    while at < to {
        let bytes = usize::try_from(to - at)
            .unwrap_or(usize::MAX)
            .min(ZEROS_BYTES);
        file.write_all_at(&zeros[..bytes], at)?;
        at += bytes as u64;
    }
    Ok(())
}

impl StoreFile for DiskFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn view(&self, offset: u64, bytes: usize) -> io::Result<Bytes> {
        let map = if let Some(map) = self.map.get() {
            map
        } else {
            let map = ReadMap::new(&self.file)?;
            self.map.get_or_init(|| Bytes::from_owner(map))
        };
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        match from.checked_add(bytes).filter(|end| *end <= map.len()) {
            Some(end) => Ok(map.slice(from..end)),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn data_after(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        let end = self.file.metadata()?.len();
        if from >= end {
            return Ok(None);
        }
        match rustix::fs::seek(&self.file, SeekFrom::Data(from)) {
            Err(rustix::io::Errno::NXIO) => Ok(None),
            // A file system that does not know its holes.
            Err(rustix::io::Errno::INVAL) => Ok(Some(from..end)),
            Err(errno) => Err(errno.into()),
            Ok(data) => Ok(Some(
                data..rustix::fs::seek(&self.file, SeekFrom::Hole(data))?,
            )),
        }
    }

    fn zero(&self, from: u64, to: u64, reserved: bool) -> io::Result<()> {
        if from >= to {
            return Ok(());
        }
        let flags = if reserved {
            FallocateFlags::ZERO_RANGE
        } else {
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE
        };
        match rustix::fs::fallocate(&self.file, flags, from, to - from) {
            Err(rustix::io::Errno::OPNOTSUPP) => write_zeros(&self.file, from, to),
            zeroed => Ok(zeroed?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
