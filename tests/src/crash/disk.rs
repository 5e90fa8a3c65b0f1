use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::fs::{Advice, fadvise};
use tempfile::TempDir;

use crate::patiently;

/// Of the disk under test; sparse, so that only what is written takes room.
const DISK_BYTES: u64 = 512 << 20;

/// Of what an image lies on: the image, and what ext4 needs for itself.
const SHELF_BYTES: u64 = DISK_BYTES + (128 << 20);
const FLOOR_BYTES: u64 = SHELF_BYTES + (128 << 20);

/// How long a file system may stay busy after the last process that used it has ended.
const RELEASED: Duration = Duration::from_secs(20);

/// A disk whose power can be cut.
///
/// Three file systems, each ext4 on a loop device on an image file, lie one on the other:
///
/// - the *disk*, on which a broker has its store;
/// - the *shelf*, with the disk's image. Its page cache is the disk's write cache: blocks the disk
///   was given stay there, and when the disk is told to flush they are synced into the shelf's image;
/// - the *floor*, with the shelf's image, to make one instant of it.
///
/// What a power cut leaves is a copy of the shelf's image: what the broker wrote and did not sync is
/// in the page cache of the disk, what it synced without a flush is in that of the shelf, and neither
/// is in the copy, unless the system has begun to write it back by itself.
///
/// A copy made while blocks are written, as `cp` alone makes it, mixes blocks of different moments,
/// and no journal survives that. So the floor is frozen (`FIFREEZE`) meanwhile. That waits for the
/// writes of the shelf's loop device that have begun and holds back all others at their start: the
/// copy has every block that was written at that instant and none that was written later. Freezing the
/// disk or the shelf would sync them.
///
/// There are two floors: the copy is made onto the other one, and takes the place of the shelf.
#[derive(Debug)]
pub struct PowerCut {
    floors: [PathBuf; 2],
    /// On which one the shelf's image lies.
    current: usize,
    shelf: PathBuf,
    disk: PathBuf,
}

impl PowerCut {
    /// An empty disk below `dir`, mounted; `None`, with the reason on standard error, where that is
    /// not permitted or the machine lacks what it takes.
    pub fn new(dir: &Path) -> Option<Self> {
        let power = Self {
            floors: ["floor-0", "floor-1"].map(|name| dir.join(name)),
            current: 0,
            shelf: dir.join("shelf"),
            disk: dir.join("disk"),
        };
        match power.make() {
            Ok(()) => Some(power),
            Err(refused) => {
                eprintln!("skipped: power cuts ({refused:#})");
                None
            }
        }
    }

    /// A folder and a disk in it, in memory where there is such a place: what is tried is the order of
    /// writes, and a shared disk would only make them slow. `None` as [`PowerCut::new`].
    ///
    /// # Errors
    /// When no folder can be made.
    pub fn in_memory() -> Result<Option<(TempDir, Self)>> {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() {
            memory.to_path_buf()
        } else {
            std::env::temp_dir()
        };
        let dir = tempfile::Builder::new()
            .prefix("arugula-")
            .tempdir_in(place)?;
        Ok(Self::new(dir.path()).map(|disk| (dir, disk)))
    }

    fn make(&self) -> Result<()> {
        for floor in &self.floors {
            let image = floor.with_extension("img");
            make_ext4(&image, FLOOR_BYTES)?;
            mount(&image, floor)?;
            freeze_and_thaw(floor)?;
        }
        make_ext4(&self.shelf_image(0), SHELF_BYTES)?;
        mount(&self.shelf_image(0), &self.shelf)?;
        make_ext4(&self.disk_image(), DISK_BYTES)?;
        mount(&self.disk_image(), &self.disk)?;
        // Everything up to here is before the first moment at which the power may be cut.
        run("sync", &["-f".as_ref(), self.shelf.as_ref()])
    }

    /// Where the disk is mounted.
    pub fn mount_point(&self) -> &Path {
        &self.disk
    }

    fn shelf_image(&self, floor: usize) -> PathBuf {
        self.floors[floor].join("shelf.img")
    }

    fn disk_image(&self) -> PathBuf {
        self.shelf.join("disk.img")
    }

    /// Takes a picture of what a power cut leaves, at one instant between call and return.
    ///
    /// # Errors
    /// When the image cannot be copied.
    pub fn snapshot(&self) -> Result<()> {
        // One process that thaws whatever happens to us: a disk that stays frozen stops everybody
        // who writes to it, beyond the reach of any signal.
        const FREEZE_AND_COPY: &str = "fsfreeze -f \"$1\" || exit 1
            cp --sparse=auto \"$2\" \"$3\"; copied=$?
            fsfreeze -u \"$1\" && exit $copied";
        run(
            "sh",
            &[
                "-c".as_ref(),
                FREEZE_AND_COPY.as_ref(),
                "snapshot".as_ref(),
                self.floors[self.current].as_ref(),
                self.shelf_image(self.current).as_ref(),
                self.shelf_image(1 - self.current).as_ref(),
            ],
        )
    }

    /// The power comes back: what the picture shows takes the place of the disk, as it is and
    /// unrepaired; mounting it replays its journal. No process may use the disk.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn restore(&mut self) -> Result<()> {
        for path in [&self.disk, &self.shelf] {
            patiently("the disk is released", RELEASED, || {
                run("umount", &[path.as_ref()]).map(Some)
            })?;
        }
        fs::remove_file(self.shelf_image(self.current))?;
        self.current = 1 - self.current;
        mount(&self.shelf_image(self.current), &self.shelf)?;
        mount(&self.disk_image(), &self.disk)
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
            files_below(&self.disk, &mut files);
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
        for path in [&self.disk, &self.shelf, &self.floors[0], &self.floors[1]] {
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

fn freeze_and_thaw(path: &Path) -> Result<()> {
    run("fsfreeze", &["-f".as_ref(), path.as_ref()])?;
    run("fsfreeze", &["-u".as_ref(), path.as_ref()])
}

fn mount(image: &Path, at: &Path) -> Result<()> {
    fs::create_dir_all(at)?;
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
    ensure!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
