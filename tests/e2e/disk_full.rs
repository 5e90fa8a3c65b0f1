//! A disk without space: an answer, not an end.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use tests::{Cluster, Connection, http_get, patiently};

use crate::SOON;

/// A small file system of its own; unmounted with this value.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    /// `None` where mounting is not permitted.
    pub fn mount(at: &Path, mib: u32) -> Result<Option<Self>> {
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

#[test]
fn a_disk_above_its_level_refuses_sends_before_it_is_full() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(disk) = SmallDisk::mount(&dir.path().join("disk"), 24)? else {
        return Ok(());
    };
    let store = disk.0.join("store").display().to_string();
    let log = disk.0.join("store/commitlog").display().to_string();
    let cluster = Cluster::with(&[
        ("storePathRootDir", &store),
        ("storePathCommitLog", &log),
        ("mappedFileSizeCommitLog", "2097152"),
        ("maxMessageSize", "65536"),
        ("diskSpaceWarningLevelRatio", "60"),
        ("cleanResourceInterval", "20"),
    ])?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    connection.create_topic("level", 1)?;
    let body = vec![b'b'; 1 << 10];
    connection.send("level", 0, &body)?.ok()?;

    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![0; 14 << 20])?;
    let mut stored = 1;
    let refused = patiently("the level is noticed", SOON, || {
        let answer = connection.send("level", 0, &body)?;
        stored += usize::from(answer.code == 0);
        Ok((answer.code != 0).then_some(answer))
    })?;
    ensure!(refused.code == 14, "{refused:?}");
    for part in [
        "disk is full",
        &log,
        "diskSpaceWarningLevelRatio allows 60 %",
    ] {
        ensure!(refused.remark.contains(part), "{part}: {refused:?}");
    }
    ensure!(
        connection.bodies("level", 0, 0)?.len() == stored,
        "reads do not go on"
    );
    let (code, page) = http_get(&cluster.broker.http, "/readyz")?;
    ensure!(code == 503 && page.contains("60 %"), "{code} {page}");
    let (_, page) = http_get(&cluster.broker.http, "/api/v1/status")?;
    let status: serde_json::Value = serde_json::from_str(&page)?;
    ensure!(status["writable"] == false, "{page}");
    ensure!(
        status["refusal"]
            .as_str()
            .is_some_and(|why| why.contains("60 %")),
        "{page}"
    );

    std::fs::remove_file(&ballast)?;
    patiently("sending resumes", SOON, || {
        Ok((connection.send("level", 0, &body)?.code == 0).then_some(()))
    })?;
    ensure!(
        http_get(&cluster.broker.http, "/readyz")?.0 == 200,
        "not ready again"
    );
    Ok(())
}

#[test]
fn a_disk_that_fills_up_keeps_the_newest_messages() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(disk) = SmallDisk::mount(&dir.path().join("disk"), 24)? else {
        return Ok(());
    };
    let store = disk.0.join("store").display().to_string();
    let log = disk.0.join("store/commitlog").display().to_string();
    let mut cluster = Cluster::with(&[
        ("storePathRootDir", &store),
        ("storePathCommitLog", &log),
        ("mappedFileSizeCommitLog", "1048576"),
        ("maxMessageSize", "65536"),
        ("mappedFileSizeConsumeQueue", "400"),
        ("cleanFileForciblyEnable", "true"),
        ("diskSpaceCleanForciblyRatio", "50"),
        ("diskSpaceWarningLevelRatio", "90"),
        ("cleanResourceInterval", "20"),
        ("deleteCommitLogFilesInterval", "0"),
        ("deleteConsumeQueueFilesInterval", "0"),
    ])?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    connection.create_topic("newest", 1)?;
    // Twice what the disk holds.
    for n in 0..3_000 {
        let mut body = format!("{n}/").into_bytes();
        body.resize(16 << 10, b'.');
        patiently("there is room again", SOON, || {
            Ok((connection.send("newest", 0, &body)?.code == 0).then_some(()))
        })?;
    }
    let check = |connection: &mut Connection| -> Result<()> {
        let fields = [("topic", "newest"), ("queueId", "0")];
        let (min, bodies) = patiently("nothing is deleted meanwhile", SOON, || {
            let min = connection.call(31, &fields, &[])?.ok()?.number("offset")?;
            match connection.bodies("newest", 0, min) {
                Err(error) if error.to_string().contains("OFFSET_TOO_SMALL") => Ok(None),
                // Between two messages of one answer.
                Err(error) if error.to_string().contains("deleted from") => Ok(None),
                bodies => Ok(Some((min, bodies?))),
            }
        })?;
        ensure!(min > 1_000, "{min}");
        for (n, body) in (min..).zip(&bodies) {
            ensure!(body.starts_with(format!("{n}/").as_bytes()), "{n}");
        }
        ensure!(min + i64::try_from(bodies.len())? == 3_000);
        Ok(())
    };
    check(&mut connection)?;
    cluster.broker.kill_and_restart()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    check(&mut connection)?;
    let next = connection.send("newest", 0, b"next")?.ok()?;
    ensure!(next.number("queueOffset")? == 3_000, "{next:?}");
    Ok(())
}

