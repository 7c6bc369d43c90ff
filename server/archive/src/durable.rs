//! Folders and files that must be on the disk before something is answered.

use crate::{Result, error::FileSnafu};
use snafu::ResultExt;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
};

/// How many folders are open at once, where many are synced.
const MAX_OPEN: usize = 64;

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

/// Syncs many folders.
pub(crate) fn sync_folders(folders: &BTreeSet<PathBuf>) -> Result<()> {
    let folders: Vec<&PathBuf> = folders.iter().collect();
    folders.chunks(MAX_OPEN).try_for_each(|some| OpenFolders::open(some)?.sync())
}

/// Folders that are open, so that syncing them fails only as the disk does.
pub(crate) struct OpenFolders(Vec<(PathBuf, File)>);

impl OpenFolders {
    /// Opens folders. A process that may open no more files is refused here, before anything depends on the sync.
    pub(crate) fn open(folders: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<Self> {
        let open = |folder: &Path| {
            let opened = File::open(folder).context(FileSnafu { action: "open the folder", path: folder })?;
            Ok((folder.to_owned(), opened))
        };
        folders.into_iter().map(|folder| open(folder.as_ref())).collect::<Result<_>>().map(OpenFolders)
    }

    /// Syncs them, several at once.
    pub(crate) fn sync(&self) -> Result<()> {
        let sync_some = |some: &[(PathBuf, File)]| {
            some.iter().try_for_each(|(path, folder)| {
                folder.sync_all().context(FileSnafu { action: "sync the folder", path })
            })
        };
        let OpenFolders(folders) = self;
        if folders.len() <= 1 {
            return sync_some(folders);
        }
        let share = folders.len().div_ceil(THREADS);
        thread::scope(|scope| {
            let begin = |some| {
                let sync = move || sync_some(some);
                // Where there can be no more threads, this one does it.
                thread::Builder::new().spawn_scoped(scope, sync).map_err(|_| sync())
            };
            let begun: Vec<_> = folders.chunks(share).map(begin).collect();
            begun.into_iter().try_for_each(|one| one.map_or_else(|done| done, joined))
        })
    }
}

/// What a thread came to.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Makes everything durable that was ever done under a folder, by whomever: what a process left behind that was killed is seen by
/// the next one although it may not be on the disk.
#[cfg(target_os = "linux")]
pub(crate) fn sync_all_under(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
    synced.context(FileSnafu { action: "sync the file system of", path: folder })
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn sync_all_under(folder: &Path) -> Result<()> {
    for entry in entries(folder)? {
        match entry.is_dir() {
            true => sync_all_under(&entry)?,
            false => sync_folder(&entry)?,
        }
    }
    sync_folder(folder)
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
