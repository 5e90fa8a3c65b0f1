use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::binaries::binary;
use crate::connection::Connection;
use crate::deadline::patiently;
use crate::ports::free_port;
use crate::process::Process;

/// From exec to the ready line. Ours need milliseconds; the reference, which the same tests can run
/// against, needs four seconds on an idle machine.
const READY: Duration = Duration::from_mins(1);

const BROKER: &str = "mqbroker";
const BROKER_MAIN: &str = "broker.BrokerStartup";
const NAMESRV: &str = "mqnamesrv";
const NAMESRV_MAIN: &str = "namesrv.NamesrvStartup";

/// Keys and values of a `.properties` file.
pub type Settings = BTreeMap<String, String>;

/// One name server and one broker in a temporary directory, on ports of their own.
///
/// With `ARUGULA_REFERENCE_JARS=FOLDER` in the environment it is Apache RocketMQ from its jars, which
/// is how the tests themselves are tested.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: servers first, their files last.
    /// The broker.
    pub broker: Broker,
    /// The name server.
    pub namesrv: NameServer,
    dir: TempDir,
}

impl Cluster {
    /// Both servers with everything on default.
    ///
    /// # Errors
    /// When one does not become ready.
    pub fn start() -> Result<Self> {
        Self::with(&[])
    }

    /// Both servers; `settings` go into the broker's file.
    ///
    /// # Errors
    /// When one does not become ready.
    pub fn with(settings: &[(&str, &str)]) -> Result<Self> {
        Self::with_environment(settings, &Settings::new())
    }

    /// As [`Cluster::with`]; the broker's process gets some more variables.
    ///
    /// # Errors
    /// When one does not become ready.
    pub fn with_environment(settings: &[(&str, &str)], environment: &Settings) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("arugula-").tempdir()?;
        let namesrv = NameServer::start(dir.path())?;
        let broker = Broker::start(dir.path(), &namesrv.address, settings, environment)?;
        Ok(Self {
            broker,
            namesrv,
            dir,
        })
    }

    /// Creates a topic and waits until the name server knows where it is.
    ///
    /// # Errors
    /// When it is refused or does not reach the name server.
    pub fn create_topic(&self, topic: &str, queues: u32) -> Result<()> {
        Connection::open(&self.broker.address)?.create_topic(topic, queues)?;
        self.wait_for_route(topic)
    }

    /// Waits until the name server knows where a topic is.
    ///
    /// # Errors
    /// When it does not get to know it.
    pub fn wait_for_route(&self, topic: &str) -> Result<()> {
        let mut namesrv = Connection::open(&self.namesrv.address)?;
        patiently("the topic has a route", READY, || {
            let route = namesrv.call(105, &[("topic", topic)], &[])?;
            Ok((route.code == 0).then_some(()))
        })
    }

    /// The temporary directory of this cluster.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// A running name server.
#[derive(Debug)]
pub struct NameServer {
    /// `host:port` of its remoting protocol.
    pub address: String,
    /// `host:port` of its pages.
    pub http: String,
    /// The process.
    pub process: Process,
    settings: Settings,
    dir: PathBuf,
}

impl NameServer {
    fn start(dir: &Path) -> Result<Self> {
        let (port, http) = (free_port(), free_port());
        let mut settings: Settings = [
            ("listenPort".to_owned(), port.to_string()),
            (
                "kvConfigPath".to_owned(),
                dir.join("kvConfig.json").display().to_string(),
            ),
        ]
        .into();
        ours(&mut settings, http);
        let process = spawn(dir, NAMESRV, NAMESRV_MAIN, &settings, &Settings::new())?;
        process.wait_line("boot success", READY)?;
        Ok(Self {
            address: format!("127.0.0.1:{port}"),
            http: format!("127.0.0.1:{http}"),
            process,
            settings,
            dir: dir.to_path_buf(),
        })
    }

    /// `kill -9`, then a start on the same ports.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn kill_and_restart(&mut self) -> Result<()> {
        self.process.kill()?;
        let none = Settings::new();
        self.process = spawn(&self.dir, NAMESRV, NAMESRV_MAIN, &self.settings, &none)?;
        self.process.wait_line("boot success", READY)?;
        Ok(())
    }
}

/// A broker: its process, and what is needed to start it again on the same ports and store.
#[derive(Debug)]
pub struct Broker {
    /// `host:port` of its remoting protocol.
    pub address: String,
    /// `host:port` of its pages.
    pub http: String,
    /// Its store directory.
    pub store: PathBuf,
    /// What stands in its file.
    pub settings: Settings,
    /// Variables its next process gets beside ours.
    pub environment: Settings,
    /// The process.
    pub process: Process,
    dir: PathBuf,
}

