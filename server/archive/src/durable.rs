//! Folders and files that must be on the disk before something is answered.

use crate::{Result, error::FileSnafu};
use snafu::ResultExt;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// How many threads sync at once. The file system's journal commits what they ask for together.
const THREADS: usize = 8;

/// Makes a folder and those above it; notes in `changed` each folder that got a new entry and must be synced.
pub(crate) fn make_folder(folder: &Path, changed: &mut BTreeSet<PathBuf>) -> Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_folder(parent, changed)?;
        changed.insert(parent.to_owned());
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).context(FileSnafu { action: "make the folder", path: folder })
        }
        _ => Ok(()),
    }
}

/// Syncs a folder, so that what was made, renamed or removed in it stays so.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    // The parent of a relative path of one component is the current folder.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.context(FileSnafu { action: "sync the folder", path: folder })
}

/// Syncs many folders, several at once.
pub(crate) fn sync_folders(folders: &BTreeSet<PathBuf>) -> Result<()> {
    let folders: Vec<&PathBuf> = folders.iter().collect();
    if let [folder] = folders[..] {
        return sync_folder(folder);
    }
    let share = folders.len().div_ceil(THREADS).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = folders
            .chunks(share)
            .map(|chunk| scope.spawn(move || chunk.iter().try_for_each(|folder| sync_folder(folder))))
            .collect();
        threads.into_iter().try_for_each(joined)
    })
}

/// What a thread came to.
pub(crate) fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Removes a file; that it is not there is no failure. Tells whether it was.
pub(crate) fn remove_file(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context(FileSnafu { action: "remove", path }),
    }
}

/// Removes a folder if it is empty, and tells whether it did.
pub(crate) fn remove_empty_folder(folder: &Path) -> bool {
    fs::remove_dir(folder).is_ok()
}

/// The entries of a folder by name; none where it is not there.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.context(FileSnafu { action: "list", path: folder })?,
    };
    let paths: io::Result<Vec<_>> = read.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.context(FileSnafu { action: "list", path: folder })?;
    paths.sort();
    Ok(paths)
}
