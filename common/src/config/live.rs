//! The settings of a running server, which requests can change.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::properties::{self, Property};
use super::{Config, Ignored, Loaded, catalogue, to_text};
use crate::files::replace;

/// Settings that can be read from any thread and changed while the server runs.
#[derive(Debug)]
pub struct Live<C> {
    current: ArcSwap<C>,
    /// Values of keys without effect, as they were set.
    ignored: Mutex<BTreeMap<String, String>>,
    /// Held while changes are made and written, so that the file gets them in their order.
    file: Mutex<Option<PathBuf>>,
}

/// Why a request cannot change settings.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// One of them must not be changed by requests.
    #[error("Can not update config in black list.")]
    Protected,
    /// The text is no `.properties` file.
    #[error(transparent)]
    Syntax(#[from] properties::BadEscape),
}

/// The key of the setting that lists further keys which requests must not change.
const BLACK_LIST: &str = "configBlackList";

/// Endings of keys whose values are places or programs: whoever reaches the port must not choose them.
const PROTECTED_ENDINGS: [&str; 5] = ["Path", "Home", "Dir", "File", "Command"];

impl<C: Config> From<C> for Live<C> {
    /// Settings that changes are not written anywhere for.
    fn from(config: C) -> Self {
        Self::new(Loaded {
            config,
            file: None,
            ignored: Vec::new(),
            warnings: Vec::new(),
        })
    }
}

impl<C: Config> Live<C> {
    /// The settings a server starts with; changes go to the file they were read from, if there was one.
    pub fn new(loaded: Loaded<C>) -> Self {
        Self {
            current: ArcSwap::from_pointee(loaded.config),
            ignored: Mutex::new(loaded.ignored.into_iter().collect()),
            file: Mutex::new(loaded.file),
        }
    }

    /// The settings as they are now, to be kept for a while.
    pub fn get(&self) -> Arc<C> {
        self.current.load_full()
    }

    /// The settings as they are now, to be looked at once: cheap enough for every message.
    pub fn now(&self) -> impl Deref<Target = Arc<C>> {
        self.current.load()
    }

    /// All settings as text, one `key=value` a line; behind those that are honoured the others, as they were set or as the
    /// reference starts with them.
    pub fn to_text(&self) -> String {
        let mut text = to_text(&**self.now());
        let set = self.ignored.lock();
        for (key, default) in C::IGNORED.iter().flat_map(Ignored::entries) {
            let value = set.get(key).map_or(default, String::as_str);
            text.extend([key, "=", value, "\n"]);
        }
        text
    }

