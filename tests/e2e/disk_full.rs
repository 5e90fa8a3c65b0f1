//! A disk without space: an answer, not an end.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use tests::{Cluster, Connection, http_get, patiently};

use crate::SOON;

/// A small file system of its own; unmounted with this value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where mounting is not permitted.
    fn mount(at: &Path, mib: u32) -> Result<Option<Self>> {
        std::fs::create_dir_all(at)?;
        let size = format!("size={mib}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "none"])
            .arg(at)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Some(Self(at.to_path_buf()))),
            refused => {
                eprintln!("skipped: a full disk (mounting a tmpfs is not permitted: {refused:?})");
                Ok(None)
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_sends_and_recovers_by_itself() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(disk) = SmallDisk::mount(&dir.path().join("disk"), 24)? else {
        return Ok(());
    };
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![0; 8 << 20])?;
    let store = disk.0.join("store").display().to_string();
    let log = disk.0.join("store/commitlog").display().to_string();
    let mut cluster = Cluster::with(&[
        ("storePathRootDir", &store),
        ("storePathCommitLog", &log),
        ("mappedFileSizeCommitLog", "2097152"),
        ("maxMessageSize", "65536"),
    ])?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    connection.create_topic("full", 1)?;

    let mut stored = Vec::new();
    let refused = loop {
        let mut body = format!("{}/", stored.len()).into_bytes();
        body.resize(16 << 10, b'.');
        let answer = connection.send("full", 0, &body)?;
        if answer.code != 0 {
            break answer;
        }
        stored.push(body);
        ensure!(stored.len() < 2_000, "32 MiB fit onto 16");
    };
    ensure!(refused.code == 14, "{refused:?}");
    ensure!(refused.remark.contains("disk is full"), "{refused:?}");
    ensure!(!stored.is_empty(), "nothing fitted");
    ensure!(
        connection.send("full", 0, &[b'x'; 16 << 10])?.code == 14,
        "refused once only"
    );
    ensure!(
        connection.bodies("full", 0, 0)? == stored,
        "reads do not go on"
    );
    let (code, body) = http_get(&cluster.broker.http, "/readyz")?;
    ensure!(code == 503 && body.contains("disk"), "{code} {body}");
    let (code, _) = http_get(&cluster.broker.http, "/healthz")?;
    ensure!(code == 200, "alive is not ready: {code}");

    std::fs::remove_file(&ballast)?;
    let again = vec![b'y'; 16 << 10];
    patiently("sending resumes", SOON, || {
        Ok((connection.send("full", 0, &again)?.code == 0).then_some(()))
    })?;
    stored.push(again);
    patiently("ready again", SOON, || {
        Ok((http_get(&cluster.broker.http, "/readyz")?.0 == 200).then_some(()))
    })?;
    cluster.broker.kill_and_restart()?;
    let found = Connection::open(&cluster.broker.address)?.bodies("full", 0, 0)?;
    ensure!(
        found == stored,
        "{} instead of {} after the restart",
        found.len(),
        stored.len()
    );
    drop(cluster);
    Ok(())
}
