use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use common::clock::{Clock, SystemClock};
use tempfile::TempDir;

use super::{Books, Extent, Load, PowerCut};
use crate::{Cluster, Deadline, binary};

/// An orderly end, by contract.
const ORDERLY_END: Duration = Duration::from_secs(10);

const TOPICS: [&str; 3] = ["crash-a", "crash-b", "crash-c"];
const QUEUES: u32 = 4;

/// Small files, so that each of some hundred messages' distance from a kill to the end of a file is
/// met; batches of the longest bodies fit. What has expired is deleted at once.
const SMALL_FILES: [(&str, &str); 7] = [
    ("cleanResourceInterval", "20"),
    ("deleteCommitLogFilesInterval", "0"),
    ("mappedFileSizeCommitLog", "1048576"),
    ("mappedFileSizeConsumeQueue", "20000"),
    ("maxHashSlotNum", "1000"),
    ("maxIndexNum", "4000"),
    ("maxMessageSize", "262144"),
];

/// What a power cut may take under `ASYNC_FLUSH`: a flush interval of half a second, a sync, and what
/// a machine with other things to do lets both of them wait. Reports say what it really was.
const ASYNC_WINDOW: Duration = Duration::from_secs(1);

/// What one kill or power cut came to.
#[derive(Clone, Copy, Debug)]
pub struct Cycle {
    /// Messages acknowledged under the load before it.
    pub acknowledged: u64,
    /// Starts that were killed before the one that got through.
    pub killed_starts: usize,
    /// From the exec of that one to its ready line.
    pub recovery: Duration,
    /// Messages read by the check after it.
    pub read: u64,
}

/// One store, its broker, and the books about it.
#[derive(Debug)]
pub struct Trial {
    /// The servers.
    pub cluster: Cluster,
    /// What is known.
    pub books: Books,
    disk: Option<PowerCut>,
    /// Last, because everything above lies in it.
    _dir: TempDir,
}

impl Trial {
    /// A new store in a temporary folder.
    ///
    /// # Errors
    /// When the servers do not become ready.
    pub fn new(seed: u64, settings: &[(&str, &str)]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("arugula-").tempdir()?;
        Self::on(seed, settings, None, dir)
    }

