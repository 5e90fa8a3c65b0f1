//! The `checkpoint` file: from where on recovery has to look at the log.
//!
//! The reference's fields come first. Behind them, where the reference writes nothing, stands our
//! own mark: up to where all `ConsumeQueue`s are complete and on disk, and how far the key index
//! is. It counts only while the reference's fields are as we left them, for another broker may have
//! run since.

use std::io;
use std::path::PathBuf;

use bytes::{Buf as _, BufMut as _};

use crate::error::StoreError;
use crate::files::{FileSystem, NamedFile};
use crate::index::{HEADER_BYTES, Header, IndexMark, Resume};
use crate::planted::{Fault, planted};

const FILE_BYTES: u64 = 4096;
const PHYSIC_TIMESTAMP_AT: usize = 0;
const LOGICS_TIMESTAMP_AT: usize = 8;
const INDEX_TIMESTAMP_AT: usize = 16;
const LOGICS_PHYSICAL_OFFSET_AT: usize = 40;
const FIELDS_BYTES: usize = 48;
const MARK_AT: usize = 64;
const MARK_MAGIC: [u8; 8] = *b"ARUGULA2";
/// As [`MARK_MAGIC`], from a store in which no queue had a file: that there are none is no loss.
const EMPTY_MAGIC: [u8; 8] = *b"ARUGULA-";
const MARK_OFFSET_AT: usize = MARK_AT + 8;
/// Where the index resumes: position, or -1 when it is not kept, and keys of the record there.
const INDEX_OFFSET_AT: usize = MARK_OFFSET_AT + 8;
const INDEX_SKIP_AT: usize = INDEX_OFFSET_AT + 8;
/// Name of the newest index file, -1 without any, the number of files, and its header.
const INDEX_NAME_AT: usize = INDEX_SKIP_AT + 8;
const INDEX_FILES_AT: usize = INDEX_NAME_AT + 8;
const INDEX_HEADER_AT: usize = INDEX_FILES_AT + 8;
const MARK_FIELDS_AT: usize = INDEX_HEADER_AT + HEADER_BYTES;
/// Stands where there is no position and no name.
const NONE: i64 = -1;
const MARK_CRC_AT: usize = MARK_FIELDS_AT + FIELDS_BYTES;
const WRITTEN_BYTES: usize = MARK_CRC_AT + 4;
// One sector: it is written as a whole or not at all.
const _: () = assert!(WRITTEN_BYTES <= 512);

/// What the file says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Store time of the newest record known to be on disk, in milliseconds.
    pub physic_timestamp: i64,
    /// Store time of the newest record whose unit, and all before it, are on disk.
    pub logics_timestamp: i64,
    /// Store time of the newest entry in index files that are full and on disk, as it was read;
    /// what is written stands in `index`.
    pub index_timestamp: i64,
    /// Position of the start of that record; 0: not known.
    pub logics_physical_offset: u64,
    /// All units of records below this position are on disk, if only Arugula wrote the file.
    pub indexed: Option<u64>,
    /// No queue had a file then.
    pub no_queues: bool,
    /// How far the key index is on disk, likewise; `None` also when it is not kept.
    pub(crate) index: Option<IndexMark>,
}

/// The open file.
#[derive(Debug)]
pub(crate) struct CheckpointFile {
    file: NamedFile,
}

impl CheckpointFile {
    /// Opens or creates `path`; what it says comes with it.
    pub(crate) fn open(
        files: &FileSystem,
        path: PathBuf,
    ) -> Result<(Self, Checkpoint), StoreError> {
        let file = match files.open_if_there(path.clone())? {
            Some(file) => file,
            None => files.create(path, FILE_BYTES, false)?,
        };
        let file = Self { file };
        let checkpoint = Checkpoint::decode(&file.read()?);
        Ok((file, checkpoint))
    }

