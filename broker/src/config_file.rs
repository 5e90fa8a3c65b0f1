//! The JSON files under `config/`: the reference's tables, replaced without ever being half written.

use crate::kv::Digest;
use common::wire::fastjson;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// What went wrong with a file of settings or offsets.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// The system refused an operation.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is damaged and so is its copy, or there is none. Starting without it would forget everything in it.
    #[error(
        "{} cannot be read ({reason}), and there is no good copy of it in {}; restore one of them, or delete both to start without",
        path.display(), backup.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its copy.
        backup: PathBuf,
        /// What is wrong with the file.
        reason: String,
    },
}

/// One JSON file that the reference reads and writes too, and beside it `.bak`, the version before.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
}

/// What a file holds.
pub enum Content<T> {
    /// This, in a text of this digest.
    Good(T, Digest),
    /// There is none.
    Absent,
    /// What is wrong with it.
    Damaged(String),
}

impl ConfigFile {
    /// The file at `path`; nothing is touched yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The digest of the file, if there is one.
    ///
    /// # Errors
    /// The system refuses to read it.
    pub fn digest(&self) -> Result<Option<Digest>, ConfigFileError> {
        Ok(bytes(&self.path)?.map(|bytes| Digest::of(&bytes)))
    }

    /// What the file holds.
    ///
    /// # Errors
    /// The system refuses to read it.
    pub fn read<T: DeserializeOwned>(&self) -> Result<Content<T>, ConfigFileError> {
        read(&self.path)
    }

    /// What its copy holds.
    ///
    /// # Errors
    /// The system refuses to read it.
    pub fn read_copy<T: DeserializeOwned>(&self) -> Result<Content<T>, ConfigFileError> {
        read(&self.sibling("bak"))
    }

    /// Keeps a damaged file under `.damaged`, so that the next [`Self::replace`] cannot put it in the place of the good copy.
    ///
    /// # Errors
    /// The system refuses to rename it.
    pub fn set_aside(&self) -> Result<(), ConfigFileError> {
        fs::rename(&self.path, self.sibling("damaged")).map_err(io("rename", &self.path))
    }

    /// The error that neither the file nor its copy can be read.
    pub fn damaged<T>(&self, file: &Content<T>, copy: &Content<T>) -> ConfigFileError {
        let reason = match (file, copy) {
            (Content::Damaged(reason), _) | (_, Content::Damaged(reason)) => reason.clone(),
            _ => "it is not there".to_owned(),
        };
        ConfigFileError::Damaged {
            path: self.path.clone(),
            backup: self.sibling("bak"),
            reason,
        }
    }

    /// The text of a file that holds `value`.
    ///
    /// # Errors
    /// `value` has no JSON.
    pub fn encode(&self, value: &impl Serialize) -> Result<Vec<u8>, ConfigFileError> {
        pretty(value).map_err(|source| io("encode", &self.path)(source.into()))
    }

    /// Puts `text` in the place of what the file holds, which becomes the copy. On the disk when it returns; at every moment
    /// before, the file or its copy is whole.
    ///
    /// # Errors
    /// See [`ConfigFileError`]; the old version is still there.
    pub fn replace(&self, text: &[u8]) -> Result<(), ConfigFileError> {
        let next = self.sibling("tmp");
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory).map_err(io("create", directory))?;
        }
        write_synced(&next, text).map_err(io("write", &next))?;
        match fs::rename(&self.path, self.sibling("bak")) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => {}
            moved => moved.map_err(io("rename", &self.path))?,
        }
        fs::rename(&next, &self.path).map_err(io("rename", &next))?;
        self.sync_directory()
    }

    fn sync_directory(&self) -> Result<(), ConfigFileError> {
        let Some(directory) = self.path.parent() else {
            return Ok(());
        };
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(io("sync", directory))
    }

    fn sibling(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(suffix);
        name.into()
    }
}

/// The error that `operation` on `path` gives when the system refuses it.
fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ConfigFileError {
    let path = path.to_owned();
    move |source| ConfigFileError::Io {
        operation,
        path,
        source,
    }
}

/// The content of a file, if there is one.
fn bytes(path: &Path) -> Result<Option<Vec<u8>>, ConfigFileError> {
    match fs::read(path) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(io("read", path)),
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Content<T>, ConfigFileError> {
    let Some(bytes) = bytes(path)? else {
        return Ok(Content::Absent);
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Content::Damaged("it is empty".to_owned()));
    }
    Ok(fastjson::from_slice(&bytes).map_or_else(
        |error| Content::Damaged(error.to_string()),
        |value| Content::Good(value, Digest::of(&bytes)),
    ))
}

fn write_synced(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// Indented by tabs as the reference does it. Integer keys are quoted, which both read and every other JSON tool too.
fn pretty(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut text, format,
    ))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    type Table = BTreeMap<i32, i64>;

    impl ConfigFile {
        fn put(&self, table: &Table) -> Result<(), ConfigFileError> {
            self.replace(&self.encode(table)?)
        }
    }

    fn table(entries: &[(i32, i64)]) -> Table {
        entries.iter().copied().collect()
    }

    fn file() -> (tempfile::TempDir, ConfigFile) {
        let directory = tempfile::tempdir().unwrap();
        let file = ConfigFile::new(directory.path().join("config/table.json"));
        (directory, file)
    }

    fn good(content: Content<Table>) -> Option<Table> {
        match content {
            Content::Good(table, _) => Some(table),
            Content::Absent => None,
            Content::Damaged(reason) => panic!("{reason}"),
        }
    }

    #[test]
    fn what_was_written_is_read_and_the_version_before_is_kept() {
        let (_directory, file) = file();
        assert_eq!(good(file.read().unwrap()), None);
        file.put(&table(&[(0, 1)])).unwrap();
        assert_eq!(good(file.read_copy().unwrap()), None);
        file.put(&table(&[(0, 2)])).unwrap();
        assert_eq!(good(file.read().unwrap()), Some(table(&[(0, 2)])));
        assert_eq!(good(file.read_copy().unwrap()), Some(table(&[(0, 1)])));
    }

    #[test]
    fn a_damaged_file_that_is_set_aside_does_not_take_the_place_of_the_copy() {
        let (_directory, file) = file();
        file.put(&table(&[(0, 1)])).unwrap();
        file.put(&table(&[(0, 2)])).unwrap();
        for damage in ["", "{\"0\":", "\n"] {
            fs::write(&file.path, damage).unwrap();
            let damaged = file.read::<Table>().unwrap();
            assert!(matches!(damaged, Content::Damaged(_)), "{damage}");
            file.set_aside().unwrap();
            assert_eq!(good(file.read().unwrap()), None);
        }
        file.put(&table(&[(0, 3)])).unwrap();
        assert_eq!(good(file.read_copy().unwrap()), Some(table(&[(0, 1)])));
    }

    #[test]
    fn the_keys_of_java_are_read() {
        let (_directory, file) = file();
        fs::create_dir_all(file.path.parent().unwrap()).unwrap();
        fs::write(&file.path, "{\n\t0:12,\n\t1:7\n}").unwrap();
        assert_eq!(good(file.read().unwrap()), Some(table(&[(0, 12), (1, 7)])));
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_version() {
        let (_directory, file) = file();
        file.put(&table(&[(0, 1)])).unwrap();
        fs::create_dir(file.sibling("tmp")).unwrap();
        assert!(file.put(&table(&[(0, 2)])).is_err());
        assert_eq!(good(file.read().unwrap()), Some(table(&[(0, 1)])));
    }
}
