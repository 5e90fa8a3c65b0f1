//! What can be wrong with a configuration, told so that it can be put right.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of the configuration file, from 1.
    File(PathBuf, usize),
    /// `--set key=value`.
    Set,
    /// A flag of its own, by its name.
    Flag(&'static str),
    /// An environment variable, by its name.
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Set => f.write_str("--set"),
            Self::Flag(name) => f.write_str(name),
            Self::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The configuration file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// The file as it was given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration file breaks the rules of the format.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// The file as it was given.
        path: PathBuf,
        /// What, and on which line.
        source: super::properties::BadEscape,
    },
    /// Nobody knows this key.
    #[error("{origin}: unknown key {key}{}", did_you_mean(*nearest))]
    Unknown {
        /// The key.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// The known key most like it.
        nearest: Option<&'static str>,
    },
    /// The value does not parse or is out of range.
    #[error("{origin}: {key}={value} must be {expected}")]
    Invalid {
        /// The key.
        key: String,
        /// The value as it stands there.
        value: String,
        /// What would be right.
        expected: String,
        /// Where it stands.
        origin: Origin,
    },
    /// Ignoring this setting would be unsafe.
    #[error("{origin}: {key}={value} is refused: {reason}")]
    Refused {
        /// The key.
        key: String,
        /// The value as it stands there.
        value: String,
        /// Why, and what to do.
        reason: &'static str,
        /// Where it stands.
        origin: Origin,
    },
    /// `--set` without an equals sign.
    #[error("--set {0}: must be key=value")]
    NotAnAssignment(String),
    /// Settings that do not go together; the text names them.
    #[error("{0}")]
    Conflict(String),
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!(", did you mean {key}?"))
}

/// Everything that is wrong, in the order of the sources. Never empty.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
