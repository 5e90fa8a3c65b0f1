//! A table in rows, and the JSON file in which the reference keeps it.
//!
//! Rows are written with every change, the file now and then. Another broker, or an operator, may have changed the file while
//! this one did not run, so at the start the file's digest is looked at: a file that we wrote ourselves says nothing new, any
//! other one is the truth. The digest is in the database before the file is in its place: a crash in between finds a known file.

use super::digest::Digest;
use super::{Change, Family, Kv, KvAtStart, KvError, RowChange, Written};
use crate::config_file::{ConfigFile, ConfigFileError, Content};
use common::wire::body::DataVersion;
use common::wire::fastjson;
use hashbrown::HashMap;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Files that may be in place after replacements that failed half way, and files before them.
const MAX_KNOWN: usize = 8;

/// Key and value of a row.
pub type Row = (Box<[u8]>, Box<[u8]>);

/// A whole table as its file has it.
pub trait Document: Serialize + DeserializeOwned + Default {
    /// The table in rows.
    fn rows(&self) -> Vec<Row>;

    /// Takes one of these rows.
    ///
    /// # Errors
    /// What is wrong with the row.
    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), String>;
}

/// A value of a row that is JSON.
///
/// # Errors
/// It is none of this type.
pub fn json_value<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    fastjson::from_slice(value).map_err(|error| error.to_string())
}

/// The row of a table's version, as JSON under the empty key.
pub fn version_row(version: DataVersion) -> RowChange {
    (Box::default(), Some(version.encode_standard().into()))
}

/// The rows that are put by changes of a whole table.
pub fn put_rows(changes: impl Iterator<Item = RowChange>) -> Vec<Row> {
    let rows = changes.filter_map(|(key, value)| Some((key, value?)));
    rows.collect()
}

/// Why a table does not open.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Its rows.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// Its file.
    #[error(transparent)]
    File(#[from] ConfigFileError),
}

/// A table's rows and its file.
pub struct KvTable {
    kv: Kv,
    family: Family,
    /// Where it stands what is known of the file.
    key: &'static str,
    /// The file may say less than the table.
    changed: AtomicBool,
    wake: Notify,
    /// Held while the file is written.
    exchange: Mutex<Exchange>,
}

struct Exchange {
    file: ConfigFile,
    known: Known,
}

/// Digests of files that say nothing that the rows do not say.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Known {
    /// Of the file: the one in place, and one that was about to take its place.
    file: Vec<Digest>,
    /// Of files that were in place before: the copy beside it is one of them.
    copy: Vec<Digest>,
}

/// Where a table comes from when the broker starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Rows,
    File,
    Copy,
    /// There is no table yet.
    Nothing,
    /// The file is damaged, and nothing is there to take its place.
    Lost,
}

/// What a file looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Good(Digest),
    Absent,
    Damaged,
}

/// What to believe. `rows`: the database has the table.
fn source(file: Look, copy: Look, known: &Known, rows: bool) -> Source {
    match (file, copy) {
        (Look::Good(digest), _) if !known.file.contains(&digest) => Source::File,
        (Look::Good(_), _) => Source::Rows,
        // Only we leave no file at all, for a moment between two renames; or somebody deleted it.
        (Look::Absent, _) if rows => Source::Rows,
        // Somebody wrote it and was interrupted. If the copy is not ours either, ours was replaced before.
        (Look::Damaged, Look::Good(digest))
            if !known.copy.contains(&digest) && !known.file.contains(&digest) =>
        {
            Source::Copy
        }
        (Look::Damaged, _) if rows => Source::Rows,
        (_, Look::Good(_)) => Source::Copy,
        (Look::Absent, Look::Absent) => Source::Nothing,
        (Look::Damaged, _) | (Look::Absent, Look::Damaged) => Source::Lost,
    }
}

impl KvTable {
    /// The table in rows of `family` and in the file at `path`, and what is in it; `None` when there is no table yet.
    ///
    /// # Errors
    /// Rows or file cannot be read, and neither can take the place of the other.
    pub fn open<D: Document>(
        start: &mut KvAtStart,
        family: Family,
        path: &Path,
    ) -> Result<(Self, Option<D>), TableError> {
        Self::open_as(start, family, path, family.name())
    }

