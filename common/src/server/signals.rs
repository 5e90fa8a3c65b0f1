//! SIGTERM and SIGINT: the first asks for an orderly end, the second ends at once.

use std::io;
use std::process;
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How long an orderly end may take. Whoever stops a server waits that long before killing it.
const ORDERLY_END: Duration = Duration::from_secs(10);
/// Exit code of an end at once.
const ENDED_BY_SECOND_SIGNAL: i32 = 130;
/// Exit code where the orderly end took too long.
const ENDED_LATE: i32 = 1;

/// Tells whether the process was asked to end. Clones share the answer.
#[derive(Clone, Debug)]
pub struct Shutdown {
    requested: watch::Receiver<bool>,
}

impl Shutdown {
    /// Starts to listen for signals, on a thread of its own: it works whatever the rest of the server is busy with. After the
    /// first signal the process has ten seconds to end by itself; a second one ends it at once.
    ///
    /// # Errors
    /// The thread could not be started or the handlers not be installed.
    pub fn install() -> io::Result<Self> {
        let (sender, requested) = watch::channel(false);
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut signals = {
            let _entered = runtime.enter();
            Signals {
                term: signal(SignalKind::terminate())?,
                int: signal(SignalKind::interrupt())?,
            }
        };
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || runtime.block_on(watch_signals(&mut signals, &sender)))?;
        Ok(Self { requested })
    }

    /// Completes once the process was asked to end.
    pub async fn requested(&self) {
        let mut requested = self.requested.clone();
        // The sender lives as long as its thread, which lives as long as the process.
        let _ = requested.wait_for(|requested| *requested).await;
    }
}

struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}

async fn watch_signals(signals: &mut Signals, requested: &watch::Sender<bool>) {
    let name = signals.next().await;
    tracing::info!("{name} received: ending");
    let _ = requested.send(true);
    if let Ok(name) = tokio::time::timeout(ORDERLY_END, signals.next()).await {
        tracing::warn!("{name} received: ending at once");
        process::exit(ENDED_BY_SECOND_SIGNAL);
    }
    let seconds = ORDERLY_END.as_secs();
    tracing::error!("still not ended after {seconds} s: giving up");
    process::exit(ENDED_LATE);
}
