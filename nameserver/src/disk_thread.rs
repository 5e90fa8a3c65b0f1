//! One thread for what blocks on the disk: connections go on meanwhile, and changes keep the order they were asked for in.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

type Job = Box<dyn FnOnce() + Send>;

/// Jobs that may wait; more are refused.
const WAITING_JOBS: usize = 1024;

/// The thread is busy with too many jobs, or has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many changes wait for the disk")]
pub struct Busy;

/// The thread, with what hands it its jobs; takes jobs until it is finished.
#[derive(Debug)]
pub struct DiskThread(Mutex<Option<(SyncSender<Job>, JoinHandle<()>)>>);

impl DiskThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system has no thread for it.
    pub fn start() -> io::Result<Self> {
        let (jobs, waiting) = sync_channel::<Job>(WAITING_JOBS);
        let run = move || waiting.into_iter().for_each(|job| job());
        let thread = thread::Builder::new().name("disk".into()).spawn(run)?;
        Ok(Self(Mutex::new(Some((jobs, thread)))))
    }

    /// Hands a job over.
    ///
    /// # Errors
    /// [`Busy`]; the job will not run.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) -> Result<(), Busy> {
        let running = self.0.lock();
        let (jobs, _) = running.as_ref().ok_or(Busy)?;
        jobs.try_send(Box::new(job)).map_err(|_full_or_gone| Busy)
    }

    /// Ends the thread after the jobs it has. Blocks until then.
    pub fn finish(&self) {
        let Some((jobs, thread)) = self.0.lock().take() else {
            return;
        };
        drop(jobs);
        if thread.join().is_err() {
            tracing::error!("the disk thread has panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn jobs_run_in_order_and_all_of_them() {
        let disk = DiskThread::start().unwrap();
        let done = Arc::new(Mutex::new(Vec::new()));
        for n in 0..100 {
            let done = Arc::clone(&done);
            disk.submit(move || done.lock().push(n)).unwrap();
        }
        disk.finish();
        assert_eq!(*done.lock(), (0..100).collect::<Vec<_>>());
        assert_eq!(disk.submit(|| ()), Err(Busy));
    }

    #[test]
    fn more_jobs_than_the_limit_are_refused() {
        let disk = DiskThread::start().unwrap();
        let (go, wait) = channel::<()>();
        let (started, running) = channel();
        let blocking = move || {
            started.send(()).unwrap();
            wait.recv().unwrap();
        };
        disk.submit(blocking).unwrap();
        running.recv().unwrap();
        let accepted = (0..2 * WAITING_JOBS)
            .take_while(|_| disk.submit(|| ()).is_ok())
            .count();
        assert_eq!(accepted, WAITING_JOBS);
        go.send(()).unwrap();
        disk.finish();
    }
}
