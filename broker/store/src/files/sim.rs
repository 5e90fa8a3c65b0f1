//! A disk in memory that can be crashed after any step.
//!
//! Every call is taken apart into the steps [`super::DiskFiles`] makes of it: a name is linked, a
//! length set, sectors are written, a file or a directory is synced. What no sync has covered may
//! be lost by a power cut: each sector of 512 bytes for itself, in any version it had since its
//! last sync, each length, each change of a name. [`SimFiles::image`] remembers a moment, and
//! [`Image`] makes of it what another process finds after a crash in that moment.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use common::clock::Millis;
use parking_lot::{Mutex, RwLock};

use super::{Files, Space, StoreFile};

mod content;
mod tree;

use content::Content;
pub use content::SECTOR_BYTES;
pub use tree::Unsynced;
use tree::{NodeId, Tree};

/// The simulated disk.
pub struct SimFiles(Arc<Disk>);

struct Disk {
    tree: Mutex<Tree>,
    trouble: Mutex<Trouble>,
    /// When files were written last, as far as somebody has said so.
    modified: Mutex<BTreeMap<PathBuf, Millis>>,
    space: Mutex<Space>,
    observer: RwLock<Option<Arc<dyn Observer>>>,
}

/// What the disk does not do as asked.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    /// Bytes it still takes.
    room: u64,
    syncs_fail: bool,
    /// Which one of the next operations fails.
    failing: Option<(Failing, u64)>,
}

/// Operations that can be told to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    /// Writes; the first half of the sectors is written nevertheless.
    Write,
    /// Syncs of a file, a directory or a tree.
    Sync,
    /// Deletions of a file.
    Delete,
}

/// One step that changes what is on the disk, or may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// A new name.
    Link(PathBuf),
    /// A name goes away.
    Unlink(PathBuf),
    /// A file gets another name.
    Rename(PathBuf, PathBuf),
    /// A file becomes so long.
    Length(PathBuf, u64),
    /// Bytes `from..to` are written.
    Write(PathBuf, u64, u64),
    /// Data and length of a file become durable.
    Sync(PathBuf),
    /// The names in a directory become durable.
    SyncDirectory(PathBuf),
    /// Everything below a directory becomes durable.
    SyncBelow(PathBuf),
}

/// Is told of every step. It may use the files itself.
pub trait Observer: Send + Sync {
    /// The step comes next.
    fn before(&self, op: &Op);
    /// The step was done, or has failed.
    fn after(&self, op: &Op);
}

/// A moment of the disk, with everything that was not synced then.
#[derive(Debug, Clone)]
pub struct Image(Tree);

#[derive(Debug)]
struct SimFile {
    files: SimFiles,
    id: NodeId,
    path: PathBuf,
}

impl SimFiles {
    /// An empty disk with unlimited room.
    pub fn new() -> Arc<Self> {
        Self::of(Tree::new())
    }

    fn of(tree: Tree) -> Arc<Self> {
        let trouble = Trouble {
            room: u64::MAX,
            syncs_fail: false,
            failing: None,
        };
        Arc::new(Self(Arc::new(Disk {
            tree: Mutex::new(tree),
            trouble: Mutex::new(trouble),
            modified: Mutex::default(),
            space: Mutex::new(Space {
                total: 100,
                free: 100,
            }),
            observer: RwLock::default(),
        })))
    }

    /// Has every step from now on told to `observer`.
    pub fn observe(&self, observer: Option<Arc<dyn Observer>>) {
        *self.0.observer.write() = observer;
    }

    /// This moment.
    pub fn image(&self) -> Image {
        Image(self.0.tree.lock().clone())
    }

    /// What another process finds after this one was killed. What was not synced still may be lost.
    pub fn after_kill(&self) -> Arc<Self> {
        self.image().after_kill()
    }

    /// What is left after a power cut: of everything not synced the newest version if `keep` says
    /// so, else the synced one.
    pub fn after_power_cut(&self, mut keep: impl FnMut() -> bool) -> Arc<Self> {
        self.image()
            .after_power_cut(|item| if keep() { item.versions } else { 0 })
    }

    /// Bytes the disk takes from now on.
    pub fn set_room(&self, bytes: u64) {
        self.0.trouble.lock().room = bytes;
    }

    /// Whether every sync fails.
    pub fn set_syncs_fail(&self, fail: bool) {
        self.0.trouble.lock().syncs_fail = fail;
    }

