//! A run from outside its threads: warm-up, measured time, end; progress; the servers' CPU time and memory.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use common::clock::{Clock, SystemClock};
use indicatif::{ProgressBar, ProgressStyle};

use crate::engine::{self, Lane};
use crate::process::Usage;
use crate::tally::Tally;

/// How often the run is looked at from outside.
const LOOK: Duration = Duration::from_millis(10);

/// How often the progress line changes.
const PROGRESS: Duration = Duration::from_millis(500);

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Load is made, nothing is measured.
    WarmUp,
    /// Load is made and measured.
    Measure,
    /// No new load; what is in flight is waited for.
    Drain,
}

/// What the threads of a run share.
pub struct Shared {
    clock: SystemClock,
    /// Wall-clock time at which the monotonic clock stood at zero.
    epoch_ms: u64,
    phase: AtomicU8,
    remaining: AtomicI64,
    /// A request is given up after so long without an answer.
    pub timeout_ns: u64,
    published: Vec<(AtomicU64, AtomicU64)>,
}

impl Shared {
    /// For so many threads.
    pub fn new(threads: usize, timeout: Duration) -> Arc<Self> {
        let clock = SystemClock::new();
        let epoch_ms = u64::try_from(clock.now().0).unwrap_or(0);
        let published = (0..threads)
            .map(|_| (AtomicU64::new(0), AtomicU64::new(0)))
            .collect();
        let timeout_ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let (phase, remaining) = (AtomicU8::new(0), AtomicI64::new(i64::MAX));
        Arc::new(Self {
            clock,
            epoch_ms,
            phase,
            remaining,
            timeout_ns,
            published,
        })
    }

    /// Monotonic time; never zero.
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_nanos()).unwrap_or(u64::MAX) + 1
    }

    /// Wall-clock time in milliseconds at a monotonic time.
    pub fn wall_ms(&self, monotonic_ns: u64) -> u64 {
        self.epoch_ms + monotonic_ns / 1_000_000
    }

    /// Where the run stands.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::WarmUp,
            1 => Phase::Measure,
            _ => Phase::Drain,
        }
    }

    fn enter(&self, phase: Phase) {
        let number = match phase {
            Phase::WarmUp => 0,
            Phase::Measure => 1,
            Phase::Drain => 2,
        };
        self.phase.store(number, Ordering::Release);
    }

    /// Takes the right to make one more request; `false` for ever once the run is over.
    pub fn claim(&self) -> bool {
        self.phase() != Phase::Drain && self.remaining.fetch_sub(1, Ordering::Relaxed) > 0
    }

    /// No request will be granted any more.
    pub fn is_over(&self) -> bool {
        self.phase() == Phase::Drain || self.remaining.load(Ordering::Relaxed) <= 0
    }

    /// Lets the others see what this thread counted.
    pub fn publish(&self, thread: usize, tally: &Tally) {
        if let Some((messages, bytes)) = self.published.get(thread) {
            messages.store(tally.messages, Ordering::Relaxed);
            bytes.store(tally.bytes, Ordering::Relaxed);
        }
    }

    fn counted(&self) -> (u64, u64) {
        self.published
            .iter()
            .fold((0, 0), |(messages, bytes), one| {
                (
                    messages + one.0.load(Ordering::Relaxed),
                    bytes + one.1.load(Ordering::Relaxed),
                )
            })
    }
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After a time.
    After(Duration),
    /// After so many requests; `None`: when the works say so.
    Requests(Option<u64>),
}

/// How a run goes.
pub struct Plan {
    /// Load without measuring, first.
    pub warm_up: Duration,
    /// When it is over.
    pub end: End,
    /// Processes whose CPU time and memory are noted.
    pub server_pids: Vec<u32>,
    /// Word before the progress line; `None`: no such line.
    pub label: Option<&'static str>,
}

/// What a run gave.
pub struct Outcome {
    /// Measured time.
    pub elapsed: Duration,
    /// Messages in that time.
    pub messages: u64,
    /// Their body bytes.
    pub bytes: u64,
    /// All counters and ledgers of all threads.
    pub tally: Tally,
    /// Of each server: before and after the measured time.
    pub servers: Vec<(u32, Usage, Usage)>,
    /// Of this process.
    pub own: (Usage, Usage),
}

/// Connects to `address`, without delay for small writes.
pub fn connect(address: &str) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

struct Sample {
    at_ns: u64,
    messages: u64,
    bytes: u64,
    servers: Vec<Usage>,
    own: Usage,
}

fn sample(shared: &Shared, plan: &Plan) -> anyhow::Result<Sample> {
    let servers = plan
        .server_pids
        .iter()
        .map(|&pid| Usage::of(pid))
        .collect::<Result<_, _>>()?;
    let (messages, bytes) = shared.counted();
    Ok(Sample {
        at_ns: shared.now_ns(),
        messages,
        bytes,
        servers,
        own: Usage::of(std::process::id())?,
    })
}

