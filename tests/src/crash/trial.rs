use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::site::{FullFiles, Site};
use super::{Books, Extent, Load};
use crate::binary;

const TOPICS: [&str; 3] = ["crash-a", "crash-b", "crash-c"];
const QUEUES: u32 = 4;

/// Files of the log that do not expire: whatever the others hold was read by a check and by the
/// consumer.
const KEPT_FILES: usize = 2;

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
    /// Broker and store.
    pub site: Site,
    /// What is known.
    pub books: Books,
}

impl Trial {
    /// A new store in a temporary folder.
    ///
    /// # Errors
    /// When the servers do not become ready.
    pub fn new(seed: u64, settings: &[(&str, &str)]) -> Result<Self> {
        Self::on(Site::new(&[settings])?, seed, settings)
    }

    /// A new store on a disk whose power can be cut; `None` where there can be none, which is said on
    /// standard error.
    ///
    /// # Errors
    /// When the servers do not become ready.
    pub fn with_power_cuts(seed: u64, settings: &[(&str, &str)]) -> Result<Option<Self>> {
        let site = Site::with_power_cuts(&[settings])?;
        site.map(|site| Self::on(site, seed, settings)).transpose()
    }

    fn on(site: Site, seed: u64, settings: &[(&str, &str)]) -> Result<Self> {
        let window = if settings.contains(&("flushDiskType", "SYNC_FLUSH")) {
            Duration::ZERO
        } else {
            ASYNC_WINDOW
        };
        for topic in TOPICS {
            site.cluster.create_topic(topic, QUEUES)?;
        }
        Ok(Self {
            site,
            books: Books::new(seed, &TOPICS, QUEUES).with_window(window),
        })
    }

    /// Load, `kill -9`, one more for every one of `starts` after that time, and a check.
    ///
    /// # Errors
    /// When the broker does not take the load or does not become ready again.
    pub fn kill(&mut self, load: Load, starts: &[Duration]) -> Result<Cycle> {
        let before = self.books.acknowledged();
        let old = self.site.full_files(KEPT_FILES)?;
        let (books, broker) = (&self.books, &mut self.site.cluster.broker);
        let address = broker.address.clone();
        load.until(books, &address, || {
            expire(&old, load.expiry, books)?;
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
        let old = self.site.full_files(KEPT_FILES)?;
        let disk = self.site.disk.as_mut();
        let disk = disk.context("a disk whose power can be cut")?;
        let (books, broker) = (&self.books, &mut self.site.cluster.broker);
        let address = broker.address.clone();
        disk.while_pages_trickle(load.seed, || {
            load.until(books, &address, || {
                expire(&old, load.expiry, books)?;
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
        let recovery = self.site.start(starts)?;
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
        self.site.stop()?;
        self.site.start(&[])?;
        self.check(Extent::Recent)?;
        Ok(())
    }

    /// An orderly end, after which `mqadmin store verify` has nothing to find. The broker stays down.
    ///
    /// # Errors
    /// When the broker does not end as it should, or `mqadmin` cannot be run.
    pub fn verify_files(&mut self) -> Result<()> {
        self.site.stop()?;
        let verified = Command::new(binary("mqadmin")?)
            .args(["store", "verify", "--store"])
            .arg(&self.site.cluster.broker.store)
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
        let address = &self.site.cluster.broker.address;
        self.books.check(address, extent)
    }
}

/// What `old` files hold expires, if that is to be, and the broker has a `moment` to begin deleting it.
fn expire(old: &FullFiles, moment: Option<Duration>, books: &Books) -> Result<()> {
    if let Some(moment) = moment {
        books.note_expiry(old.end);
        old.expire()?;
        thread::sleep(moment);
    }
    Ok(())
}
