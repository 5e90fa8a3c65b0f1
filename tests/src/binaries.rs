use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The path of one of our binaries: in the folder `ARUGULA_BIN` names, or beside the running test.
///
/// # Errors
/// When it is not there; the text says how to build it.
pub fn binary(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("ARUGULA_BIN") {
        Some(folder) => PathBuf::from(folder),
        // target/PROFILE/deps/TEST: the binaries are one folder up.
        None => std::env::current_exe()?
            .parent()
            .and_then(|deps| deps.parent())
            .context("the test runs from no folder")?
            .to_path_buf(),
    };
    let path = folder.join(name);
    if !path.is_file() {
        bail!(
            "{} is missing: build it with `cargo build --workspace` or set ARUGULA_BIN",
            path.display()
        );
    }
    Ok(path)
}

/// Whether what `purpose` needs is there: every one of `programs` can be started. A missing one is
/// reported by name and the test that asked ends early; where `CI` is set it is an error.
///
/// # Errors
/// A missing program where `CI` is set.
pub fn toolchain(purpose: &str, programs: &[&str]) -> Result<bool> {
    for program in programs {
        let found = Command::new(program)
            .arg(if *program == "go" {
                "version"
            } else {
                "-version"
            })
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !found {
            if std::env::var_os("CI").is_some() {
                bail!("{purpose} needs {program}, which is not installed");
            }
            eprintln!("skipped: {purpose} ({program} is not installed)");
            return Ok(false);
        }
    }
    Ok(true)
}
