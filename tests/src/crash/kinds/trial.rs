use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{Kind, Shift, Verdict, Wrong, now};
use crate::cluster::is_reference;
use crate::crash::Moments;
use crate::crash::load::is_broken_connection;
use crate::crash::site::Site;
use crate::{Connection, Deadline, patiently};

/// Until a broker under load has acknowledged something: also one that recovers on a busy machine.
const LOADED: Duration = Duration::from_mins(1);

/// Acknowledged actions without which nothing happens to the broker.
const LEAST: u64 = 20;

/// Until everything that was promised has come.
const SETTLED: Duration = Duration::from_mins(2);

/// Until files that nothing waits in any more are deleted, by a broker under load.
const DELETED: Duration = Duration::from_secs(30);

/// After that, nothing more may come for so long.
const QUIET: Duration = Duration::from_secs(2);

/// What one kill or power cut came to.
#[derive(Clone, Copy, Debug)]
pub struct KindCycle {
    /// Actions acknowledged before it.
    pub acknowledged: u64,
    /// Starts that were killed before the one that got through.
    pub killed_starts: usize,
    /// From the exec of that one to its ready line.
    pub recovery: Duration,
}

/// One store, its broker, and the journal of one kind of message.
#[derive(Debug)]
pub struct KindTrial<K> {
    /// Broker and store.
    pub site: Site,
    /// What is asked of them.
    pub kind: K,
    /// Bytes of the log that have expired.
    expired: i64,
}

/// Their clients write little.
const SMALL_SEGMENTS: [(&str, &str); 3] = [
    ("mappedFileSizeCommitLog", "131072"),
    ("mapperFileSizeBatchConsumeQueue", "4600"),
    ("maxMessageSize", "32768"),
];

/// How a broker ends without being hit at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// As it should.
    Orderly,
    /// It is killed while it writes down what others need.
    Interrupted,
    /// As it should; and then nothing is left but the log and the files that a Java broker would have
    /// left, too.
    TakenOver,
}

impl Stop {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Orderly, Self::Interrupted, Self::TakenOver];
}

impl<K: Kind> KindTrial<K> {
    /// A new store in a temporary folder.
    ///
    /// # Errors
    /// When the servers do not become ready.
    pub fn new(seed: u64, settings: &[(&str, &str)]) -> Result<Self> {
        Self::on(Site::new(&[&SMALL_SEGMENTS, K::SETTINGS, settings])?, seed)
    }

    /// A new store on a disk whose power can be cut; `None` where there can be none, which is said on
    /// standard error. What is acknowledged is promised for such a disk under `SYNC_FLUSH` only.
    ///
    /// # Errors
    /// When the servers do not become ready.
    pub fn with_power_cuts(seed: u64) -> Result<Option<Self>> {
        let sync: &[_] = &[("flushDiskType", "SYNC_FLUSH")];
        let site = Site::with_power_cuts(&[&SMALL_SEGMENTS, K::SETTINGS, sync])?;
        site.map(|site| Self::on(site, seed)).transpose()
    }

    fn on(site: Site, seed: u64) -> Result<Self> {
        for (topic, queues, attributes) in K::TOPICS {
            Connection::open(&site.cluster.broker.address)?
                .create_topic_with(topic, *queues, attributes)?;
            site.cluster.wait_for_route(topic)?;
        }
        let kind = K::new(seed);
        kind.journal().note(|pages| pages.ready = now());
        Ok(Self {
            site,
            kind,
            expired: 0,
        })
    }

    /// What was found so far.
    pub fn verdict(&self) -> Verdict {
        self.kind.journal().pages().verdict.clone()
    }

    /// Deliveries seen, and the longest time in milliseconds for which one was late.
    pub fn delivered(&self) -> (u64, i64) {
        let pages = self.kind.journal().pages();
        (pages.delivered, pages.latest_ms)
    }

    /// Bytes of the log that were deleted while what they had held was still to come.
    pub fn expired(&self) -> i64 {
        self.expired
    }

    /// Clients at work, `kill -9` (or a cut of the power, where the store lies on such a disk) at a
    /// moment of `moments`, a start, and a look at what is there. With `expiry` everything that was in
    /// the log when the broker had started has expired by then, and was moved on by the broker.
    ///
    /// # Errors
    /// When the broker does not take the load or does not become ready again.
    pub fn blow(&mut self, moments: &mut Moments, expiry: bool) -> Result<KindCycle> {
        let before = self.kind.journal().pages().acknowledged;
        let (linger, seed) = (moments.linger(), moments.number(u64::MAX));
        // Apache RocketMQ deletes at four in the morning.
        let all_goes = moments.once_in(2) && !is_reference();
        let deleting = Duration::from_millis(moments.number(60));
        let starts = moments.killed_starts();
        let moved_on = K::MOVED_ON.filter(|_| expiry).map(Deadline::after);
        let old = self.site.full_files(0)?;
        let (kind, address) = (&self.kind, self.site.cluster.broker.address.clone());
        let process = &mut self.site.cluster.broker.process;
        let disk = self.site.disk.as_mut();
        let mut work = || {
            at_work(kind, &address, seed, |_| {
                patiently("clients are served", LOADED, || {
                    let acknowledged = kind.journal().pages().acknowledged;
                    Ok((acknowledged >= before + LEAST).then_some(()))
                })?;
                thread::sleep(linger);
                if let Some(moved_on) = &moved_on {
                    thread::sleep(moved_on.left());
                    old.expire()?;
                    if all_goes {
                        patiently("what has expired is deleted", DELETED, || {
                            Ok(old.are_gone().then_some(()))
                        })?;
                    }
                    thread::sleep(deleting);
                }
                let Some(disk) = disk.as_deref() else {
                    return process.kill();
                };
                kind.journal().pages().closed = true;
                let taken = disk.snapshot();
                process.kill()?;
                taken
            })
        };
        match disk.as_deref() {
            None => work()?,
            Some(disk) => disk.while_pages_trickle(seed, &mut work)?,
        }
        if let Some(disk) = disk {
            disk.restore()?;
        }
        if moved_on.is_some() {
            self.expired = self.expired.max(old.end);
        }
        let acknowledged = self.kind.journal().pages().acknowledged - before;
        let recovery = self.start(&starts)?;
        Ok(KindCycle {
            acknowledged,
            killed_starts: starts.len(),
            recovery,
        })
    }

