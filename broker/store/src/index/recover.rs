//! Which index files a store can go on with.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use common::clock::Clock;

use super::file::{IndexFile, file_name};
use super::gap::without_gap;
use super::layout::{HEADER_BYTES, Header, Shape};
use super::table::{IndexMark, IndexTable, State};
use super::tail::Resume;
use crate::commit_log::segments::Segments;
use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::files::FileSystem;
use crate::planted::{Fault, planted};

/// What is known about the index files when a store is opened.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// What our checkpoint says, if it can be trusted.
    pub(crate) mark: Option<IndexMark>,
    /// The last owner left the store in order.
    pub(crate) clean: bool,
    /// What the reference's checkpoint says: full files with no newer record are on disk.
    pub(crate) full_timestamp: i64,
    /// The valid part of the log.
    pub(crate) log: Range<u64>,
}

/// A file that is named as an index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate {
    name: u64,
    /// `None` if it has another size.
    header: Option<Header>,
}

/// What to go on with.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    /// Names of the oldest of the candidates, with the headers they have to have.
    files: Vec<(u64, Header)>,
    /// The slots of the newest have to be made again.
    torn: bool,
    /// Where the log has to be read from; or else behind the newest record of the newest file.
    resume: Option<Resume>,
}

/// Judges `candidates`, sorted by name.
fn judge(candidates: &[Candidate], shape: Shape, found: &Found) -> Kept {
    let mut files: Vec<(u64, Header)> = Vec::with_capacity(candidates.len());
    for file in candidates {
        let end = files.last().map_or(0, |(_, before)| before.end_offset);
        match file.header {
            Some(header)
                if header.is_plausible(shape, found.log.end) && end <= header.begin_offset =>
            {
                files.push((file.name, header));
            }
            _ => break,
        }
    }
    match &found.mark {
        Some(mark) => {
            // What could not be written until the end may stand there in part.
            let whole = found.clean && mark.resume.offset >= found.log.end;
            judge_by_mark(candidates, files, mark, whole)
        }
        None if found.clean => Kept::to_the_end_of(files),
        // As the reference does, which knows of full files only that they are on disk.
        None => {
            let safe = |(_, header): &(u64, Header)| {
                header.is_full(shape) && header.end_timestamp <= found.full_timestamp
            };
            files.truncate(files.iter().take_while(|file| safe(file)).count());
            Kept::to_the_end_of(files)
        }
    }
}

/// `sound` are the oldest of the candidates, as far as they are sound by themselves.
fn judge_by_mark(
    candidates: &[Candidate],
    mut sound: Vec<(u64, Header)>,
    mark: &IndexMark,
    whole: bool,
) -> Kept {
    let (resume, files) = (Some(mark.resume), Vec::new());
    let Some((name, header)) = mark.newest else {
        let torn = false;
        return Kept {
            files,
            torn,
            resume,
        };
    };
    let older = candidates.partition_point(|file| file.name < name);
    let marked = candidates.get(older).filter(|file| file.name == name);
    let there = older + usize::from(marked.is_some());
    if there < mark.files {
        // Nobody knows which keys are missing.
        return Kept::to_the_end_of(files);
    }
    let is_usable = sound.len() >= older;
    sound.truncate(older);
    match marked.and_then(|marked| marked.header) {
        Some(on_disk) if is_usable => {
            let header = if planted(Fault::IndexNotReset) {
                on_disk
            } else {
                header
            };
            sound.push((name, header));
            Kept {
                files: sound,
                torn: (!whole || on_disk != header) && !planted(Fault::SlotsNotMadeAgain),
                resume,
            }
        }
        _ => Kept::to_the_end_of(sound),
    }
}

impl Kept {
    /// What is behind the newest of these files is read from the log.
    fn to_the_end_of(files: Vec<(u64, Header)>) -> Self {
        Self {
            files,
            torn: false,
            resume: None,
        }
    }
}