    /// Has one operation fail: the next for 0, the one after it for 1 and so on.
    pub fn fail(&self, operation: Failing, after: u64) {
        self.0.trouble.lock().failing = Some((operation, after));
    }

    /// How large the disk says it is; it does not count what is on it.
    pub fn set_space(&self, space: Space) {
        *self.0.space.lock() = space;
    }

    /// Sets when a file was written last; of files of which nobody says it, it is 0.
    pub fn touch(&self, path: impl AsRef<Path>, modified: Millis) {
        let path = path.as_ref().to_owned();
        self.0.modified.lock().insert(path, modified);
    }

    /// Content of a file.
    pub fn bytes(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let tree = self.0.tree.lock();
        let content = tree.content(tree.find(path.as_ref())?)?;
        let mut bytes = vec![0; usize::try_from(content.length()).ok()?];
        content.read(&mut bytes, 0);
        Some(bytes)
    }

    /// Paths of all files, sorted.
    pub fn paths(&self) -> Vec<PathBuf> {
        let paths = self.0.tree.lock().paths();
        paths.into_iter().map(|(path, _)| path).collect()
    }

    /// Changes an existing file behind the store's back, durably.
    pub fn overwrite(&self, path: impl AsRef<Path>, at: usize, bytes: &[u8]) {
        let mut tree = self.0.tree.lock();
        if let Some(id) = tree.find(path.as_ref())
            && let Some(content) = tree.content_mut(id)
        {
            content.write(bytes, at as u64);
            content.settle();
        }
    }

    /// Deletes a file or a directory with all below it behind the store's back, durably.
    pub fn remove_below(&self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        let mut tree = self.0.tree.lock();
        if tree.unlink(path).is_ok()
            && let Some(parent) = path.parent().and_then(|parent| tree.find(parent))
        {
            tree.sync_directory(parent);
        }
    }

    fn step<R>(
        &self,
        op: &Op,
        act: impl FnOnce(&mut Tree, &mut Trouble) -> io::Result<R>,
    ) -> io::Result<R> {
        let observer = self.0.observer.read().clone();
        if let Some(observer) = &observer {
            observer.before(op);
        }
        let done = {
            let mut tree = self.0.tree.lock();
            act(&mut tree, &mut self.0.trouble.lock())
        };
        if let Some(observer) = &observer {
            observer.after(op);
        }
        done
    }

    fn file(&self, id: NodeId, path: &Path) -> Arc<dyn StoreFile> {
        Arc::new(SimFile {
            files: Self(Arc::clone(&self.0)),
            id,
            path: path.to_owned(),
        })
    }

    fn link_file(&self, path: &Path) -> io::Result<NodeId> {
        self.step(&Op::Link(path.to_owned()), |tree, _| tree.link_file(path))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.step(&Op::Unlink(path.to_owned()), |tree, trouble| {
            if trouble.hits(Failing::Delete) {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            let id = tree.unlink(path)?;
            let freed = tree.content(id).map_or(0, Content::taken_bytes);
            trouble.room = trouble.room.saturating_add(freed);
            Ok(())
        })
    }

    fn set_length(&self, id: NodeId, path: &Path, bytes: u64, reserve: bool) -> io::Result<()> {
        self.step(&Op::Length(path.to_owned(), bytes), |tree, trouble| {
            let content = tree.content_mut(id).ok_or(io::ErrorKind::NotFound)?;
            if reserve {
                let needed = (content.untaken(0, bytes) * SECTOR_BYTES) as u64;
                let left = trouble.room.checked_sub(needed);
                trouble.room = left.ok_or(io::ErrorKind::StorageFull)?;
                content.take(0, bytes, true);
            }
            content.set_length(bytes);
            Ok(())
        })
    }

    fn sync_file(&self, id: NodeId, path: &Path) -> io::Result<()> {
        self.step(&Op::Sync(path.to_owned()), |tree, trouble| {
            let content = tree.content_mut(id).ok_or(io::ErrorKind::NotFound)?;
            if trouble.hits(Failing::Sync) {
                content.forget_unsynced();
                return Err(io::Error::other("the disk is broken"));
            }
            content.sync();
            Ok(())
        })
    }

    fn sync_parent(&self, path: &Path) -> io::Result<()> {
        path.parent()
            .map_or(Ok(()), |parent| self.sync_directory(parent))
    }

    /// In the order of the system's own function: what is in it, then the directory.
    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        let tree = self.0.tree.lock().clone();
        for (name, id) in tree.entries(directory) {
            let path = directory.join(&**name);
            match tree.content(id) {
                Some(_) => self.unlink(&path)?,
                None => self.remove_directory(&path)?,
            }
        }
        self.unlink(directory)
    }
}

