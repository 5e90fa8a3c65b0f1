//! Configuration files, flags, and what is refused.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use tests::{Cluster, Connection, Process, binary, free_port};

use crate::SOON;

/// What an operator finds in Apache RocketMQ's distribution as `conf/broker.conf`: these settings.
const STOCK: &str = "\
# A broker of the default cluster
brokerClusterName = DefaultCluster
brokerName = broker-a
brokerId = 0
deleteWhen = 04
fileReservedTime = 48
brokerRole = ASYNC_MASTER
flushDiskType = ASYNC_FLUSH
sendMessageThreadPoolNums = 128
";

fn file(dir: &TempDir, text: &str) -> Result<PathBuf> {
    let path = dir.path().join("broker.conf");
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Exit code, standard output and standard error of a start that is to end by itself.
fn run(name: &str, dir: &Path, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let mut command = Command::new(binary(name)?);
    command.args(arguments).current_dir(dir).env("HOME", dir);
    let mut process = Process::start(name, &mut command)?;
    let status = process.wait_exit(SOON)?;
    Ok((
        status.code(),
        process.stdout.lines().join("\n"),
        process.errors(),
    ))
}

fn refused(text: &str, arguments: &[&str], names: &[&str]) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = file(&dir, text)?.display().to_string();
    let arguments = [&["-c", &path], arguments].concat();
    let (code, _, errors) = run("mqbroker", dir.path(), &arguments)?;
    ensure!(code == Some(2), "exit code {code:?}: {errors}");
    for name in names {
        ensure!(errors.contains(name), "{name} is not named: {errors}");
    }
    Ok(())
}

#[test]
fn a_stock_broker_conf_starts_the_broker() -> Result<()> {
    let cluster = Cluster::start()?;
    let dir = tempfile::tempdir()?;
    let path = file(&dir, STOCK)?;
    let (port, ha, http) = (free_port(), free_port(), free_port());
    // The file as it is; only where to listen and to store is this test's own, as flags.
    let mut command = Command::new(binary("mqbroker")?);
    command
        .arg("-c")
        .arg(&path)
        .args(["-n", &cluster.namesrv.address])
        .args([
            "--set",
            "brokerName=broker-stock",
            "--set",
            "brokerIP1=127.0.0.1",
        ])
        .args(["--set", "bindAddress=127.0.0.1"])
        .arg(format!("--set=listenPort={port}"))
        .arg(format!("--set=haListenPort={ha}"))
        .arg(format!("--set=httpListenPort={http}"))
        .arg(format!(
            "--set=storePathRootDir={}",
            dir.path().join("store").display()
        ))
        .env("HOME", dir.path());
    let mut process = Process::start("stock", &mut command)?;
    let line = process.wait_line("boot success", SOON)?;
    ensure!(
        line.contains(&format!("The broker[broker-stock, 127.0.0.1:{port}]")),
        "{line}"
    );
    let mut connection = Connection::open(&format!("127.0.0.1:{port}"))?;
    connection.create_topic("stock", 1)?;
    connection.send("stock", 0, b"first")?.ok()?;
    // What is accepted and not honoured is said once.
    let warned = process.errors();
    ensure!(
        warned.contains("sendMessageThreadPoolNums") && !warned.contains("fileReservedTime"),
        "{warned}"
    );
    process.terminate()?;
    ensure!(process.wait_exit(SOON)?.code() == Some(0));
    Ok(())
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() -> Result<()> {
    let text = format!("{STOCK}flushDiskTyp = SYNC_FLUSH\n");
    refused(
        &text,
        &[],
        &["flushDiskTyp", "broker.conf:10", "flushDiskType"],
    )
}

#[test]
fn a_wrong_value_is_refused_with_what_would_be_right() -> Result<()> {
    refused(
        "listenPort = many\n",
        &[],
        &["listenPort", "many", "broker.conf:1", "65535"],
    )?;
    refused(
        "flushDiskType = SOMETIMES\n",
        &[],
        &["SOMETIMES", "SYNC_FLUSH", "ASYNC_FLUSH"],
    )
}

#[test]
fn what_would_be_unsafe_to_ignore_is_refused() -> Result<()> {
    refused(
        "enableDLegerCommitLog = true\n",
        &[],
        &["enableDLegerCommitLog", "broker.conf:1"],
    )
}

#[test]
fn bad_usage_exits_with_2() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for name in ["mqbroker", "mqnamesrv"] {
        for arguments in [
            &["-c", "no-such-file.conf"][..],
            &["--nonsense"],
            &["--set", "no-equals-sign"],
            &["--set", "noSuchKey=1"],
        ] {
            let (code, _, errors) = run(name, dir.path(), arguments)?;
            ensure!(code == Some(2), "{name} {arguments:?}: {code:?} {errors}");
            ensure!(!errors.is_empty(), "{name} {arguments:?} says nothing");
        }
    }
    Ok(())
}

#[test]
fn p_prints_the_effective_keys() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = file(&dir, STOCK)?.display().to_string();
    let arguments = ["-c", &path, "-p", "--set", "brokerName=from-the-flag"];
    let (code, printed, errors) = run("mqbroker", dir.path(), &arguments)?;
    ensure!(code == Some(0), "{code:?} {errors}");
    for line in [
        "brokerName=from-the-flag",
        "flushDiskType=ASYNC_FLUSH",
        "listenPort=10911",
    ] {
        ensure!(
            printed.lines().any(|printed| printed == line),
            "{line} is not in {printed}"
        );
    }
    let (code, printed, errors) = run("mqnamesrv", dir.path(), &["-p"])?;
    ensure!(
        code == Some(0) && printed.contains("listenPort=9876"),
        "{code:?} {printed} {errors}"
    );
    Ok(())
}

#[test]
fn help_and_version_are_answered() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for name in ["mqbroker", "mqnamesrv"] {
        for (flag, says) in [("--version", name), ("-h", "--configFile"), ("-h", "--set")] {
            let (code, printed, errors) = run(name, dir.path(), &[flag])?;
            ensure!(
                code == Some(0) && printed.contains(says),
                "{name} {flag}: {printed} {errors}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_port_that_is_taken_ends_the_start_with_its_name() -> Result<()> {
    let cluster = Cluster::start()?;
    let dir = tempfile::tempdir()?;
    let taken = cluster
        .namesrv
        .address
        .rsplit(':')
        .next()
        .unwrap_or_default()
        .to_owned();
    let listen = format!("listenPort={taken}");
    let arguments = [
        "--set",
        &listen,
        "--set",
        "httpListenPort=0",
        "--set",
        "bindAddress=127.0.0.1",
    ];
    let (code, _, errors) = run("mqnamesrv", dir.path(), &arguments)?;
    ensure!(
        code == Some(1) && errors.contains(&taken),
        "{code:?}: {errors}"
    );
    Ok(())
}
