//! `ConsumeQueue`s as they stand in their files, read as a running store reads them.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Finding, check_sizes, disk, numbered_files};
use crate::consume_queue::ext::Ext;
use crate::consume_queue::{EXT_DIRECTORY, Home, Queue, QueueKind, Unit};
use crate::error::StoreError;

/// Units read at a time: first, for most queues are short and there may be many, and then.
const PIECE_UNITS: [usize; 2] = [200, 12_800];

/// A queue and its files.
#[derive(Debug)]
pub struct OfflineQueue {
    /// Its topic.
    pub topic: String,
    /// Its number in the topic.
    pub id: u32,
    /// What its units are.
    pub kind: QueueKind,
    home: Arc<Home>,
    /// Positions of the files, in bytes of units.
    bases: Vec<u64>,
    /// Where its units may lead to, and bytes of each file there.
    ext: Option<(PathBuf, u64)>,
}

/// A queue as it was when it was opened.
#[derive(Debug)]
pub struct OpenQueue<'s> {
    pub(super) of: &'s OfflineQueue,
    queue: Queue,
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
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Offset of the first unit's message that is no blank.
    pub(super) first: u64,
    /// Position of its record.
    pub(super) first_physical: u64,
    /// Offset behind the last unit's messages.
    pub(super) end: u64,
    /// Indexes of the first unit that is no blank, and behind the last one.
    pub(super) units: Range<u64>,
    /// Units of records at or behind the log's start.
    pub(super) in_log: u64,
    /// The newest record with a unit ends here.
    pub(super) physical_end: u64,
    /// What stands behind the end.
    pub(super) findings: Vec<Finding>,
}

impl OfflineQueue {
    /// The queue `id` of `topic` below `root`, and what is wrong with names and sizes of its files.
    pub(super) fn find(
        root: &Path,
        kind: QueueKind,
        topic: String,
        id: u32,
    ) -> Result<(Self, Vec<Finding>), StoreError> {
        let place = Path::new(&topic).join(id.to_string());
        let directory = root.join(kind.directory());
        let (files, mut findings) = numbered_files(&directory.join(&place))?;
        findings.extend(check_sizes(&files));
        let used = files.iter().filter(|file| file.bytes > 0);
        let file_bytes = used.clone().next().map_or(0, |first| first.bytes);
        let unit_bytes = kind.unit_bytes() as u64;
        let fits = file_bytes.is_multiple_of(unit_bytes);
        if let Some(first) = used.clone().next().filter(|_| !fits) {
            let problem = format!("{file_bytes} bytes long, multiples of {unit_bytes} are right");
            findings.push(Finding::file(first.path.clone(), problem));
        }
        let whole = used.filter(|file| {
            fits && file.bytes == file_bytes && file.base.is_multiple_of(file_bytes)
        });
        let ext = root.join(EXT_DIRECTORY).join(&place);
        let (ext_files, _) = numbered_files(&ext)?;
        let ext_file = ext_files.iter().find(|file| file.bytes > 0);
        let queue = Self {
            topic,
            id,
            kind,
            bases: whole.map(|file| file.base).collect(),
            home: Arc::new(Home {
                files: disk(),
                kind,
                directory,
                file_bytes,
            }),
            ext: ext_file.map(|file| (ext, file.bytes)),
        };
        Ok((queue, findings))
    }

    /// Bytes of each of its files, 0 without any.
    pub fn file_bytes(&self) -> u64 {
        self.home.file_bytes
    }

    /// Bytes of each of its ext files, if it has any.
    pub fn ext_file_bytes(&self) -> Option<u64> {
        self.ext.as_ref().map(|(_, bytes)| *bytes)
    }

    /// Number and bytes of its files.
    pub fn files(&self) -> (usize, u64) {
        (
            self.bases.len(),
            self.bases.len() as u64 * self.file_bytes(),
        )
    }