    /// The changes that a request with this body asks for.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub fn asked(&self, body: &[u8]) -> Result<Vec<Property>, ChangeError> {
        let changes = properties::parse(&properties::decode(body))?;
        let listed = self.now().get(BLACK_LIST).unwrap_or_default();
        let is_protected = |key: &str| {
            key == BLACK_LIST
                || PROTECTED_ENDINGS.iter().any(|ending| key.ends_with(ending))
                || listed.split(';').any(|listed| listed.trim() == key)
        };
        if changes.iter().any(|change| is_protected(&change.key)) {
            return Err(ChangeError::Protected);
        }
        Ok(changes)
    }

    /// Makes changes and writes them to the configuration file, whose other lines stay as they are. As in the reference, keys
    /// nobody knows and values that do not parse are skipped; changes that together break a rule are all dropped.
    /// Returns the keys whose value is another one now, and why the file could not be written if it could not: they hold all
    /// the same, until the next start.
    ///
    /// Blocks for the disk.
    pub fn update(&self, changes: &[Property]) -> (Vec<&'static str>, Option<io::Error>) {
        let file = self.file.lock();
        let before = self.get();
        let mut after = C::clone(&before);
        let mut unused = Vec::new();
        for Property { key, value, .. } in changes {
            if catalogue::refusal::<C>(key, value).is_some() {
                continue;
            }
            // Errors are not reported: the reference answers success, and tools count on it.
            let _ = after.set(key, value);
            unused.extend(catalogue::ignored::<C>(key, value).map(|key| (key, value.clone())));
        }
        if after.complete(&mut Vec::new()).is_err() {
            return (Vec::new(), None);
        }
        let mut differing: Vec<(&'static str, String)> = after
            .entries()
            .into_iter()
            .filter(|(key, value)| before.get(key).as_ref() != Some(value))
            .collect();
        self.current.store(Arc::new(after));
        let mut ignored = self.ignored.lock();
        for (key, value) in unused {
            if ignored.insert(key.to_owned(), value.clone()).as_ref() != Some(&value) {
                differing.push((key, value));
            }
        }
        drop(ignored);
        let file = file.as_deref().filter(|_| !differing.is_empty());
        let written = file.map(|path| {
            // What merely follows from a change follows from it at the next start as well.
            let asked = |key: &str| changes.iter().any(|change| change.key == key);
            rewrite(path, differing.iter().filter(|(key, _)| asked(key)))
        });
        let keys = differing.into_iter().map(|(key, _)| key).collect();
        (keys, written.and_then(Result::err))
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
    replace(&path, text.as_bytes())
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
            /// What requests must not change.
            black_list: String = "configBlackList", "other;secret".into();
            /// Follows from the first.
            double: i32 = "double", 0;
        }
    }

    impl Config for Sample {
        const IGNORED: &'static [Ignored] = &[Ignored("none here", "threads=4 fast=true name")];
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
        let updated = live.update(&changes("waitSeconds=46"));
        assert_eq!(updated.0, ["waitSeconds", "double"]);
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
        assert_eq!(updated.0, Vec::<&str>::new());
        assert_eq!(fs::read_to_string(&path).unwrap(), "other=2\n");
        let updated = live.update(&changes("unheard=1\nwaitSeconds=abc\nother=3"));
        assert_eq!(updated.0, ["other"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "other=3\n");
    }

    #[test]
    fn keys_without_effect_are_shown_and_written_all_the_same() {
        let (live, _dir, path) = live("threads=5\n");
        let shown =
            |live: &Live<Sample>| live.to_text().lines().skip(4).collect::<Vec<_>>().join(" ");
        assert_eq!(shown(&live), "threads=5 fast=true name=");
        let updated = live.update(&changes("threads=many\nfast=no\nname=n\nthreads=6"));
        assert_eq!(updated.0, ["name", "threads"]);
        assert_eq!(shown(&live), "threads=6 fast=true name=n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "threads=6\nname=n\n");
    }

    #[test]
    fn places_and_what_is_listed_are_protected() {
        let (live, _dir, _path) = live("");
        for key in [
            "configBlackList",
            "other",
            "secret",
            "rocketmqHome",
            "anyPath",
        ] {
            let asked = live.asked(format!("waitSeconds=1\n{key}=1").as_bytes());
            assert!(matches!(asked, Err(ChangeError::Protected)), "{key}");
        }
        assert!(matches!(
            live.asked(b"a=\\u00"),
            Err(ChangeError::Syntax(_))
        ));
        assert_eq!(live.asked(b"waitSeconds=1").unwrap().len(), 1);
    }

    #[test]
    fn changes_that_break_a_rule_are_dropped_together() {
        let (live, _dir, _path) = live("");
        let (updated, _) = live.update(&changes("waitSeconds=13\nother=3"));
        assert_eq!((updated.len(), live.get().other), (0, 1));
    }

    #[test]
    fn without_a_file_changes_hold_until_the_end() {
        let loaded = super::super::load::<Sample>(&super::super::Sources::default()).unwrap();
        let live = Live::new(loaded);
        assert_eq!(live.update(&changes("other=3")).0, ["other"]);
        assert_eq!(live.get().other, 3);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_reported_and_the_change_holds() {
        let (live, dir, _path) = live("");
        dir.close().unwrap();
        assert!(live.update(&changes("other=3")).1.is_some());
        assert_eq!(live.get().other, 3);
    }
}
