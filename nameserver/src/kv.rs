//! The key-value configuration: texts by namespace and key, kept in a JSON file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::files::replace;
use common::wire::body::KvTable;
use common::wire::fastjson::{self, JsonError};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

/// Namespace of the order configuration of topics.
pub const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

type Namespaces = BTreeMap<String, BTreeMap<String, String>>;

#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Document {
    config_table: Namespaces,
}

/// Why the file cannot be read at start.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// The operating system refused.
    #[error("kvConfigPath {} cannot be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The content is not what was written.
    #[error("kvConfigPath {} is damaged: {source}; mend it or move it away", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and how.
        #[source]
        source: JsonError,
    },
}

/// The configuration. What can be read is on disk already.
#[derive(Debug)]
pub struct KvConfig {
    path: PathBuf,
    table: RwLock<Arc<Namespaces>>,
    /// Held from reading the table until its successor is on disk: changes happen one after the other.
    change: Mutex<()>,
}

impl KvConfig {
    /// Reads the file at `path`; one that does not exist is empty.
    ///
    /// # Errors
    /// See [`KvError`].
    pub fn open(path: &Path) -> Result<Self, KvError> {
        let document = match fs::read(path) {
            Ok(bytes) => {
                fastjson::from_slice::<Document>(&bytes).map_err(|source| KvError::Damaged {
                    path: path.into(),
                    source,
                })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Document::default(),
            Err(source) => {
                return Err(KvError::Io {
                    path: path.into(),
                    source,
                });
            }
        };
        Ok(Self {
            path: path.into(),
            table: RwLock::new(Arc::new(document.config_table)),
            change: Mutex::new(()),
        })
    }

    /// The text of a key.
    pub fn get(&self, namespace: &str, key: &str) -> Option<String> {
        self.table.read().get(namespace)?.get(key).cloned()
    }

    /// All keys of a namespace.
    pub fn namespace(&self, namespace: &str) -> Option<KvTable> {
        self.table.read().get(namespace).map(|table| KvTable {
            table: table.clone(),
        })
    }

    /// Sets a key. Blocks for the disk.
    ///
    /// # Errors
    /// The file could not be written; nothing has changed.
    pub fn put(&self, namespace: String, key: String, value: String) -> io::Result<()> {
        self.change(move |table| {
            table.entry(namespace).or_default().insert(key, value);
            true
        })
    }

    /// Removes a key, if it is there. Blocks for the disk.
    ///
    /// # Errors
    /// The file could not be written; nothing has changed.
    pub fn delete(&self, namespace: &str, key: &str) -> io::Result<()> {
        self.change(|table| {
            table
                .get_mut(namespace)
                .is_some_and(|keys| keys.remove(key).is_some())
        })
    }

    fn change(&self, apply: impl FnOnce(&mut Namespaces) -> bool) -> io::Result<()> {
        let _one_at_a_time = self.change.lock();
        let mut table = Namespaces::clone(&self.table.read());
        if apply(&mut table) {
            let document = Document {
                config_table: table,
            };
            replace(&self.path, &serde_json::to_vec_pretty(&document)?)?;
            *self.table.write() = Arc::new(document.config_table);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("namesrv/kvConfig.json");
        (dir, path)
    }

    #[test]
    fn what_was_set_is_there_after_a_restart() {
        let (_dir, path) = file();
        let kv = KvConfig::open(&path).unwrap();
        assert_eq!(kv.namespace("n"), None);
        kv.put("n".into(), "ü \"q\"".into(), "é\n".into()).unwrap();
        kv.put("n".into(), "k".into(), "1".into()).unwrap();
        kv.put("n".into(), "k".into(), "2".into()).unwrap();
        kv.delete("n", "ü \"q\"").unwrap();
        for kv in [&kv, &KvConfig::open(&path).unwrap()] {
            assert_eq!(kv.get("n", "k").as_deref(), Some("2"));
            assert_eq!(kv.get("n", "ü \"q\""), None);
        }
        let text = fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value, serde_json::json!({"configTable": {"n": {"k": "2"}}}));
    }

    #[test]
    fn an_emptied_namespace_stays_and_deleting_nothing_writes_nothing() {
        let (_dir, path) = file();
        let kv = KvConfig::open(&path).unwrap();
        kv.delete("n", "k").unwrap();
        assert!(!path.exists());
        kv.put("n".into(), "k".into(), String::new()).unwrap();
        kv.delete("n", "k").unwrap();
        assert_eq!(
            KvConfig::open(&path).unwrap().namespace("n"),
            Some(KvTable::default())
        );
    }

    #[test]
    fn a_change_that_cannot_be_written_does_not_happen() {
        let (dir, path) = file();
        let kv = KvConfig::open(&path).unwrap();
        kv.put("n".into(), "k".into(), "1".into()).unwrap();
        fs::create_dir(dir.path().join("namesrv/kvConfig.json.tmp")).unwrap();
        assert!(kv.put("n".into(), "k".into(), "2".into()).is_err());
        assert!(kv.delete("n", "k").is_err());
        assert_eq!(kv.get("n", "k").as_deref(), Some("1"));
    }

    #[test]
    fn a_damaged_file_is_told_by_name() {
        let (_dir, path) = file();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "{\"configTable\":").unwrap();
        let error = KvConfig::open(&path).unwrap_err().to_string();
        assert!(error.contains("kvConfig.json is damaged"), "{error}");
        fs::write(&path, "{}").unwrap();
        assert_eq!(KvConfig::open(&path).unwrap().get("n", "k"), None);
    }
}
