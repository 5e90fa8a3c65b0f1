//! The `checkpoint` file: from where on recovery has to look at the log.
//!
//! The reference's fields come first. Behind them, where the reference writes nothing, stands our
//! own mark: up to where all `ConsumeQueue`s are complete and on disk. It counts only while the
//! reference's fields are as we left them, for another broker may have run since.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::error::StoreError;
use crate::files::{Files, StoreFile};

const FILE_BYTES: u64 = 4096;
const PHYSIC_TIMESTAMP_AT: usize = 0;
const LOGICS_TIMESTAMP_AT: usize = 8;
const LOGICS_PHYSICAL_OFFSET_AT: usize = 40;
const FIELDS_BYTES: usize = 48;
const MARK_AT: usize = 64;
const MARK_MAGIC: [u8; 8] = *b"ARUGULA1";
const MARK_OFFSET_AT: usize = MARK_AT + 8;
const MARK_FIELDS_AT: usize = MARK_OFFSET_AT + 8;
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
    /// Position of the start of that record; 0: not known.
    pub logics_physical_offset: u64,
    /// All units of records below this position are on disk, if only Arugula wrote the file.
    pub indexed: Option<u64>,
}

/// The open file.
#[derive(Debug)]
pub(crate) struct CheckpointFile {
    file: Arc<dyn StoreFile>,
}

impl CheckpointFile {
    /// Opens or creates `path`; what it says comes with it.
    pub(crate) fn open(files: &dyn Files, path: &Path) -> Result<(Self, Checkpoint), StoreError> {
        let file = match files.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => files
                .create(path, FILE_BYTES, false)
                .map_err(StoreError::io("create", path))?,
            opened => opened.map_err(StoreError::io("open", path))?,
        };
        let mut bytes = [0; WRITTEN_BYTES];
        match file.read_at(&mut bytes, 0) {
            // An unfinished file says nothing, which is always safe.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            read => read.map_err(StoreError::io("read", path))?,
        }
        Ok((Self { file }, Checkpoint::decode(&bytes)))
    }

    /// Writes and syncs.
    pub(crate) fn write(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        let mut bytes = [0; WRITTEN_BYTES];
        match self.file.read_at(&mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            read => read?,
        }
        checkpoint.encode(&mut bytes);
        self.file.write_at(&bytes, 0)?;
        self.file.sync()
    }
}

impl Checkpoint {
    /// From the file's bytes. An unfinished file says nothing, which is always safe.
    pub(crate) fn read(file: &[u8]) -> Self {
        file.first_chunk().map_or_else(Self::default, Self::decode)
    }

    fn decode(bytes: &[u8; WRITTEN_BYTES]) -> Self {
        let i64_at = |at: usize| {
            bytes[at..]
                .first_chunk()
                .map_or(0, |b| i64::from_be_bytes(*b))
        };
        let crc = crc32fast::hash(&bytes[MARK_AT..MARK_CRC_AT]).to_be_bytes();
        let ours = bytes[MARK_AT..MARK_OFFSET_AT] == MARK_MAGIC
            && bytes[MARK_FIELDS_AT..MARK_CRC_AT] == bytes[..FIELDS_BYTES]
            && bytes[MARK_CRC_AT..] == crc;
        let indexed = u64::try_from(i64_at(MARK_OFFSET_AT)).ok();
        Self {
            physic_timestamp: i64_at(PHYSIC_TIMESTAMP_AT),
            logics_timestamp: i64_at(LOGICS_TIMESTAMP_AT),
            logics_physical_offset: u64::try_from(i64_at(LOGICS_PHYSICAL_OFFSET_AT)).unwrap_or(0),
            indexed: if ours { indexed } else { None },
        }
    }

    /// Over what stood there: fields we do not know keep their values.
    fn encode(&self, bytes: &mut [u8; WRITTEN_BYTES]) {
        let mut put = |at: usize, value: [u8; 8]| bytes[at..at + 8].copy_from_slice(&value);
        put(PHYSIC_TIMESTAMP_AT, self.physic_timestamp.to_be_bytes());
        put(LOGICS_TIMESTAMP_AT, self.logics_timestamp.to_be_bytes());
        put(
            LOGICS_PHYSICAL_OFFSET_AT,
            self.logics_physical_offset.to_be_bytes(),
        );
        match self.indexed {
            Some(indexed) => {
                put(MARK_AT, MARK_MAGIC);
                put(MARK_OFFSET_AT, indexed.to_be_bytes());
            }
            None => put(MARK_AT, [0; 8]),
        }
        let fields: [u8; FIELDS_BYTES] = std::array::from_fn(|at| bytes[at]);
        bytes[MARK_FIELDS_AT..MARK_CRC_AT].copy_from_slice(&fields);
        let crc = crc32fast::hash(&bytes[MARK_AT..MARK_CRC_AT]);
        bytes[MARK_CRC_AT..].copy_from_slice(&crc.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimFiles;

    const WRITTEN: Checkpoint = Checkpoint {
        physic_timestamp: 0x11,
        logics_timestamp: 0x22,
        logics_physical_offset: 0x33,
        indexed: Some(0x44),
    };

    fn written() -> Arc<SimFiles> {
        let files = SimFiles::new();
        let (file, before) = CheckpointFile::open(&*files, Path::new("/c")).unwrap();
        assert_eq!(before, Checkpoint::default());
        file.write(&WRITTEN).unwrap();
        files
    }

    fn read(files: &SimFiles) -> Checkpoint {
        CheckpointFile::open(files, Path::new("/c")).unwrap().1
    }

    #[test]
    fn fields_stand_where_the_reference_reads_them() {
        let bytes = written().bytes("/c").unwrap();
        assert_eq!(bytes.len(), 4096);
        assert_eq!(
            bytes[..16],
            [0, 0, 0, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0, 0, 0, 0x22]
        );
        assert_eq!(bytes[16..40], [0; 24]);
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
            ..WRITTEN
        };
        assert_eq!(read(&files), expected);
    }

    #[test]
    fn damaged_mark_does_not_count() {
        let files = written();
        files.overwrite("/c", MARK_OFFSET_AT + 7, &[0x45]);
        assert_eq!(read(&files).indexed, None);
    }

    #[test]
    fn fields_of_others_are_kept() {
        let files = written();
        files.overwrite("/c", 24, &[9; 16]);
        let (file, _) = CheckpointFile::open(&*files, Path::new("/c")).unwrap();
        file.write(&WRITTEN).unwrap();
        assert_eq!(files.bytes("/c").unwrap()[24..40], [9; 16]);
        assert_eq!(read(&files), WRITTEN);
    }
}
