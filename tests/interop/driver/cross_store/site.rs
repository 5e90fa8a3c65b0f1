//! One store directory, and a broker of either maker over it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tempfile::TempDir;
use tests::{Connection, Process, Settings, binary, free_port, java};

/// From exec to the ready line, on a machine that does much else.
const READY: Duration = Duration::from_mins(2);
/// A clean stop; the reference takes nine seconds when nothing else runs.
const STOPPED: Duration = Duration::from_mins(2);

/// Whose broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Ours.
    Arugula,
    /// Apache RocketMQ.
    Apache,
}

/// How a turn ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// SIGTERM, and waiting.
    Clean,
    /// SIGKILL while sends are in flight.
    Kill,
}

/// A directory with a store, and the broker that has it.
#[derive(Debug)]
pub struct Site {
    // Dropped in this order: the server first, its files last.
    running: Option<Process>,
    maker: Maker,
    port: u16,
    http: u16,
    settings: Settings,
    dir: TempDir,
}

impl Site {
    /// An empty directory. `more` goes into the file both brokers read.
    pub fn new(more: &[(&str, &str)]) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("arugula-cross-")
            .tempdir()?;
        let (port, ha, http) = (free_port(), free_port(), free_port());
        let store = dir.path().join("store");
        let fixed = [
            ("brokerClusterName", "DefaultCluster".to_owned()),
            ("brokerName", "broker-a".to_owned()),
            ("brokerId", "0".to_owned()),
            ("brokerIP1", "127.0.0.1".to_owned()),
            ("brokerIP2", "127.0.0.1".to_owned()),
            ("listenPort", port.to_string()),
            ("haListenPort", ha.to_string()),
            ("storePathRootDir", store.display().to_string()),
            (
                "storePathCommitLog",
                store.join("commitlog").display().to_string(),
            ),
        ];
        // Several files of each kind with few messages, and little memory for the reference.
        let small = [
            ("mappedFileSizeCommitLog", "1048576"),
            ("cleanFileForciblyEnable", "false"),
            ("diskSpaceWarningLevelRatio", "100"),
            ("mappedFileSizeConsumeQueue", "2000"),
            ("maxMessageSize", "262144"),
            ("maxHashSlotNum", "250"),
            ("maxIndexNum", "1000"),
            ("flushConsumerOffsetInterval", "200"),
            ("flushDelayOffsetInterval", "200"),
            ("messageDelayLevel", "1s 5s 12s 30s"),
            ("transactionCheckInterval", "2500"),
            ("transactionTimeOut", "600000"),
            ("transactionOpBatchInterval", "200"),
            ("timerWheelEnable", "false"),
            // A machine that is busy is no reason to refuse a message.
            ("brokerFastFailureEnable", "false"),
        ];
        let mut settings: Settings = fixed
            .into_iter()
            .chain(small.map(|(key, value)| (key, value.to_owned())))
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        settings.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        Ok(Self {
            running: None,
            maker: Maker::Apache,
            port,
            http,
            settings,
            dir,
        })
    }

    /// The store's directory.
    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Puts a group into the table no broker has read yet.
    pub fn seed_group(&self, group: &str) -> Result<()> {
        let table = json!({
            "dataVersion": {"counter": 1, "stateVersion": 0, "timestamp": 1_700_000_000_000_i64},
            "subscriptionGroupTable": {group: {"groupName": group}},
        });
        let config = self.store().join("config");
        std::fs::create_dir_all(&config)?;
        Ok(std::fs::write(
            config.join("subscriptionGroup.json"),
            table.to_string(),
        )?)
    }

    /// Starts a broker over the store and waits until it serves.
    pub fn start(&mut self, maker: Maker) -> Result<Connection> {
        let mut text = String::new();
        for (key, value) in &self.settings {
            writeln!(text, "{key}={value}")?;
        }
        let mut command = match maker {
            Maker::Arugula => {
                writeln!(text, "httpListenPort={}\nbindAddress=127.0.0.1", self.http)?;
                let mut command = Command::new(binary("mqbroker")?);
                command
                    .arg("-c")
                    .arg(self.dir.path().join("broker.properties"));
                command
            }
            Maker::Apache => {
                writeln!(text, "rocketmqHome={}", self.dir.path().display())?;
                stock(&["broker".as_ref(), self.dir.path().as_os_str()])
            }
        };
        std::fs::write(self.dir.path().join("broker.properties"), text)?;
        let process = Process::start(&format!("{maker:?}"), command.current_dir(self.dir.path()))?;
        process.wait_line("boot success", READY)?;
        self.maker = maker;
        self.running = Some(process);
        self.connect()
    }

    /// One more connection.
    pub fn connect(&self) -> Result<Connection> {
        Connection::open(&format!("127.0.0.1:{}", self.port))
    }

    /// Ends the broker.
    pub fn end(&mut self, how: End) -> Result<()> {
        let mut process = self.running.take().context("nothing runs")?;
        if how == End::Kill {
            return process.kill();
        }
        process.terminate()?;
        let status = process.wait_exit(STOPPED)?;
        // A JVM that ends on a signal says so.
        let clean = status.success() || status.code() == Some(128 + 15);
        ensure!(
            clean,
            "{:?} ended with {status}: {}",
            self.maker,
            process.errors()
        );
        let abort = self.store().join("abort");
        ensure!(!abort.exists(), "{:?} left {}", self.maker, abort.display());
        Ok(())
    }

    /// Has the files judged by `mqadmin store verify`. `killed`: the reference may have left keys out of its index.
    pub fn verify(&self, killed: bool) -> Result<()> {
        let mut command = Command::new(binary("mqadmin")?);
        let output = command
            .args(["store", "verify", "--json", "--limit", "100000", "--store"])
            .arg(self.store())
            .output()?;
        let forgiven = killed && self.maker == Maker::Apache;
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let findings = report["findings"].as_array().context("findings")?;
        let damage: Vec<_> = findings
            .iter()
            .filter(|finding| finding["mended"] == false)
            .filter(|finding| !(forgiven && finding["part"] == "index"))
            .collect();
        ensure!(
            damage.is_empty() && (output.status.success() || forgiven),
            "verify of what {:?} left: {damage:#?}",
            self.maker
        );
        Ok(())
    }

    /// Leaves the directory where it is, for whoever looks into what went wrong.
    pub fn keep(self) -> PathBuf {
        drop(self.running);
        self.dir.keep()
    }
}

/// A stock server in as little memory as it can do with.
pub fn stock(arguments: &[&std::ffi::OsStr]) -> Command {
    let mut command = java();
    for package in [
        "java.nio",
        "sun.nio.ch",
        "java.lang",
        "java.util",
        "java.net",
        "jdk.internal.ref",
        "java.lang.reflect",
    ] {
        command.arg(format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
    }
    command
        .args(["-Xms64m", "-Xmx256m", "interop.Interop"])
        .args(arguments);
    command
}
