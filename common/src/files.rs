//! Files that are replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Puts `content` in the place of what is in the file; a crash leaves the old or the new one. On the disk when it returns. An old
/// file keeps its permissions; a folder that is not there is made.
///
/// # Errors
/// The system's; the old file is still there.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let next = PathBuf::from(name);
    let mut file = File::create(&next)?;
    if let Ok(old) = fs::metadata(path) {
        file.set_permissions(old.permissions())?;
    }
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    // The new name is safe once its folder is.
    File::open(folder)?.sync_all()
}
