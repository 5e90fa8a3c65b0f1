use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::binaries::binary;
use crate::ledger::Message;
use crate::process::Process;

/// The sender of messages that only find out whether receivers are there; no report shows them.
pub const WARM_UP: &str = "warm-up";

/// A JVM start on a busy two-core machine takes seconds.
const START: Duration = Duration::from_mins(1);

/// Whose client runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Apache RocketMQ's Java client.
    Java,
    /// Apache RocketMQ's Go client.
    Go,
    /// Our own client.
    Rust,
}

impl Language {
    /// The program around that client, as `scripts/test.sh` built it.
    fn command(self) -> Result<Command> {
        Ok(match self {
            Self::Java => {
                let mut command = java();
                command.arg("interop.Interop");
                command
            }
            Self::Go => Command::new(built("INTEROP_GO", "go/interop")),
            Self::Rust => Command::new(binary("interop-rust")?),
        })
    }
}

/// `java` with the stock client and tools on its class path.
pub fn java() -> Command {
    let folder = built("INTEROP_JAVA", "java/target");
    let mut command = Command::new("java");
    command
        .args([
            "-Xmx512m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            // Members of a group share out queues, and lock them, without the usual patience of 20 s.
            "-Drocketmq.client.rebalance.waitInterval=2000",
            "-Drocketmq.client.rebalance.lockInterval=2000",
            "-Drocketmq.client.unlockDelayTimeMills=1000",
            "-cp",
        ])
        .arg(format!(
            "{}:{}",
            folder.join("interop-java.jar").display(),
            folder.join("lib/*").display()
        ));
    command
}

fn built(variable: &str, otherwise: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(
        || {
            PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join("interop")
                .join(otherwise)
        },
        PathBuf::from,
    )
}

/// One running client program: a sender or a receiver.
#[derive(Debug)]
pub struct Peer {
    name: String,
    /// The process.
    pub process: Process,
}

impl Peer {
    /// Starts `command` (`send` or `receive`) and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start(
        language: Language,
        command: &str,
        namesrv: &str,
        arguments: &[(&str, &str)],
    ) -> Result<Self> {
        let name = format!("{language:?} {command} {arguments:?}");
        let mut program = language.command()?;
        program.arg(command).arg(format!("namesrv={namesrv}"));
        for (key, value) in arguments {
            program.arg(format!("{key}={value}"));
        }
        // Keeps the log files of the Java client out of the home folder.
        program.env("JAVA_TOOL_OPTIONS", "-Drocketmq.client.logUseSlf4j=false");
        let process = Process::start(&name, &mut program)?;
        process.wait_line("ready", START)?;
        Ok(Self { name, process })
    }

    /// Waits until it has said `count` lines that start with `event`.
    ///
    /// # Errors
    /// When it has not after `allowed`.
    pub fn wait_for(&self, event: &str, count: usize, allowed: Duration) -> Result<()> {
        let mut looked = 0;
        let mut found = 0;
        let start = format!("{event} ");
        let warm_up = format!("{event} {WARM_UP} ");
        let what = format!("{}: {count} lines of {event}", self.name);
        let waited = self.process.stdout.wait(&what, allowed, |lines| {
            let new = lines[looked..].iter();
            found += new
                .filter(|line| line.starts_with(&start) && !line.starts_with(&warm_up))
                .count();
            looked = lines.len();
            (found >= count).then_some(())
        });
        waited.map_err(|error| error.context(format!("{found} lines of {event}")))
    }

    /// Waits until it has done all it was asked to and ended by itself.
    ///
    /// # Errors
    /// When it does not, or ends with an error.
    pub fn finish(&mut self, allowed: Duration) -> Result<()> {
        self.process.wait_line("done", allowed)?;
        let status = self.process.wait_exit(START)?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }

    /// Tells it to stop, and waits for its end.
    ///
    /// # Errors
    /// When it does not end, or with an error.
    pub fn stop(&mut self) -> Result<()> {
        self.process.say("stop")?;
        self.finish(START)
    }

    /// The messages of its lines that start with `event`.
    ///
    /// # Errors
    /// When a line has another form, or it says that something is bad.
    pub fn messages(&self, event: &str) -> Result<Vec<Message>> {
        let lines = self.process.stdout.lines();
        let bad = lines.iter().find(|line| line.starts_with("bad "));
        ensure!(bad.is_none(), "{}: {bad:?}", self.name);
        let mut messages = Message::all(event, &lines)?;
        messages.retain(|message| message.id.0 != WARM_UP);
        Ok(messages)
    }

    /// From how many queues this receiver has got warm-up messages.
    ///
    /// # Errors
    /// When a line has another form.
    pub fn warm_queues(&self) -> Result<usize> {
        let mut messages = Message::all("got", &self.process.stdout.lines())?;
        messages.retain(|message| message.id.0 == WARM_UP);
        let queues: BTreeSet<i32> = messages.iter().map(|message| message.queue).collect();
        Ok(queues.len())
    }

    /// Its lines that report a refused send.
    pub fn failures(&self) -> Vec<String> {
        let lines = self.process.stdout.lines();
        lines
            .into_iter()
            .filter(|line| line.starts_with("fail "))
            .collect()
    }
}
