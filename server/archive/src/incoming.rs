//! An object while it is being received.

mod held;

pub(crate) use held::Buffers;

use crate::{
    Result, StoreError, StoreFailure,
    error::FileSnafu,
    part10::{self, Inspected, Limits},
};
use held::Held;
use snafu::ResultExt;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Cursor, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Takes an object's bytes as they arrive: in memory where it is small and a buffer is free, else in a temporary file under
/// `incoming/`. Dropped before it is stored, it leaves nothing.
///
/// [`write`](io::Write::write) fails with [`io::ErrorKind::FileTooLarge`] past
/// [`max_instance_bytes`](crate::ArchiveOptions::max_instance_bytes), with [`io::ErrorKind::StorageFull`] where less than
/// [`min_free_bytes`](crate::ArchiveOptions::min_free_bytes) are free, and as the disk does. What failed can
/// still be handed to `store`, which refuses it by the right reason, so that the answer names it.
#[derive(Debug)]
pub struct Incoming {
    body: Body,
    path: PathBuf,
    written: u64,
    room: Room,
    /// Bytes received at which the disk's free space is looked at next.
    next_look: u64,
    failed: Option<io::ErrorKind>,
    is_placed: bool,
}

/// Where the bytes are.
#[derive(Debug)]
enum Body {
    Held(Held),
    /// In the file at the object's path, which goes away with it.
    Filed(File),
}

/// How much may be received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// The most bytes of one object.
    pub limit: u64,
    /// Bytes that stay free on the disk.
    pub min_free: u64,
}

/// Bytes received between two looks at the disk's free space: an object overshoots by no more.
const LOOK_EVERY: u64 = 64 << 20;

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Incoming {
    /// A place in memory while it suffices and a buffer is free, then in `folder`.
    pub(crate) fn held(folder: &Path, room: Room, buffers: &Arc<Buffers>) -> Result<Self> {
        match buffers.take() {
            Some(held) => Ok(Incoming::new(new_path(folder), Body::Held(held), room)),
            None => Incoming::filed(folder, room),
        }
    }

    /// A new file in `folder`.
    pub(crate) fn filed(folder: &Path, room: Room) -> Result<Self> {
        let path = new_path(folder);
        let file = create(&path).context(FileSnafu { action: "create", path: &path })?;
        Ok(Incoming::new(path, Body::Filed(file), room))
    }

    fn new(path: PathBuf, body: Body, room: Room) -> Self {
        Incoming { body, path, written: 0, room, next_look: 0, failed: None, is_placed: false }
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

    /// Reads back a stretch of what was received. It may share a file's position: write nothing meanwhile.
    pub fn stretch(&self, range: Range<u64>) -> io::Result<impl Read> {
        let mut source: Box<dyn ReadSeek + '_> = match &self.body {
            Body::Held(held) => Box::new(Cursor::new(held.object())),
            Body::Filed(file) => Box::new(file),
        };
        source.seek(SeekFrom::Start(range.start))?;
        Ok(source.take(range.end.saturating_sub(range.start)))
    }

    /// Why what was received cannot be the whole object, where receiving failed.
    pub(crate) fn failure(&self) -> Option<StoreError> {
        match self.failed? {
            io::ErrorKind::FileTooLarge => Some(StoreError::TooLarge { limit: self.room.limit }),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(StoreError::NoSpace),
            kind => Some(StoreError::Unreadable { offset: self.written, source: kind.into() }),
        }
    }

    /// Reads and verifies the whole object.
    pub(crate) fn inspect(&mut self, limits: &Limits) -> Result<Inspected, StoreFailure> {
        match &mut self.body {
            Body::Held(held) => part10::inspect(&mut Cursor::new(held.object()), limits),
            Body::Filed(file) => part10::inspect(file, limits),
        }
    }

    /// Brings the bytes to the disk, where they stay.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if let Body::Held(held) = &self.body {
            self.body = Body::Filed(held.write_to(&self.path)?);
        }
        match &self.body {
            Body::Filed(file) => file.sync_data(),
            Body::Held(_) => Ok(()),
        }
    }

    /// Renames the synced file to where it belongs. The folder is the caller's to sync.
    pub(crate) fn place(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.is_placed = true;
        Ok(())
    }

    fn refuse_if_little_is_free(&mut self) -> io::Result<()> {
        let Room { min_free, .. } = self.room;
        if min_free == 0 || self.written < self.next_look {
            return Ok(());
        }
        self.next_look = self.written.saturating_add(LOOK_EVERY);
        let disk = rustix::fs::statvfs(self.path.parent().unwrap_or(&self.path))?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < min_free {
            let message = format!("less than {} MiB are free on the disk", min_free >> 20);
            return Err(io::Error::new(io::ErrorKind::StorageFull, message));
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.body {
            Body::Filed(file) => file.write(bytes),
            Body::Held(held) => {
                if held.append(bytes) {
                    return Ok(bytes.len());
                }
                let mut file = create(&self.path)?;
                let moved = file.write_all(held.object()).and_then(|()| file.write(bytes));
                self.body = Body::Filed(file);
                moved
            }
        }
    }
}

trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

fn new_path(folder: &Path) -> PathBuf {
    folder.join(format!("{:016x}.part", NEXT.fetch_add(1, Ordering::Relaxed)))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

impl Write for Incoming {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = if self.written.saturating_add(bytes.len() as u64) > self.room.limit {
            Err(io::Error::new(io::ErrorKind::FileTooLarge, "the instance is larger than this archive takes"))
        } else {
            self.refuse_if_little_is_free().and_then(|()| self.append(bytes))
        };
        match &result {
            Ok(count) => self.written += *count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => self.failed = Some(error.kind()),
        }
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.body {
            Body::Filed(file) => file.flush(),
            Body::Held(_) => Ok(()),
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let (Body::Filed(_), false) = (&self.body, self.is_placed)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "could not remove a refused object; opening the archive again will");
        }
    }
}
