//! One index file: adding entries, following the chain of a slot, making its slots again.

use std::ops::{ControlFlow, RangeInclusive};
use std::path::PathBuf;
use std::sync::Arc;

use super::layout::{ENTRY_BYTES, Entry, HEADER_BYTES, Header, Key, Shape};
use crate::error::StoreError;
use crate::files::{FileSystem, NamedFile};

/// Slots are read and written by pages of the system's cache.
const PAGE_BYTES: u64 = 4096;
/// Bytes read at once when all entries are looked at.
const PIECE_BYTES: usize = 50_000 * ENTRY_BYTES;
/// Entries a query looks at in one go.
const WALK_ENTRIES: usize = 1000;
/// An entry tells its time in seconds.
const SECOND_MS: i64 = 1000;

/// A file, and what its header says.
#[derive(Debug)]
pub(super) struct IndexFile {
    pub(super) name: u64,
    pub(super) path: PathBuf,
    pub(super) header: Header,
    pub(super) shape: Shape,
    /// Only the newest file is held open.
    pub(super) open: Option<Arc<NamedFile>>,
    /// Writing failed half-way or a crash may have torn it: slots may lead anywhere, `header` and the entries below its
    /// end are right.
    pub(super) torn: bool,
}

/// Memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Slot and place in the batch of each key.
    order: Vec<u64>,
    entries: Vec<u8>,
    page: Vec<u8>,
}

impl Scratch {
    /// Gives back memory that `keys` keys do not need.
    pub(super) fn shrink_to(&mut self, keys: usize) {
        self.order.clear();
        self.entries.clear();
        self.order.shrink_to(keys);
        self.entries.shrink_to(keys * ENTRY_BYTES);
    }
}

/// How far a query has followed the chain of a slot.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// The next entry; `None` before the first.
    next: Option<u32>,
}

/// How a part of a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walked {
    /// The chain goes on.
    More,
    /// At the end of the chain.
    End,
    /// The visitor has enough.
    Enough,
}

/// Keys wanted from a file.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) hash: i32,
    /// Store times in milliseconds.
    pub(crate) times: RangeInclusive<i64>,
}

impl Wanted {
    /// Whether an entry of this time, given up to a second too early, can be meant.
    fn may_be_at(&self, time: i64) -> bool {
        time <= *self.times.end() && !self.is_before(time)
    }

    fn is_before(&self, time: i64) -> bool {
        time.saturating_add(SECOND_MS) <= *self.times.start()
    }
}

pub(super) fn file_name(name: u64) -> String {
    format!("{name:017}")
}

