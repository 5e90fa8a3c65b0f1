use std::path::PathBuf;

use anyhow::{Context, Result, bail};

pub(crate) const USAGE: &str = "\
usage: crash [options]
  --loads LIST      of store,timers,transactions,order,repeats,spread (all)
  --cycles N        store: kills with SIGKILL under each flush mode (200)
  --images N        store: power cuts under each flush mode (100)
  --kind-cycles N   each other load: kills, under the flush modes in turn (100)
  --kind-images N   each other load: power cuts under SYNC_FLUSH (25)
  --flush MODE      sync, async or both (both)
  --messages N      store: about so many acknowledged messages before each of them (3500)
  --seed N          makes the same choices again (a random one, printed)
  --record FILE     puts the figures into this document";

const LOADS: [&str; 6] = [
    "store",
    "timers",
    "transactions",
    "order",
    "repeats",
    "spread",
];

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) loads: Vec<String>,
    pub(crate) cycles: u32,
    pub(crate) images: u32,
    pub(crate) kind_cycles: u32,
    pub(crate) kind_images: u32,
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
            loads: LOADS.map(str::to_owned).to_vec(),
            cycles: 200,
            images: 100,
            kind_cycles: 100,
            kind_images: 25,
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
                "--kind-cycles" => options.kind_cycles = u32::try_from(number()?)?,
                "--kind-images" => options.kind_images = u32::try_from(number()?)?,
                "--loads" => {
                    options.loads = value.split(',').map(str::to_owned).collect();
                    let unknown = options
                        .loads
                        .iter()
                        .find(|it| !LOADS.contains(&it.as_str()));
                    if let Some(unknown) = unknown {
                        bail!("--loads {unknown}?\n{USAGE}");
                    }
                }
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
