//! `ConsumeQueue`s as they stand in their files.

use std::path::PathBuf;

use super::ext::Ext;
use super::window::{PIECE_BYTES, Window};
use super::{Finding, check_sizes, numbered_files};
use crate::commit_log::segments::file_name;
use crate::consume_queue::Unit;
use crate::consume_queue::unit::UNIT_BYTES;
use crate::error::StoreError;

const UNIT: u64 = UNIT_BYTES as u64;

/// A queue and its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfflineQueue {
    /// Its topic.
    pub topic: String,
    /// Its number in the topic.
    pub id: u32,
    /// Where its files are.
    pub directory: PathBuf,
    /// Bytes of each file.
    pub file_bytes: u64,
    /// Positions of the files, in bytes of units.
    bases: Vec<u64>,
    /// Where its units may lead to.
    pub(super) ext: Option<Ext>,
}

/// Where a queue begins and ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ends {
    /// Offset of the oldest message that is in the log.
    pub min: u64,
    /// Offset of the next message.
    pub max: u64,
}

/// What a look at every unit of a queue has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Offset of the first unit that is no blank.
    pub(super) first: u64,
    /// Position of its record.
    pub(super) first_physical: u64,
    /// Offset behind the last unit.
    pub(super) end: u64,
    /// Units of records at or behind the log's start.
    pub(super) in_log: u64,
    /// The newest record with a unit ends here.
    pub(super) physical_end: u64,
    /// What stands behind the end.
    pub(super) findings: Vec<Finding>,
}

impl OfflineQueue {
    pub(super) fn open(
        topic: String,
        id: u32,
        directory: PathBuf,
    ) -> Result<(Self, Vec<Finding>), StoreError> {
        let (files, mut findings) =
            numbered_files(&directory).map_err(StoreError::io("list", &directory))?;
        findings.extend(check_sizes(&files));
        let file_bytes = files.first().map_or(0, |first| first.bytes);
        let used = files.iter().filter(|file| file.bytes > 0);
        let bases = used.map(|file| file.base).collect();
        let queue = Self {
            topic,
            id,
            directory,
            file_bytes,
            bases,
            ext: None,
        };
        Ok((queue, findings))
    }

    /// The file and the position in it where the unit of message `offset` stands.
    pub fn place(&self, offset: u64) -> (PathBuf, u64) {
        let position = offset.saturating_mul(UNIT);
        let base = position - position.checked_rem(self.file_bytes).unwrap_or(0);
        (self.directory.join(file_name(base)), position - base)
    }

    /// Bytes of each of its ext files, if it has any.
    pub fn ext_file_bytes(&self) -> Option<u64> {
        self.ext.as_ref().map(|ext| ext.file_bytes)
    }

    /// Number and bytes of its files.
    pub fn files(&self) -> (usize, u64) {
        (self.bases.len(), self.bases.len() as u64 * self.file_bytes)
    }

    /// Units from message `offset` on, `count` at most, up to the end of a file; as they are, but for
    /// the tags codes that ext units have.
    pub(super) fn read(
        &self,
        offset: u64,
        count: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        out.clear();
        let (path, at) = self.place(offset);
        if self.bases.binary_search(&(offset * UNIT - at)).is_err() {
            return Ok(());
        }
        let io = |error| StoreError::io("read", &path)(error);
        let mut window = Window::open(&path, count * UNIT_BYTES).map_err(io)?;
        out.extend_from_slice(window.at(at, count * UNIT_BYTES).map_err(io)?);
        if let Some(ext) = &self.ext {
            ext.resolve(out);
        }
        Ok(())
    }

    /// The units of messages from `offset` on: `count` at most, fewer where the queue ends.
    ///
    /// # Errors
    /// [`StoreError::Io`] when a file cannot be read.
    pub fn units(&self, offset: u64, count: usize) -> Result<Vec<Unit>, StoreError> {
        let (mut units, mut raw) = (Vec::new(), Vec::new());
        while units.len() < count {
            self.read(offset + units.len() as u64, count - units.len(), &mut raw)?;
            let decoded = raw.as_chunks().0.iter().map_while(Unit::decode);
            let before = units.len();
            units.extend(decoded);
            if units.len() - before < raw.len() / UNIT_BYTES || raw.is_empty() {
                break;
            }
        }
        Ok(units)
    }

