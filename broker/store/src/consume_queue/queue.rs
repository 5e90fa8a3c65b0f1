//! One queue: its next offset, the units not yet in its files, and its files.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::ext::Ext;
use super::unit::{QueueKind, Unit};
use crate::error::StoreError;
use crate::files::{FileSystem, NamedFile, file_name};
use crate::index::keys::TopicHash;
use crate::planted::{Fault, planted};

mod extended;
mod find;
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
///
/// Offsets count messages, indexes count units: the same but in a queue of [`QueueKind::Batch`].
pub struct Queue {
    topic: Arc<str>,
    topic_hash: TopicHash,
    id: u32,
    home: Arc<Home>,
    /// Offset of the next message; changes only under the log's append lock.
    next: AtomicU64,
    /// End of what consumers can see.
    visible: AtomicU64,
    /// Index of the oldest message's unit.
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
    tail: Mutex<Tail>,
    extra: Option<Box<Extra>>,
}

/// What few queues have.
pub(super) enum Extra {
    /// Its units lead to ext units, or will.
    Ext(Ext),
    /// Offset of the oldest message, in a queue where that is not the index of its unit. Changes with
    /// `min`.
    Batch(AtomicU64),
}

// There are tens of thousands of them.
const _: () = assert!(size_of::<Queue>() <= 168);

/// The units from index `first` on.
#[derive(Default)]
struct Tail {
    first: u64,
    units: Vec<u8>,
    /// Units below this index are in the files.
    filed: u64,
    /// Store times of the units from `filed` on, if ext units are written.
    times: Vec<i64>,
    /// The file read last, while the queue is in use. Idle queues are many: they carry no more than
    /// a pointer for it.
    open: Option<Arc<OpenFile>>,
    /// Used since the last write-out.
    active: bool,
    /// During recovery: there may be something behind the end in the files.
    littered: bool,
}

/// A file that starts at position `base` of the queue.
struct OpenFile {
    base: u64,
    file: NamedFile,
}

/// Where a unit is in the files.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) base: u64,
    pub(crate) at: u64,
}

/// Where all queues of a kind have their files.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) files: FileSystem,
    pub(crate) kind: QueueKind,
    pub(crate) directory: PathBuf,
    /// Bytes of each file.
    pub(crate) file_bytes: u64,
}

