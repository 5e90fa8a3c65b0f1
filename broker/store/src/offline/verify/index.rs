//! The key index held against the log: slots, chains, and every entry's record.
//!
//! Entries stand in the order of their records. So one pass over the log beside them tells both
//! which entries name no record with that key, and which keys have no entry.

use std::path::Path;

use common::message::record::RecordView;

use super::super::OfflineStore;
use super::super::index::IndexFile;
use super::super::reader::RecordReader;
use super::super::walk::{Judged, Progress};
use super::super::window::{PIECE_BYTES, Window};
use super::report::{Finding, Findings, Part};
use crate::error::StoreError;
use crate::index::keys::{Keys, TopicHash, is_indexed};
use crate::index::{ENTRY_BYTES, Entry, Shape};

/// Checks all index files. Returns the number of records behind the newest entry that have keys.
pub(super) fn check(
    store: &OfflineStore,
    slots: Option<u32>,
    end: u64,
    progress: &Progress,
    findings: &mut Findings,
) -> Result<u64, StoreError> {
    let Some(first) = store.indexes.iter().find(|file| file.entries() > 0) else {
        return Ok(0);
    };
    let mut merge = Merge {
        store,
        reader: RecordReader::without_crc(store),
        at: first.offsets().0.max(store.log_start()),
        end,
        group: None,
        hashes: Vec::new(),
        mended: false,
        lost: false,
        progress,
        told: store.log_start(),
        findings,
    };
    let shape = store.index_shape(slots);
    for (at, file) in store.indexes.iter().enumerate() {
        if progress.is_stopped() {
            return Ok(0);
        }
        // Only the newest can have been written to when the store was left.
        let newest = at + 1 == store.indexes.len();
        merge.mended = newest && !store.state.is_clean();
        check_file(file, shape, newest && store.state.live, &mut merge)?;
    }
    merge.close_group()?;
    merge.count_behind()
}

fn check_file(
    file: &IndexFile,
    shape: Option<(u32, u32)>,
    moving: bool,
    merge: &mut Merge<'_>,
) -> Result<(), StoreError> {
    let shape = shape.map(|(slots, entries)| Shape { slots, entries });
    let Some(shape) = shape.filter(|shape| shape.file_bytes() == file.bytes) else {
        let problem = match shape {
            Some(shape) => format!("{} bytes, {} are right", file.bytes, shape.file_bytes()),
            None => format!(
                "{} bytes: the number of its slots has to be told",
                file.bytes
            ),
        };
        merge.say(&file.path, 0, problem);
        merge.lost = true;
        return Ok(());
    };
    let header = file.header;
    if header.next > shape.entries || header.used_slots > shape.slots {
        let problem = format!(
            "the header says entry {} is next and {} slots are used, the file has {} and {}",
            header.next, header.used_slots, shape.entries, shape.slots
        );
        merge.say(&file.path, 32, problem);
        merge.lost = true;
        return Ok(());
    }
    let mut heads = vec![0_u32; usize::try_from(shape.slots).unwrap_or(0)];
    let mut window = Window::open(&file.path, file.bytes, PIECE_BYTES)?;
    let mut offsets: Option<(u64, u64)> = None;
    for number in 1..header.next {
        let at = shape.entry_at(number);
        let Some(bytes) = window.at(at, ENTRY_BYTES)?.first_chunk().copied() else {
            break;
        };
        let entry = Entry::decode(&bytes);
        let slot = usize::try_from(shape.slot_of(entry.hash)).unwrap_or(0);
        if let Some(problem) = wrong(&entry, number, heads[slot], offsets) {
            merge.say(&file.path, at, problem);
        }
        heads[slot] = number;
        let first = offsets.map_or(entry.offset, |(first, _)| first);
        offsets = Some((first, entry.offset));
        merge.entry(&entry, &file.path, at)?;
    }
    if let Some((first, last)) = offsets
        && (first, last) != file.offsets()
    {
        let (begin, end) = file.offsets();
        let problem = format!(
            "the header says records {begin} to {end}, the entries are of {first} to {last}"
        );
        merge.say(&file.path, 16, problem);
    }
    if moving {
        return Ok(());
    }
    check_slots(file, shape, &heads, &mut window, merge)
}

fn wrong(entry: &Entry, number: u32, head: u32, offsets: Option<(u64, u64)>) -> Option<String> {
    if entry.hash < 0 {
        return Some(format!(
            "entry {number} has the hash {}, 0 or more is right",
            entry.hash
        ));
    }
    if entry.previous != head {
        return Some(format!(
            "entry {number} follows entry {} of its slot, {head} is right",
            entry.previous
        ));
    }
    let (_, last) = offsets.filter(|(_, last)| entry.offset < *last)?;
    Some(format!(
        "entry {number} is of the record at {}, the one before it of that at {last}",
        entry.offset
    ))
}

