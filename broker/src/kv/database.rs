//! RocksDB, made small: little memory, few threads and files, nothing running when nothing is written.

use super::writer::{Disk, Range};
use super::{Change, Family, KvError};
use rocksdb::{
    BlockBasedOptions, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, Direction,
    IteratorMode, LogLevel, Options, ReadOptions, WriteBatch, WriteOptions,
};
use std::path::{Path, PathBuf};

/// Changes of one table that are kept in memory before they become a file. A million offsets need some fifty of those.
const WRITE_BUFFER_BYTES: usize = 1 << 20;
/// The same of a table with millions of rows: each time it is full, what it overlaps with is written anew.
const LARGE_WRITE_BUFFER_BYTES: usize = 4 << 20;
/// Unit in which that memory is taken.
const ARENA_BLOCK_BYTES: usize = 16 << 10;
/// The logs of changes that are in no file yet, together.
const WAL_BYTES: u64 = 4 << 20;
/// RocksDB's own log file, of which two are kept.
const INFO_LOG_BYTES: usize = 1 << 20;
const OPEN_FILES: i32 = 32;

/// The open database.
pub(super) struct Database {
    db: DB,
    path: PathBuf,
    durable: WriteOptions,
}

impl Database {
    /// Opens the database in `path`, or makes one.
    ///
    /// # Errors
    /// [`KvError::Open`].
    pub(super) fn open(path: &Path) -> Result<Self, KvError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_max_open_files(OPEN_FILES);
        options.set_table_cache_num_shard_bits(0);
        // Or else sixteen threads are started to open a handful of files.
        options.set_max_file_opening_threads(1);
        options.set_max_background_jobs(2);
        options.set_max_total_wal_size(WAL_BYTES);
        options.set_manifest_preallocation_size(64 << 10);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.set_log_level(LogLevel::Warn);
        options.set_max_log_file_size(INFO_LOG_BYTES);
        options.set_keep_log_file_num(2);
        let families = Family::ALL
            .map(|family| ColumnFamilyDescriptor::new(family.name(), options_of(family)));
        let db = DB::open_cf_descriptors(&options, path, families).map_err(|source| {
            let path = path.to_owned();
            KvError::Open { path, source }
        })?;
        let mut durable = WriteOptions::default();
        durable.set_sync(true);
        Ok(Self {
            db,
            path: path.to_owned(),
            durable,
        })
    }

    fn handle(&self, family: Family) -> &ColumnFamily {
        let handle = self.db.cf_handle(family.name());
        handle.unwrap_or_else(|| unreachable!("{family:?} was opened with the database"))
    }
}

fn options_of(family: Family) -> Options {
    let mut blocks = BlockBasedOptions::default();
    // Rows are read once, when the broker starts or their time has come.
    blocks.disable_cache();
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(if family.is_in_memory() {
        WRITE_BUFFER_BYTES
    } else {
        LARGE_WRITE_BUFFER_BYTES
    });
    options.set_arena_block_size(ARENA_BLOCK_BYTES);
    options.set_compression_type(DBCompressionType::None);
    options
}

impl Disk for Database {
    fn write(&mut self, changes: &[Change]) -> Result<(), KvError> {
        let mut batch = WriteBatch::default();
        for change in changes {
            let family = self.handle(change.family);
            match &change.value {
                Some(value) => batch.put_cf(family, &change.key, value),
                None => batch.delete_cf(family, &change.key),
            }
        }
        let written = self.db.write_opt(batch, &self.durable);
        written.map_err(|source| KvError::Write {
            path: self.path.clone(),
            reason: source.to_string(),
        })
    }

    fn read(&self, range: &Range) -> Result<Vec<super::Row>, KvError> {
        let mut options = ReadOptions::default();
        if let Some(to) = &range.to {
            options.set_iterate_upper_bound(to.to_vec());
        }
        let from = IteratorMode::From(&range.from, Direction::Forward);
        let rows = self
            .db
            .iterator_cf_opt(self.handle(range.family), options, from);
        let rows = rows.take(range.limit).collect::<Result<_, _>>();
        rows.map_err(|source| KvError::Read {
            path: self.path.clone(),
            source,
        })
    }
}