/// Runs the lanes on the threads `shared` was made for. `bases`: where the queues began.
pub fn drive(
    lanes: Vec<Lane>,
    shared: &Arc<Shared>,
    plan: &Plan,
    bases: &[u64],
) -> anyhow::Result<Outcome> {
    let mut groups: Vec<Vec<Lane>> = shared.published.iter().map(|_| Vec::new()).collect();
    let threads = groups.len();
    for (index, lane) in lanes.into_iter().enumerate() {
        groups[index % threads].push(lane);
    }
    groups.retain(|group| !group.is_empty());
    let progress = Progress::new(plan.label);
    let limit = match plan.end {
        End::Requests(Some(count)) => i64::try_from(count).unwrap_or(i64::MAX),
        _ => i64::MAX,
    };
    if plan.warm_up.is_zero() {
        shared.remaining.store(limit, Ordering::Relaxed);
        shared.enter(Phase::Measure);
    }
    let mut before = sample(shared, plan)?;
    let mut handles = Vec::new();
    for (index, group) in groups.into_iter().enumerate() {
        let shared = Arc::clone(shared);
        let tally = Tally::new(bases);
        let name = format!("load-{index}");
        handles.push(
            thread::Builder::new()
                .name(name)
                .spawn(move || engine::run(group, index, &shared, tally))?,
        );
    }
    let began_ns = before.at_ns;
    let mut after = None;
    while !handles.iter().all(thread::JoinHandle::is_finished) {
        thread::sleep(LOOK);
        let now_ns = shared.now_ns();
        if shared.phase() == Phase::WarmUp
            && now_ns.saturating_sub(began_ns) >= nanoseconds(plan.warm_up)
        {
            before = sample(shared, plan)?;
            shared.remaining.store(limit, Ordering::Relaxed);
            shared.enter(Phase::Measure);
        }
        if let End::After(duration) = plan.end
            && shared.phase() == Phase::Measure
            && now_ns.saturating_sub(before.at_ns) >= nanoseconds(duration)
        {
            after = Some(sample(shared, plan)?);
            shared.enter(Phase::Drain);
        }
        progress.show(shared, now_ns);
    }
    progress.clear();
    let mut tally = Tally::new(bases);
    for handle in handles {
        let one = handle
            .join()
            .map_err(|_| anyhow!("a load thread panicked"))?;
        tally.merge(one.context("load thread")?);
    }
    let after = match after {
        Some(after) => after,
        None => Sample {
            at_ns: tally.last_reply_ns.max(before.at_ns + 1),
            messages: tally.messages,
            bytes: tally.bytes,
            ..sample(shared, plan)?
        },
    };
    let servers = plan
        .server_pids
        .iter()
        .zip(before.servers)
        .zip(after.servers);
    Ok(Outcome {
        elapsed: Duration::from_nanos(after.at_ns - before.at_ns),
        messages: after.messages - before.messages,
        bytes: after.bytes - before.bytes,
        servers: servers
            .map(|((&pid, before), after)| (pid, before, after))
            .collect(),
        own: (before.own, after.own),
        tally,
    })
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A line on the terminal while the run goes on; nothing when standard error is not a terminal.
struct Progress {
    bar: ProgressBar,
    shown: std::cell::Cell<(u64, u64)>,
}

impl Progress {
    fn new(label: Option<&'static str>) -> Self {
        let bar = match label {
            Some(label) => ProgressBar::new_spinner().with_prefix(label),
            None => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{prefix} {elapsed_precise} {msg}") {
            bar.set_style(style);
        }
        Self {
            bar,
            shown: std::cell::Cell::new((0, 0)),
        }
    }

    fn show(&self, shared: &Shared, now_ns: u64) {
        let (shown_ns, shown) = self.shown.get();
        if self.bar.is_hidden() || now_ns - shown_ns < nanoseconds(PROGRESS) {
            return;
        }
        let (messages, _) = shared.counted();
        let per_second = (messages - shown) * 1_000 / ((now_ns - shown_ns) / 1_000_000).max(1);
        let phase = match shared.phase() {
            Phase::WarmUp => "warming up",
            Phase::Measure => "measuring",
            Phase::Drain => "finishing",
        };
        self.bar
            .set_message(format!("{phase}: {messages} messages, {per_second}/s"));
        self.bar.tick();
        self.shown.set((now_ns, messages));
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_end_with_the_count_and_with_the_phase() {
        let shared = Shared::new(1, Duration::from_secs(1));
        assert!(shared.claim() && !shared.is_over());
        shared.remaining.store(2, Ordering::Relaxed);
        assert_eq!(
            [shared.claim(), shared.claim(), shared.claim()],
            [true, true, false]
        );
        assert!(shared.is_over());
        shared.remaining.store(2, Ordering::Relaxed);
        shared.enter(Phase::Drain);
        assert!(!shared.claim() && shared.is_over());
    }
}
