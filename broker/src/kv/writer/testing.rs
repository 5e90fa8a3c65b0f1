//! For tests: a database in memory that can be made to fail, and to take its time.

use super::{Change, Disk, HashMap, Kv, KvAtStart, KvError, Opener, Range, Row, RowKey};
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A database in memory. Clones are handles of the same one.
#[derive(Clone, Default)]
pub struct Memory {
    rows: Arc<Mutex<HashMap<RowKey, Box<[u8]>>>>,
    failing: Arc<AtomicBool>,
    busy: Arc<Mutex<()>>,
}

impl Memory {
    /// A writer to this database, which has no rows.
    pub fn start(&self) -> KvAtStart {
        let again = self.clone();
        let reopen: Opener = Box::new(move || Ok(Box::new(again.clone())));
        KvAtStart {
            kv: Kv::start(Box::new(self.clone()), reopen).unwrap(),
            path: "/memory".into(),
            rows: HashMap::new(),
        }
    }

    /// From now on writes fail, or do not. One that fails has reached the disk all the same.
    pub fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    /// Nothing is written until this is dropped.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        self.busy.lock()
    }

    /// Keys of all rows, as text.
    pub fn keys(&self) -> Vec<String> {
        let rows = self.rows.lock();
        let keys = rows.keys().map(|(_, key)| String::from_utf8_lossy(key));
        let mut keys: Vec<_> = keys.map(String::from).collect();
        keys.sort();
        keys
    }
}

impl Disk for Memory {
    fn write(&mut self, changes: &[Change]) -> Result<(), KvError> {
        drop(self.busy.lock());
        let mut rows = self.rows.lock();
        for change in changes {
            let key = (change.family, change.key.clone());
            match &change.value {
                Some(value) => rows.insert(key, value.clone()),
                None => rows.remove(&key),
            };
        }
        if self.failing.load(Ordering::SeqCst) {
            return Err(KvError::Write {
                path: "/memory".into(),
                reason: "told to fail".to_owned(),
            });
        }
        Ok(())
    }

    fn read(&self, range: &Range) -> Result<Vec<Row>, KvError> {
        let rows = self.rows.lock();
        let within =
            |key: &[u8]| *key >= *range.from && range.to.as_ref().is_none_or(|to| *key < **to);
        let rows = rows
            .iter()
            .filter(|((family, key), _)| *family == range.family && within(key));
        let mut rows: Vec<Row> = rows
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect();
        rows.sort();
        rows.truncate(range.limit);
        Ok(rows)
    }
}