impl IndexTable {
    /// Opens the files that can be used and deletes the others; `None` when keys are not indexed. Nothing is missing
    /// once [`IndexTable::catch_up`] has read what is not in them from the log.
    pub(crate) fn open(
        config: &StoreConfig,
        files: &FileSystem,
        clock: &Arc<dyn Clock>,
        segments: &Segments,
        found: &Found,
    ) -> Result<Option<Arc<Self>>, StoreError> {
        if !config.index_keys {
            return Ok(None);
        }
        let directory = config.root.join("index");
        let shape = Shape {
            slots: config.index_slots,
            entries: config.index_entries,
        };
        let candidates = list(files, &directory, shape)?;
        let mut kept = judge(&candidates, shape, found);
        if kept.resume.is_none() {
            let together = without_gap(&kept.files, segments, found.log.start);
            kept.files.truncate(together);
        }
        let path = |name| directory.join(file_name(name));
        let dropped = candidates[kept.files.len()..].iter().rev();
        for path in dropped.map(|file| path(file.name)) {
            tracing::warn!(path = %path.display(), "an index file cannot be used; its keys are read from the log");
            files.delete(&path)?;
        }
        let mut list = Vec::with_capacity(kept.files.len());
        for (name, header) in kept.files {
            list.push(IndexFile {
                name,
                path: path(name),
                header,
                shape,
                open: None,
                torn: false,
            });
        }
        if let Some(newest) = list.last_mut() {
            newest.open = Some(newest.handle(files)?);
            newest.torn = kept.torn;
        }
        let resume = match kept.resume {
            Some(resume) => resume,
            None => behind(files, &list, found.log.start)?,
        };
        let (files, clock) = (files.clone(), Arc::clone(clock));
        let table = Self::new(files, directory, shape, clock, list, resume);
        Ok(Some(Arc::new(table)))
    }

    /// Makes the newest file whole after a crash or a failed write. If that is not possible it is given up and its keys
    /// are read from the log again.
    pub(super) fn repair(&self, state: &mut State) -> Result<(), StoreError> {
        let Some(newest) = state.list.last_mut().filter(|newest| newest.torn) else {
            return Ok(());
        };
        if newest.repair(&self.files)? {
            return Ok(());
        }
        tracing::error!(path = %newest.path.display(), "a damaged index file is made again from the log");
        self.files.delete(&newest.path)?;
        state.list.pop();
        self.start_over(state)
    }

    /// Has everything behind the newest file read from the log.
    fn start_over(&self, state: &mut State) -> Result<(), StoreError> {
        let mut tail = self.tail.lock();
        tail.keys.clear();
        state.batch.clear();
        let resume = behind(&self.files, &state.list, 0)?;
        tail.behind = Some(resume);
        state.mark = IndexMark::of(&state.list, resume);
        Ok(())
    }

    /// Gives up all files: they do not belong to the log.
    pub(super) fn discard(&self, state: &mut State) -> Result<(), StoreError> {
        while let Some(newest) = state.list.last() {
            self.files.delete(&newest.path)?;
            state.list.pop();
        }
        self.start_over(state)
    }
}

/// Where the log has to be read from behind the newest file.
fn behind(files: &FileSystem, list: &[IndexFile], log_start: u64) -> Result<Resume, StoreError> {
    match list.last() {
        // The newest record may have had more keys than there was room for.
        Some(newest) if newest.header.end_offset >= log_start => Ok(Resume {
            offset: newest.header.end_offset,
            skip: newest.entries_of_newest(files)?,
        }),
        _ => Ok(Resume::at(log_start)),
    }
}

/// Files that are named as index files.
fn list(files: &FileSystem, directory: &Path, shape: Shape) -> Result<Vec<Candidate>, StoreError> {
    let mut candidates = Vec::new();
    for (text, bytes) in files.list(directory)? {
        let path = directory.join(&text);
        let Some(name) = text.parse().ok().filter(|name| file_name(*name) == text) else {
            tracing::warn!(path = %path.display(), "not an index file: its name is no time");
            continue;
        };
        let mut header = None;
        if bytes == shape.file_bytes() {
            let mut raw = [0; HEADER_BYTES];
            files.open(path)?.read_at(&mut raw, 0)?;
            header = Some(Header::decode(&raw));
        }
        candidates.push(Candidate { name, header });
    }
    Ok(candidates)
}
