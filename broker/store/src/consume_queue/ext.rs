//! `ConsumeQueueExt`: what of a message does not fit into its queue's unit.
//!
//! A unit of such a queue has, in place of its tags code, the address of an ext unit:
//! `size(2) tagsCode(8) storeTimestamp(8) bitMapSize(2) bitMap`, big-endian. Units follow each other
//! in files of a fixed size; behind the last one of a file stands the size −1.
//!
//! Units are written together with those of their queue. What stands behind the last one that a
//! queue's unit leads to counts for nothing.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _};
use parking_lot::Mutex;

use super::unit::{TAGS_CODE_AT, UNIT_BYTES, Unit};
use crate::error::StoreError;
use crate::files::{FileKind, FileSystem, NamedFile, file_name};

/// Bytes of a unit without a bitmap, which is all that is written.
pub(crate) const EXT_UNIT_BYTES: usize = 20;
const _: () = assert!(EXT_UNIT_BYTES == 2 + 8 + 8 + 2);
/// Room that is left for the mark of a file's end.
const END_BYTES: u64 = 4;
const END_MARK: [u8; 2] = (-1_i16).to_be_bytes();
/// A file holds at least one unit.
pub(crate) const MIN_FILE_BYTES: u64 = EXT_UNIT_BYTES as u64 + END_BYTES;
/// Hashes of tags are 32-bit numbers, and times are positive: everything below is an address.
const LARGEST_ADDRESS: i64 = i32::MIN as i64 - 1;

/// Read at once for each unit that is looked up: a unit with a usual bitmap.
const READ_BYTES: usize = 40;

/// Whether a tags code is the address of an ext unit.
pub(crate) fn is_address(tags_code: i64) -> bool {
    tags_code <= LARGEST_ADDRESS
}

/// Where in the files the unit of an address is.
pub(crate) fn position(tags_code: i64) -> Option<u64> {
    if !is_address(tags_code) {
        return None;
    }
    u64::try_from(tags_code.wrapping_sub(i64::MIN)).ok()
}

fn address(position: u64) -> i64 {
    i64::MIN.saturating_add_unsigned(position)
}

/// The ext files of one queue.
#[derive(Debug)]
pub(crate) struct Ext {
    directory: PathBuf,
    file_bytes: u64,
    /// Whether new units of the queue get one here.
    pub(super) writes: bool,
    /// Where the next unit goes; `None` until that is known.
    end: Mutex<Option<u64>>,
    /// The file read last.
    open: Mutex<Option<(u64, Arc<NamedFile>)>>,
}

impl Ext {
    pub(crate) fn new(directory: PathBuf, file_bytes: u64, writes: bool) -> Self {
        Self {
            directory,
            file_bytes,
            writes,
            end: Mutex::default(),
            open: Mutex::default(),
        }
    }

    fn path(&self, base: u64) -> PathBuf {
        self.directory.join(file_name(base))
    }

    fn base(&self, position: u64) -> u64 {
        position - position % self.file_bytes
    }

    /// Start positions of the files, checked.
    pub(super) fn files_there(&self, files: &FileSystem) -> Result<Vec<u64>, StoreError> {
        let mut listed = files.list(&self.directory)?;
        // Created, but not synced before a crash.
        for (name, _) in listed.extract_if(.., |(_, bytes)| *bytes == 0) {
            files.delete_if_there(&self.directory.join(name))?;
        }
        let kind = FileKind {
            name: "ConsumeQueueExt",
            size_key: "mappedFileSizeConsumeQueueExt",
            bytes: self.file_bytes,
        };
        kind.positions(&self.directory, &listed)
    }

    /// Puts the address of an ext unit with the tags code and the store time into each of `units`.
    /// `last_address` finds that of the newest unit in the queue's files; it is asked once, and
    /// whatever stands behind it is wiped. Called by one thread at a time.
    pub(super) fn append(
        &self,
        files: &FileSystem,
        units: &mut [u8],
        times: &[i64],
        last_address: impl FnOnce() -> Result<Option<i64>, StoreError>,
    ) -> Result<(), StoreError> {
        let known = *self.end.lock();
        let mut end = match known {
            Some(end) => end,
            None => self.find_end(files, last_address()?)?,
        };
        let mut units = units
            .as_chunks_mut::<UNIT_BYTES>()
            .0
            .iter_mut()
            .zip(times)
            .peekable();
        let mut bytes = Vec::new();
        while units.peek().is_some() {
            let (base, start) = (self.base(end), end);
            bytes.clear();
            while self.fits(end)
                && let Some((unit, time)) = units.next()
            {
                let code = &mut unit[TAGS_CODE_AT..];
                bytes.put_i16(20);
                bytes.extend_from_slice(code);
                bytes.put_i64(*time);
                bytes.put_u16(0);
                code.copy_from_slice(&address(end).to_be_bytes());
                end += EXT_UNIT_BYTES as u64;
            }
            if !self.fits(end) {
                bytes.extend_from_slice(&END_MARK);
                end = base + self.file_bytes;
            }
            let file = self.open_or_create(files, base)?;
            file.write_at(&bytes, start - base)?;
        }
        *self.end.lock() = Some(end);
        Ok(())
    }

