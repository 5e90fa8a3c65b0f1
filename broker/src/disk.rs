//! How full a disk is.

use std::path::Path;

/// Bytes of the file system a directory is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// All of it.
    pub total: u64,
    /// What is free.
    pub free: u64,
}

impl Disk {
    /// The file system of `path`, or of the nearest directory above it that exists. One that cannot be asked counts as empty.
    pub fn of(path: &Path) -> Self {
        let found = path
            .ancestors()
            .find_map(|path| rustix::fs::statvfs(path).ok());
        found.map_or(Self { total: 0, free: 0 }, |found| {
            let used = found.f_blocks.saturating_sub(found.f_bfree);
            Self {
                total: used
                    .saturating_add(found.f_bavail)
                    .saturating_mul(found.f_frsize),
                free: found.f_bavail.saturating_mul(found.f_frsize),
            }
        })
    }

    /// From 0 (empty) to 1 (full). What only the system's administrator may use counts neither as used nor as free.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a ratio is shown with few digits"
    )]
    pub fn used_ratio(&self) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        self.total.saturating_sub(self.free) as f64 / self.total as f64
    }
}

/// A number of bytes as in `40.0 GiB`.
#[expect(
    clippy::cast_precision_loss,
    reason = "one digit behind the point is shown"
)]
pub fn readable(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_yet_is_on_the_disk_of_its_parent() {
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::of(&root.path().join("not/there"));
        assert_eq!(disk.total, Disk::of(root.path()).total);
        assert!(disk.total > 0 && (0.0..=1.0).contains(&disk.used_ratio()));
    }

    #[test]
    fn bytes_are_told_in_fitting_units() {
        assert_eq!(readable(512), "0.5 KiB");
        assert_eq!(readable(3 << 30), "3.0 GiB");
        assert!((Disk { total: 4, free: 1 }.used_ratio() - 0.75).abs() < 1e-9);
    }
}
