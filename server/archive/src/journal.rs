//! An append-only file of records: how primary state outlives the database.

use crate::durable;
use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};
use snafu::{ResultExt, Snafu};
use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    marker::PhantomData,
    path::{Path, PathBuf},
};

/// What a journal could not do.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum JournalError {
    /// The file system refused.
    #[snafu(display("could not {action} the journal {}", path.display()))]
    File {
        /// What was tried.
        action: &'static str,
        /// The journal.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A whole record with a right checksum does not read as this journal's type.
    #[snafu(display("could not understand record {index} of the journal {}", path.display()))]
    Record {
        /// The journal.
        path: PathBuf,
        /// Which record, from 0.
        index: u64,
        /// Why it failed.
        source: serde_json::Error,
    },
    /// A record is damaged, and whole records follow it: this is no torn write.
    #[snafu(display("could not read the journal {} past byte {offset}: it is damaged in its middle", path.display()))]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// A record does not serialise, or is larger than a frame takes.
    #[snafu(display("could not write a record to the journal"))]
    Serialise {
        /// Why it failed.
        source: serde_json::Error,
    },
    /// An earlier write failed, so that it is not known what the file holds.
    #[snafu(display("could not write to the journal {}: an earlier write failed; restart to recover", path.display()))]
    Broken {
        /// The journal.
        path: PathBuf,
    },
}

/// An append-only file of records of type `T`, synced before [`append`](Journal::append) returns.
///
/// Each record is a frame: length and CRC-32 as little endian 32-bit numbers, the CRC taken over the
/// length's bytes and the JSON that follows. A torn last frame, which a crash may leave, is cut off on
/// opening; a damaged frame before whole ones is an error, since cutting there would lose records that were
/// promised.
#[derive(Debug)]
pub struct Journal<T> {
    path: PathBuf,
    /// `None` once it is not known what the file holds.
    file: Mutex<Option<File>>,
    records: PhantomData<fn(T)>,
}

/// Bytes of a frame before its JSON.
const FRAME: usize = 8;

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Opens or creates the journal and hands every record to `replay`, oldest first.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] and [`JournalError::Record`] leave the file as it is.
    pub fn open(path: &Path, mut replay: impl FnMut(T)) -> Result<Self, JournalError> {
        let io = |action| FileSnafu { action, path };
        let is_new = !path.exists();
        if is_new && let Some(folder) = path.parent() {
            make_synced_folder(folder, path)?;
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.context(io("open"))?;
        let bytes = fs::read(path).context(io("read"))?;
        let rest = replay_whole(path, &bytes, &mut replay)?;
        let end = (bytes.len() - rest.len()) as u64;
        if !rest.is_empty() {
            if holds_a_frame(rest) {
                return DamagedSnafu { path, offset: end }.fail();
            }
            tracing::warn!(path = %path.display(), bytes = rest.len(), "cut a torn record off the journal's end");
            cut(&mut file, end).context(io("cut"))?;
        }
        file.seek(SeekFrom::Start(end)).context(io("read"))?;
        if is_new {
            sync_parent(path)?;
        }
        Ok(Journal { path: path.to_owned(), file: Mutex::new(Some(file)), records: PhantomData })
    }

    /// Hands every whole record to `replay`, oldest first, and changes nothing: for a look at a journal that another
    /// process may be writing to. A journal that is not there has no records.
    ///
    /// # Errors
    /// The file cannot be read, or holds a record of another type.
    pub fn read(path: &Path, mut replay: impl FnMut(T)) -> Result<(), JournalError> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            bytes => bytes.context(FileSnafu { action: "read", path })?,
        };
        replay_whole(path, &bytes, &mut replay).map(drop)
    }

    /// Appends one record, synced.
    pub fn append(&self, record: &T) -> Result<(), JournalError> {
        self.append_all(std::slice::from_ref(record))
    }

    /// Appends records with one sync; after a crash a beginning of them may be there.
    pub fn append_all(&self, records: &[T]) -> Result<(), JournalError> {
        let frames = frames(records)?;
        let mut slot = self.file.lock();
        let Some(mut file) = slot.take() else {
            return BrokenSnafu { path: &self.path }.fail();
        };
        let end = file.stream_position().context(FileSnafu { action: "read", path: &self.path })?;
        if let Err(error) = file.write_all(&frames) {
            // As where the disk is full: the journal goes on from where it was.
            *slot = cut(&mut file, end).is_ok().then_some(file);
            return Err(error).context(FileSnafu { action: "write", path: &self.path });
        }
        file.sync_data().context(FileSnafu { action: "sync", path: &self.path })?;
        *slot = Some(file);
        Ok(())
    }

    /// Replaces the whole journal by these records, atomically: how it is kept short.
    pub fn rewrite<'a>(&self, records: impl IntoIterator<Item = &'a T>) -> Result<(), JournalError>
    where
        T: 'a,
    {
        let frames = frames(records)?;
        let mut slot = self.file.lock();
        if slot.is_none() {
            return BrokenSnafu { path: &self.path }.fail();
        }
        let next = self.path.with_extension("next");
        let io = |action| FileSnafu { action, path: &next };
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&next);
        let mut file = file.context(io("create"))?;
        file.write_all(&frames).context(io("write"))?;
        file.sync_all().context(io("sync"))?;
        fs::rename(&next, &self.path).context(io("put in place"))?;
        *slot = None;
        sync_parent(&self.path)?;
        *slot = Some(file);
        Ok(())
    }
}

