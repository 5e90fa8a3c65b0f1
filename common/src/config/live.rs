//! The settings of a running server, which requests can change.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::properties::{self, Property};
use super::{Config, Loaded, catalogue};

/// Settings that can be read from any thread and changed while the server runs.
#[derive(Debug)]
pub struct Live<C> {
    current: RwLock<Arc<C>>,
    /// Held while changes are made and written, so that the file gets them in their order.
    file: Mutex<Option<PathBuf>>,
}

impl<C: Config> Live<C> {
    /// The settings a server starts with; changes go to the file they were read from, if there was one.
    pub fn new(loaded: Loaded<C>) -> Self {
        Self {
            current: RwLock::new(Arc::new(loaded.config)),
            file: Mutex::new(loaded.file),
        }
    }

    /// The settings as they are now. Cheap, but not free: a loop reads them once.
    pub fn get(&self) -> Arc<C> {
        Arc::clone(&self.current.read())
    }

    /// Makes changes and writes them to the configuration file, whose other lines stay as they are. As in the reference, keys
    /// without a field and values that do not parse are skipped; changes that together break a rule are all dropped.
    /// Returns the keys whose value is another one now.
    ///
    /// Blocks for the disk.
    ///
    /// # Errors
    /// The file could not be written. The changes hold all the same, until the next start.
    pub fn update(&self, changes: &[Property]) -> io::Result<Vec<&'static str>> {
        let file = self.file.lock();
        let before = self.get();
        let mut after = C::clone(&before);
        for change in changes {
            if catalogue::refusal::<C>(&change.key, &change.value).is_none() {
                // Errors are not reported: the reference answers success, and tools count on it.
                let _ = after.set(&change.key, &change.value);
            }
        }
        if after.complete(&mut Vec::new()).is_err() {
            return Ok(Vec::new());
        }
        let differing: Vec<(&'static str, String)> = after
            .entries()
            .into_iter()
            .filter(|(key, value)| before.get(key).as_ref() != Some(value))
            .collect();
        if differing.is_empty() {
            return Ok(Vec::new());
        }
        *self.current.write() = Arc::new(after);
        if let Some(path) = file.as_deref() {
            // What merely follows from a change follows from it at the next start as well.
            let asked = |key: &str| changes.iter().any(|change| change.key == key);
            rewrite(path, differing.iter().filter(|(key, _)| asked(key)))?;
        }
        Ok(differing.into_iter().map(|(key, _)| key).collect())
    }
}

/// Replaces the file as a whole, so that a crash leaves the old or the new one.
fn rewrite<'a>(
    path: &Path,
    entries: impl Iterator<Item = &'a (&'static str, String)>,
) -> io::Result<()> {
    // A link stays a link: what it points to is replaced.
    let path = fs::canonicalize(path)?;
    let text = properties::decode(&fs::read(&path)?);
    let changes = entries.map(|(key, value)| (*key, value.as_str()));
    let text = properties::with_changes(&text, changes);
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    let mut file = File::create(&temporary)?;
    file.set_permissions(fs::metadata(&path)?.permissions())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, &path)
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigError, Ignored, Refused};
    use super::*;
    use crate::config;

    config! {
        /// Settings of a test.
        struct Sample {
            /// A number.
            seconds: i32 = "waitSeconds", 45;
            /// Another.
            other: u32 = "other", 1, in 1..=9;
            /// Follows from the first.
            double: i32 = "double", 0;
        }
    }

    impl Config for Sample {
        const IGNORED: &'static [Ignored] = &[];
        const REFUSED: &'static [Refused] = &[];

        fn complete(&mut self, _warnings: &mut Vec<String>) -> Result<(), ConfigError> {
            if self.seconds == 13 {
                return Err(ConfigError::Conflict("not 13".into()));
            }
            self.double = self.seconds * 2;
            Ok(())
        }
    }

    fn live(text: &str) -> (Live<Sample>, tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n.properties");
        fs::write(&path, text).unwrap();
        let loaded = super::super::load(&super::super::Sources {
            file: Some(path.clone()),
            ..Default::default()
        });
        (Live::new(loaded.unwrap()), dir, path)
    }

    fn changes(text: &str) -> Vec<Property> {
        properties::parse(text).unwrap()
    }

    #[test]
    fn a_change_holds_at_once_and_stands_in_the_file() {
        let (live, _dir, path) = live("# mine\nwaitSeconds = 45\n");
        let updated = live.update(&changes("waitSeconds=46")).unwrap();
        assert_eq!(updated, ["waitSeconds", "double"]);
        assert_eq!((live.get().seconds, live.get().double), (46, 92));
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "# mine\nwaitSeconds=46\n"
        );
    }

    #[test]
    fn unknown_keys_and_bad_values_are_skipped_and_the_others_kept() {
        let (live, _dir, path) = live("other=2\n");
        let updated = live.update(&changes("unheard=1\nwaitSeconds=abc\nother=10"));
        assert_eq!(updated.unwrap(), Vec::<&str>::new());
        assert_eq!(fs::read_to_string(&path).unwrap(), "other=2\n");
        let updated = live.update(&changes("unheard=1\nwaitSeconds=abc\nother=3"));
        assert_eq!(updated.unwrap(), ["other"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "other=3\n");
    }

    #[test]
    fn changes_that_break_a_rule_are_dropped_together() {
        let (live, _dir, _path) = live("");
        let updated = live.update(&changes("waitSeconds=13\nother=3")).unwrap();
        assert_eq!((updated.len(), live.get().other), (0, 1));
    }

    #[test]
    fn without_a_file_changes_hold_until_the_end() {
        let loaded = super::super::load::<Sample>(&super::super::Sources::default()).unwrap();
        let live = Live::new(loaded);
        assert_eq!(live.update(&changes("other=3")).unwrap(), ["other"]);
        assert_eq!(live.get().other, 3);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_reported_and_the_change_holds() {
        let (live, dir, _path) = live("");
        dir.close().unwrap();
        assert!(live.update(&changes("other=3")).is_err());
        assert_eq!(live.get().other, 3);
    }
}
