//! The key-value configuration: texts by namespace and key, kept in a JSON file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::wire::body::KvTable;
use common::wire::fastjson::{self, JsonError};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

/// Namespace of the order configuration of topics.
pub const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

type Namespaces = BTreeMap<String, BTreeMap<String, String>>;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
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
        let table = match fs::read(path) {
            Ok(bytes) => match fastjson::from_slice::<Document>(&bytes) {
                Ok(document) => document.config_table,
                Err(source) => {
                    return Err(KvError::Damaged {
                        path: path.into(),
                        source,
                    });
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Namespaces::new(),
            Err(source) => {
                return Err(KvError::Io {
                    path: path.into(),
                    source,
                });
            }
        };
        Ok(Self {
            path: path.into(),
            table: RwLock::new(Arc::new(table)),
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

/// Replaces the file as a whole, so that a crash leaves the old or the new one.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    // The new name is safe once its folder is.
    File::open(folder)?.sync_all()
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
