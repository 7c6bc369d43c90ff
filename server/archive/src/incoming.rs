//! An object while it is being received.

use crate::{Result, StoreError, error::FileSnafu};
use snafu::ResultExt;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// A temporary file under `incoming/` that takes an object's bytes as they arrive. Dropped before it is
/// stored, it leaves nothing.
///
/// [`write`](io::Write::write) fails with [`io::ErrorKind::FileTooLarge`] past
/// [`max_instance_bytes`](crate::ArchiveOptions::max_instance_bytes), with [`io::ErrorKind::StorageFull`] where less than
/// [`min_free_bytes`](crate::ArchiveOptions::min_free_bytes) are free, and as the disk does. What failed can
/// still be handed to `store`, which refuses it by the right reason, so that the answer names it.
#[derive(Debug)]
pub struct Incoming {
    pub(crate) file: File,
    path: PathBuf,
    written: u64,
    limit: u64,
    min_free: u64,
    /// Bytes received at which the disk's free space is looked at next.
    next_look: u64,
    failed: Option<io::ErrorKind>,
    is_placed: bool,
}

/// Bytes received between two looks at the disk's free space: an object overshoots by no more.
const LOOK_EVERY: u64 = 64 << 20;

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Incoming {
    /// A new file in `folder` that takes `limit` bytes, as long as `min_free` stay free on its disk.
    pub(crate) fn create(folder: &Path, limit: u64, min_free: u64) -> Result<Self> {
        let path = folder.join(format!("{:016x}.part", NEXT.fetch_add(1, Ordering::Relaxed)));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = file.context(FileSnafu { action: "create", path: &path })?;
        let (written, next_look, failed, is_placed) = (0, 0, None, false);
        Ok(Incoming { file, path, written, limit, min_free, next_look, failed, is_placed })
    }

    /// Bytes received until now.
    pub fn len(&self) -> u64 {
        self.written
    }

    /// Whether nothing was received yet.
    pub fn is_empty(&self) -> bool {
        self.written == 0
    }

    /// Whether receiving failed, so that what is here is not the whole object.
    pub fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Reads back a stretch of what was received. It shares the file's position: write nothing meanwhile.
    pub fn stretch(&self, range: Range<u64>) -> io::Result<impl Read> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(range.start))?;
        Ok(file.take(range.end.saturating_sub(range.start)))
    }

    /// Why what was received cannot be the whole object, where receiving failed.
    pub(crate) fn failure(&self) -> Option<StoreError> {
        match self.failed? {
            io::ErrorKind::FileTooLarge => Some(StoreError::TooLarge { limit: self.limit }),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(StoreError::NoSpace),
            kind => Some(StoreError::Unreadable { offset: self.written, source: kind.into() }),
        }
    }

    fn refuse_if_little_is_free(&mut self) -> io::Result<()> {
        if self.min_free == 0 || self.written < self.next_look {
            return Ok(());
        }
        self.next_look = self.written.saturating_add(LOOK_EVERY);
        let disk = rustix::fs::fstatvfs(&self.file)?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < self.min_free {
            let message = format!("less than {} MiB are free on the disk", self.min_free >> 20);
            return Err(io::Error::new(io::ErrorKind::StorageFull, message));
        }
        Ok(())
    }

    /// Renames the file to where it belongs. The folder is the caller's to sync.
    pub(crate) fn place(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.is_placed = true;
        Ok(())
    }
}

impl io::Write for Incoming {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = if self.written.saturating_add(bytes.len() as u64) > self.limit {
            Err(io::Error::new(io::ErrorKind::FileTooLarge, "the instance is larger than this archive takes"))
        } else {
            self.refuse_if_little_is_free().and_then(|()| self.file.write(bytes))
        };
        match &result {
            Ok(count) => self.written += *count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => self.failed = Some(error.kind()),
        }
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.is_placed
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "could not remove a refused object; opening the archive again will");
        }
    }
}