    /// Finds where it ends: a search that relies on nothing standing behind a hole.
    ///
    /// # Errors
    /// [`StoreError::Io`] when a file cannot be read.
    pub fn open(&self) -> Result<OpenQueue<'_>, StoreError> {
        let (topic, ext) = (self.topic.as_str().into(), self.ext.clone());
        let ext = ext.map(|(directory, file_bytes)| Ext::new(directory, file_bytes, false));
        let queue = Queue::new(topic, self.id, Arc::clone(&self.home), false, ext);
        let mut bases = &self.bases[..];
        // The last file may have been made for units that are still to come.
        while let [before @ .., last] = bases
            && !before.is_empty()
            && !queue.has_unit(last / self.home.unit_bytes())?
        {
            bases = before;
        }
        queue.load_files(bases, true)?;
        Ok(OpenQueue { of: self, queue })
    }
}

impl OpenQueue<'_> {
    /// The file and the position in it where the unit with this index stands.
    pub(super) fn place(&self, index: u64) -> (PathBuf, u64) {
        let place = self.of.home.place(index);
        (self.of.home.path(&self.queue, place.base), place.at)
    }

    /// The units of messages from `offset` on: `count` at most, fewer where a file or the queue ends.
    /// The first may begin with earlier messages.
    ///
    /// # Errors
    /// [`StoreError::Io`] when a file cannot be read.
    pub fn units(&self, offset: u64, count: usize) -> Result<Vec<Unit>, StoreError> {
        let mut units = Vec::new();
        self.queue.read(offset, count, &mut units)?;
        self.queue.rest();
        Ok(units)
    }

    /// As [`Self::units`], from an index on.
    pub(super) fn units_at(&self, index: u64, count: usize) -> Result<Vec<Unit>, StoreError> {
        let mut units = Vec::new();
        self.queue.read_units(index, count, &mut units)?;
        self.queue.rest();
        Ok(units)
    }

    /// Its oldest message in a log that starts at `log_start`, and its end: a search that relies on
    /// the order of units.
    ///
    /// # Errors
    /// [`StoreError::Io`] when a file cannot be read.
    pub fn ends(&self, log_start: u64) -> Result<Ends, StoreError> {
        let max = self.queue.max_offset();
        let oldest = self.queue.oldest_in(log_start)?;
        let min = oldest.map_or(max, |unit| unit.base);
        Ok(Ends { min, max })
    }

    /// Looks at every unit. Those of records below `log_start` are of messages that are gone,
    /// those behind the first hole do not count.
    pub(super) fn scan(&self, log_start: u64) -> Result<Scan, StoreError> {
        let OfflineQueue { home, bases, .. } = self.of;
        let first = bases.first().map_or(0, |base| base / home.unit_bytes());
        let mut scan = Scan {
            units: first..first,
            ..Scan::default()
        };
        if self.of.kind == QueueKind::Simple {
            (scan.first, scan.end) = (first, first);
        }
        let mut pieces = PIECE_UNITS
            .into_iter()
            .chain(std::iter::repeat(PIECE_UNITS[1]));
        loop {
            let units = self.units_at(scan.units.end, pieces.next().unwrap_or(1))?;
            if units.is_empty() {
                break;
            }
            for unit in units {
                scan.see(unit, log_start);
            }
        }
        let end = scan.units.end * home.unit_bytes();
        for base in bases.iter().filter(|base| **base + home.file_bytes > end) {
            let file = home.open(&self.queue, *base)?;
            let from = end.saturating_sub(*base);
            if let Some(at) = file.first_data(from, home.file_bytes)? {
                let problem = format!(
                    "the queue ends at {}, but more stands behind that",
                    scan.end
                );
                let at = at - at % home.unit_bytes();
                scan.findings.push(Finding::unit(file.path, at, problem));
            }
        }
        Ok(scan)
    }
}

impl Scan {
    fn see(&mut self, unit: Unit, log_start: u64) {
        self.units.end += 1;
        self.end = unit.next();
        if unit.is_blank() {
            // Among other units it stands where a message's should.
            if self.physical_end > 0 {
                self.in_log += 1;
            } else {
                (self.first, self.units.start) = (self.end, self.units.end);
            }
            return;
        }
        if self.physical_end == 0 {
            (self.first, self.first_physical) = (unit.base, unit.physical_offset);
        }
        self.physical_end = self.physical_end.max(unit.end());
        self.in_log += u64::from(unit.physical_offset >= log_start);
    }
}
