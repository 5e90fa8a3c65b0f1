//! The log's files: names, opening, reserving.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::error::StoreError;
use crate::files::{FileKind, FileSystem, NamedFile, file_name};
use crate::planted::{Fault, planted};

/// One file of the log.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Position of its first byte in the log.
    pub(crate) base: u64,
    pub(crate) file: NamedFile,
}

impl Segment {
    pub(crate) fn path(&self) -> &Path {
        &self.file.path
    }
}

/// The files of the log, in order, without holes.
#[derive(Debug)]
pub(crate) struct Segments {
    /// Bytes of each of them.
    pub(crate) bytes: u64,
    pub(super) directory: PathBuf,
    pub(super) files: FileSystem,
    list: RwLock<Vec<Arc<Segment>>>,
}

impl Segments {
    /// Opens the segments in `directory`, which is created if it is not there.
    pub(crate) fn open(
        files: FileSystem,
        directory: &Path,
        bytes: u64,
    ) -> Result<Self, StoreError> {
        files.create_directories(directory, true)?;
        // A file whose maker was killed before its name was safe is used like every other.
        files.sync_directory(directory)?;
        let mut listed = files.list(directory)?;
        // A crash between creating and sizing a file leaves an empty one, always the last.
        if let Some((name, _)) = listed.pop_if(|(_, size)| *size == 0) {
            files.delete(&directory.join(name))?;
        }
        let kind = FileKind {
            name: "CommitLog",
            size_key: "mappedFileSizeCommitLog",
            bytes,
        };
        let mut list: Vec<Arc<Segment>> = Vec::with_capacity(listed.len());
        for base in kind.positions(directory, &listed)? {
            let path = directory.join(file_name(base));
            let expected = list.last().map_or(base, |last| last.base + bytes);
            if base != expected {
                let problem = format!("expected the CommitLog file {} here", file_name(expected));
                return Err(StoreError::Corrupt { path, problem });
            }
            let file = files.open(path)?;
            list.push(Arc::new(Segment { base, file }));
        }
        Ok(Self {
            bytes,
            directory: directory.to_owned(),
            files,
            list: RwLock::new(list),
        })
    }

    /// Position of the oldest byte; 0 without any segment.
    pub(crate) fn min_offset(&self) -> u64 {
        self.list.read().first().map_or(0, |first| first.base)
    }

    /// Every segment, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Segment>> {
        self.list.read().clone()
    }

    /// Where the segment ends that holds `offset`, if there is one.
    pub(crate) fn end_of(&self, offset: u64) -> u64 {
        offset - offset % self.bytes + self.bytes
    }

    /// The segment that holds `offset`.
    pub(crate) fn holding(&self, offset: u64) -> Option<Arc<Segment>> {
        let list = self.list.read();
        let first = list.first()?.base;
        let at = usize::try_from(offset.checked_sub(first)? / self.bytes).ok()?;
        list.get(at).cloned()
    }

    /// The file that holds `offset`, for whoever has to name it; empty without any.
    pub(crate) fn path_of(&self, offset: u64) -> PathBuf {
        let segment = self.holding(offset);
        segment.map_or_else(PathBuf::new, |segment| segment.path().to_owned())
    }

    /// Reserves the segment that starts at `base`; it joins the list with [`Self::add`].
    pub(crate) fn create(&self, base: u64) -> Result<Arc<Segment>, StoreError> {
        let path = self.directory.join(file_name(base));
        let (bytes, safe) = (self.bytes, !planted(Fault::SegmentNameNotSynced));
        let made = self.files.create(path, bytes, safe);
        let file = made.map_err(|error| match error {
            StoreError::DiskFull { path, .. } => StoreError::DiskFull { path, bytes },
            other => other,
        })?;
        Ok(Arc::new(Segment { base, file }))
    }

    /// Appends a segment to the list.
    pub(crate) fn add(&self, segment: Arc<Segment>) {
        let mut list = self.list.write();
        let expected = list
            .last()
            .map_or(segment.base, |last| last.base + self.bytes);
        assert_eq!(segment.base, expected, "the log has no holes");
        list.push(segment);
    }

    /// Takes the oldest segment off the list, unless it is the last one; its file stays.
    pub(crate) fn take_first(&self) -> Option<Arc<Segment>> {
        let mut list = self.list.write();
        (list.len() > 1).then(|| list.remove(0))
    }

    /// Takes the segments from `base` on off the list; their files stay. Newest first: whoever
    /// does away with them in this order leaves no hole if a crash comes in between.
    pub(crate) fn take_from(&self, base: u64) -> Vec<Arc<Segment>> {
        let mut list = self.list.write();
        let keep = list
            .iter()
            .take_while(|segment| segment.base < base)
            .count();
        let mut taken: Vec<_> = list.drain(keep..).collect();
        if !planted(Fault::CutOldestFirst) {
            taken.reverse();
        }
        taken
    }

    /// Deletes a segment that is not in the list.
    pub(crate) fn discard(&self, segment: &Segment) -> Result<(), StoreError> {
        self.files.delete(segment.path())
    }

    /// A view of `bytes` bytes at `offset`, all in one segment; `None` where there is none.
    pub(crate) fn view(&self, offset: u64, bytes: usize) -> Option<Bytes> {
        let segment = self.holding(offset)?;
        match segment.file.view(offset - segment.base, bytes) {
            Ok(view) => Some(view),
            Err(error) if error.is(io::ErrorKind::UnexpectedEof) => None,
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "a segment cannot be read");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Files as _;
    use crate::sim::SimFiles;

    fn open(names: &[(&str, u64)]) -> Result<Segments, StoreError> {
        let files = SimFiles::new();
        files.create_directories(Path::new("/log"), true).unwrap();
        for (name, bytes) in names {
            files
                .create(&Path::new("/log").join(name), *bytes, false)
                .unwrap();
        }
        Segments::open(FileSystem::new(files), Path::new("/log"), 100)
    }

    #[test]
    fn segments_are_found_by_offset() {
        let segments =
            open(&[("00000000000000000100", 100), ("00000000000000000200", 100)]).unwrap();
        assert_eq!(segments.min_offset(), 100);
        let base = |offset| segments.holding(offset).map(|segment| segment.base);
        assert_eq!(
            [base(99), base(100), base(299), base(300)],
            [None, Some(100), Some(200), None]
        );
    }

    #[test]
    fn files_of_another_size_or_name_are_refused() {
        let check = |names: &[(&str, u64)], problem: &str| {
            let error = open(names).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        };
        check(
            &[("00000000000000000000", 99)],
            "99 bytes long, mappedFileSizeCommitLog says 100",
        );
        check(&[("notes.txt", 100)], "its name is no position");
        check(
            &[("00000000000000000000", 100), ("00000000000000000200", 100)],
            "expected the CommitLog file 00000000000000000100",
        );
        check(
            &[("00000000000000000150", 100)],
            "no file of 100 bytes starts at 150",
        );
        // So near the largest number that nothing can follow it.
        check(&[("18446744073709551600", 100)], "its name is no position");
    }

    #[test]
    fn empty_last_file_is_removed() {
        let segments = open(&[("00000000000000000000", 100), ("00000000000000000100", 0)]).unwrap();
        assert_eq!(segments.all().len(), 1);
    }
}
