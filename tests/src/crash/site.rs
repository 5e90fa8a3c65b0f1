use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use common::clock::{Clock, SystemClock};
use tempfile::TempDir;

use super::PowerCut;
use crate::cluster::is_reference;
use crate::{Cluster, Deadline};

/// An orderly end, by contract.
const ORDERLY_END: Duration = Duration::from_secs(10);
/// Apache RocketMQ has no such contract.
const ORDERLY_END_OF_REFERENCE: Duration = Duration::from_mins(1);

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

/// Servers over a store of small files, on a disk that is what it is or whose power can be cut.
#[derive(Debug)]
pub struct Site {
    /// The servers.
    pub cluster: Cluster,
    pub(super) disk: Option<PowerCut>,
    /// Last, because everything above lies in it.
    _dir: TempDir,
}

impl Site {
    /// A new store in a temporary folder.
    ///
    /// # Errors
    /// When the servers do not become ready.
    pub(super) fn new(settings: &[&[(&str, &str)]]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("arugula-").tempdir()?;
        Self::on(settings, None, dir)
    }

    /// A new store on a disk whose power can be cut; `None` where there can be none, which is said on
    /// standard error.
    ///
    /// # Errors
    /// When the servers do not become ready.
    pub(super) fn with_power_cuts(settings: &[&[(&str, &str)]]) -> Result<Option<Self>> {
        let Some((dir, disk)) = PowerCut::in_memory()? else {
            return Ok(None);
        };
        Self::on(settings, Some(disk), dir).map(Some)
    }

    fn on(settings: &[&[(&str, &str)]], disk: Option<PowerCut>, dir: TempDir) -> Result<Self> {
        let root = disk.as_ref().map_or(dir.path(), PowerCut::mount_point);
        let store = root.join("store");
        let text = |path: &Path| path.display().to_string();
        let (store, log) = (text(&store), text(&store.join("commitlog")));
        let mut all = SMALL_FILES.to_vec();
        all.extend([("storePathRootDir", &*store), ("storePathCommitLog", &*log)]);
        all.extend(settings.iter().copied().flatten());
        Ok(Self {
            cluster: Cluster::with(&all)?,
            disk,
            _dir: dir,
        })
    }

    /// Starts the broker, which has ended, after one start for every one of `killed` that comes so far;
    /// how long it took to become ready.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn start(&mut self, killed: &[Duration]) -> Result<Duration> {
        let broker = &mut self.cluster.broker;
        for after in killed {
            broker.launch()?;
            thread::sleep(*after);
            broker.process.kill()?;
        }
        let clock = Deadline::after(Duration::ZERO);
        broker.start_again()?;
        Ok(clock.elapsed())
    }

    /// An orderly end of the broker.
    ///
    /// # Errors
    /// When it does not end as it should.
    pub(super) fn stop(&mut self) -> Result<()> {
        let broker = &mut self.cluster.broker;
        broker.process.terminate()?;
        let allowed = if is_reference() {
            ORDERLY_END_OF_REFERENCE
        } else {
            ORDERLY_END
        };
        let status = broker.process.wait_exit(allowed)?;
        // A JVM that is asked to end says so in its status.
        ensure!(status.success() || is_reference(), "ended with {status}");
        Ok(())
    }

    /// The files of its log that are full now, but for the last `kept`.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(super) fn full_files(&self, kept: usize) -> Result<FullFiles> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(self.cluster.broker.store.join("commitlog"))? {
            let path = entry?.path();
            if offset_of(&path).is_some() {
                files.push(path);
            }
        }
        files.sort();
        // The last one is being written, and one more may be there that has nothing in it yet.
        let kept = files.split_off(files.len().saturating_sub(kept + 2));
        let end = kept.first().and_then(|path| offset_of(path)).unwrap_or(0);
        Ok(FullFiles { files, end })
    }
}

/// Files of a log that may expire.
pub(super) struct FullFiles {
    files: Vec<PathBuf>,
    /// Where the first one that stays begins.
    pub(super) end: i64,
}

impl FullFiles {
    /// Whether none is there any more.
    pub(super) fn are_gone(&self) -> bool {
        !self.files.iter().any(|file| file.exists())
    }

    /// Makes them look as if nobody had written them for longer than `fileReservedTime`.
    ///
    /// # Errors
    /// When a file cannot be changed.
    pub(super) fn expire(&self) -> Result<()> {
        const AGE: Duration = Duration::from_hours(73);
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
        Ok(())
    }
}

/// Where a file of the log begins, by its name.
fn offset_of(path: &Path) -> Option<i64> {
    let name = path.file_name()?.to_str()?;
    name.parse().ok().filter(|_| name.len() == 20)
}
