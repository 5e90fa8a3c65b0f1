//! When the JSON files are written.

use super::{Document, KvTable};
use crate::config_file::ConfigFileError;
use std::time::Duration;

/// Pause after a file that could not be written.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// A table whose file follows its rows. Clones are handles of the same one.
pub trait Exported: Clone + Send + 'static {
    /// Its rows and its file.
    fn table(&self) -> &KvTable;

    /// The whole table, as its file has it.
    fn document(&self) -> impl Document;

    /// Writes the file if the table has changed since that was last done. Blocks for the disk.
    ///
    /// # Errors
    /// The file cannot be written; the next call tries again.
    fn persist(&self) -> Result<(), ConfigFileError> {
        self.table().export(|| self.document())
    }
}

/// Writes the file of a table each time it has changed: at once after a pause without changes, so that another broker that
/// takes over from a killed one finds what was changed by hand, and no more often than once in a `pause`. Runs until it is
/// dropped.
pub async fn export_on_change(table: impl Exported, pause: Duration) {
    loop {
        table.table().changed().await;
        let writing = table.clone();
        let written = tokio::task::spawn_blocking(move || writing.persist()).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "a table could not be written for other brokers; trying again");
            tokio::time::sleep(AFTER_FAILURE).await;
        }
        tokio::time::sleep(pause).await;
    }
}
