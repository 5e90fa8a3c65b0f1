//! Offsets of a broadcast consumer: every member reads everything, so each keeps its own, in a file of the
//! form Java's client uses.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use common::wire::body::ResetOffsetBody;

use crate::MessageQueue;
use crate::error::ClientError;

/// The file of one client and group, and its predecessor.
#[derive(Debug, Clone)]
pub(crate) struct LocalOffsets {
    file: PathBuf,
    backup: PathBuf,
}

impl LocalOffsets {
    pub(crate) fn new(directory: &Path, client_id: &str, group: &str) -> Self {
        let file = directory.join(client_id).join(group).join("offsets.json");
        Self {
            backup: file.with_extension("json.bak"),
            file,
        }
    }

    /// Where all clients of this user keep theirs.
    pub(crate) fn default_directory() -> PathBuf {
        std::env::var_os("HOME")
            .map_or_else(PathBuf::new, PathBuf::from)
            .join(".rocketmq_offsets")
    }

    /// The offsets saved last; those before, if the file is broken; none, if there is no file.
    pub(crate) async fn load(&self) -> Result<BTreeMap<MessageQueue, i64>, ClientError> {
        match read(&self.file).await {
            Ok(Some(table)) => return Ok(table),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "offset file is unusable, trying its backup"),
        }
        Ok(read(&self.backup).await?.unwrap_or_default())
    }

    /// Saves all offsets. The old file stays complete until the new one is.
    pub(crate) async fn save(&self, table: BTreeMap<MessageQueue, i64>) -> Result<(), ClientError> {
        let this = self.clone();
        let written = tokio::task::spawn_blocking(move || this.write(table));
        match written.await {
            Ok(outcome) => outcome,
            // The runtime is going down; the next start reads what was saved before.
            Err(_) => Err(ClientError::Stopped),
        }
    }

    fn write(&self, table: BTreeMap<MessageQueue, i64>) -> Result<(), ClientError> {
        let failed = |op: &'static str| {
            let path = self.file.clone();
            move |source| ClientError::LocalOffsets { op, path, source }
        };
        if let Some(directory) = self.file.parent() {
            std::fs::create_dir_all(directory).map_err(failed("create the directory of"))?;
        }
        let new = self.file.with_extension("json.tmp");
        let text = ResetOffsetBody {
            offset_table: table,
        }
        .encode();
        std::fs::write(&new, text).map_err(failed("write"))?;
        match std::fs::rename(&self.file, &self.backup) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("back up")(error)),
        }
        std::fs::rename(&new, &self.file).map_err(failed("replace"))
    }
}

async fn read(path: &Path) -> Result<Option<BTreeMap<MessageQueue, i64>>, ClientError> {
    let failed = |source| ClientError::LocalOffsets {
        op: "read",
        path: path.to_owned(),
        source,
    };
    let reading = path.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read(reading));
    let text = match read.await.map_err(|_| ClientError::Stopped)? {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let body = ResetOffsetBody::decode(&text)
        .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    Ok(Some(body.offset_table))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(offset: i64) -> BTreeMap<MessageQueue, i64> {
        BTreeMap::from([
            (MessageQueue::new("T", "broker-a", 0), offset),
            (MessageQueue::new("T", "broker-a", 1), 7),
        ])
    }

    #[tokio::test]
    async fn what_was_saved_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let offsets = LocalOffsets::new(directory.path(), "10.0.0.1@DEFAULT", "group");
        assert!(offsets.load().await.unwrap().is_empty());
        offsets.save(table(1)).await.unwrap();
        offsets.save(table(2)).await.unwrap();
        assert_eq!(offsets.load().await.unwrap(), table(2));
        let file = directory.path().join("10.0.0.1@DEFAULT/group/offsets.json");
        let text = std::fs::read_to_string(&file).unwrap();
        let first = r#"{"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"T"}:2,"#;
        assert!(text.starts_with(first), "{text}");
    }

    #[tokio::test]
    async fn a_broken_file_yields_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let offsets = LocalOffsets::new(directory.path(), "c", "g");
        offsets.save(table(1)).await.unwrap();
        offsets.save(table(2)).await.unwrap();
        std::fs::write(&offsets.file, "{\"offsetT").unwrap();
        assert_eq!(offsets.load().await.unwrap(), table(1));
    }
}