    /// Whether one more unit has room in the file that holds `end`.
    fn fits(&self, end: u64) -> bool {
        self.base(end) + self.file_bytes - end >= MIN_FILE_BYTES
    }

    fn open_or_create(&self, files: &FileSystem, base: u64) -> Result<NamedFile, StoreError> {
        if let Some(file) = files.open_if_there(self.path(base))? {
            return Ok(file);
        }
        files.create_directories(&self.directory, false)?;
        files.create(self.path(base), self.file_bytes, false)
    }

    /// The position behind the unit at `last`, with nothing behind it.
    fn find_end(&self, files: &FileSystem, last: Option<i64>) -> Result<u64, StoreError> {
        let mut end = 0;
        if let Some(at) = last.and_then(position) {
            let bytes = self.read(files, at, EXT_UNIT_BYTES)?;
            let size = bytes
                .first_chunk()
                .map_or(0, |size| i16::from_be_bytes(*size));
            // A unit that is not there still has its address taken.
            end = at + u64::try_from(size).unwrap_or(0).max(EXT_UNIT_BYTES as u64);
        }
        for base in self.files_there(files)? {
            let path = self.path(base);
            if base >= end {
                files.delete_if_there(&path)?;
            } else if end < base + self.file_bytes {
                let file = files.open(path)?;
                file.zero(end - base, self.file_bytes, false)?;
            }
        }
        Ok(end)
    }

    /// Puts the tags codes into `units` that have addresses. An address that leads to nothing stays.
    pub(super) fn resolve(&self, files: &FileSystem, units: &mut [Unit]) -> Result<(), StoreError> {
        let (mut from, mut bytes) = (0, Vec::new());
        let mut left = units.len();
        for unit in units {
            if let Some(at) = position(unit.tags_code) {
                let ahead = usize::try_from(at.wrapping_sub(from)).unwrap_or(usize::MAX);
                if ahead.saturating_add(EXT_UNIT_BYTES) > bytes.len() {
                    bytes = self.read(files, at, left * READ_BYTES)?;
                    from = at;
                }
                let start = usize::try_from(at - from).unwrap_or(usize::MAX);
                if let Some(tags_code) = bytes.get(start..).and_then(decode) {
                    unit.tags_code = tags_code;
                }
            }
            left -= 1;
        }
        Ok(())
    }

    /// At most `bytes` from a position on, less at the end of a file, nothing where there is none.
    fn read(&self, files: &FileSystem, at: u64, bytes: usize) -> Result<Vec<u8>, StoreError> {
        let base = self.base(at);
        let open = self.open.lock().clone();
        let file = match open.filter(|open| open.0 == base) {
            Some((_, file)) => file,
            None => match files.open_if_there(self.path(base))? {
                Some(file) => Arc::new(file),
                None => return Ok(Vec::new()),
            },
        };
        let left = usize::try_from(base + self.file_bytes - at).unwrap_or(usize::MAX);
        let mut read = vec![0; bytes.min(left)];
        file.read_at(&mut read, at - base)?;
        *self.open.lock() = Some((base, file));
        Ok(read)
    }

    /// Gives back the open file.
    pub(super) fn rest(&self) {
        *self.open.lock() = None;
    }

    /// Deletes the files that lie before the unit of an address.
    pub(super) fn delete_below(&self, files: &FileSystem, oldest: i64) -> Result<(), StoreError> {
        let Some(at) = position(oldest) else {
            return Ok(());
        };
        let old = self.files_there(files)?.into_iter();
        for base in old.filter(|base| base + self.file_bytes <= at) {
            // A topic may be deleted meanwhile.
            files.delete_if_there(&self.path(base))?;
        }
        self.open
            .lock()
            .take_if(|(base, _)| *base + self.file_bytes <= at);
        Ok(())
    }
}

/// The tags code of the unit that starts `bytes`, if there is one.
pub(crate) fn decode(bytes: &[u8]) -> Option<i64> {
    let mut unit = bytes.get(..EXT_UNIT_BYTES)?;
    let size = usize::try_from(unit.get_i16()).ok()?;
    (size >= EXT_UNIT_BYTES).then(|| unit.get_i64())
}
