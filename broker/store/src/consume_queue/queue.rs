//! One queue: its next offset, the units not yet in its files, and its files.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::ext::Ext;
use super::unit::{UNIT_BYTES, Unit};
use crate::commit_log::segments::file_name;
use crate::error::StoreError;
use crate::files::{Files, StoreFile};
use crate::index::keys::TopicHash;
use crate::planted::{Fault, planted};

mod extended;
mod oldest;
mod recover;

/// Units a busy queue keeps in memory although they are in its file: those who read at the tail
/// need no system call.
const KEPT_UNITS: usize = 256;
/// Most messages a queue may lack in its middle. More than any crash can lose are the sign of a
/// damaged record, whose offset must not make the queue grow without bounds.
const MAX_HOLE_UNITS: u64 = 1_000_000;

/// Behind every log.
const NO_RECORD: u64 = u64::MAX;

/// A queue of a topic. Held by whoever sends to it or waits for it.
pub struct Queue {
    topic: Arc<str>,
    topic_hash: TopicHash,
    id: u32,
    /// Offset of the next message; changes only under the log's append lock.
    next: AtomicU64,
    /// End of what consumers can see.
    visible: AtomicU64,
    min: AtomicU64,
    /// Position of the oldest message's record, or a lower one; [`NO_RECORD`] without messages.
    /// Changes with `min`, under the lock of the tail.
    oldest: AtomicU64,
    /// There may be files that hold nothing but units before `min`.
    outdated: AtomicBool,
    watchers: AtomicU32,
    /// It is on the list of those to be written.
    dirty: AtomicBool,
    deleted: AtomicBool,
    /// Its topic can be no directory: its units live in memory only.
    homeless: bool,
    /// During recovery: there may be something behind the end in its files.
    littered: AtomicBool,
    tail: Mutex<Tail>,
    /// For a queue that has, or gets, ext units.
    ext: Option<Box<Ext>>,
}

// There are tens of thousands of them.
const _: () = assert!(size_of::<Queue>() <= 168);

/// The units from `first` on.
#[derive(Default)]
struct Tail {
    first: u64,
    units: Vec<u8>,
    /// Units below this offset are in the files.
    filed: u64,
    /// Store times of the units from `filed` on, if ext units are written.
    times: Vec<i64>,
    /// The file read last, while the queue is in use. Idle queues are many: they carry no more than
    /// a pointer for it.
    open: Option<Box<OpenFile>>,
    /// Used since the last write-out.
    active: bool,
}

/// A file that starts at position `base` of the queue.
struct OpenFile {
    base: u64,
    file: Arc<dyn StoreFile>,
}

/// Where a unit is in the files.
#[derive(Clone, Copy)]
struct Place {
    base: u64,
    at: u64,
}

/// Where all queues have their files.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) files: Arc<dyn Files>,
    pub(super) directory: PathBuf,
    /// Bytes of each file.
    pub(super) file_bytes: u64,
}

impl Home {
    fn place(&self, offset: u64) -> Place {
        let position = offset * UNIT_BYTES as u64;
        let at = position % self.file_bytes;
        Place {
            base: position - at,
            at,
        }
    }

    fn directory(&self, queue: &Queue) -> PathBuf {
        let mut path = self.directory.join(queue.topic());
        path.push(queue.id.to_string());
        path
    }

    fn path(&self, queue: &Queue, base: u64) -> PathBuf {
        let mut path = self.directory(queue);
        path.push(file_name(base));
        path
    }

    /// Opens the file of `queue` that starts at `base`.
    fn open(&self, queue: &Queue, base: u64) -> Result<Arc<dyn StoreFile>, StoreError> {
        let path = self.path(queue, base);
        self.files
            .open(&path)
            .map_err(StoreError::io("open", &path))
    }

    /// Offset of the first unit in the file after the one that holds `offset`.
    pub(super) fn next_file_start(&self, offset: u64) -> u64 {
        let per_file = self.file_bytes / UNIT_BYTES as u64;
        (offset / per_file + 1) * per_file
    }
}

impl Queue {
    pub(super) fn new(topic: Arc<str>, id: u32, homeless: bool, ext: Option<Ext>) -> Self {
        Self {
            topic_hash: TopicHash::of(&topic),
            topic,
            id,
            next: AtomicU64::new(0),
            visible: AtomicU64::new(0),
            min: AtomicU64::new(0),
            oldest: AtomicU64::new(NO_RECORD),
            outdated: AtomicBool::new(false),
            watchers: AtomicU32::new(0),
            dirty: AtomicBool::new(false),
            deleted: AtomicBool::new(false),
            homeless,
            littered: AtomicBool::new(false),
            tail: Mutex::default(),
            ext: ext.map(Box::new),
        }
    }

    /// Its topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Where the hashes of its messages' keys begin.
    pub(crate) fn topic_hash(&self) -> TopicHash {
        self.topic_hash
    }

    /// The name of its topic, to be kept.
    pub(super) fn shared_topic(&self) -> Arc<str> {
        Arc::clone(&self.topic)
    }

