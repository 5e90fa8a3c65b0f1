//! The threads connections live on: each runs its own single-threaded runtime, so a connection's turns, its timers and
//! its writes never move between cores and nothing has to be stolen or handed over.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;
/// Jobs a thread has not started yet; more make the accept loop wait.
const QUEUED_JOBS: usize = 1024;

/// A handle to the threads; they end when the last handle is gone.
#[derive(Clone)]
pub struct IoThreads {
    threads: Arc<[mpsc::Sender<Job>]>,
    next: Arc<AtomicUsize>,
}

impl IoThreads {
    /// Starts `count` threads (at least one) named `name-0`, `name-1`, ….
    ///
    /// # Errors
    /// When the system refuses a thread or an event queue.
    pub fn start(name: &str, count: usize) -> io::Result<Self> {
        let threads: io::Result<Vec<_>> = (0..count.max(1))
            .map(|n| start_thread(format!("{name}-{n}")))
            .collect();
        Ok(Self {
            threads: threads?.into(),
            next: Arc::default(),
        })
    }

    /// Runs `job` on the next thread in turn.
    pub(super) async fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.threads.len();
        // A thread ends only with the process; then nobody misses the job.
        let _ = self.threads[at].send(Box::pin(job)).await;
    }
}

fn start_thread(name: String) -> io::Result<mpsc::Sender<Job>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (sender, mut jobs) = mpsc::channel::<Job>(QUEUED_JOBS);
    std::thread::Builder::new().name(name).spawn(move || {
        runtime.block_on(async move {
            while let Some(job) = jobs.recv().await {
                tokio::spawn(job);
            }
        });
    })?;
    Ok(sender)
}