impl Home {
    pub(crate) fn place(&self, index: u64) -> Place {
        let position = index * self.unit_bytes();
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

    pub(crate) fn path(&self, queue: &Queue, base: u64) -> PathBuf {
        let mut path = self.directory(queue);
        path.push(file_name(base));
        path
    }

    /// Opens the file of `queue` that starts at `base`.
    pub(crate) fn open(&self, queue: &Queue, base: u64) -> Result<NamedFile, StoreError> {
        self.files.open(self.path(queue, base))
    }

    /// Start positions of the files of `queue`, as far as their names are positions.
    fn bases(&self, queue: &Queue) -> Result<Vec<u64>, StoreError> {
        let listed = self.files.list(&self.directory(queue))?;
        let bases = listed.iter().filter_map(|(name, _)| name.parse().ok());
        Ok(bases.collect())
    }

    pub(crate) fn unit_bytes(&self) -> u64 {
        self.kind.unit_bytes() as u64
    }
}

impl Queue {
    pub(crate) fn new(
        topic: Arc<str>,
        id: u32,
        home: Arc<Home>,
        homeless: bool,
        ext: Option<Ext>,
    ) -> Self {
        let extra = match home.kind {
            QueueKind::Simple => ext.map(Extra::Ext),
            QueueKind::Batch => Some(Extra::Batch(AtomicU64::new(0))),
        };
        Self {
            topic_hash: TopicHash::of(&topic),
            topic,
            id,
            home,
            next: AtomicU64::new(0),
            visible: AtomicU64::new(0),
            min: AtomicU64::new(0),
            oldest: AtomicU64::new(NO_RECORD),
            outdated: AtomicBool::new(false),
            watchers: AtomicU32::new(0),
            dirty: AtomicBool::new(false),
            deleted: AtomicBool::new(false),
            homeless,
            tail: Mutex::default(),
            extra: extra.map(Box::new),
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

    /// What its units are.
    pub fn kind(&self) -> QueueKind {
        self.home.kind
    }

    /// End of what consumers can see: the offset of the next message they will.
    pub fn max_offset(&self) -> u64 {
        self.visible.load(Ordering::SeqCst)
    }

    /// Offset of the oldest message.
    pub fn min_offset(&self) -> u64 {
        match self.extra.as_deref() {
            Some(Extra::Batch(min)) => min.load(Ordering::Acquire),
            _ => self.min_index(),
        }
    }

    /// Offset of the message with which a unit of the queue begins.
    fn offset(&self, index: u64, unit: &Unit) -> u64 {
        match self.home.kind {
            QueueKind::Simple => index,
            QueueKind::Batch => unit.base,
        }
    }

    fn min_index(&self) -> u64 {
        self.min.load(Ordering::Acquire)
    }

    /// The queue begins with message `offset`, whose unit has this index.
    fn set_min(&self, index: u64, offset: u64) {
        if let Some(Extra::Batch(min)) = self.extra.as_deref() {
            min.store(offset, Ordering::Release);
        }
        self.min.store(index, Ordering::Release);
    }

    /// Index behind the last unit.
    fn end(&self) -> u64 {
        self.tail.lock().end(self.home.kind)
    }

    fn ext(&self) -> Option<&Ext> {
        match self.extra.as_deref() {
            Some(Extra::Ext(ext)) => Some(ext),
            _ => None,
        }
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

    /// Offset for the next record, which takes as many as it has messages that consumers see; under
    /// the append lock.
    pub(crate) fn take_next(&self, messages: u32) -> u64 {
        if messages == 0 {
            return 0;
        }
        let next = self.next.load(Ordering::Relaxed);
        self.next
            .store(next + u64::from(messages), Ordering::Relaxed);
        next
    }

    /// Undoes a [`Self::take_next`]; under the append lock.
    pub(crate) fn give_back(&self, messages: u32) {
        self.next.fetch_sub(u64::from(messages), Ordering::Relaxed);
    }

    /// Adds a unit, unless it is there already. True when it was added.
    /// Called by whoever dispatches, one thread at a time.
    pub(crate) fn push(&self, unit: Unit) -> bool {
        let offset = unit.base;
        let mut tail = self.tail.lock();
        let next = self.visible.load(Ordering::Relaxed);
        // A crash may have left a queue's second file and lost its first: a queue without messages
        // begins where its first one says.
        let empty = tail.units.is_empty()
            && self.min_offset() == next
            && self.home.kind == QueueKind::Simple
            && !planted(Fault::LostFirstFileKept);
        if offset < next && !empty {
            return false;
        }
        if next == 0 || offset < next {
            if self.home.kind == QueueKind::Simple {
                (tail.first, tail.filed) = (offset, offset);
            }
        } else if offset - next > MAX_HOLE_UNITS {
            tracing::error!(queue = ?self, offset, "a record names an offset far beyond the queue");
            return false;
        } else if self.home.kind == QueueKind::Simple {
            // Units lost with a damaged file stay blank, so that an index is a message's offset.
            for _ in next..offset {
                self.home.kind.encode(&Unit::BLANK, &mut tail.units);
            }
        }
        let index = tail.end(self.home.kind);
        if self.oldest.load(Ordering::Relaxed) == NO_RECORD {
            self.oldest.store(unit.physical_offset, Ordering::Relaxed);
            self.set_min(index, offset);
        }
        self.home.kind.encode(&unit, &mut tail.units);
        if self.writes_ext() {
            let unfiled = units_from(index + 1 - tail.filed);
            tail.times.resize(unfiled - 1, 0);
            tail.times.push(unit.store_timestamp);
        }
        tail.active = true;
        // While the tail is locked: whoever has read the unit finds that the queue ends behind it, or the message it
        // asks for next would seem to lie far beyond the queue.
        self.visible.store(unit.next(), Ordering::SeqCst);
        true
    }

    /// The next message gets the offset behind the last one there is. After recovery, before
    /// anything is appended.
    pub(crate) fn settle(&self) {
        if !planted(Fault::NextOffsetForgotten) {
            self.next.store(self.max_offset(), Ordering::Relaxed);
        }
        self.tail.lock().trim(self.home.kind, 0);
    }

    /// Units below this index are in files.
    pub(super) fn filed(&self) -> u64 {
        self.tail.lock().filed
    }

    /// True the first time since the last write-out: the caller puts the queue on the list.
    pub(super) fn become_dirty(&self) -> bool {
        !self.dirty.load(Ordering::Relaxed) && !self.dirty.swap(true, Ordering::Relaxed)
    }

    /// Reads the units from the one with message `from` on, at most `count`, fewer at the end of the
    /// queue, of a file or of what is in files. `out` is replaced. True when a file was read, which
    /// then stays open until a write-out finds the queue idle.
    pub(crate) fn read(
        &self,
        from: u64,
        count: usize,
        out: &mut Vec<Unit>,
    ) -> Result<bool, StoreError> {
        let index = match self.home.kind {
            QueueKind::Simple => from,
            QueueKind::Batch => self.index_of(from)?,
        };
        self.read_units(index, count, out)
    }

    /// As [`Self::read`], from an index on.
    pub(crate) fn read_units(
        &self,
        from: u64,
        count: usize,
        out: &mut Vec<Unit>,
    ) -> Result<bool, StoreError> {
        out.clear();
        let mut tail = self.tail.lock();
        let left = units_from(tail.end(self.home.kind).saturating_sub(from));
        let count = left.min(count);
        if from >= tail.first {
            let at = self.units_len(from - tail.first);
            let units = tail.units.get(at..).unwrap_or_default();
            out.extend(self.home.kind.units(units, from).take(count).flatten());
            return Ok(false);
        }
        let place = self.home.place(from);
        let in_file = (self.home.file_bytes - place.at) / self.home.unit_bytes();
        let readable = in_file.min(tail.first - from);
        let count = units_from(readable).min(count);
        tail.active = true;
        let open = match &tail.open {
            Some(open) if open.base == place.base => Some(Arc::clone(open)),
            _ => None,
        };
        drop(tail);
        let open = match open {
            Some(open) => open,
            None => self.open_to_read(place.base)?,
        };
        let mut raw = vec![0; count * self.home.kind.unit_bytes()];
        open.file.read_at(&mut raw, place.at)?;
        out.extend(self.home.kind.units(&raw, from).map_while(|unit| unit));
        if let Some(ext) = self.ext() {
            ext.resolve(&self.home.files, out)?;
        }
        Ok(true)
    }

    /// Where to go on reading when there is no unit with message `offset`: behind the file that should
    /// have it, if that says anything.
    pub(crate) fn next_file_start(&self, offset: u64) -> u64 {
        let per_file = self.home.file_bytes / self.home.unit_bytes();
        match self.home.kind {
            QueueKind::Simple => (offset / per_file + 1) * per_file,
            QueueKind::Batch => offset,
        }
    }

    /// Opens a file and keeps it open while the queue is in use.
    fn open_to_read(&self, base: u64) -> Result<Arc<OpenFile>, StoreError> {
        let file = self.home.open(self, base)?;
        let open = Arc::new(OpenFile { base, file });
        self.tail.lock().open = Some(Arc::clone(&open));
        Ok(open)
    }

    /// Hands the units that are in no file to the file system. A queue that was not used since
    /// the last call gives back memory and file. True when it wants to be called again.
    /// Called by one thread at a time.
    pub(super) fn write_out(&self, scratch: &mut Vec<u8>) -> Result<bool, StoreError> {
        self.dirty.store(false, Ordering::Relaxed);
        if self.is_deleted() || self.homeless {
            return Ok(false);
        }
        loop {
            let tail = self.tail.lock();
            let end = tail.end(self.home.kind);
            if tail.filed == end {
                break;
            }
            let place = self.home.place(tail.filed);
            let until = end.min((place.base + self.home.file_bytes) / self.home.unit_bytes());
            let units = self.units_len(tail.filed - tail.first)..self.units_len(until - tail.first);
            scratch.clear();
            scratch.extend_from_slice(&tail.units[units]);
            let from = tail.filed;
            let times = tail.times.clone();
            // Dispatch must not wait for the file system.
            drop(tail);
            self.extend(from, scratch, &times)?;
            self.write(place, scratch)?;
            let mut tail = self.tail.lock();
            tail.filed = until;
            let done = units_from(until - from).min(tail.times.len());
            tail.times.drain(..done);
        }
        let mut tail = self.tail.lock();
        let active = std::mem::take(&mut tail.active);
        tail.trim(self.home.kind, if active { KEPT_UNITS } else { 0 });
        drop(tail);
        if !active {
            self.rest();
        }
        Ok(active)
    }

    /// Gives back what reading keeps open.
    pub(crate) fn rest(&self) {
        self.tail.lock().open = None;
        if let Some(ext) = self.ext() {
            ext.rest();
        }
    }

    fn write(&self, place: Place, units: &[u8]) -> Result<(), StoreError> {
        let Home {
            files, file_bytes, ..
        } = &*self.home;
        let path = self.home.path(self, place.base);
        if let Some(file) = files.open_if_there(path.clone())? {
            return file.write_at(units, place.at);
        }
        files.create_directories(&self.home.directory(self), false)?;
        let file = files.create(path, *file_bytes, false)?;
        // A new file whose first unit is not at its start is the first of a queue that began later:
        // the slots before it say that nothing is there.
        let mut blanks = Vec::new();
        for _ in 0..place.at / self.home.unit_bytes() {
            self.home.kind.encode(&Unit::BLANK, &mut blanks);
        }
        if let Err(error) = file.write_at(&blanks, 0) {
            // Without them it would be taken for a queue that begins there and is empty.
            let _ = files.delete(&file.path);
            return Err(error);
        }
        file.write_at(units, place.at)
    }

    fn units_len(&self, units: u64) -> usize {
        units_from(units).saturating_mul(self.home.kind.unit_bytes())
    }
}

#[cfg(test)]
impl Queue {
    /// Units in memory, and whether a file is open.
    pub(crate) fn in_memory(&self) -> (usize, bool) {
        let tail = self.tail.lock();
        (units_in(&tail.units, self.home.kind), tail.open.is_some())
    }
}

impl Tail {
    fn end(&self, kind: QueueKind) -> u64 {
        self.first + units_in(&self.units, kind) as u64
    }

    /// The unit with this index if it is in memory.
    fn unit(&self, kind: QueueKind, index: u64) -> Option<Unit> {
        let at = units_from(index.checked_sub(self.first)?).saturating_mul(kind.unit_bytes());
        kind.decode(self.units.get(at..)?, index)
    }

    /// Drops units that are in a file, all but the last `keep`.
    fn trim(&mut self, kind: QueueKind, keep: usize) {
        let drop = units_from(self.filed - self.first).saturating_sub(keep);
        if drop == 0 {
            return;
        }
        self.units.drain(..drop * kind.unit_bytes());
        self.units
            .shrink_to(self.units.len().max(keep * kind.unit_bytes()));
        self.first += drop as u64;
    }
}

fn units_in(units: &[u8], kind: QueueKind) -> usize {
    match kind {
        // A division by a constant is a multiplication.
        QueueKind::Simple => units.len() / QueueKind::Simple.unit_bytes(),
        QueueKind::Batch => units.len() / QueueKind::Batch.unit_bytes(),
    }
}

fn units_from(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max) = (self.min_offset(), self.max_offset());
        write!(f, "{}[{}] {min}..{max}", self.topic, self.id)
    }
}
