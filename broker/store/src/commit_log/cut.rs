//! What recovery cuts off the log. Nothing of it was promised to anybody, unless a disk has damaged
//! what it once held; so it is not thrown away but kept beside the log for whoever wants to look.

use std::path::PathBuf;

use bytes::Bytes;

use super::segments::{Segment, Segments};
use crate::error::StoreError;
use crate::files::{file_name, if_there};
use crate::planted::{Fault, planted};

/// Directory below that of the log's files; the reference takes no notice of it.
const DIRECTORY: &str = "cut";
/// Bytes copied at a time.
const PIECE_BYTES: usize = 1 << 20;

/// What recovery has cut off the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Position in the log where it began: the end of the log from now on.
    pub at: u64,
    /// How much it was, up to its last byte other than zero.
    pub bytes: u64,
    /// Where it lies now: a file for each file of the log it stood in, named by its position.
    pub kept_in: PathBuf,
}

/// Makes `end` the end of the log. What stood behind it is kept aside, then it becomes zeros, so
/// that no later crash can bring it back; segments behind it are gone. Safe to be killed in at any
/// point and done again.
pub(crate) fn cut(segments: &Segments, end: u64) -> Result<Option<Cut>, StoreError> {
    let aside = Aside {
        segments,
        directory: segments.directory.join(DIRECTORY),
    };
    // A recovery that was killed may have put something here whose name is not safe yet.
    if_there(segments.files.sync_directory(&aside.directory))?;
    let mut bytes = 0;
    let last = segments.holding(end);
    let next = last.as_ref().map_or(end, |last| last.base + segments.bytes);
    if let Some(last) = &last {
        let tail = aside.tail(last, end - last.base)?;
        bytes = tail.len() as u64;
        aside.copy(end, &tail)?;
    }
    for segment in segments.take_from(next) {
        let tail = aside.tail(&segment, 0)?.len() as u64;
        if tail == 0 {
            segments.discard(&segment)?;
        } else {
            bytes = bytes.max(segment.base + tail - end);
            aside.take(&segment)?;
        }
    }
    if let Some(last) = &last
        && !planted(Fault::TailNotZeroed)
    {
        last.file.zero(end - last.base, segments.bytes, true)?;
    }
    let found = Cut {
        at: end,
        bytes,
        kept_in: aside.directory,
    };
    Ok((bytes > 0).then_some(found))
}

struct Aside<'a> {
    segments: &'a Segments,
    directory: PathBuf,
}

impl Aside<'_> {
    /// The bytes of a segment from `from` up to the last that is not zero.
    fn tail(&self, segment: &Segment, from: u64) -> Result<Bytes, StoreError> {
        let (mut at, mut end) = (from, from);
        let map = |from: u64, to: u64| {
            let bytes = usize::try_from(to - from).unwrap_or(usize::MAX);
            segment.file.view(from, bytes)
        };
        while let Some(data) = segment.file.data_after(at)? {
            at = data.end.min(self.segments.bytes);
            if let Some(last) = map(data.start, at)?.iter().rposition(|byte| *byte != 0) {
                end = data.start + last as u64 + 1;
            }
            if at == self.segments.bytes {
                break;
            }
        }
        map(from, end)
    }

    /// Puts a copy of what stood at `position` of the log aside, unless an earlier recovery, which
    /// did not get to its end, has done it.
    fn copy(&self, position: u64, bytes: &Bytes) -> Result<(), StoreError> {
        if bytes.is_empty() || planted(Fault::CutNotKept) {
            return Ok(());
        }
        let files = &self.segments.files;
        let (path, there) = self.free_name(position, Some(bytes))?;
        if there {
            return Ok(());
        }
        let unfinished = path.with_extension("tmp");
        files.delete_if_there(&unfinished)?;
        let copy = files.create(unfinished, bytes.len() as u64, true)?;
        for (piece, at) in bytes.chunks(PIECE_BYTES).zip((0..).step_by(PIECE_BYTES)) {
            copy.write_at(piece, at)?;
        }
        if !planted(Fault::RenamedBeforeSync) {
            copy.sync()?;
        }
        files.rename(&copy.path, &path)
    }

    /// Moves a whole segment aside.
    fn take(&self, segment: &Segment) -> Result<(), StoreError> {
        let (path, _) = self.free_name(segment.base, None)?;
        self.segments.files.rename(segment.path(), &path)
    }

    /// A name for what stood at `position`; true if these very bytes lie there already.
    fn free_name(
        &self,
        position: u64,
        bytes: Option<&Bytes>,
    ) -> Result<(PathBuf, bool), StoreError> {
        let files = &self.segments.files;
        files.create_directories(&self.directory, true)?;
        let listed = files.list(&self.directory)?;
        let mut number = 1_u32;
        loop {
            let name = format!("{}-{number}", file_name(position));
            let path = self.directory.join(&name);
            let Some((_, size)) = listed.iter().find(|(other, _)| *other == name) else {
                return Ok((path, false));
            };
            if let Some(bytes) = bytes.filter(|bytes| bytes.len() as u64 == *size)
                && files.open(path.clone())?.view(0, bytes.len())? == *bytes
            {
                return Ok((path, true));
            }
            number += 1;
        }
    }
}