impl IndexFile {
    /// The file to read or write. Opened for this once if it is not held open.
    pub(super) fn handle(&self, files: &FileSystem) -> Result<Arc<NamedFile>, StoreError> {
        match &self.open {
            Some(file) => Ok(Arc::clone(file)),
            None => files.open(self.path.clone()).map(Arc::new),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.header.is_full(self.shape)
    }

    /// Adds the first of `keys`, as many as there is room for, and says how many. After an error the file is torn and
    /// holds none of them.
    pub(super) fn append(
        &mut self,
        files: &FileSystem,
        keys: &[Key],
        scratch: &mut Scratch,
    ) -> Result<usize, StoreError> {
        let first = self.header.next;
        let room = usize::try_from(self.shape.entries.saturating_sub(first)).unwrap_or(usize::MAX);
        let keys = &keys[..keys.len().min(room)];
        let file = self.handle(files)?;
        self.torn = true;
        let mut header = self.header;
        scratch.order.clear();
        scratch.entries.clear();
        for (at, key) in keys.iter().enumerate() {
            let slot = u64::from(self.shape.slot_of(key.hash));
            scratch.order.push(slot << 32 | at as u64);
            let entry = header.add(key).encode();
            scratch.entries.extend_from_slice(&entry);
        }
        scratch.order.sort_unstable();
        header.used_slots += self.link(&file, first, scratch)?;
        file.write_at(&scratch.entries, self.shape.entry_at(first))?;
        file.write_at(&header.encode(), 0)?;
        self.header = header;
        self.torn = false;
        Ok(keys.len())
    }

    /// Puts the numbers of new entries into their slots, and what stood there into the entries. Returns how many slots
    /// were empty. `first` is the number of the first new entry.
    fn link(&self, file: &NamedFile, first: u32, scratch: &mut Scratch) -> Result<u32, StoreError> {
        let place = |order: &u64| Shape::slot_at(low_half(order >> 32));
        let mut newly_used = 0;
        let (order, entries, page) = (&scratch.order, &mut scratch.entries, &mut scratch.page);
        for group in
            order.chunk_by(|one, other| place(one) / PAGE_BYTES == place(other) / PAGE_BYTES)
        {
            let page_at = group.first().map_or(0, place) / PAGE_BYTES * PAGE_BYTES;
            let from = page_at.max(HEADER_BYTES as u64);
            let to = (page_at + PAGE_BYTES).min(self.shape.entry_at(0));
            page.resize(usize::try_from(to - from).unwrap_or(0), 0);
            file.read_at(page, from)?;
            for order in group {
                let number = first + low_half(order & u64::from(u32::MAX));
                let at = usize::try_from(place(order) - from).unwrap_or(0);
                let Some(slot) = page[at..].first_chunk_mut::<4>() else {
                    continue;
                };
                let previous = match u32::from_be_bytes(*slot) {
                    newest if newest < number => newest,
                    _ => 0,
                };
                newly_used += u32::from(previous == 0);
                *slot = number.to_be_bytes();
                let at = usize::try_from(number - first).unwrap_or(0) * ENTRY_BYTES + 16;
                entries[at..at + 4].copy_from_slice(&previous.to_be_bytes());
            }
            file.write_at(page, from)?;
        }
        Ok(newly_used)
    }

    /// Whether it can hold entries of these times.
    pub(super) fn overlaps(&self, times: &RangeInclusive<i64>) -> bool {
        self.header.begin_timestamp <= *times.end() && self.header.end_timestamp >= *times.start()
    }

    /// Visits the offsets of wanted entries, newest first, for a while. What it has seen of a chain stays as it is, so
    /// the file may be written before the walk goes on.
    pub(super) fn find(
        &self,
        files: &FileSystem,
        wanted: &Wanted,
        walk: &mut Walk,
        visit: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Walked, StoreError> {
        let file = self.handle(files)?;
        let mut number = if let Some(next) = walk.next {
            next
        } else {
            let mut slot = [0; 4];
            let slot_at = Shape::slot_at(self.shape.slot_of(wanted.hash));
            file.read_at(&mut slot, slot_at)?;
            u32::from_be_bytes(slot)
        };
        let mut limit = self.header.next;
        for _ in 0..WALK_ENTRIES {
            // A chain leads to ever smaller numbers, whatever stands in a damaged file.
            if !(1..limit).contains(&number) {
                return Ok(Walked::End);
            }
            let entry = self.entry(&file, number)?;
            let time = self.header.time_of(number, &entry);
            if entry.hash == wanted.hash && wanted.may_be_at(time) && visit(entry.offset).is_break()
            {
                return Ok(Walked::Enough);
            }
            if entry.seconds < 0 || wanted.is_before(time) || entry.previous >= number {
                return Ok(Walked::End);
            }
            (limit, number) = (number, entry.previous);
        }
        walk.next = Some(number);
        Ok(Walked::More)
    }

    fn entry(&self, file: &NamedFile, number: u32) -> Result<Entry, StoreError> {
        let mut bytes = [0; ENTRY_BYTES];
        file.read_at(&mut bytes, self.shape.entry_at(number))?;
        Ok(Entry::decode(&bytes))
    }

    /// How many of the last entries belong to the newest record.
    pub(super) fn entries_of_newest(&self, files: &FileSystem) -> Result<u32, StoreError> {
        let file = self.handle(files)?;
        let mut count = 0;
        for number in (1..self.header.next).rev() {
            if self.entry(&file, number)?.offset != self.header.end_offset {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    /// Makes the slots of a torn file from its entries, in one pass over them, and writes the header. False when the
    /// entries are not what the header says: then the file is of no use.
    pub(super) fn repair(&mut self, files: &FileSystem) -> Result<bool, StoreError> {
        let file = self.handle(files)?;
        let Some(slots) = self.slots_of_entries(&file)? else {
            return Ok(false);
        };
        let (start, end) = (Shape::slot_at(0), Shape::slot_at(self.shape.slots));
        // Where there is nothing the file stays as thin as a new one.
        file.zero(start, end, false)?;
        let per_page = usize::try_from(PAGE_BYTES / 4).unwrap_or(1);
        let mut at = start;
        for page in slots.chunks(per_page) {
            let bytes: Vec<u8> = page.iter().flat_map(|slot| slot.to_be_bytes()).collect();
            if page.iter().any(|slot| *slot != 0) {
                file.write_at(&bytes, at)?;
            }
            at += bytes.len() as u64;
        }
        file.write_at(&self.header.encode(), 0)?;
        self.torn = false;
        Ok(true)
    }

    /// The newest entry of each slot; `None` when entries contradict each other or the header.
    fn slots_of_entries(&self, file: &NamedFile) -> Result<Option<Vec<u32>>, StoreError> {
        let header = &self.header;
        let mut slots = vec![0_u32; usize::try_from(self.shape.slots).unwrap_or(0)];
        let (mut number, mut used, mut last) = (1, 0, header.begin_offset);
        let mut piece = Vec::new();
        while number < header.next {
            let left = usize::try_from(header.next - number).unwrap_or(0);
            piece.resize(PIECE_BYTES.min(left.saturating_mul(ENTRY_BYTES)), 0);
            file.read_at(&mut piece, self.shape.entry_at(number))?;
            for bytes in piece.as_chunks().0 {
                let entry = Entry::decode(bytes);
                let slot = usize::try_from(self.shape.slot_of(entry.hash)).unwrap_or(0);
                let in_order = (last..=header.end_offset).contains(&entry.offset);
                if entry.hash < 0 || slots[slot] != entry.previous || !in_order {
                    return Ok(None);
                }
                used += u32::from(slots[slot] == 0);
                slots[slot] = number;
                (last, number) = (entry.offset, number + 1);
            }
        }
        let ends = last == header.end_offset && used == header.used_slots;
        Ok(ends.then_some(slots))
    }
}

fn low_half(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(0)
}
