//! The store without threads on a simulated disk: what tests of crashes are made of.

pub use crate::files::sim::{Failing, Image, Observer, Op, SECTOR_BYTES, SimFiles, Unsynced};

#[cfg(feature = "sim")]
pub use crate::planted::{Fault, plant};

use std::sync::Arc;

use common::clock::Clock;

use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::open::{StoreTasks, open_stepped};
use crate::read::StoreReader;
use crate::reput::Arrivals;
use crate::write::StoreWriter;

/// A piece of work that a thread of the store would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Brings the log to the disk, and dispatches what it brought there.
    Flush,
    /// Reserves the next segment, if one is wanted.
    Prepare,
    /// Hands `ConsumeQueue`s to the file system.
    WriteOut,
    /// Brings them to the disk, then the checkpoint.
    SyncIndexes,
    /// Deletes files that have expired.
    Clean,
}

/// Opens a store without its threads.
///
/// # Errors
/// As [`crate::open()`].
pub fn open(
    config: StoreConfig,
    files: Arc<SimFiles>,
    clock: Arc<dyn Clock>,
    arrivals: Arc<dyn Arrivals>,
) -> Result<(StoreWriter, StoreReader, StoreTasks), StoreError> {
    open_stepped(config, files, clock, arrivals)
}

impl StoreTasks {
    /// Does a piece of the threads' work now.
    ///
    /// # Errors
    /// What the thread would have met.
    pub fn step(&self, step: Step) -> Result<(), StoreError> {
        match step {
            Step::Flush => self.parts.flush.flush(),
            Step::Prepare => {
                self.parts.log.prepare.run_once(&self.parts.log.segments);
                Ok(())
            }
            Step::WriteOut => self.parts.index.write_out_now(),
            Step::SyncIndexes => self.parts.index.sync_now(),
            Step::Clean => {
                self.parts.clean.step();
                Ok(())
            }
        }
    }
}