    /// As [`Self::open`], of a table that is now in this file and now in that: what is known of each stands under a `key` of
    /// its own.
    ///
    /// # Errors
    /// As there.
    pub fn open_as<D: Document>(
        start: &mut KvAtStart,
        family: Family,
        path: &Path,
        key: &'static str,
    ) -> Result<(Self, Option<D>), TableError> {
        let file = ConfigFile::new(path.to_owned());
        let known = start.json::<Known>(Family::Exchange, key.as_bytes())?;
        let rows = start.take(family);
        let has_rows = known.is_some() || !rows.is_empty();
        let table = Self {
            kv: start.kv().clone(),
            family,
            key,
            changed: AtomicBool::new(false),
            wake: Notify::new(),
            exchange: Mutex::new(Exchange {
                file,
                known: known.unwrap_or_default(),
            }),
        };
        let document = table.choose(start.path(), rows, has_rows)?;
        Ok((table, document))
    }

    fn choose<D: Document>(
        &self,
        path: &Path,
        rows: Vec<Row>,
        has_rows: bool,
    ) -> Result<Option<D>, TableError> {
        let mut exchange = self.exchange.lock();
        let Exchange { file, known } = &mut *exchange;
        // Mostly the file is ours, and there is nothing to parse.
        let ours = file
            .digest()?
            .is_some_and(|digest| known.file.contains(&digest));
        if ours {
            self.touch();
            return read_rows(path, self.family, rows).map(Some);
        }
        let in_place = file.read::<D>()?;
        let copy = match in_place {
            Content::Good(..) => Content::Absent,
            _ => file.read_copy::<D>()?,
        };
        let source = source(look(&in_place), look(&copy), known, has_rows);
        let name = file.path().display();
        if !matches!(source, Source::File | Source::Nothing) {
            // Rows may be newer, and a copy is no file.
            self.touch();
        }
        if let Content::Damaged(reason) = &in_place
            && source != Source::Lost
        {
            tracing::warn!(
                "{name} cannot be read ({reason}); it is kept as .damaged, and {} used",
                if source == Source::Rows {
                    "what is in kv is"
                } else {
                    "its copy is"
                }
            );
            file.set_aside()?;
        }
        let taken_over = match (source, in_place, copy) {
            (Source::Rows, ..) => return read_rows(path, self.family, rows).map(Some),
            (Source::Nothing, ..) => return Ok(None),
            (Source::File, Content::Good(document, digest), _) => {
                known.file = vec![digest];
                document
            }
            (_, _, Content::Good(document, digest)) => {
                push(&mut known.copy, digest);
                document
            }
            (_, in_place, copy) => return Err(file.damaged(&in_place, &copy).into()),
        };
        if has_rows {
            tracing::info!(
                "{name} was changed by somebody else: what it says replaces what is in kv"
            );
        }
        let record = record(self.key, known);
        let replaced = replace(self.family, rows, &taken_over);
        // When it cannot be written, it stays in memory, and the file stays what the next start believes.
        if let Err(error) = self.kv.store(replaced.chain([record])) {
            tracing::warn!(%error, "{name} could not be taken over into kv yet");
        }
        Ok(Some(taken_over))
    }

    /// Takes changes of rows. Nobody waits for them.
    pub fn submit(&self, rows: impl IntoIterator<Item = RowChange>) {
        self.kv.submit(self.changes(rows));
    }

    /// Takes changes of rows and calls `done` when they are on the disk, or when that has failed.
    pub fn submit_then(
        &self,
        rows: impl IntoIterator<Item = RowChange>,
        done: impl FnOnce(Written) + Send + 'static,
    ) {
        self.kv.submit_then(self.changes(rows), done);
    }

    /// Takes changes of rows and waits until they are on the disk.
    ///
    /// # Errors
    /// Why they are not.
    pub fn store(&self, rows: impl IntoIterator<Item = RowChange>) -> Written {
        self.kv.store(self.changes(rows))
    }