fn check_slots(
    file: &IndexFile,
    shape: Shape,
    heads: &[u32],
    window: &mut Window,
    merge: &mut Merge<'_>,
) -> Result<(), StoreError> {
    let used = heads.iter().filter(|head| **head > 0).count();
    if u32::try_from(used) != Ok(file.header.used_slots) {
        let problem = format!(
            "the header says {} slots are used, {used} are",
            file.header.used_slots
        );
        merge.say(&file.path, 32, problem);
    }
    for (slot, head) in (0..shape.slots).zip(heads) {
        let at = Shape::slot_at(slot);
        let Some(bytes) = window.at(at, 4)?.first_chunk() else {
            break;
        };
        let said = u32::from_be_bytes(*bytes);
        if said != *head {
            let problem = format!("slot {slot} begins with entry {said}, {head} is right");
            merge.say(&file.path, at, problem);
        }
    }
    Ok(())
}

/// The log beside the entries.
struct Merge<'a> {
    store: &'a OfflineStore,
    reader: RecordReader<'a>,
    /// Everything below has been looked at.
    at: u64,
    /// End of the log.
    end: u64,
    /// The record the last entries are of, and the last entry's place.
    group: Option<(u64, std::path::PathBuf, u64)>,
    /// Their hashes.
    hashes: Vec<i32>,
    /// What is found now the next start mends.
    mended: bool,
    /// A file could not be read: nobody knows which records it is about.
    lost: bool,
    progress: &'a Progress,
    /// The progress that was told.
    told: u64,
    findings: &'a mut Findings,
}

impl Merge<'_> {
    fn say(&mut self, path: &Path, at: u64, problem: String) {
        let mut finding = Finding::new(Part::Index, path.to_owned(), at, problem);
        finding.mended = self.mended;
        self.findings.add(finding);
    }

    fn entry(&mut self, entry: &Entry, path: &Path, at: u64) -> Result<(), StoreError> {
        match &mut self.group {
            Some((offset, _, place)) if *offset == entry.offset => *place = at,
            _ => {
                self.close_group()?;
                self.group = Some((entry.offset, path.to_owned(), at));
            }
        }
        self.hashes.push(entry.hash);
        Ok(())
    }

    /// All entries of one record are known.
    fn close_group(&mut self) -> Result<(), StoreError> {
        let Some((offset, path, place)) = self.group.take() else {
            return Ok(());
        };
        let hashes = std::mem::take(&mut self.hashes);
        if offset < self.store.log_start() {
            return Ok(());
        }
        if offset >= self.end {
            // A living broker goes on.
            if !self.store.state.live {
                let end = self.end;
                let problem = format!("an entry of a record at {offset}, the log ends at {end}");
                self.say(&path, place, problem);
            }
            return Ok(());
        }
        self.skip_to(offset)?;
        let (Some(keys), Some(next)) = self.look(offset)? else {
            let problem = format!("an entry of a record at {offset}, where none stands");
            self.say(&path, place, problem);
            return Ok(());
        };
        self.at = next;
        let passed = self.at.saturating_sub(self.told);
        if passed >= PIECE_BYTES as u64 {
            self.progress.add(passed);
            self.told = self.at;
        }
        if let Some(other) = hashes.iter().find(|hash| !keys.contains(hash)) {
            self.say(&path, place, format!("an entry of the record at {offset} with the hash {other}, which none of its keys has"));
        }
        let missing = keys.iter().filter(|key| !hashes.contains(key)).count();
        if missing > 0 {
            let all = keys.len();
            let problem =
                format!("{missing} of {all} keys of the record at {offset} have no entry");
            self.say(&path, place, problem);
        }
        Ok(())
    }

    /// Goes on to `offset`; the records before that have no entry.
    fn skip_to(&mut self, offset: u64) -> Result<(), StoreError> {
        if std::mem::take(&mut self.lost) {
            self.at = offset;
        }
        while self.at < offset {
            let (keys, next) = self.look(self.at)?;
            if let Some(segment) = self.store.segment_of(self.at)
                && keys.is_some_and(|keys| !keys.is_empty())
            {
                let problem = "no entry of the key index for this record's keys".to_owned();
                let mut finding = Finding::record(segment, self.at, problem);
                (finding.part, finding.mended) = (Part::Index, self.mended);
                self.findings.add(finding);
            }
            // Damage has been found already.
            self.at = next.unwrap_or(offset);
        }
        self.at = self.at.max(offset);
        Ok(())
    }

    fn count_behind(mut self) -> Result<u64, StoreError> {
        let mut behind = 0;
        while self.at < self.end && !self.lost {
            let (keys, next) = self.look(self.at)?;
            behind += u64::from(keys.is_some_and(|keys| !keys.is_empty()));
            let Some(next) = next else { break };
            self.at = next;
        }
        Ok(behind)
    }

    /// The hashes of the keys of the record at a position of the log, and where the next one begins.
    fn look(&mut self, at: u64) -> Result<(Option<Vec<i32>>, Option<u64>), StoreError> {
        Ok(match self.reader.read(at)? {
            Judged::Record(record) => {
                let next = at + u64::from(record.total_size);
                (Some(hashes_of(&record)), Some(next))
            }
            Judged::Blank => (None, self.store.segment_of(at).map(super::Segment::end)),
            _ => (None, None),
        })
    }
}

fn hashes_of(record: &RecordView<'_>) -> Vec<i32> {
    if !is_indexed(record.sys_flag) {
        return Vec::new();
    }
    let properties = record.properties_text();
    Keys::of(&properties)
        .hashes(TopicHash::of(&record.topic_text()))
        .collect()
}