impl Broker {
    fn start(
        dir: &Path,
        namesrv: &str,
        more: &[(&str, &str)],
        environment: &Settings,
    ) -> Result<Self> {
        let (port, ha, http) = (free_port(), free_port(), free_port());
        let store = dir.join("store");
        let mut settings: Settings = [
            ("brokerClusterName", "DefaultCluster".to_owned()),
            ("brokerName", "broker-a".to_owned()),
            ("brokerId", "0".to_owned()),
            ("brokerIP1", "127.0.0.1".to_owned()),
            ("brokerIP2", "127.0.0.1".to_owned()),
            ("listenPort", port.to_string()),
            ("haListenPort", ha.to_string()),
            ("namesrvAddr", namesrv.to_owned()),
            ("storePathRootDir", store.display().to_string()),
            (
                "storePathCommitLog",
                store.join("commitlog").display().to_string(),
            ),
            ("mappedFileSizeCommitLog", (64_u64 << 20).to_string()),
            // The disk of the machine may be as full as it likes.
            ("cleanFileForciblyEnable", "false".to_owned()),
            ("diskSpaceWarningLevelRatio", "100".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        ours(&mut settings, http);
        settings.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        let store = settings
            .get("storePathRootDir")
            .map_or(store, PathBuf::from);
        let process = spawn(dir, BROKER, BROKER_MAIN, &settings, environment)?;
        process.wait_line("boot success", READY)?;
        Ok(Self {
            address: format!("127.0.0.1:{port}"),
            http: format!("127.0.0.1:{http}"),
            store,
            settings,
            environment: environment.clone(),
            process,
            dir: dir.to_path_buf(),
        })
    }

    /// A second process over the same store, on other ports and not waited for.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn second_on_the_same_store(&self) -> Result<Process> {
        let mut settings = self.settings.clone();
        for key in ["listenPort", "haListenPort", "httpListenPort"] {
            settings.insert(key.to_owned(), free_port().to_string());
        }
        let dir = self.dir.join("second");
        std::fs::create_dir_all(&dir)?;
        spawn(&dir, BROKER, BROKER_MAIN, &settings, &self.environment)
    }

    /// Starts it again after its process has ended, without waiting for anything.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(&mut self) -> Result<()> {
        let (settings, environment) = (&self.settings, &self.environment);
        self.process = spawn(&self.dir, BROKER, BROKER_MAIN, settings, environment)?;
        Ok(())
    }

    /// Starts it again after its process has ended, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_again(&mut self) -> Result<()> {
        self.launch()?;
        self.process.wait_line("boot success", READY)?;
        Ok(())
    }

    /// `kill -9`, then a start over the same store.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn kill_and_restart(&mut self) -> Result<()> {
        self.process.kill()?;
        self.start_again()
    }
}

fn reference_jars() -> Option<PathBuf> {
    std::env::var_os("ARUGULA_REFERENCE_JARS").map(PathBuf::from)
}

/// Whether the servers are Apache RocketMQ's.
pub(crate) fn is_reference() -> bool {
    reference_jars().is_some()
}

fn ours(settings: &mut Settings, http: u16) {
    if !is_reference() {
        settings.insert("httpListenPort".to_owned(), http.to_string());
        settings.insert("bindAddress".to_owned(), "127.0.0.1".to_owned());
    }
}

fn spawn(
    dir: &Path,
    name: &str,
    main: &str,
    settings: &Settings,
    environment: &Settings,
) -> Result<Process> {
    let file = dir.join(format!("{name}.properties"));
    let mut text = String::new();
    for (key, value) in settings {
        writeln!(text, "{key}={value}")?;
    }
    std::fs::write(&file, text).context("write the config file")?;
    let mut command = match reference_jars() {
        None => Command::new(binary(name)?),
        Some(jars) => reference(&jars, dir, main)?,
    };
    command.arg("-c").arg(&file).current_dir(dir);
    command.envs(environment);
    Process::start(name, &mut command)
}

/// The flags Apache RocketMQ needs on a current JDK.
fn reference(jars: &Path, dir: &Path, main: &str) -> Result<Command> {
    std::fs::create_dir_all(dir.join("conf"))?;
    let mut command = Command::new("java");
    command.args(["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC"]);
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
        .arg(format!("-Duser.home={}", dir.display()))
        .arg("-cp")
        .arg(jars.join("*"))
        .arg(format!("org.apache.rocketmq.{main}"))
        .env("ROCKETMQ_HOME", dir);
    Ok(command)
}