    fn start(&mut self, killed: &[Duration]) -> Result<Duration> {
        let recovery = self.site.start(killed)?;
        let mut pages = self.kind.journal().pages();
        (pages.ready, pages.closed) = (now(), false);
        drop(pages);
        let mut connection = Connection::open(&self.site.cluster.broker.address)?;
        self.kind.read(&mut connection)?;
        Ok(recovery)
    }

    /// Clients at work for a moment, an end, and a start.
    ///
    /// # Errors
    /// When the broker does not end or start as it should.
    pub fn stop_and_start(&mut self, moments: &mut Moments, stop: Stop) -> Result<()> {
        let (linger, seed) = (moments.linger(), moments.number(u64::MAX));
        let interrupted = moments.end();
        let address = self.site.cluster.broker.address.clone();
        let (kind, site) = (&self.kind, &mut self.site);
        at_work(kind, &address, seed, |_| {
            thread::sleep(linger);
            if stop == Stop::Interrupted {
                let process = &mut site.cluster.broker.process;
                process.terminate()?;
                thread::sleep(interrupted);
                return process.kill();
            }
            site.stop()
        })?;
        let mut starts = Vec::new();
        if stop == Stop::TakenOver {
            let rows = self.site.cluster.broker.store.join("kv");
            match std::fs::remove_dir_all(rows) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed?,
            }
            starts = (0..moments.number(4)).map(|_| moments.start()).collect();
        }
        self.start(&starts).map(|_| ())
    }

    /// Waits until everything promised has come, and a little longer for what must not come.
    ///
    /// # Errors
    /// When the broker cannot be asked.
    pub fn settle(&mut self) -> Result<()> {
        let address = &self.site.cluster.broker.address;
        let kind = &self.kind;
        let journal = kind.journal();
        at_work(kind, address, 0, |shift| {
            shift.closing.store(true, Ordering::Relaxed);
            let all_there = patiently("everything promised has come", SETTLED, || {
                let faulty = journal.pages().verdict.count() > 0;
                Ok((faulty || kind.awaited().is_empty()).then_some(()))
            });
            if all_there.is_err() {
                for missing in kind.awaited() {
                    journal.fault(Wrong::Lost, || missing);
                }
            }
            thread::sleep(QUIET);
            Ok(())
        })?;
        let mut connection = Connection::open(address)?;
        kind.read(&mut connection)?;
        kind.audit(&mut connection)
    }
}

/// Whether a broker that goes away may leave a client with this; what becomes of its requests it does not
/// know.
fn is_farewell(error: &anyhow::Error) -> bool {
    // On a busy machine an orderly end does not wait for every sync.
    is_broken_connection(error) || format!("{error:#}").contains("the store is shutting down")
}

/// Has all clients work while `act` goes on; what it gave, once all have stopped.
fn at_work<K: Kind, T>(
    kind: &K,
    address: &str,
    seed: u64,
    act: impl FnOnce(&Shift) -> Result<T>,
) -> Result<T> {
    let shift = Shift::default();
    thread::scope(|scope| {
        let shift = &shift;
        let clients: Vec<_> = (0..K::CLIENTS)
            .map(|number| {
                let rng = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
                scope.spawn(move || {
                    let ended = kind.client(number, address, rng, shift);
                    let goes_away = !shift.closing.load(Ordering::Relaxed);
                    let bad = ended.as_ref().err();
                    let bad = bad.filter(|error| !(goes_away && is_farewell(error)));
                    if let Some(error) = bad {
                        let text = || format!("client {number}: {error:#}");
                        kind.journal().fault(Wrong::Other, text);
                    }
                    ended
                })
            })
            .collect();
        let acted = act(shift);
        shift.over.store(true, Ordering::Relaxed);
        let ends: Vec<String> = clients
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .map(|ended| ended.unwrap_or_else(|_| Err(anyhow!("a client panicked"))))
            .filter_map(|ended| ended.err().map(|error| format!("{error:#}")))
            .collect();
        acted.with_context(|| format!("clients ended with {ends:?}"))
    })
}