    /// The bytes of the file. An unfinished one says nothing, which is always safe.
    fn read(&self) -> Result<[u8; WRITTEN_BYTES], StoreError> {
        let mut bytes = [0; WRITTEN_BYTES];
        match self.file.read_at(&mut bytes, 0) {
            Err(error) if !error.is(io::ErrorKind::UnexpectedEof) => Err(error),
            _ => Ok(bytes),
        }
    }

    /// Writes and syncs.
    pub(crate) fn write(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let mut bytes = self.read()?;
        checkpoint.encode(&mut bytes);
        self.file.write_at(&bytes, 0)?;
        if planted(Fault::CheckpointNotSynced) {
            return Ok(());
        }
        self.file.sync()
    }
}

impl Checkpoint {
    /// From the file's bytes. An unfinished file says nothing, which is always safe.
    pub(crate) fn read(file: &[u8]) -> Self {
        file.first_chunk().map_or_else(Self::default, Self::decode)
    }

    fn decode(bytes: &[u8; WRITTEN_BYTES]) -> Self {
        let i64_at = |at: usize| (&bytes[at..]).get_i64();
        let crc = crc32fast::hash(&bytes[MARK_AT..MARK_CRC_AT]).to_be_bytes();
        let no_queues = bytes[MARK_AT..MARK_OFFSET_AT] == EMPTY_MAGIC;
        let ours = (no_queues || bytes[MARK_AT..MARK_OFFSET_AT] == MARK_MAGIC)
            && bytes[MARK_FIELDS_AT..MARK_CRC_AT] == bytes[..FIELDS_BYTES]
            && bytes[MARK_CRC_AT..] == crc;
        let ours = ours.then_some(());
        let u64_at = |at| u64::try_from(i64_at(at)).ok();
        let index_timestamp = i64_at(INDEX_TIMESTAMP_AT);
        let newest = u64_at(INDEX_NAME_AT).zip(bytes[INDEX_HEADER_AT..].first_chunk());
        let index = u64_at(INDEX_OFFSET_AT).map(|offset| IndexMark {
            resume: Resume {
                offset,
                skip: i64_at(INDEX_SKIP_AT).try_into().unwrap_or(0),
            },
            newest: newest.map(|(name, header)| (name, Header::decode(header))),
            files: i64_at(INDEX_FILES_AT).try_into().unwrap_or(0),
            full_timestamp: index_timestamp,
        });
        Self {
            physic_timestamp: i64_at(PHYSIC_TIMESTAMP_AT),
            logics_timestamp: i64_at(LOGICS_TIMESTAMP_AT),
            index_timestamp,
            logics_physical_offset: u64::try_from(i64_at(LOGICS_PHYSICAL_OFFSET_AT)).unwrap_or(0),
            indexed: ours.and_then(|()| u64_at(MARK_OFFSET_AT)),
            no_queues: ours.is_some() && no_queues,
            index: ours.and(index),
        }
    }

