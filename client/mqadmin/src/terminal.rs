//! Exit codes, output, the progress bar and Ctrl-C.

use std::io::{self, BufWriter, IsTerminal as _, Stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use store::offline::Progress;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// All is well.
    Good,
    /// Damage, or nothing found.
    Bad,
    /// It was asked for something that makes no sense.
    Usage,
    /// Something could not be read or written.
    Unreadable,
    /// Ctrl-C.
    Interrupted,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(match code {
            Code::Good => 0,
            Code::Bad => 1,
            Code::Usage => 2,
            Code::Unreadable => 3,
            Code::Interrupted => 130,
        })
    }
}

/// What the caller asked for makes no sense.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Says what went wrong, and the code for it. Whoever no longer reads our output has what he wants.
pub fn code_of(error: &anyhow::Error) -> Code {
    let closed = error.chain().any(|cause| {
        let cause = cause.downcast_ref::<io::Error>();
        cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    });
    if closed {
        return Code::Good;
    }
    eprintln!("mqadmin: {error:#}");
    if error.is::<Usage>() {
        Code::Usage
    } else {
        Code::Unreadable
    }
}

/// Standard output.
pub type Out = BufWriter<Stdout>;

/// Standard output, buffered.
pub fn out() -> Out {
    BufWriter::with_capacity(64 << 10, io::stdout())
}

/// Does `work` on a thread of its own, shows how far it is when standard error is a terminal, and
/// stops it on Ctrl-C.
pub fn watched<R: Send>(total_bytes: u64, work: impl FnOnce(&Progress) -> R + Send) -> Result<R> {
    let progress = Arc::new(Progress::default());
    stop_on_interrupt(Arc::clone(&progress))?;
    let shape = "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    let bar = bar(ProgressBar::new(total_bytes), shape)?;
    Ok(shown(
        &bar,
        || bar.set_position(progress.bytes()),
        || work(&progress),
    ))
}

/// Does `work` on a thread of its own, and shows what it is at when standard error is a terminal.
pub fn waiting<R: Send>(at: impl Fn() -> String, work: impl FnOnce() -> R + Send) -> Result<R> {
    let bar = bar(ProgressBar::new_spinner(), "{spinner} {msg}")?;
    Ok(shown(&bar, || bar.set_message(at()), work))
}

fn bar(bar: ProgressBar, shape: &str) -> Result<ProgressBar> {
    if !io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    Ok(bar.with_style(ProgressStyle::with_template(shape)?))
}

fn shown<R: Send>(bar: &ProgressBar, update: impl Fn(), work: impl FnOnce() -> R + Send) -> R {
    const TICK: Duration = Duration::from_millis(100);
    let done = std::thread::scope(|scope| {
        let (ended, end) = sync_channel::<()>(1);
        let worker = scope.spawn(move || {
            // Dropped when the work is done, however it ends.
            let _ended = ended;
            work()
        });
        while end.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            update();
        }
        worker.join()
    });
    bar.finish_and_clear();
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The first Ctrl-C stops the work, the second the process.
fn stop_on_interrupt(progress: Arc<Progress>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                if tokio::signal::ctrl_c().await.is_ok() {
                    progress.stop();
                }
                if tokio::signal::ctrl_c().await.is_ok() {
                    std::process::exit(130);
                }
            });
        })?;
    Ok(())
}

/// A table for people.
pub fn table(head: &[&str], right: &[usize]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table
        .load_preset(comfy_table::presets::UTF8_FULL_CONDENSED)
        .set_header(head.to_vec());
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    table
}
