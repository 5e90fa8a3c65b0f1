use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::fs::{Advice, fadvise};

use crate::patiently;

/// Of the disk under test; sparse, so that only what is written takes room.
const DISK_BYTES: u64 = 512 << 20;

/// Of what the disk's image lies on: the image and what ext4 needs for itself.
const SHELF_BYTES: u64 = DISK_BYTES + (128 << 20);

/// How long a file system may stay busy after the last process that used it has ended.
const RELEASED: Duration = Duration::from_secs(20);

/// A disk whose power can be cut: ext4 on a loop device on an image file.
///
/// A copy of the image is what a disk holds after a power cut only if it shows one instant: a copy
/// made while blocks are written, as `cp` alone makes it, mixes blocks of different moments, and no
/// journal survives that. So the image file lies on a file system of its own (the *shelf*), and the
/// shelf is frozen (`FIFREEZE`) while the file is copied. Freezing waits for the writes of the loop
/// device that have begun and holds back all others at their start; the copy therefore has every
/// block the disk had taken at that instant and none it took later. The disk's own file system is
/// not frozen, which would sync it: what the broker wrote and did not sync is still in its page
/// cache and is not in the copy, unless the system had begun to write it back by itself.
///
/// That the system does so now and then is what makes unsynced pages survive in any order; with
/// [`PowerCut::while_pages_trickle`] it does so all the time, for random pages of random files.
///
/// There are two shelves: the copy is made onto the other one, and becomes the disk.
#[derive(Debug)]
pub struct PowerCut {
    shelves: [PathBuf; 2],
    /// On which one the disk lies.
    current: usize,
    mount_point: PathBuf,
}

impl PowerCut {
    /// An empty disk below `dir`, mounted; `None`, with the reason on standard error, where mounts
    /// are not permitted.
    ///
    /// # Errors
    /// When it cannot be made though mounts are permitted.
    pub fn new(dir: &Path) -> Result<Option<Self>> {
        let disk = Self {
            shelves: ["shelf-0", "shelf-1"].map(|name| dir.join(name)),
            current: 0,
            mount_point: dir.join("disk"),
        };
        fs::create_dir_all(&disk.mount_point)?;
        for shelf in &disk.shelves {
            fs::create_dir_all(shelf)?;
            let image = shelf.with_extension("img");
            make_ext4(&image, SHELF_BYTES)?;
            if let Err(refused) = mount(&image, shelf) {
                eprintln!("skipped: power-loss images ({refused:#})");
                return Ok(None);
            }
        }
        if let Err(refused) = run("fsfreeze", &["-f".as_ref(), disk.shelves[1].as_ref()])
            .and_then(|()| run("fsfreeze", &["-u".as_ref(), disk.shelves[1].as_ref()]))
        {
            eprintln!("skipped: power-loss images ({refused:#})");
            return Ok(None);
        }
        make_ext4(&disk.image(0), DISK_BYTES)?;
        mount(&disk.image(0), &disk.mount_point)?;
        Ok(Some(disk))
    }

    /// Where the disk is mounted.
    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    fn image(&self, number: usize) -> PathBuf {
        self.shelves[number].join("disk.img")
    }

    /// Takes a picture of what the disk holds at one instant between call and return.
    ///
    /// # Errors
    /// When the image cannot be copied.
    pub fn snapshot(&self) -> Result<()> {
        // One process that thaws whatever happens to us: a disk that stays frozen stops everybody
        // who writes to it, beyond the reach of any signal.
        const FREEZE_AND_COPY: &str = "fsfreeze -f \"$1\" || exit 1
            cp --sparse=auto \"$2\" \"$3\"; copied=$?
            fsfreeze -u \"$1\" && exit $copied";
        let output = Command::new("sh")
            .args(["-c", FREEZE_AND_COPY, "snapshot"])
            .arg(&self.shelves[self.current])
            .arg(self.image(self.current))
            .arg(self.image(1 - self.current))
            .output()?;
        if !output.status.success() {
            bail!(
                "copy of the disk: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    /// The power comes back: what the picture shows takes the place of the disk, as it is and
    /// unrepaired; mounting it replays its journal. No process may use the disk.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn restore(&mut self) -> Result<()> {
        let mount_point = self.mount_point.clone();
        patiently("the disk is released", RELEASED, || {
            run("umount", &[mount_point.as_ref()]).map(Some)
        })?;
        fs::remove_file(self.image(self.current))?;
        self.current = 1 - self.current;
        mount(&self.image(self.current), &self.mount_point)
    }

    /// Does `work` while random pages of random files are written back without having been synced.
    pub fn while_pages_trickle<T>(&self, seed: u64, work: impl FnOnce() -> T) -> T {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| self.trickle(seed, &over));
            let done = work();
            over.store(true, Ordering::Relaxed);
            done
        })
    }

    fn trickle(&self, seed: u64, over: &AtomicBool) {
        const PAGE: u64 = 4096;
        const PAUSE: Duration = Duration::from_millis(3);
        let mut rng = StdRng::seed_from_u64(seed);
        let mut files = Vec::new();
        while !over.load(Ordering::Relaxed) {
            files.clear();
            files_below(&self.mount_point, &mut files);
            files.sort();
            // New files are where unsynced pages are: more often one of the last of the log.
            for _ in 0..8 {
                let Some(path) = files.get(rng.random_range(0..files.len().max(1))) else {
                    break;
                };
                let pages = rng.random_range(1..64);
                // The file may be gone, and a page that stays where it is does no harm.
                if let Ok(file) = File::open(path) {
                    let bytes = file.metadata().map_or(0, |meta| meta.len());
                    let from = rng.random_range(0..=bytes / PAGE) * PAGE;
                    let length = std::num::NonZeroU64::new(pages * PAGE);
                    // Dirty pages of the range are handed to the disk before it may be forgotten.
                    let _ = fadvise(&file, from, length, Advice::DontNeed);
                }
            }
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for PowerCut {
    fn drop(&mut self) {
        // What is not mounted cannot be unmounted; what is busy goes when it no longer is.
        for path in [&self.mount_point, &self.shelves[0], &self.shelves[1]] {
            let _ = Command::new("umount").arg("-l").arg(path).output();
        }
    }
}

fn files_below(directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_below(&entry.path(), files),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
}

fn make_ext4(image: &Path, bytes: u64) -> Result<()> {
    File::create(image)?.set_len(bytes)?;
    run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), image.as_ref()])
}

fn mount(image: &Path, at: &Path) -> Result<()> {
    run(
        "mount",
        &["-o".as_ref(), "loop".as_ref(), image.as_ref(), at.as_ref()],
    )
}

fn run(program: &str, arguments: &[&std::ffi::OsStr]) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("{program} cannot be run"))?;
    if !output.status.success() {
        bail!(
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
