//! A name server and a broker as real processes: Apache RocketMQ from its jars, or Arugula from its binaries.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod fixture;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

/// How long a server may take to say that it is ready: a cold JVM on a busy machine takes its time.
const READY_TIMEOUT: Duration = Duration::from_mins(2);
/// Pause between two looks at a server's output; processes tell in no other way.
const READY_POLL: Duration = Duration::from_millis(20);
/// What both kinds of servers print once they serve.
const READY: &str = "boot success";
/// Java modules the reference reflects into.
const OPENED: [&str; 7] = [
    "java.nio",
    "sun.nio.ch",
    "java.lang",
    "java.util",
    "java.net",
    "jdk.internal.ref",
    "java.lang.reflect",
];
/// A JVM that is still cold must not refuse sends because they waited for 200 ms.
const PATIENT: &str = "waitTimeMillsInSendQueue=10000\n";
const HEAP: [&str; 4] = [
    "-Xmx512m",
    "-XX:MaxDirectMemorySize=512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
];

/// Whose servers.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Apache RocketMQ; the directory with its jars.
    Reference(PathBuf),
    /// Arugula; the directory with its binaries.
    Arugula(PathBuf),
}

impl Kind {
    /// From the environment variable `ROCKETMQ_JARS`.
    pub fn reference() -> Option<Self> {
        std::env::var_os("ROCKETMQ_JARS").map(|jars| Self::Reference(jars.into()))
    }

    /// From the environment variable `ARUGULA_BIN`.
    pub fn arugula() -> Option<Self> {
        std::env::var_os("ARUGULA_BIN").map(|binaries| Self::Arugula(binaries.into()))
    }
}

/// One name server, one broker, in a directory of their own. They end with this value.
pub struct Cluster {
    kind: Kind,
    directory: TempDir,
    /// Further lines of the broker's configuration.
    settings: String,
    name_server_port: u16,
    broker_port: u16,
    ha_port: u16,
    name_server: Option<Server>,
    broker: Option<Server>,
}

impl Cluster {
    pub async fn start(kind: Kind) -> Self {
        Self::start_with(kind, "").await
    }

    /// As [`Self::start`], with further lines in the broker's configuration.
    pub async fn start_with(kind: Kind, settings: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("conf")).unwrap();
        let mut cluster = Self {
            kind,
            directory,
            settings: settings.to_owned(),
            name_server_port: free_port(),
            broker_port: free_port(),
            ha_port: free_port(),
            name_server: None,
            broker: None,
        };
        let name_server = format!("listenPort={}\n", cluster.name_server_port);
        let main = "org.apache.rocketmq.namesrv.NamesrvStartup";
        cluster.name_server = Some(cluster.spawn("mqnamesrv", main, &name_server).await);
        cluster.start_broker().await;
        cluster
    }

    /// Starts the broker, or starts it again on the same port and store.
    pub async fn start_broker(&mut self) {
        let store = self.directory.path().join("store");
        let config = format!(
            "brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId=0\nlistenPort={}\n\
             haListenPort={}\nbrokerIP1=127.0.0.1\nbrokerIP2=127.0.0.1\nnamesrvAddr={}\n\
             storePathRootDir={}\nstorePathCommitLog={}\nmappedFileSizeCommitLog=67108864\n\
             cleanFileForciblyEnable=false\ndiskSpaceWarningLevelRatio=100\n\
             autoCreateTopicEnable=true\n{}",
            self.broker_port,
            self.ha_port,
            self.name_server_address(),
            store.display(),
            store.join("commitlog").display(),
            self.settings,
        );
        let main = "org.apache.rocketmq.broker.BrokerStartup";
        self.broker = Some(self.spawn("mqbroker", main, &config).await);
    }

    /// Ends the broker as a power cut would, as far as a process can.
    pub fn kill_broker(&mut self) {
        self.broker = None;
    }

    pub fn name_server_address(&self) -> String {
        format!("127.0.0.1:{}", self.name_server_port)
    }

    pub fn broker_address(&self) -> String {
        format!("127.0.0.1:{}", self.broker_port)
    }

    async fn spawn(&self, binary: &str, main: &str, config: &str) -> Server {
        let home = self.directory.path();
        let file = home.join(format!("{binary}.properties"));
        let log = home.join(format!("{binary}.log"));
        let mut command = match &self.kind {
            Kind::Reference(jars) => {
                let mut java = Command::new("java");
                java.args(HEAP)
                    .arg(format!("-Duser.home={}", home.display()));
                java.args(OPENED.map(|m| format!("--add-opens=java.base/{m}=ALL-UNNAMED")));
                java.arg("-cp").arg(jars.join("*")).arg(main);
                fs::write(
                    &file,
                    format!("{config}rocketmqHome={}\n{PATIENT}", home.display()),
                )
                .unwrap();
                java
            }
            Kind::Arugula(binaries) => {
                fs::write(
                    &file,
                    format!("{config}httpListenPort=0\nbindAddress=127.0.0.1\n"),
                )
                .unwrap();
                Command::new(binaries.join(binary))
            }
        };
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let from = out.metadata().unwrap().len();
        let child = command
            .arg("-c")
            .arg(&file)
            .current_dir(home)
            .env("ROCKETMQ_HOME", home)
            .stdin(Stdio::null())
            .stderr(out.try_clone().unwrap())
            .stdout(out)
            .spawn()
            .unwrap_or_else(|error| panic!("{binary}: {error}"));
        let mut server = Server { child };
        server.ready(binary, &log, from).await;
        server
    }
}

/// A process; it is killed with this value.
struct Server {
    child: Child,
}

impl Server {
    async fn ready(&mut self, name: &str, log: &Path, from: u64) {
        let until = Instant::now() + READY_TIMEOUT;
        loop {
            let output = read_from(log, from);
            if output.contains(READY) {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{name} ended with {ended:?}: {output}");
            assert!(Instant::now() < until, "{name} is not ready: {output}");
            tokio::time::sleep(READY_POLL).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_from(log: &Path, from: u64) -> String {
    let mut file = File::open(log).unwrap();
    file.seek(SeekFrom::Start(from)).unwrap();
    let mut text = Vec::new();
    file.read_to_end(&mut text).unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

/// A port that is free, and so is the one two below, where brokers open their second one.
fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if port > 1026 && TcpListener::bind(("127.0.0.1", port - 2)).is_ok() {
            return port;
        }
    }
}
