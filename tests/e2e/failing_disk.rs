use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::Settings;

/// System calls that can fail, as `fault.c` knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// All that write bytes to a file.
    Write = 1,
    /// All that bring a file or a file system to the disk.
    Sync = 2,
    /// `fallocate`.
    Reserve = 4,
    /// `rename` and its relatives.
    Rename = 8,
}

/// How they fail: errno, or with half of the bytes written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// Half of the bytes are written, which is no error.
    Short = 0,
    /// The device does not do it.
    Io = 5,
    /// There is no room.
    NoSpace = 28,
}

/// Every one.
pub(crate) const ALWAYS: u32 = u32::MAX;

const RULE_BYTES: usize = 256;
const MATCHED_AT: usize = 20;
const PATH_AT: usize = 24;

/// A disk that fails on request, for processes that get its environment.
#[derive(Debug)]
pub(crate) struct FailingDisk {
    rule: File,
    /// What makes a process meet it.
    pub(crate) environment: Settings,
}

impl FailingDisk {
    /// Compiles what is preloaded into `dir`; `None`, with the reason on standard error, on machines
    /// it was not written for.
    pub(crate) fn new(dir: &Path) -> Result<Option<Self>> {
        if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
            eprintln!("skipped: I/O errors (only on x86-64 Linux)");
            return Ok(None);
        }
        let (library, rule) = (dir.join("fault.so"), dir.join("fault.rule"));
        let compiled = Command::new("cc")
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/fault.c"))
            .output()
            .context("cc cannot be run")?;
        ensure!(
            compiled.status.success(),
            "{}",
            String::from_utf8_lossy(&compiled.stderr)
        );
        std::fs::write(&rule, [0; RULE_BYTES])?;
        let environment = [
            ("LD_PRELOAD".to_owned(), library.display().to_string()),
            ("FAULT_RULE".to_owned(), rule.display().to_string()),
        ];
        Ok(Some(Self {
            rule: File::options().read(true).write(true).open(rule)?,
            environment: environment.into(),
        }))
    }

    /// From now on `times` calls on files whose path contains `path` fail, after `skip` that do not.
    pub(crate) fn fail(
        &self,
        call: Call,
        path: &str,
        error: Error,
        skip: u32,
        times: u32,
    ) -> Result<()> {
        self.work()?;
        let mut rule = [0; RULE_BYTES];
        for (field, value) in [0, call as u32, error as u32, skip, times]
            .iter()
            .enumerate()
        {
            rule[field * 4..field * 4 + 4].copy_from_slice(&value.to_ne_bytes());
        }
        rule[PATH_AT..PATH_AT + path.len()].copy_from_slice(path.as_bytes());
        self.rule.write_all_at(&rule, 0)?;
        Ok(self.rule.write_all_at(&1_u32.to_ne_bytes(), 0)?)
    }

    /// Everything works again.
    pub(crate) fn work(&self) -> Result<()> {
        Ok(self.rule.write_all_at(&0_u32.to_ne_bytes(), 0)?)
    }

    /// Calls that the rule was about since it was made, whether they failed or not.
    pub(crate) fn matched(&self) -> Result<u32> {
        let mut matched = [0; 4];
        self.rule.read_exact_at(&mut matched, MATCHED_AT as u64)?;
        Ok(u32::from_ne_bytes(matched))
    }
}
