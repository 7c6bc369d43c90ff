//! Memory that small objects stay in until they are verified, and how they get from there to the disk.

use parking_lot::Mutex;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// The largest object that is held, in bytes.
pub(crate) const BUFFER: usize = 1 << 20;

/// What direct I/O asks of a buffer's address, a length and a place in the file; disks with smaller blocks take it, too.
const ALIGNMENT: usize = 4096;

/// Objects of fewer bytes go through the page cache: there, one that is about to be read is of use, and saves little.
const DIRECT_FROM: usize = 64 << 10;

/// So many buffers, made when they are first wanted and then used again: memory that is touched for the first time costs more
/// than what is done with it here.
#[derive(Debug)]
pub(crate) struct Buffers {
    free: Mutex<Free>,
    /// Whether the file system has refused direct I/O.
    refuses_direct: AtomicBool,
}

#[derive(Debug)]
struct Free {
    made: Vec<Vec<u8>>,
    not_made: usize,
}

impl Buffers {
    /// Buffers that take no more than `bytes` in all.
    pub(crate) fn new(bytes: u64) -> Arc<Self> {
        let not_made = usize::try_from(bytes / BUFFER as u64).unwrap_or(usize::MAX);
        let free = Free { made: Vec::new(), not_made };
        Arc::new(Buffers { free: Mutex::new(free), refuses_direct: AtomicBool::new(false) })
    }

    /// A buffer, unless all are in use.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Held> {
        let mut free = self.free.lock();
        let bytes = match free.made.pop() {
            Some(made) => made,
            None => {
                free.not_made = free.not_made.checked_sub(1)?;
                Vec::with_capacity(BUFFER + ALIGNMENT)
            }
        };
        drop(free);
        Some(Held::new(bytes, self.clone()))
    }
}

/// An object in memory. Dropped, its buffer is free again.
#[derive(Debug)]
pub(crate) struct Held {
    /// Never longer than its capacity, so that it stays where it is.
    bytes: Vec<u8>,
    /// Where the object begins in it: at an address that direct I/O takes.
    start: usize,
    buffers: Arc<Buffers>,
}

impl Held {
    fn new(mut bytes: Vec<u8>, buffers: Arc<Buffers>) -> Self {
        bytes.clear();
        let start = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        bytes.resize(start, 0);
        Held { bytes, start, buffers }
    }

    /// Appends bytes, and tells whether there was room for them; if not, nothing is appended.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> bool {
        let fits = self.object().len() + bytes.len() <= BUFFER;
        if fits {
            self.bytes.extend_from_slice(bytes);
        }
        fits
    }

    /// The object, as far as it was received.
    pub(crate) fn object(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Writes the object to a new file. The file is the caller's to sync; where this fails, there is none.
    pub(crate) fn write_to(&self, path: &Path) -> io::Result<File> {
        let is_direct =
            self.object().len() >= DIRECT_FROM && !self.buffers.refuses_direct.load(Ordering::Relaxed);
        let written = match is_direct.then(|| write_directly(path, self.object())) {
            Some(Err(error)) if is_refusal(&error) => {
                tracing::info!(path = %path.display(), "the file system takes no direct I/O: objects are written through its cache");
                self.buffers.refuses_direct.store(true, Ordering::Relaxed);
                write(path, self.object())
            }
            Some(written) => written,
            None => write(path, self.object()),
        };
        if written.is_err() {
            let _ = fs::remove_file(path);
        }
        written
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.buffers.free.lock().made.push(std::mem::take(&mut self.bytes));
    }
}

/// Opens a file that may be left of a refused attempt.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    options
}

fn write(path: &Path, object: &[u8]) -> io::Result<File> {
    let mut file = options().open(path)?;
    file.write_all(object)?;
    Ok(file)
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

/// Writes all whole blocks past the page cache, and the rest through it. Copying an object to the cache and syncing it from there
/// costs more of the processors (`tests/bench/beside_least.py` compares); in return the first who reads it reads from the disk.
#[cfg(target_os = "linux")]
fn write_directly(path: &Path, object: &[u8]) -> io::Result<File> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    use std::os::unix::fs::OpenOptionsExt;

    let blocks = object.len() - object.len() % ALIGNMENT;
    let (whole, rest) = object.split_at(blocks);
    let direct = OFlags::DIRECT;
    let mut file = options().custom_flags(direct.bits().cast_signed()).open(path)?;
    file.write_all(whole)?;
    if !rest.is_empty() {
        fcntl_setfl(&file, fcntl_getfl(&file)? - direct)?;
        file.write_all(rest)?;
    }
    Ok(file)
}

#[cfg(not(target_os = "linux"))]
fn write_directly(_: &Path, _: &[u8]) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index % 251) as u8).collect()
    }

    #[test]
    fn an_object_of_any_length_reaches_the_disk_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let buffers = Buffers::new(BUFFER as u64);
        for length in [0, 1, 4095, DIRECT_FROM - 1, DIRECT_FROM, DIRECT_FROM + 1, 525_700, BUFFER - 1, BUFFER]
        {
            let object = object(length);
            let mut held = buffers.take().unwrap();
            assert!(object.chunks(60_001).all(|piece| held.append(piece)), "{length}");
            let path = folder.path().join(length.to_string());
            held.write_to(&path).unwrap().sync_data().unwrap();
            assert!(fs::read(&path).unwrap() == object, "{length}");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_appended() {
        let mut held = Buffers::new(BUFFER as u64).take().unwrap();
        assert!(held.append(&object(BUFFER - 10)));
        assert!(!held.append(&[0; 11]));
        assert_eq!(held.object().len(), BUFFER - 10);
    }

    #[test]
    fn a_buffer_is_used_again_and_no_more_are_given_than_there_are() {
        let buffers = Buffers::new(2 * BUFFER as u64 + 1);
        let mut first = buffers.take().unwrap();
        assert!(first.append(&object(1000)));
        let second = buffers.take().unwrap();
        assert!(buffers.take().is_none());
        drop((first, second));
        assert!(buffers.take().unwrap().object().is_empty());
        assert!(Buffers::new(BUFFER as u64 - 1).take().is_none());
    }

    #[test]
    fn what_cannot_be_written_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let held = Buffers::new(BUFFER as u64).take().unwrap();
        assert!(held.write_to(&folder.path().join("absent/object")).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