    /// Takes a change and waits until it is on the disk. `before`: the rows it touches, as they are without it.
    ///
    /// # Errors
    /// Why it is not, and it is taken back: a failed write may have reached the disk in part, and is tried again.
    pub fn change(
        &self,
        after: impl IntoIterator<Item = RowChange>,
        before: Vec<RowChange>,
    ) -> Written {
        self.store(after).inspect_err(|_| self.submit(before))
    }

    /// Changes of rows as changes of the database, for somebody who writes them together with others.
    pub fn changes(
        &self,
        rows: impl IntoIterator<Item = RowChange>,
    ) -> impl Iterator<Item = Change> {
        let family = self.family;
        rows.into_iter()
            .map(move |(key, value)| Change { family, key, value })
    }

    /// Says that the file has to be written.
    pub fn touch(&self) {
        // Mostly it is known, and then nothing is written to what all threads share.
        if !self.changed.load(Ordering::Relaxed) && !self.changed.swap(true, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// Waits until [`Self::touch`] was called since the file was last written.
    pub async fn changed(&self) {
        self.wake.notified().await;
    }

    /// Writes what `document` gives into the file, if the table has changed since that was last done. Blocks for the disk.
    ///
    /// # Errors
    /// See [`ConfigFileError`]; the old version is still there, and the next call tries again.
    pub fn export<D: Document>(&self, document: impl FnOnce() -> D) -> Result<(), ConfigFileError> {
        let mut exchange = self.exchange.lock();
        // Before the document is made: what changes from now on asks for the next one.
        if !self.changed.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let written = self.write(&mut exchange, &document());
        if written.is_err() {
            self.touch();
        }
        written
    }

    fn write(
        &self,
        exchange: &mut Exchange,
        document: &impl Document,
    ) -> Result<(), ConfigFileError> {
        let Exchange { file, known } = exchange;
        let text = file.encode(document)?;
        let digest = Digest::of(&text);
        push(&mut known.file, digest);
        if let Err(error) = self.kv.store([record(self.key, known)]) {
            // The next start does not know the file, and believes it: it says more than kv.
            let name = file.path().display();
            tracing::debug!(%error, "{name} is written although kv is not");
        }
        file.replace(&text)?;
        for replaced in std::mem::replace(&mut known.file, vec![digest]) {
            push(&mut known.copy, replaced);
        }
        self.kv.submit([record(self.key, known)]);
        Ok(())
    }
}

fn push(digests: &mut Vec<Digest>, digest: Digest) {
    if digests.len() == MAX_KNOWN {
        digests.remove(0);
    }
    digests.push(digest);
}

fn record(key: &str, known: &Known) -> Change {
    let value = serde_json::to_vec(known).unwrap_or_default();
    Change {
        family: Family::Exchange,
        key: key.as_bytes().into(),
        value: Some(value.into()),
    }
}

fn read_rows<D: Document>(path: &Path, family: Family, rows: Vec<Row>) -> Result<D, TableError> {
    let mut document = D::default();
    for (key, value) in rows {
        document.add(&key, &value).map_err(|reason| KvError::Row {
            path: path.to_owned(),
            family: family.name(),
            key: String::from_utf8_lossy(&key).into_owned(),
            reason,
        })?;
    }
    Ok(document)
}

/// Changes that make `rows` those of `document`.
fn replace(
    family: Family,
    rows: Vec<Row>,
    document: &impl Document,
) -> impl Iterator<Item = Change> {
    let gone = rows.into_iter().map(|(key, _)| (key, None));
    let put = document.rows().into_iter();
    let put = put.map(|(key, value)| (key, Some(value)));
    let newest: HashMap<_, _> = gone.chain(put).collect();
    newest
        .into_iter()
        .map(move |(key, value)| Change { family, key, value })
}

fn look<D>(content: &Content<D>) -> Look {
    match content {
        Content::Good(_, digest) => Look::Good(*digest),
        Content::Absent => Look::Absent,
        Content::Damaged(_) => Look::Damaged,
    }
}

#[cfg(test)]
mod tests;