/// Ends a file at `end`, durably; it is written on from there.
fn cut(file: &mut File, end: u64) -> io::Result<()> {
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    file.sync_all()
}

/// Hands the whole records that `bytes` begin with to `replay`; answers what follows them.
fn replay_whole<'a, T: DeserializeOwned>(
    path: &Path,
    bytes: &'a [u8],
    replay: &mut impl FnMut(T),
) -> Result<&'a [u8], JournalError> {
    let mut rest = bytes;
    let mut index = 0_u64;
    while let Some((json, after)) = next_frame(rest) {
        replay(serde_json::from_slice(json).context(RecordSnafu { path, index })?);
        rest = after;
        index += 1;
    }
    Ok(rest)
}

fn frames<'a, T: Serialize + 'a>(records: impl IntoIterator<Item = &'a T>) -> Result<Vec<u8>, JournalError> {
    let mut frames = Vec::new();
    for record in records {
        let json = serde_json::to_vec(record).context(SerialiseSnafu)?;
        let Ok(length) = u32::try_from(json.len()) else {
            let error = <serde_json::Error as serde::ser::Error>::custom("a record is larger than 4 GiB");
            return Err(error).context(SerialiseSnafu);
        };
        frames.extend_from_slice(&length.to_le_bytes());
        frames.extend_from_slice(&checksum(length, &json).to_le_bytes());
        frames.extend_from_slice(&json);
    }
    Ok(frames)
}

fn checksum(length: u32, json: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(json);
    hasher.finalize()
}

/// The JSON of the frame that `bytes` begin with, and what follows it; `None` where no whole one is there.
fn next_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<FRAME>()?;
    let [a, b, c, d, e, f, g, h] = *head;
    let length = u32::from_le_bytes([a, b, c, d]);
    let (json, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    (checksum(length, json) == u32::from_le_bytes([e, f, g, h])).then_some((json, after))
}

/// Whether a whole frame begins anywhere after the first byte. JSON objects, arrays and strings are told by
/// their first byte, which keeps this from checksumming at every offset.
fn holds_a_frame(bytes: &[u8]) -> bool {
    (1..bytes.len()).any(|start| {
        let rest = bytes.get(start..).unwrap_or_default();
        matches!(rest.get(FRAME), Some(b'{' | b'[' | b'"')) && next_frame(rest).is_some()
    })
}

fn make_synced_folder(folder: &Path, path: &Path) -> Result<(), JournalError> {
    let mut changed = BTreeSet::new();
    let made = durable::make_folder(folder, &mut changed).and_then(|()| durable::sync_folders(&changed));
    made.map_err(io::Error::other).context(FileSnafu { action: "make the folder of", path })
}

fn sync_parent(path: &Path) -> Result<(), JournalError> {
    let synced = path.parent().map_or(Ok(()), durable::sync_folder);
    synced.map_err(io::Error::other).context(FileSnafu { action: "sync the folder of", path })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn replayed(path: &Path) -> Result<(Vec<String>, Journal<String>), JournalError> {
        let mut records = Vec::new();
        let journal = Journal::open(path, |record| records.push(record))?;
        Ok((records, journal))
    }

    #[test]
    fn records_are_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/rules.journal");
        let (records, journal) = replayed(&path).unwrap();
        assert!(records.is_empty());
        journal.append(&"one".to_owned()).unwrap();
        journal.append_all(&["two".to_owned(), "three".to_owned()]).unwrap();
        drop(journal);
        let (records, journal) = replayed(&path).unwrap();
        assert_eq!(records, ["one", "two", "three"]);
        let mut seen: Vec<String> = Vec::new();
        Journal::read(&path, |record| seen.push(record)).unwrap();
        assert_eq!(seen, records);
        Journal::read(&folder.path().join("none"), |_: String| unreachable!()).unwrap();
        journal.rewrite([&"three".to_owned()]).unwrap();
        journal.append(&"four".to_owned()).unwrap();
        assert_eq!(replayed(&path).unwrap().0, ["three", "four"]);
    }

    #[test]
    fn damage_before_whole_records_is_an_error_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let (_, journal) = replayed(&path).unwrap();
        journal.append_all(&["one".to_owned(), "two".to_owned()]).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[10] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(replayed(&path), Err(JournalError::Damaged { offset: 0, .. })));
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_journal_cut_anywhere_keeps_the_records_before_the_cut(
            records in prop::collection::vec("\\PC{0,20}", 1..6), cut in 0.0..1.0f64,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("j");
            let (_, journal) = replayed(&path).unwrap();
            let mut ends = Vec::new();
            for record in &records {
                journal.append(record).unwrap();
                ends.push(fs::metadata(&path).unwrap().len());
            }
            let cut = (cut * *ends.last().unwrap() as f64) as u64;
            OpenOptions::new().write(true).open(&path).unwrap().set_len(cut).unwrap();
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let (found, journal) = replayed(&path).unwrap();
            prop_assert_eq!(&found, &records[..whole]);
            journal.append(&"after".to_owned()).unwrap();
            prop_assert_eq!(replayed(&path).unwrap().0.len(), whole + 1);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("j");
            fs::write(&path, bytes).unwrap();
            let _ = replayed(&path);
        }
    }
}
