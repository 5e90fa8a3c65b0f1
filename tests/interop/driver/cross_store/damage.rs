//! What crashes and people do to a store while no broker has it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use common::wire::fastjson;
use serde_json::Value;

/// Every table is left as by a crash between the two steps of writing it: the old one has its second
/// name already, and of the new one half is there.
pub fn tear_tables(store: &Path) -> Result<()> {
    for name in [
        "topics",
        "subscriptionGroup",
        "consumerOffset",
        "delayOffset",
    ] {
        let path = store.join(format!("config/{name}.json"));
        let content = fs::read(&path).with_context(|| path.display().to_string())?;
        // A table that nobody has written since is not torn twice.
        if fastjson::from_slice::<Value>(&content).is_err() {
            continue;
        }
        fs::rename(&path, path.with_extension("json.bak"))?;
        fs::write(&path, &content[..content.len() / 2])?;
    }
    Ok(())
}

/// An index file in the middle is gone, as after a crash of the reference: it goes on with the records its queues lack.
pub fn lose_keys(store: &Path) -> Result<()> {
    let entries: std::io::Result<Vec<_>> = store.join("index").read_dir()?.collect();
    let mut paths: Vec<_> = entries?.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    let middle = paths.get(paths.len() / 2).context("no index file")?;
    Ok(fs::remove_file(middle)?)
}

/// The ConsumeQueues and the checkpoint as they were once.
#[derive(Debug)]
pub struct Copy {
    folder: PathBuf,
}

const COPIED: [&str; 2] = ["checkpoint", "consumequeue"];

impl Copy {
    /// Of a store, into a folder beside it. The checkpoint comes first: it promises no more than the
    /// queues then have.
    pub fn of(store: &Path, name: &str) -> Result<Self> {
        let folder = store.with_file_name(name);
        fs::create_dir_all(&folder)?;
        for part in COPIED {
            copy(&store.join(part), &folder.join(part))?;
        }
        Ok(Self { folder })
    }

    /// Puts them back: what was dispatched since is forgotten.
    pub fn restore(&self, store: &Path) -> Result<()> {
        fs::remove_dir_all(store.join("consumequeue"))?;
        for part in COPIED {
            copy(&self.folder.join(part), &store.join(part))?;
        }
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in from.read_dir()? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
    Ok(())
}
