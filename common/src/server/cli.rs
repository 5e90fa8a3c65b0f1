//! Flags that all server binaries share.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::config::{self, Config, Flag, Loaded, Sources};

use super::{Failure, logging};

/// Flags of every server. To be flattened into a binary's own `clap::Parser`, which adds `-h` and `--version`.
#[derive(Args, Clone, Debug, Default)]
pub struct CommonArgs {
    /// Configuration file (Java .properties)
    #[arg(short = 'c', long = "configFile", value_name = "FILE")]
    pub config_file: Option<PathBuf>,

    /// Set one key, whatever the file says; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,

    /// Print all effective keys and exit
    #[arg(short = 'p', long = "printConfigItem")]
    pub print_config: bool,

    /// Form of the log lines on stderr; the environment variable `RUST_LOG` chooses which are written
    #[arg(
        long = "log-format",
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl CommonArgs {
    /// What a binary does first: reads the settings from all sources, switches logging on and logs what the user should know
    /// about the settings. `flags` are the binary's own flags that set keys. `None` if printing the settings was all that was
    /// asked for.
    ///
    /// # Errors
    /// [`Failure::Usage`] with everything that is wrong with flags, file or environment.
    pub fn start<C: Config>(&self, flags: Vec<Flag>) -> Result<Option<Loaded<C>>, Failure> {
        let sources = Sources {
            sets: self.sets.clone(),
            flags,
            file: self.config_file.clone(),
            ..Sources::from_environment()
        };
        let loaded = config::load::<C>(&sources)?;
        if self.print_config {
            // A reader that has seen enough and left is no failure.
            let _ = io::stdout().write_all(config::to_text(&loaded.config).as_bytes());
            return Ok(None);
        }
        logging::start(self.log_format)?;
        for warning in loaded.warnings() {
            tracing::warn!("{warning}");
        }
        Ok(Some(loaded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug)]
    #[command(version)]
    struct Sample {
        #[command(flatten)]
        common: CommonArgs,
    }

    fn parse(line: &str) -> Result<CommonArgs, clap::Error> {
        let words = std::iter::once("sample").chain(line.split_whitespace());
        Sample::try_parse_from(words).map(|sample| sample.common)
    }

    #[test]
    fn long_and_short_flags_mean_the_same() {
        for line in [
            "-c a.conf -p --set a=1 --set b=2",
            "--configFile a.conf --printConfigItem --set=a=1 --set=b=2",
        ] {
            let args = parse(line).unwrap();
            assert_eq!(args.config_file, Some("a.conf".into()), "{line}");
            assert!(args.print_config, "{line}");
            assert_eq!(args.sets, ["a=1", "b=2"], "{line}");
            assert_eq!(args.log_format, LogFormat::Text, "{line}");
        }
        assert_eq!(
            parse("--log-format json").unwrap().log_format,
            LogFormat::Json
        );
    }

    #[test]
    fn bad_usage_exits_with_2_and_questions_with_0() {
        for (line, code) in [
            ("--nonsense", 2),
            ("--log-format xml", 2),
            ("-c", 2),
            ("-h", 0),
            ("--version", 0),
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), code, "{line}");
        }
    }
}