impl Trouble {
    /// Whether this operation is the one that fails.
    fn hits(&mut self, operation: Failing) -> bool {
        if operation == Failing::Sync && self.syncs_fail {
            return true;
        }
        match &mut self.failing {
            Some((failing, 0)) if *failing == operation => {
                self.failing = None;
                true
            }
            Some((failing, left)) if *failing == operation => {
                *left -= 1;
                false
            }
            _ => false,
        }
    }

    fn check_sync(&mut self) -> io::Result<()> {
        if self.hits(Failing::Sync) {
            return Err(io::Error::other("the disk is broken"));
        }
        Ok(())
    }
}

impl Image {
    /// What another process finds when this one is killed in that moment.
    pub fn after_kill(&self) -> Arc<SimFiles> {
        SimFiles::of(self.0.clone())
    }

    /// What a power cut in that moment leaves: of each thing not synced the version `keep` names,
    /// 0 for the synced one, up to [`Unsynced::versions`] for the newest.
    pub fn after_power_cut(&self, keep: impl FnMut(Unsynced) -> usize) -> Arc<SimFiles> {
        SimFiles::of(self.0.after_power_cut(keep))
    }

    /// Everything a power cut in that moment may lose.
    pub fn unsynced(&self) -> Vec<Unsynced> {
        self.0.unsynced()
    }

    /// Whether a failed sync has left content that later syncs do not bring to the disk either,
    /// though whoever reads it sees it. A process that starts then cannot know.
    pub fn is_deceptive(&self) -> bool {
        self.0.is_deceptive()
    }

    /// One of these in words.
    pub fn describe(&self, item: &Unsynced) -> String {
        self.0.describe(item)
    }
}