    /// A new store on a disk whose power can be cut; `None` where there can be none, which is said on
    /// standard error.
    ///
    /// # Errors
    /// When the servers do not become ready.
    pub fn with_power_cuts(seed: u64, settings: &[(&str, &str)]) -> Result<Option<Self>> {
        // In memory, where there is such a place: what is tested is the order of writes, and a
        // shared disk would only make them slow.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() {
            memory.to_path_buf()
        } else {
            std::env::temp_dir()
        };
        let dir = tempfile::Builder::new()
            .prefix("arugula-")
            .tempdir_in(place)?;
        let Some(disk) = PowerCut::new(dir.path()) else {
            return Ok(None);
        };
        Self::on(seed, settings, Some(disk), dir).map(Some)
    }

    fn on(
        seed: u64,
        settings: &[(&str, &str)],
        disk: Option<PowerCut>,
        dir: TempDir,
    ) -> Result<Self> {
        let root = disk.as_ref().map_or(dir.path(), PowerCut::mount_point);
        let store = root.join("store");
        let (store, log) = (text(&store), text(&store.join("commitlog")));
        let mut all = SMALL_FILES.to_vec();
        all.extend([("storePathRootDir", &*store), ("storePathCommitLog", &*log)]);
        all.extend(settings);
        let cluster = Cluster::with(&all)?;
        let flush = all.iter().rfind(|(key, _)| *key == "flushDiskType");
        let window = match flush {
            Some((_, "SYNC_FLUSH")) => Duration::ZERO,
            _ => ASYNC_WINDOW,
        };
        for topic in TOPICS {
            cluster.create_topic(topic, QUEUES)?;
        }
        Ok(Self {
            cluster,
            books: Books::new(seed, &TOPICS, QUEUES).with_window(window),
            disk,
            _dir: dir,
        })
    }

    /// Load, `kill -9`, one more for every one of `starts` after that time, and a check.
    ///
    /// # Errors
    /// When the broker does not take the load or does not become ready again.
    pub fn kill(&mut self, load: Load, starts: &[Duration]) -> Result<Cycle> {
        let before = self.books.acknowledged();
        let old = OldFiles::of(&self.cluster.broker.store)?;
        let (books, broker) = (&self.books, &mut self.cluster.broker);
        let address = broker.address.clone();
        load.until(books, &address, || {
            old.expire(load.expiry, books)?;
            broker.process.kill()
        })?;
        self.recover(before, starts)
    }

    /// Load, a power cut, and a check of what the disk still has.
    ///
    /// # Errors
    /// As [`Trial::kill`], or when the disk cannot be copied or mounted.
    pub fn cut_power(&mut self, load: Load, starts: &[Duration]) -> Result<Cycle> {
        let before = self.books.acknowledged();
        let old = OldFiles::of(&self.cluster.broker.store)?;
        let disk = self
            .disk
            .as_mut()
            .context("a disk whose power can be cut")?;
        let (books, broker) = (&self.books, &mut self.cluster.broker);
        let address = broker.address.clone();
        disk.while_pages_trickle(load.seed, || {
            load.until(books, &address, || {
                old.expire(load.expiry, books)?;
                // Everything answered before this is promised; the instant comes after it. Clients
                // and broker go on meanwhile, for nothing.
                books.close();
                let taken = disk.snapshot();
                broker.process.kill()?;
                taken
            })
        })?;
        disk.restore()?;
        let cycle = self.recover(before, starts)?;
        self.books.open();
        Ok(cycle)
    }

    fn recover(&mut self, before: u64, starts: &[Duration]) -> Result<Cycle> {
        let broker = &mut self.cluster.broker;
        for after in starts {
            broker.launch()?;
            thread::sleep(*after);
            broker.process.kill()?;
        }
        let clock = Deadline::after(Duration::ZERO);
        broker.start_again()?;
        let recovery = clock.elapsed();
        let read = self.check(Extent::Recent)?;
        Ok(Cycle {
            acknowledged: self.books.acknowledged() - before,
            killed_starts: starts.len(),
            recovery,
            read,
        })
    }

    /// An orderly end, a start and a check.
    ///
    /// # Errors
    /// When the broker does not end or start as it should.
    pub fn stop_and_start(&mut self) -> Result<()> {
        let broker = &mut self.cluster.broker;
        broker.process.terminate()?;
        let status = broker.process.wait_exit(ORDERLY_END)?;
        ensure!(status.success(), "ended with {status}");
        broker.start_again()?;
        self.check(Extent::Recent)?;
        Ok(())
    }

    /// An orderly end, after which `mqadmin store verify` has nothing to find. The broker stays down.
    ///
    /// # Errors
    /// When the broker does not end as it should, or `mqadmin` cannot be run.
    pub fn verify_files(&mut self) -> Result<()> {
        let broker = &mut self.cluster.broker;
        broker.process.terminate()?;
        let status = broker.process.wait_exit(ORDERLY_END)?;
        ensure!(status.success(), "ended with {status}");
        let verified = Command::new(binary("mqadmin")?)
            .args(["store", "verify", "--store"])
            .arg(&broker.store)
            .output()?;
        if !verified.status.success() {
            self.books.note_damage(&format!(
                "mqadmin store verify: {}\n{}{}",
                verified.status,
                String::from_utf8_lossy(&verified.stdout),
                String::from_utf8_lossy(&verified.stderr)
            ));
        }
        Ok(())
    }

    /// Compares the broker's queues with the books; gives the number of messages read.
    ///
    /// # Errors
    /// When the broker cannot be asked.
    pub fn check(&self, extent: Extent) -> Result<u64> {
        self.books.check(&self.cluster.broker.address, extent)
    }
}

/// Files of a log that may expire: all but the last few, as they were before a load, so that whatever
/// they hold was read by a check and by the consumer.
struct OldFiles {
    files: Vec<PathBuf>,
    /// Where the first one that stays begins.
    end: i64,
}

impl OldFiles {
    fn of(store: &Path) -> Result<Self> {
        const KEPT: usize = 3;
        let mut files = Vec::new();
        for entry in std::fs::read_dir(store.join("commitlog"))? {
            let path = entry?.path();
            if offset_of(&path).is_some() {
                files.push(path);
            }
        }
        files.sort();
        // One more may be there that has nothing in it yet.
        let kept = files.split_off(files.len().saturating_sub(KEPT + 1));
        let end = kept.first().and_then(|path| offset_of(path)).unwrap_or(0);
        Ok(Self { files, end })
    }

    /// Makes them look as if nobody had written them for longer than `fileReservedTime`, and waits a
    /// moment.
    fn expire(&self, moment: Option<Duration>, books: &Books) -> Result<()> {
        const AGE: Duration = Duration::from_hours(73);
        let Some(moment) = moment else {
            return Ok(());
        };
        books.note_expiry(self.end);
        let now = u64::try_from(SystemClock::new().now().0)?;
        let old = SystemTime::UNIX_EPOCH + Duration::from_millis(now) - AGE;
        for path in &self.files {
            let file = File::options().write(true).open(path);
            // An earlier expiry may not have been acted upon before, and is now.
            let gone = file
                .as_ref()
                .is_err_and(|e| e.kind() == ErrorKind::NotFound);
            if !gone {
                file?.set_modified(old)?;
            }
        }
        thread::sleep(moment);
        Ok(())
    }
}

/// Where a file of the log begins, by its name.
fn offset_of(path: &Path) -> Option<i64> {
    let name = path.file_name()?.to_str()?;
    name.parse().ok().filter(|_| name.len() == 20)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
