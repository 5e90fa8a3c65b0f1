//! Files in memory, for tests: they remember what was synced and can forget the rest.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Files, StoreFile};

const SECTOR_BYTES: usize = 512;

/// A directory tree in memory.
#[derive(Debug)]
pub(crate) struct MemFiles {
    files: Mutex<BTreeMap<PathBuf, Arc<MemFile>>>,
    /// Bytes that can still be reserved.
    pub(crate) room: AtomicU64,
    /// Every sync fails.
    pub(crate) broken_disk: Arc<AtomicBool>,
}

#[derive(Debug)]
struct MemFile {
    content: Mutex<Content>,
    broken_disk: Arc<AtomicBool>,
}

#[derive(Debug, Clone)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
}

impl MemFiles {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::of(BTreeMap::new()))
    }

    fn of(files: BTreeMap<PathBuf, Arc<MemFile>>) -> Self {
        Self {
            files: Mutex::new(files),
            room: AtomicU64::new(u64::MAX),
            broken_disk: Arc::default(),
        }
    }

    /// What another process finds after this one was killed: every byte written.
    pub(crate) fn after_kill(&self) -> Arc<Self> {
        self.after_power_cut(|| true)
    }

    /// What is left after a power cut: of each sector not synced, the new content if `keep` says
    /// so, else the old one.
    pub(crate) fn after_power_cut(&self, mut keep: impl FnMut() -> bool) -> Arc<Self> {
        let left = Self::of(BTreeMap::new());
        for (path, file) in &*self.files.lock() {
            let Content { mut now, synced } = file.content.lock().clone();
            for (new, old) in now
                .chunks_mut(SECTOR_BYTES)
                .zip(synced.chunks(SECTOR_BYTES))
            {
                if new != old && !keep() {
                    new.copy_from_slice(old);
                }
            }
            left.put(path, now);
        }
        Arc::new(left)
    }

    fn put(&self, path: &Path, bytes: Vec<u8>) -> Arc<MemFile> {
        let content = Mutex::new(Content {
            now: bytes.clone(),
            synced: bytes,
        });
        let file = Arc::new(MemFile {
            content,
            broken_disk: Arc::clone(&self.broken_disk),
        });
        self.files.lock().insert(path.to_owned(), Arc::clone(&file));
        file
    }

    /// Content of a file.
    pub(crate) fn bytes(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        Some(
            self.files
                .lock()
                .get(path.as_ref())?
                .content
                .lock()
                .now
                .clone(),
        )
    }

    /// Paths of all files.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.files.lock().keys().cloned().collect()
    }

    /// Changes a file behind the store's back.
    pub(crate) fn overwrite(&self, path: impl AsRef<Path>, at: usize, bytes: &[u8]) {
        let files = self.files.lock();
        let mut content = files[path.as_ref()].content.lock();
        content.now[at..at + bytes.len()].copy_from_slice(bytes);
        content.synced = content.now.clone();
    }

    /// Deletes everything below a directory.
    pub(crate) fn remove_below(&self, directory: impl AsRef<Path>) {
        self.files
            .lock()
            .retain(|path, _| !path.starts_with(directory.as_ref()));
    }
}

impl Files for MemFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoreFile>> {
        match self.files.lock().get(path) {
            Some(file) => Ok(Arc::clone(file) as Arc<dyn StoreFile>),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create(&self, path: &Path, bytes: u64, reserve: bool) -> io::Result<Arc<dyn StoreFile>> {
        if self.files.lock().contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if reserve {
            let take = |room: u64| room.checked_sub(bytes);
            if self
                .room
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
                .is_err()
            {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        Ok(self.put(path, vec![0; usize::try_from(bytes).unwrap()]))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(String, u64)>> {
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let files = self.files.lock();
        let here = files
            .iter()
            .filter(|(path, _)| path.parent() == Some(directory));
        Ok(here
            .map(|(path, file)| (name(path), file.content.lock().now.len() as u64))
            .collect())
    }

    fn list_directories(&self, directory: &Path) -> io::Result<Vec<String>> {
        let files = self.files.lock();
        let below = files
            .keys()
            .filter_map(|path| path.strip_prefix(directory).ok());
        let mut names: Vec<String> = below
            .filter(|rest| rest.components().count() > 1)
            .map(|rest| rest.iter().next().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.dedup();
        Ok(names)
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        match self.files.lock().remove(path) {
            Some(file) => {
                let bytes = file.content.lock().now.len() as u64;
                let give_back = |room: u64| Some(room.saturating_add(bytes));
                let _ = self
                    .room
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, give_back);
                Ok(())
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn delete_all(&self, directory: &Path) -> io::Result<()> {
        self.remove_below(directory);
        Ok(())
    }

    fn create_directories(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_below(&self, directory: &Path) -> io::Result<()> {
        for (path, file) in &*self.files.lock() {
            if path.starts_with(directory) {
                file.sync()?;
            }
        }
        Ok(())
    }

    fn lock(&self, _path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        Ok(Box::new(()))
    }
}

impl StoreFile for MemFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let mut content = self.content.lock();
        match content.now.get_mut(at..at + bytes.len()) {
            Some(place) => place.copy_from_slice(bytes),
            None => panic!("files of the store do not grow"),
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        match self.content.lock().now.get(at..at + buffer.len()) {
            Some(bytes) => buffer.copy_from_slice(bytes),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    fn view(&self, offset: u64, bytes: usize) -> io::Result<Bytes> {
        let mut copy = vec![0; bytes];
        self.read_at(&mut copy, offset)?;
        Ok(copy.into())
    }

    fn data_after(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        let end = self.content.lock().now.len() as u64;
        Ok((from < end).then_some(from..end))
    }

    fn zero(&self, from: u64, to: u64, _reserved: bool) -> io::Result<()> {
        self.write_at(&vec![0; usize::try_from(to - from).unwrap()], from)
    }

    fn sync(&self) -> io::Result<()> {
        if self.broken_disk.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is broken"));
        }
        let mut content = self.content.lock();
        content.synced = content.now.clone();
        Ok(())
    }
}