    /// Its oldest message in a log that starts at `log_start`, and its end: a search that relies on
    /// the order of units, of which nothing stands behind a hole.
    ///
    /// # Errors
    /// [`StoreError::Io`] when a file cannot be read.
    pub fn ends(&self, log_start: u64) -> Result<Ends, StoreError> {
        let unit = |offset| Ok::<_, StoreError>(self.units(offset, 1)?.first().copied());
        let Some(first) = self.bases.first().map(|base| base / UNIT) else {
            return Ok(Ends::default());
        };
        let mut last = first;
        for base in self.bases.iter().rev() {
            if unit(base / UNIT)?.is_some() {
                last = base / UNIT;
                break;
            }
        }
        let limit = last + self.file_bytes / UNIT;
        let max = search(last, limit, |offset| Ok(unit(offset)?.is_some()))?;
        let min = search(first, max, |offset| {
            let unit = unit(offset)?;
            Ok(unit.is_none_or(|unit| unit.is_blank() || unit.physical_offset < log_start))
        })?;
        Ok(Ends { min, max })
    }

    /// Looks at every unit. Those of records below `log_start` are of messages that are gone,
    /// those behind the first hole do not count.
    pub(super) fn scan(&self, log_start: u64) -> Result<Scan, StoreError> {
        let mut scan = Scan {
            end: self.bases.first().map_or(0, |base| base / UNIT),
            ..Scan::default()
        };
        scan.first = scan.end;
        for base in &self.bases {
            if base / UNIT != scan.end {
                break;
            }
            self.scan_file(*base, log_start, &mut scan)?;
        }
        // All files behind the one in which the queue ends have to be empty.
        for base in self.bases.iter().filter(|base| *base / UNIT > scan.end) {
            let path = self.directory.join(file_name(*base));
            let io = |error| StoreError::io("read", &path)(error);
            let mut window = Window::open(&path, PIECE_BYTES).map_err(io)?;
            if let Some(at) = window.first_data(0).map_err(io)? {
                scan.findings.push(behind_a_hole(path, at, scan.end));
            }
        }
        Ok(scan)
    }

    fn scan_file(&self, base: u64, log_start: u64, scan: &mut Scan) -> Result<(), StoreError> {
        let path = self.directory.join(file_name(base));
        let io = |error| StoreError::io("read", &path)(error);
        // Most queues are short, and there may be many.
        let mut window = Window::open(&path, 200 * UNIT_BYTES).map_err(io)?;
        let mut at = 0;
        'file: while at + UNIT <= window.len {
            let (units, _) = window.rest(at).map_err(io)?.as_chunks::<UNIT_BYTES>();
            if units.is_empty() {
                window.forget();
                continue;
            }
            for raw in units {
                let Some(unit) = Unit::decode(raw) else {
                    break 'file;
                };
                scan.see(unit, log_start);
                at += UNIT;
            }
            window.read_more(PIECE_BYTES - PIECE_BYTES % UNIT_BYTES);
        }
        if at + UNIT <= window.len
            && let Some(data) = window.first_data(at).map_err(io)?
        {
            scan.findings
                .push(behind_a_hole(path, data - data % UNIT, scan.end));
        }
        Ok(())
    }
}

impl Scan {
    fn see(&mut self, unit: Unit, log_start: u64) {
        self.end += 1;
        if unit.is_blank() {
            // Among other units it stands where a message's should.
            if self.physical_end > 0 {
                self.in_log += 1;
            } else {
                self.first = self.end;
            }
            return;
        }
        if self.physical_end == 0 {
            self.first_physical = unit.physical_offset;
        }
        self.physical_end = self.physical_end.max(unit.end());
        self.in_log += u64::from(unit.physical_offset >= log_start);
    }
}

fn behind_a_hole(path: PathBuf, at: u64, end: u64) -> Finding {
    let problem = format!("the queue ends at {end}, but more stands behind that");
    Finding::unit(path, at, problem)
}

/// The first of `from..to` for which `before` says no; `to` when it always says yes.
fn search(
    from: u64,
    to: u64,
    mut before: impl FnMut(u64) -> Result<bool, StoreError>,
) -> Result<u64, StoreError> {
    let (mut low, mut high) = (from, to);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
