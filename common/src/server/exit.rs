//! How a server ends.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use crate::config::ConfigErrors;

/// Why a server could not start or go on; each kind has its exit code.
#[derive(Debug)]
pub enum Failure {
    /// Bad usage or configuration: exit code 2. One line for each thing that is wrong.
    Usage(String),
    /// The store refused to open (locked, damaged beyond repair, of an unknown version): exit code 3.
    Store(Box<dyn Error + Send + Sync>),
    /// Anything else: exit code 1.
    Runtime(Box<dyn Error + Send + Sync>),
}

impl Failure {
    /// A failure with exit code 1.
    pub fn runtime(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Runtime(error.into())
    }

    /// A failure with exit code 3.
    pub fn store(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Store(error.into())
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Runtime(_) => 1,
            Self::Usage(_) => 2,
            Self::Store(_) => 3,
        }
    }

    /// Lines for stderr: the error and what caused it.
    fn lines(&self) -> Vec<String> {
        match self {
            Self::Usage(text) => text.lines().map(str::to_owned).collect(),
            Self::Store(error) | Self::Runtime(error) => {
                let mut line = error.to_string();
                let mut cause = error.source();
                while let Some(error) = cause {
                    let text = error.to_string();
                    // Many errors already tell their cause in their own text.
                    if !line.contains(&text) {
                        line = format!("{line}: {text}");
                    }
                    cause = error.source();
                }
                vec![line]
            }
        }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Usage(errors.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::runtime(error)
    }
}

/// The last thing `main` does: tells on stderr why the server `name` failed, if it did, and gives the exit code.
pub fn exit(name: &str, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.lines() {
                eprintln!("{name}: {line}");
            }
            ExitCode::from(failure.code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("open /store/lock")]
    struct Outer(#[source] io::Error);

    #[test]
    fn each_kind_has_its_code() {
        for (failure, code) in [
            (Failure::runtime("x"), 1),
            (Failure::from(io::Error::other("x")), 1),
            (Failure::Usage("x".into()), 2),
            (Failure::store("x"), 3),
        ] {
            assert_eq!(failure.code(), code, "{failure:?}");
        }
    }

    #[test]
    fn causes_are_told_once() {
        let error = Outer(io::Error::other("held by another process"));
        assert_eq!(
            Failure::store(error).lines(),
            ["open /store/lock: held by another process"]
        );
        assert_eq!(
            Failure::runtime(io::Error::other(io::Error::other("disk full"))).lines(),
            ["disk full"]
        );
        assert_eq!(Failure::Usage("a\nb".into()).lines(), ["a", "b"]);
    }
}
