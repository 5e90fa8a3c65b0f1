//! What verifying finds.

use std::path::PathBuf;

use super::super::{Problem, Segment};

/// Findings that are kept; all are counted.
pub(super) const KEPT_FINDINGS: usize = 1000;

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The log.
    Record,
    /// Names and sizes of files.
    File,
    /// ConsumeQueues.
    Unit,
    /// The key index.
    Index,
    /// The checkpoint.
    Checkpoint,
}

/// Something that is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub part: Part,
    /// The file.
    pub path: PathBuf,
    /// Position in the file, in bytes.
    pub at: u64,
    /// Position in the log, of what is wrong there or of the record it is about.
    pub physical_offset: Option<u64>,
    /// What is wrong, and what would be right.
    pub problem: String,
    /// The store was not closed in order, and its next start mends this.
    pub mended: bool,
}

impl Finding {
    pub(super) fn new(part: Part, path: PathBuf, at: u64, problem: String) -> Self {
        Self {
            part,
            path,
            at,
            physical_offset: None,
            problem,
            mended: false,
        }
    }

    pub(in crate::offline) fn file(path: PathBuf, problem: String) -> Self {
        Self::new(Part::File, path, 0, problem)
    }

    pub(in crate::offline) fn unit(path: PathBuf, at: u64, problem: String) -> Self {
        Self::new(Part::Unit, path, at, problem)
    }

    pub(super) fn record(segment: &Segment, at: u64, problem: String) -> Self {
        let (path, place) = (segment.path.clone(), at - segment.base);
        Self::new(Part::Record, path, place, problem).about(at)
    }

    pub(super) fn about(mut self, physical_offset: u64) -> Self {
        self.physical_offset = Some(physical_offset);
        self
    }
}

/// Bytes of the log that are nothing valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadRange {
    /// Where.
    pub at: u64,
    /// Why.
    pub problem: Problem,
    /// Where the next record or blank of this file begins.
    pub next: Option<u64>,
}

/// What a file of the log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentReport {
    /// The file.
    pub segment: Segment,
    /// Records.
    pub records: u64,
    /// Their bytes.
    pub record_bytes: u64,
    /// Store time of the first and the last record, in milliseconds.
    pub times: Option<(i64, i64)>,
    /// What is nothing valid.
    pub bad: Vec<BadRange>,
    /// From here on there are only zeros.
    pub zeros_from: Option<u64>,
}

/// How the log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogEnd {
    /// With the last file, or there is none.
    File(u64),
    /// Zeros follow.
    Zeros(u64),
    /// What follows is nothing valid. A write cut short looks like this, or a damaged last record.
    Torn(u64),
    /// As [`LogEnd::Torn`], but the store was closed in order, and no queue knows more: it is what
    /// an earlier life of the log left.
    Leftover(u64),
}

impl LogEnd {
    /// Position behind the last record.
    pub fn offset(self) -> u64 {
        match self {
            Self::File(at) | Self::Zeros(at) | Self::Torn(at) | Self::Leftover(at) => at,
        }
    }
}

/// What [`verify`](super::verify()) found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// File by file.
    pub segments: Vec<SegmentReport>,
    /// How the log ends.
    pub end: LogEnd,
    /// Units of all queues.
    pub units: u64,
    /// Records that wait for their unit: the broker is about to write it, or its next start will.
    pub pending: u64,
    /// Records with keys behind the newest entry of the key index.
    pub unindexed: u64,
    /// Records of topics that were deleted; no queue knows them.
    pub orphans: u64,
    /// What is wrong.
    pub findings: Findings,
    /// It was stopped before the end: what it says is not the whole.
    pub stopped: bool,
}

/// What was found; more than anybody reads is only counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// The log first, each part in order; of many only the first.
    pub list: Vec<Finding>,
    /// Number of findings that are damage.
    pub damage: u64,
    /// Number of those the next start mends.
    pub mended: u64,
}

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        self.mended += u64::from(finding.mended);
        self.damage += u64::from(!finding.mended);
        if self.list.len() < KEPT_FINDINGS {
            self.list.push(finding);
        }
    }

    pub(super) fn join(&mut self, other: Self) {
        self.damage += other.damage;
        self.mended += other.mended;
        self.list.extend(other.list);
    }
}
