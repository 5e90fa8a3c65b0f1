use std::path::PathBuf;

use anyhow::{Context, Result, bail};

pub(crate) const USAGE: &str = "\
usage: crash [options]
  --cycles N        kills with SIGKILL under each flush mode (200)
  --images N        power cuts under each flush mode (100)
  --flush MODE      sync, async or both (both)
  --messages N      about so many acknowledged messages before each of them (3500)
  --seed N          makes the same choices again (a random one, printed)
  --record FILE     puts the figures into this document";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) cycles: u32,
    pub(crate) images: u32,
    pub(crate) flush: Vec<&'static str>,
    pub(crate) messages: u64,
    pub(crate) seed: u64,
    pub(crate) record: Option<PathBuf>,
    /// As given, for the record.
    pub(crate) given: Vec<String>,
}

impl Options {
    /// # Errors
    /// When an option is unknown or its value is none.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            cycles: 200,
            images: 100,
            flush: vec!["SYNC_FLUSH", "ASYNC_FLUSH"],
            messages: 3_500,
            seed: rand::random_range(0..1_000_000),
            record: None,
            given: Vec::new(),
        };
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let value = arguments
                .next()
                .with_context(|| format!("{name}?\n{USAGE}"))?;
            let number = || {
                value
                    .parse::<u64>()
                    .with_context(|| format!("{name} {value}"))
            };
            match name.as_str() {
                "--cycles" => options.cycles = u32::try_from(number()?)?,
                "--images" => options.images = u32::try_from(number()?)?,
                "--messages" => options.messages = number()?,
                "--seed" => options.seed = number()?,
                "--record" => options.record = Some(value.clone().into()),
                "--flush" => {
                    options.flush = match value.as_str() {
                        "sync" => vec!["SYNC_FLUSH"],
                        "async" => vec!["ASYNC_FLUSH"],
                        "both" => vec!["SYNC_FLUSH", "ASYNC_FLUSH"],
                        _ => bail!("--flush {value}?\n{USAGE}"),
                    }
                }
                _ => bail!("{name}?\n{USAGE}"),
            }
            if !matches!(name.as_str(), "--record" | "--seed") {
                options.given.extend([name, value]);
            }
        }
        Ok(options)
    }
}