    /// Its number in the topic.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// End of what consumers can see: the offset of the next message they will.
    pub fn max_offset(&self) -> u64 {
        self.visible.load(Ordering::SeqCst)
    }

    /// Offset of the oldest message.
    pub fn min_offset(&self) -> u64 {
        self.min.load(Ordering::Acquire)
    }

    /// From now on arrivals in this queue are reported, until as many calls of [`Self::unwatch`].
    /// Look at [`Self::max_offset`] after this call: what arrived before is not reported.
    pub fn watch(&self) {
        self.watchers.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes one [`Self::watch`] back.
    pub fn unwatch(&self) {
        self.watchers.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn is_watched(&self) -> bool {
        // Sequentially consistent with `watch` and `max_offset`: either the watcher sees the new
        // end, or this sees the watcher.
        self.watchers.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    pub(super) fn mark_deleted(&self) {
        self.deleted.store(true, Ordering::Release);
    }

    /// Offset for the next message, which consumers see if it is `queued`; under the append lock.
    pub(crate) fn take_next(&self, queued: bool) -> u64 {
        if !queued {
            return 0;
        }
        let next = self.next.load(Ordering::Relaxed);
        self.next.store(next + 1, Ordering::Relaxed);
        next
    }

    /// Undoes the last [`Self::take_next`]; under the append lock.
    pub(crate) fn give_back(&self, queued: bool) {
        if queued {
            self.next.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Adds the unit of message `offset`, unless it is there already. True when it was added.
    /// Called by whoever dispatches, one thread at a time.
    pub(crate) fn push(&self, offset: u64, unit: Unit, store_timestamp: i64) -> bool {
        let mut tail = self.tail.lock();
        let end = tail.end();
        // A crash may have left a queue's second file and lost its first: a queue without messages
        // begins where its first one says.
        let empty =
            tail.units.is_empty() && self.min_offset() == end && !planted(Fault::LostFirstFileKept);
        if offset < end && !empty {
            return false;
        }
        if end == 0 || offset < end {
            (tail.first, tail.filed) = (offset, offset);
        } else if offset - end > MAX_HOLE_UNITS {
            tracing::error!(queue = ?self, offset, "a record names an offset far beyond the queue");
            return false;
        } else {
            // Units lost with a damaged file stay blank, so that an index is a message's offset.
            for _ in end..offset {
                tail.units.extend_from_slice(&Unit::BLANK.encode());
            }
        }
        if self.oldest.load(Ordering::Relaxed) == NO_RECORD {
            self.oldest.store(unit.physical_offset, Ordering::Relaxed);
            self.min.store(offset, Ordering::Release);
        }
        tail.units.extend_from_slice(&unit.encode());
        if self.writes_ext() {
            let unfiled = units_from(offset + 1 - tail.filed);
            tail.times.resize(unfiled - 1, 0);
            tail.times.push(store_timestamp);
        }
        tail.active = true;
        drop(tail);
        self.visible.store(offset + 1, Ordering::SeqCst);
        true
    }

    /// The next message gets the offset behind the last one there is. After recovery, before
    /// anything is appended.
    pub(crate) fn settle(&self) {
        if !planted(Fault::NextOffsetForgotten) {
            self.next.store(self.max_offset(), Ordering::Relaxed);
        }
        self.tail.lock().trim(0);
    }

    /// Units below this offset are in files.
    pub(super) fn filed(&self) -> u64 {
        self.tail.lock().filed
    }

    /// True the first time since the last write-out: the caller puts the queue on the list.
    pub(super) fn become_dirty(&self) -> bool {
        !self.dirty.load(Ordering::Relaxed) && !self.dirty.swap(true, Ordering::Relaxed)
    }

    /// Reads the units from `from` on, at most `count`, fewer at the end of the queue, of a file
    /// or of what is in files. `out` is replaced. True when a file was read, which then stays open
    /// until a write-out finds the queue idle.
    pub(super) fn read(
        &self,
        home: &Home,
        from: u64,
        count: usize,
        out: &mut Vec<Unit>,
    ) -> Result<bool, StoreError> {
        out.clear();
        let mut tail = self.tail.lock();
        let left = usize::try_from(tail.end().saturating_sub(from)).unwrap_or(usize::MAX);
        let count = left.min(count);
        if from >= tail.first {
            let at = units_len(from - tail.first);
            let units = tail.units.get(at..).unwrap_or_default().as_chunks().0;
            out.extend(units.iter().take(count).filter_map(Unit::decode));
            return Ok(false);
        }
        let place = home.place(from);
        let in_file = (home.file_bytes - place.at) / UNIT_BYTES as u64;
        let readable = in_file.min(tail.first - from);
        let count = usize::try_from(readable).unwrap_or(usize::MAX).min(count);
        tail.active = true;
        let open = match &tail.open {
            Some(open) if open.base == place.base => Some(Arc::clone(&open.file)),
            _ => None,
        };
        drop(tail);
        let file = match open {
            Some(file) => file,
            None => self.open_to_read(home, place.base)?,
        };
        let mut raw = vec![0; count * UNIT_BYTES];
        let failed = |source| StoreError::io("read", &home.path(self, place.base))(source);
        file.read_at(&mut raw, place.at).map_err(failed)?;
        out.extend(raw.as_chunks().0.iter().map_while(Unit::decode));
        if let Some(ext) = &self.ext {
            ext.resolve(&*home.files, out)?;
        }
        Ok(true)
    }

    /// Opens a file and keeps it open while the queue is in use.
    fn open_to_read(&self, home: &Home, base: u64) -> Result<Arc<dyn StoreFile>, StoreError> {
        let file = home.open(self, base)?;
        self.tail.lock().open = Some(Box::new(OpenFile {
            base,
            file: Arc::clone(&file),
        }));
        Ok(file)
    }

    /// Hands the units that are in no file to the file system. A queue that was not used since
    /// the last call gives back memory and file. True when it wants to be called again.
    /// Called by one thread at a time.
    pub(super) fn write_out(&self, home: &Home, scratch: &mut Vec<u8>) -> Result<bool, StoreError> {
        self.dirty.store(false, Ordering::Relaxed);
        if self.is_deleted() || self.homeless {
            return Ok(false);
        }
        loop {
            let tail = self.tail.lock();
            if tail.filed == tail.end() {
                break;
            }
            let place = home.place(tail.filed);
            let until = tail
                .end()
                .min((place.base + home.file_bytes) / UNIT_BYTES as u64);
            let units = units_len(tail.filed - tail.first)..units_len(until - tail.first);
            scratch.clear();
            scratch.extend_from_slice(&tail.units[units]);
            let from = tail.filed;
            let times = tail.times.clone();
            // Dispatch must not wait for the file system.
            drop(tail);
            self.extend(home, from, scratch, &times)?;
            self.write(home, place, scratch)?;
            let mut tail = self.tail.lock();
            tail.filed = until;
            let done = units_from(until - from).min(tail.times.len());
            tail.times.drain(..done);
        }
        let mut tail = self.tail.lock();
        let active = std::mem::take(&mut tail.active);
        tail.trim(if active { KEPT_UNITS } else { 0 });
        if !active {
            tail.open = None;
            self.rest_ext();
        }
        Ok(active)
    }

    fn write(&self, home: &Home, place: Place, units: &[u8]) -> Result<(), StoreError> {
        let Home {
            files, file_bytes, ..
        } = home;
        let path = home.path(self, place.base);
        let file = match files.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let directory = home.directory(self);
                let made = files.create_directories(&directory, false);
                made.map_err(StoreError::io("create", &directory))?;
                let made = files.create(&path, *file_bytes, false);
                let file = made.map_err(StoreError::io("create", &path))?;
                // A new file whose first unit is not at its start is the first of a queue that
                // began later: the slots before it say that nothing is there.
                let blanks = Unit::BLANK.encode().repeat(units_in(place.at));
                if let Err(error) = file.write_at(&blanks, 0) {
                    // Without them it would be taken for a queue that begins there and is empty.
                    let _ = files.delete(&path);
                    return Err(StoreError::io("write", &path)(error));
                }
                file
            }
            opened => opened.map_err(StoreError::io("open", &path))?,
        };
        file.write_at(units, place.at)
            .map_err(StoreError::io("write", &path))
    }

    fn set_end(&self, end: u64) {
        let mut tail = self.tail.lock();
        *tail = Tail {
            first: end,
            filed: end,
            ..Tail::default()
        };
        self.visible.store(end, Ordering::SeqCst);
        self.next.store(end, Ordering::Relaxed);
        if end <= self.min_offset() {
            self.min.store(end, Ordering::Release);
            self.oldest.store(NO_RECORD, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
impl Queue {
    /// Units in memory, and whether a file is open.
    pub(crate) fn in_memory(&self) -> (usize, bool) {
        let tail = self.tail.lock();
        (tail.units.len() / UNIT_BYTES, tail.open.is_some())
    }
}

impl Tail {
    fn end(&self) -> u64 {
        self.first + (self.units.len() / UNIT_BYTES) as u64
    }

    /// The unit of message `offset` if it is in memory.
    fn unit(&self, offset: u64) -> Option<Unit> {
        let at = units_len(offset.checked_sub(self.first)?);
        Unit::decode(self.units.get(at..)?.first_chunk()?)
    }

    /// Drops units that are in a file, all but the last `keep`.
    fn trim(&mut self, keep: usize) {
        let filed = usize::try_from(self.filed - self.first).unwrap_or(usize::MAX);
        let drop = filed.saturating_sub(keep);
        if drop == 0 {
            return;
        }
        self.units.drain(..drop * UNIT_BYTES);
        self.units
            .shrink_to(self.units.len().max(keep * UNIT_BYTES));
        self.first += drop as u64;
    }
}

fn units_len(units: u64) -> usize {
    usize::try_from(units)
        .unwrap_or(usize::MAX)
        .saturating_mul(UNIT_BYTES)
}

fn units_from(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn units_in(bytes: u64) -> usize {
    usize::try_from(bytes / UNIT_BYTES as u64).unwrap_or(usize::MAX)
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max) = (self.min_offset(), self.max_offset());
        write!(f, "{}[{}] {min}..{max}", self.topic, self.id)
    }
}
