use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::deadline::Deadline;

/// Lines of one stream of a process, collected by a thread of their own.
#[derive(Debug, Default)]
pub struct Output {
    state: Mutex<Lines>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Output {
    fn follow(stream: impl Read + Send + 'static) -> Arc<Self> {
        let output = Arc::new(Self::default());
        let writer = Arc::clone(&output);
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                writer.lock().lines.push(text);
                writer.arrived.notify_all();
                line.clear();
            }
            writer.lock().ended = true;
            writer.arrived.notify_all();
        });
        output
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// Looks at the lines each time one was added, until `look` finds something.
    ///
    /// # Errors
    /// When the stream ended or the time passed before.
    pub fn wait<T>(
        &self,
        what: &str,
        allowed: Duration,
        mut look: impl FnMut(&[String]) -> Option<T>,
    ) -> Result<T> {
        let deadline = Deadline::after(allowed);
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&state.lines) {
                return Ok(found);
            }
            if state.ended {
                bail!("{what}: the output ended before it; {}", tail(&state.lines));
            }
            if deadline.passed() {
                bail!("{what}: not within {allowed:?}; {}", tail(&state.lines));
            }
            state = self
                .arrived
                .wait_timeout(state, deadline.left())
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn ended(&self, deadline: &Deadline) -> bool {
        let mut state = self.lock();
        while !state.ended && !deadline.passed() {
            state = self
                .arrived
                .wait_timeout(state, deadline.left())
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.ended
    }
}

fn tail(lines: &[String]) -> String {
    let last = &lines[lines.len().saturating_sub(20)..];
    format!("last lines:\n{}", last.join("\n"))
}

/// A child process; it is killed when this value goes.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    /// Its standard output.
    pub stdout: Arc<Output>,
    /// Its standard error.
    pub stderr: Arc<Output>,
}

impl Process {
    /// Starts `command` with all three streams connected to us.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {name}: {command:?}"))?;
        let stdout = Output::follow(child.stdout.take().context("stdout is a pipe")?);
        let stderr = Output::follow(child.stderr.take().context("stderr is a pipe")?);
        Ok(Self {
            name: name.to_owned(),
            stdin: child.stdin.take(),
            child,
            stdout,
            stderr,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of standard output that contains `text`, and gives that line.
    ///
    /// # Errors
    /// When it ends or the time passes before; the text has the last lines of both streams.
    pub fn wait_line(&self, text: &str, allowed: Duration) -> Result<String> {
        let found = self.stdout.wait(text, allowed, |lines| {
            lines.iter().find(|line| line.contains(text)).cloned()
        });
        found.with_context(|| format!("{}; stderr {}", self.name, tail(&self.stderr.lines())))
    }

    /// Writes one line to its standard input.
    ///
    /// # Errors
    /// When it no longer reads.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("standard input is closed")?;
        writeln!(stdin, "{line}")?;
        Ok(stdin.flush()?)
    }

    /// Asks it to end, as an operator does.
    ///
    /// # Errors
    /// When the signal cannot be delivered.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Delivers two requests to end before it can act on the first.
    ///
    /// # Errors
    /// When a signal cannot be delivered.
    pub fn terminate_twice(&self) -> Result<()> {
        for signal in [Signal::STOP, Signal::TERM, Signal::INT, Signal::CONT] {
            self.signal(signal)?;
        }
        Ok(())
    }

    /// SIGSTOP: it stands still in the middle of whatever it does.
    ///
    /// # Errors
    /// When the signal cannot be delivered.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: it goes on as if nothing had happened, later.
    ///
    /// # Errors
    /// When the signal cannot be delivered.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGKILL: it gets no chance to do anything, and is gone when this returns.
    ///
    /// # Errors
    /// When the signal cannot be delivered.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs after `allowed`.
    pub fn wait_exit(&mut self, allowed: Duration) -> Result<ExitStatus> {
        let deadline = Deadline::after(allowed);
        // Its end closes the pipes, which wakes us; a grandchild that holds them open does not.
        if self.stdout.ended(&deadline) && self.stderr.ended(&deadline) {
            return Ok(self.child.wait()?);
        }
        match self.child.try_wait()? {
            Some(status) => Ok(status),
            None => bail!("{} still runs after {allowed:?}", self.name),
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Anonymous resident memory in KiB: what it holds itself, without mapped files.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn anonymous_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .and_then(|value| value.split_whitespace().next())
            .and_then(|value| value.parse().ok())
            .context("no RssAnon in the status of the process")
    }

    /// Everything it wrote to standard error, as one text.
    pub fn errors(&self) -> String {
        self.stderr.lines().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() || std::env::var_os("ARUGULA_TEST_LOGS").is_some() {
            eprintln!("--- {} stderr, {}", self.name, tail(&self.stderr.lines()));
        }
    }
}

/// The status and the body of `GET path`, over a connection of its own.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub fn http_get(address: &str, path: &str) -> Result<(u16, String)> {
    const PATIENCE: Duration = Duration::from_secs(30);
    let mut stream = TcpStream::connect(address).with_context(|| format!("connect {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("no end of the header")?;
    let status = head
        .split_whitespace()
        .nth(1)
        .context("no status")?
        .parse()?;
    Ok((status, body.to_owned()))
}