    /// Over what stood there: fields we do not know keep their values.
    fn encode(&self, bytes: &mut [u8; WRITTEN_BYTES]) {
        let mut put = |at: usize, value: i64| (&mut bytes[at..]).put_i64(value);
        let wire = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        put(PHYSIC_TIMESTAMP_AT, self.physic_timestamp);
        put(LOGICS_TIMESTAMP_AT, self.logics_timestamp);
        put(LOGICS_PHYSICAL_OFFSET_AT, wire(self.logics_physical_offset));
        let magic = match self.indexed {
            Some(indexed) => {
                put(MARK_OFFSET_AT, wire(indexed));
                if self.no_queues {
                    EMPTY_MAGIC
                } else {
                    MARK_MAGIC
                }
            }
            None => [0; 8],
        };
        put(MARK_AT, i64::from_be_bytes(magic));
        if let Some(index) = &self.index {
            put(INDEX_TIMESTAMP_AT, index.full_timestamp);
        }
        let resume = self.index.map(|index| index.resume);
        let newest = self.index.and_then(|index| index.newest);
        let files = self.index.map_or(0, |index| index.files as u64);
        put(INDEX_OFFSET_AT, resume.map_or(NONE, |at| wire(at.offset)));
        put(INDEX_SKIP_AT, resume.map_or(0, |at| at.skip.into()));
        put(INDEX_NAME_AT, newest.map_or(NONE, |(name, _)| wire(name)));
        put(INDEX_FILES_AT, wire(files));
        let header = newest.map_or([0; HEADER_BYTES], |(_, header)| header.encode());
        bytes[INDEX_HEADER_AT..MARK_FIELDS_AT].copy_from_slice(&header);
        let fields: [u8; FIELDS_BYTES] = std::array::from_fn(|at| bytes[at]);
        bytes[MARK_FIELDS_AT..MARK_CRC_AT].copy_from_slice(&fields);
        let crc = crc32fast::hash(&bytes[MARK_AT..MARK_CRC_AT]);
        bytes[MARK_CRC_AT..].copy_from_slice(&crc.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sim::SimFiles;

    const WRITTEN: Checkpoint = Checkpoint {
        physic_timestamp: 0x11,
        logics_timestamp: 0x22,
        logics_physical_offset: 0x33,
        index_timestamp: 0x55,
        indexed: Some(0x44),
        no_queues: false,
        index: Some(IndexMark {
            resume: Resume {
                offset: 0x66,
                skip: 2,
            },
            newest: Some((
                20_261_121_151_028_123,
                Header {
                    begin_timestamp: 1,
                    end_timestamp: 2,
                    begin_offset: 3,
                    end_offset: 4,
                    used_slots: 5,
                    next: 6,
                },
            )),
            files: 3,
            full_timestamp: 0x55,
        }),
    };

    fn written() -> Arc<SimFiles> {
        let files = SimFiles::new();
        let (file, before) = open(&files);
        assert_eq!(before, Checkpoint::default());
        file.write(&WRITTEN).unwrap();
        files
    }

    fn open(files: &Arc<SimFiles>) -> (CheckpointFile, Checkpoint) {
        let files = FileSystem::new(Arc::clone(files) as _);
        CheckpointFile::open(&files, "/c".into()).unwrap()
    }

    fn read(files: &Arc<SimFiles>) -> Checkpoint {
        open(files).1
    }

    #[test]
    fn fields_stand_where_the_reference_reads_them() {
        let bytes = written().bytes("/c").unwrap();
        assert_eq!(bytes.len(), 4096);
        assert_eq!(
            bytes[..16],
            [0, 0, 0, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0, 0, 0, 0x22]
        );
        assert_eq!(bytes[16..24], [0, 0, 0, 0, 0, 0, 0, 0x55]);
        assert_eq!(bytes[24..40], [0; 16]);
        assert_eq!(bytes[40..48], [0, 0, 0, 0, 0, 0, 0, 0x33]);
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(&written()), WRITTEN);
    }

    #[test]
    fn mark_counts_no_more_once_another_broker_wrote() {
        let files = written();
        files.overwrite("/c", 7, &[0x12]);
        let expected = Checkpoint {
            physic_timestamp: 0x12,
            indexed: None,
            index: None,
            ..WRITTEN
        };
        assert_eq!(read(&files), expected);
    }

    #[test]
    fn damaged_mark_does_not_count() {
        let files = written();
        files.overwrite("/c", MARK_OFFSET_AT + 7, &[0x45]);
        let read = read(&files);
        assert_eq!((read.indexed, read.index), (None, None));
    }

    #[test]
    fn index_that_is_not_kept_is_nothing() {
        let files = written();
        let (file, _) = open(&files);
        let checkpoint = Checkpoint {
            index: None,
            ..WRITTEN
        };
        file.write(&checkpoint).unwrap();
        assert_eq!(read(&files), checkpoint);
    }

    #[test]
    fn fields_of_others_are_kept() {
        let files = written();
        files.overwrite("/c", 24, &[9; 16]);
        let (file, _) = open(&files);
        file.write(&WRITTEN).unwrap();
        assert_eq!(files.bytes("/c").unwrap()[24..40], [9; 16]);
        assert_eq!(read(&files), WRITTEN);
    }
}