/// Takes what is left of a disk.
fn fill(path: &Path) -> Result<()> {
    use std::io::Write;
    let mut file = std::fs::File::create(path)?;
    for bytes in [1 << 20, 4 << 10, 1] {
        while file.write_all(&vec![0; bytes]).is_ok() {}
    }
    Ok(())
}

#[test]
fn tables_on_a_full_disk_keep_what_was_promised() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(disk) = SmallDisk::mount(&dir.path().join("disk"), 96)? else {
        return Ok(());
    };
    let store = disk.0.join("store").display().to_string();
    let log = disk.0.join("store/commitlog").display().to_string();
    let mut cluster = Cluster::with(&[
        ("storePathRootDir", &store),
        ("storePathCommitLog", &log),
        ("mappedFileSizeCommitLog", "1048576"),
        ("maxMessageSize", "65536"),
        ("flushConsumerOffsetInterval", "50"),
    ])?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    let mut topics = vec!["first".to_owned()];
    connection.create_topic("first", 1)?;
    for _ in 0..500 {
        connection.send("first", 0, b"x")?.ok()?;
    }
    connection.join(&["first"])?;
    let commit = |connection: &mut Connection, offset: i64| -> Result<bool> {
        let offset = offset.to_string();
        let fields = [
            ("consumerGroup", "e2e-consumer"),
            ("topic", "first"),
            ("queueId", "0"),
            ("commitOffset", offset.as_str()),
        ];
        Ok(connection.call(15, &fields, &[])?.code == 0)
    };
    ensure!(commit(&mut connection, 5)?);
    let mut promised = 5;

    let ballast = disk.0.join("ballast");
    fill(&ballast)?;
    for n in 0..100 {
        if commit(&mut connection, 6 + n)? {
            promised = 6 + n;
        }
        let topic = format!("while-full-{n}");
        if connection.create_topic(&topic, 1).is_ok() {
            topics.push(topic);
        }
    }
    ensure!(connection.bodies("first", 0, 0)?.len() == 500);
    let check = |cluster: &Cluster, promised: i64, topics: &[String]| -> Result<()> {
        let mut connection = Connection::open(&cluster.broker.address)?;
        let fields = [
            ("consumerGroup", "e2e-consumer"),
            ("topic", "first"),
            ("queueId", "0"),
        ];
        let offset = connection.call(14, &fields, &[])?.ok()?.number("offset")?;
        ensure!(offset >= promised, "{offset} instead of {promised}");
        for topic in topics {
            connection.call(351, &[("topic", topic)], &[])?.ok()?;
        }
        Ok(())
    };
    std::fs::remove_file(&ballast)?;
    patiently("offsets can be committed again", SOON, || {
        Ok(commit(&mut connection, 200)?.then_some(()))
    })?;
    patiently("topics can be made again", SOON, || {
        Ok(connection
            .create_topic("afterwards", 1)
            .is_ok()
            .then_some(()))
    })?;
    topics.push("afterwards".to_owned());
    promised = promised.max(200);
    check(&cluster, promised, &topics)?;
    cluster.broker.kill_and_restart()?;
    check(&cluster, promised, &topics)
}
