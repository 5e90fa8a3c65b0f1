//! Brings the sources of settings together.

use std::fs;
use std::path::{Path, PathBuf};

use super::catalogue::{self, Known};
use super::error::{ConfigError, ConfigErrors, Origin};
use super::{Config, properties};

/// Start of the names of environment variables that set keys. What follows is the key; case and underscores do not count, so
/// `ARUGULA_LISTEN_PORT` and `ARUGULA_listenPort` are the same.
const ENVIRONMENT_PREFIX: &str = "ARUGULA_";

/// A flag of the command line that sets a key.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The flag, as messages name it.
    pub name: &'static str,
    /// The key it sets.
    pub key: &'static str,
    /// The value given.
    pub value: String,
}

/// Where settings come from. The default is no source at all.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Values of `--set`, each `key=value`; the last one of a key counts.
    pub sets: Vec<String>,
    /// Flags that set a key.
    pub flags: Vec<Flag>,
    /// Configuration file.
    pub file: Option<PathBuf>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
}

impl Sources {
    /// No source but the environment of this process.
    pub fn from_environment() -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            environment,
            ..Self::default()
        }
    }
}

/// Settings that are complete and consistent.
#[derive(Clone, Debug)]
pub struct Loaded<C> {
    /// The settings.
    pub config: C,
    /// The file they were read from; changes at run time go there.
    pub file: Option<PathBuf>,
    /// Keys that were set and have no effect, with their values.
    pub ignored: Vec<(String, String)>,
    /// Advice to the user, one line each.
    pub warnings: Vec<String>,
}

impl<C> Loaded<C> {
    /// All warnings, to be logged at the start: one line for the keys without effect, one for each other advice.
    pub fn warnings(&self) -> Vec<String> {
        let mut lines = self.warnings.clone();
        if !self.ignored.is_empty() {
            let keys: Vec<&str> = self.ignored.iter().map(|(key, _)| key.as_str()).collect();
            lines.insert(
                0,
                format!(
                    "these keys are set and have no effect, docs/compatibility.md says why: {}",
                    keys.join(", ")
                ),
            );
        }
        lines
    }
}

/// One key set by one source.
#[derive(Debug)]
struct Assignment {
    key: String,
    value: String,
    origin: Origin,
}

/// Settings from all sources: `--set` over flags over the file over the environment over defaults.
///
/// # Errors
/// Everything that is wrong with them.
pub fn load<C: Config>(sources: &Sources) -> Result<Loaded<C>, ConfigErrors> {
    let mut errors = Vec::new();
    let mut warnings = Vec::new();
    let mut given = from_environment::<C>(&sources.environment, &mut warnings);
    if let Some(path) = &sources.file {
        given.extend(from_file(path)?);
    }
    given.extend(sources.flags.iter().map(|flag| Assignment {
        key: flag.key.to_owned(),
        value: flag.value.clone(),
        origin: Origin::Flag(flag.name),
    }));
    for set in &sources.sets {
        match set.split_once('=') {
            Some((key, value)) => given.push(Assignment {
                key: key.trim().to_owned(),
                value: value.to_owned(),
                origin: Origin::Set,
            }),
            None => errors.push(ConfigError::NotAnAssignment(set.clone())),
        }
    }
    let mut config = C::default();
    let mut ignored = Vec::new();
    for assignment in the_last_of_each_key(given) {
        match apply(&mut config, assignment) {
            Ok(None) => {}
            Ok(Some(unused)) => ignored.push(unused),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        match config.complete(&mut warnings) {
            Ok(()) => {
                return Ok(Loaded {
                    config,
                    file: sources.file.clone(),
                    ignored,
                    warnings,
                });
            }
            Err(error) => errors.push(error),
        }
    }
    Err(ConfigErrors(errors))
}

/// Sets one key. Gives it back where that has no effect.
fn apply<C: Config>(
    config: &mut C,
    given: Assignment,
) -> Result<Option<(String, String)>, ConfigError> {
    let Assignment { key, value, origin } = given;
    if let Some(reason) = catalogue::refusal::<C>(&key, &value) {
        return Err(ConfigError::Refused {
            key,
            value,
            reason,
            origin,
        });
    }
    match catalogue::find::<C>(&key) {
        Some(Known::Honoured) => match config.set(&key, &value) {
            Ok(()) => Ok(None),
            Err(expected) => Err(ConfigError::Invalid {
                key,
                value,
                expected,
                origin,
            }),
        },
        Some(Known::Ignored) => Ok(Some((key, value))),
        Some(Known::Harmless) => Ok(None),
        None => {
            let nearest = catalogue::nearest::<C>(&key);
            Err(ConfigError::Unknown {
                key,
                origin,
                nearest,
            })
        }
    }
}

/// Of several assignments to one key only the last counts, so that a wrong one can be put right from a stronger source.
fn the_last_of_each_key(given: Vec<Assignment>) -> Vec<Assignment> {
    let mut kept: Vec<Assignment> = Vec::with_capacity(given.len());
    for assignment in given {
        kept.retain(|earlier| earlier.key != assignment.key);
        kept.push(assignment);
    }
    kept
}

fn from_file(path: &Path) -> Result<Vec<Assignment>, ConfigError> {
    let bytes = fs::read(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    let read =
        properties::parse(&properties::decode(&bytes)).map_err(|source| ConfigError::Syntax {
            path: path.to_owned(),
            source,
        })?;
    Ok(read
        .into_iter()
        .map(|property| Assignment {
            key: property.key,
            value: property.value,
            origin: Origin::File(path.to_owned(), property.line),
        })
        .collect())
}

/// Variables with the prefix that name no key are somebody else's (a script's, a container's): they are reported, not refused.
fn from_environment<C: Config>(
    variables: &[(String, String)],
    warnings: &mut Vec<String>,
) -> Vec<Assignment> {
    let mut given = Vec::new();
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix(ENVIRONMENT_PREFIX) else {
            continue;
        };
        match catalogue::known_keys::<C>().find(|key| folded(key).eq(folded(rest))) {
            Some(key) => given.push(Assignment {
                key: key.to_owned(),
                value: value.clone(),
                origin: Origin::Environment(name.clone()),
            }),
            None => warnings.push(format!("environment variable {name} names no known key")),
        }
    }
    given
}

fn folded(name: &str) -> impl Iterator<Item = char> + '_ {
    name.chars()
        .filter(|c| *c != '_')
        .map(|c| c.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