impl Files for SimFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoreFile>> {
        let id = self.0.tree.lock().find_file(path)?;
        Ok(self.file(id, path))
    }

    fn create(&self, path: &Path, bytes: u64, reserve: bool) -> io::Result<Arc<dyn StoreFile>> {
        let id = self.link_file(path)?;
        let made = self.set_length(id, path, bytes, reserve).and_then(|()| {
            if reserve {
                self.sync_file(id, path)?;
                self.sync_parent(path)?;
            }
            Ok(())
        });
        if let Err(error) = made {
            let _ = self.unlink(path);
            return Err(error);
        }
        Ok(self.file(id, path))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(String, u64)>> {
        let tree = self.0.tree.lock();
        let file =
            |(name, id): (&Arc<str>, NodeId)| Some((name.to_string(), tree.content(id)?.length()));
        Ok(tree.entries(directory).filter_map(file).collect())
    }

    fn list_directories(&self, directory: &Path) -> io::Result<Vec<String>> {
        let tree = self.0.tree.lock();
        let directories = tree
            .entries(directory)
            .filter(|(_, id)| tree.content(*id).is_none());
        Ok(directories.map(|(name, _)| name.to_string()).collect())
    }

    fn modified(&self, path: &Path) -> io::Result<Millis> {
        self.0.tree.lock().find_file(path)?;
        let modified = self.0.modified.lock().get(path).copied();
        Ok(modified.unwrap_or_default())
    }

    fn space(&self, _directory: &Path) -> io::Result<Space> {
        Ok(*self.0.space.lock())
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        self.0.tree.lock().find_file(path)?;
        self.unlink(path)?;
        self.sync_parent(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if from.parent() != to.parent() {
            self.sync_parent(from)?;
        }
        let op = Op::Rename(from.to_owned(), to.to_owned());
        self.step(&op, |tree, _| tree.rename(from, to))?;
        self.sync_parent(to)?;
        self.sync_parent(from)
    }

    fn delete_all(&self, directory: &Path) -> io::Result<()> {
        if !self.0.tree.lock().is_directory(directory) {
            return Ok(());
        }
        self.remove_directory(directory)?;
        self.sync_parent(directory)
    }

    fn create_directories(&self, directory: &Path, safe: bool) -> io::Result<()> {
        if self.0.tree.lock().is_directory(directory) {
            return if safe {
                self.sync_parent(directory)
            } else {
                Ok(())
            };
        }
        if let Some(parent) = directory.parent()
            && !self.0.tree.lock().is_directory(parent)
        {
            self.create_directories(parent, safe)?;
        }
        self.step(&Op::Link(directory.to_owned()), |tree, _| {
            tree.link_directory(directory)
        })?;
        if safe {
            self.sync_parent(directory)?;
        }
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.step(&Op::SyncDirectory(directory.to_owned()), |tree, trouble| {
            let id = tree.find(directory).ok_or(io::ErrorKind::NotFound)?;
            trouble.check_sync()?;
            tree.sync_directory(id);
            Ok(())
        })
    }

    fn sync_below(&self, directory: &Path) -> io::Result<()> {
        self.step(&Op::SyncBelow(directory.to_owned()), |tree, trouble| {
            let id = tree.find(directory).ok_or(io::ErrorKind::NotFound)?;
            if trouble.hits(Failing::Sync) {
                tree.forget_below(id);
                return Err(io::Error::other("the disk is broken"));
            }
            tree.sync_below(id);
            Ok(())
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let found = self.0.tree.lock().find_file(path);
        let id = match found {
            Ok(id) => id,
            Err(_) => self.link_file(path)?,
        };
        let file = self.file(id, path);
        file.write_at(b"lock", 0)?;
        file.sync()?;
        Ok(Box::new(()))
    }
}

impl StoreFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        let op = Op::Write(self.path.clone(), offset, end);
        self.files.step(&op, |tree, trouble| {
            let content = tree.content_mut(self.id).ok_or(io::ErrorKind::NotFound)?;
            let mut written = bytes;
            let mut outcome = Ok(());
            if trouble.hits(Failing::Write) {
                let half = bytes.len() / 2;
                written = &bytes[..half - half % SECTOR_BYTES];
                outcome = Err(io::Error::other("the disk is broken"));
            }
            // As many as there is room for.
            let mut fitting = offset + written.len() as u64;
            while (content.untaken(offset, fitting) * SECTOR_BYTES) as u64 > trouble.room {
                fitting = (fitting - 1).next_multiple_of(SECTOR_BYTES as u64) - SECTOR_BYTES as u64;
                outcome = Err(io::ErrorKind::StorageFull.into());
            }
            let fitting = fitting.max(offset);
            trouble.room -= (content.untaken(offset, fitting) * SECTOR_BYTES) as u64;
            content.take(offset, fitting, true);
            written = &written[..usize::try_from(fitting - offset).unwrap_or(0)];
            if !written.is_empty() {
                content.write(written, offset);
            }
            outcome
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let tree = self.files.0.tree.lock();
        match tree.content(self.id) {
            Some(content) if content.read(buffer, offset) => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn view(&self, offset: u64, bytes: usize) -> io::Result<Bytes> {
        let mut copy = vec![0; bytes];
        self.read_at(&mut copy, offset)?;
        Ok(copy.into())
    }

    fn data_after(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        let tree = self.files.0.tree.lock();
        let end = tree.content(self.id).map_or(0, Content::length);
        Ok((from < end).then_some(from..end))
    }

    fn zero(&self, from: u64, to: u64, reserved: bool) -> io::Result<()> {
        if from >= to {
            return Ok(());
        }
        let op = Op::Write(self.path.clone(), from, to);
        self.files.step(&op, |tree, trouble| {
            let content = tree.content_mut(self.id).ok_or(io::ErrorKind::NotFound)?;
            content.zero(from, to);
            if !reserved {
                let sector = SECTOR_BYTES as u64;
                let whole = (from.next_multiple_of(sector), to - to % sector);
                if whole.0 < whole.1 {
                    let before = content.taken_bytes();
                    content.take(whole.0, whole.1, false);
                    let freed = before - content.taken_bytes();
                    trouble.room = trouble.room.saturating_add(freed);
                }
            }
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.files.sync_file(self.id, &self.path)
    }
}

impl fmt::Debug for SimFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimFiles")
            .field(&self.0.trouble.lock())
            .finish()
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(path) => write!(f, "link {}", path.display()),
            Self::Unlink(path) => write!(f, "unlink {}", path.display()),
            Self::Rename(from, to) => write!(f, "rename {} to {}", from.display(), to.display()),
            Self::Length(path, bytes) => write!(f, "length {} {bytes}", path.display()),
            Self::Write(path, from, to) => write!(f, "write {} {from}..{to}", path.display()),
            Self::Sync(path) => write!(f, "sync {}", path.display()),
            Self::SyncDirectory(path) => write!(f, "sync directory {}", path.display()),
            Self::SyncBelow(path) => write!(f, "sync below {}", path.display()),
        }
    }
}
