//! Where workitems are kept: the journal, which is the truth, and the sled table derived from it.

use crate::{
    AeTitle, Result,
    error::{DatabaseSnafu, JournalSnafu, RecordSnafu},
    record::Record,
    subscription::Global,
};
use engram_archive::{Journal, change_in_pieces};
use serde::{Deserialize, Serialize};
use snafu::ResultExt;
use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
};

/// The journal is written anew once it holds this many entries more than twice those that are needed.
const SLACK: usize = 1024;

/// What happened.
#[derive(Serialize, Deserialize)]
pub(crate) enum Entry {
    /// A workitem as it stands from then on.
    Workitem(Box<Record>),
    /// It was let go of.
    Removed(String),
    /// An AE subscribed to the worklist.
    Subscribed(AeTitle, Global),
    /// It does no longer; whether that was a subscription by filter.
    Unsubscribed(AeTitle, bool),
}

/// What the journal tells.
#[derive(Default)]
pub(crate) struct Kept {
    pub records: BTreeMap<String, Record>,
    pub gone: VecDeque<String>,
    pub globals: BTreeMap<(AeTitle, bool), Global>,
}

impl Kept {
    fn replay(&mut self, entry: Entry) {
        match entry {
            Entry::Workitem(record) => drop(self.records.insert(record.uid.clone(), *record)),
            Entry::Removed(uid) => {
                self.records.remove(&uid);
                self.gone.push_back(uid);
            }
            Entry::Subscribed(ae_title, global) => {
                self.globals.insert((ae_title, global.filter.is_some()), global);
            }
            Entry::Unsubscribed(ae_title, filtered) => drop(self.globals.remove(&(ae_title, filtered))),
        }
    }
}

/// Keys: `w` and the sequence number, big endian, for the workitem; `u` and the UID for its sequence number.
pub(crate) struct Table {
    tree: sled::Tree,
    journal: Journal<Entry>,
    /// Entries in the journal.
    written: usize,
}

impl Table {
    /// Replays the journal. The tree is filled by [`Table::reset`].
    pub(crate) fn open(tree: sled::Tree, journal: &Path) -> Result<(Self, Kept)> {
        let mut kept = Kept::default();
        let journal = Journal::open(journal, |entry| kept.replay(entry)).context(JournalSnafu)?;
        Ok((Table { tree, journal, written: 0 }, kept))
    }

    /// Makes these entries the content of the journal, and their workitems that of the tree.
    pub(crate) fn reset(&mut self, entries: &[Entry]) -> Result<()> {
        self.rewrite(entries)?;
        let mut missing = BTreeMap::new();
        for entry in entries {
            if let Entry::Workitem(record) = entry {
                missing.extend(pairs(record)?);
            }
        }
        let mut surplus = vec![];
        for pair in &self.tree {
            let (key, value) = pair.context(DatabaseSnafu { action: "read" })?;
            match missing.get(key.as_ref()) {
                Some(wanted) if wanted.as_slice() == value.as_ref() => drop(missing.remove(key.as_ref())),
                Some(_) => {}
                None => surplus.push(key),
            }
        }
        let removals = surplus.into_iter().map(|key| (key, None));
        let changes = removals.chain(missing.into_iter().map(|(key, value)| (key.into(), Some(value))));
        change_in_pieces(&self.tree, changes).context(DatabaseSnafu { action: "write" })
    }

    /// Writes workitems durably, with one sync.
    pub(crate) fn keep(&mut self, records: Vec<Record>) -> Result<()> {
        let mut batch = sled::Batch::default();
        for record in &records {
            for (key, value) in pairs(record)? {
                batch.insert(key, value);
            }
        }
        let entries: Vec<Entry> =
            records.into_iter().map(|record| Entry::Workitem(Box::new(record))).collect();
        self.note(&entries)?;
        self.tree.apply_batch(batch).context(DatabaseSnafu { action: "write" })
    }

    /// Writes a workitem to the tree alone, where a crash may lose what is new in it.
    pub(crate) fn show(&self, record: &Record) -> Result<()> {
        let mut batch = sled::Batch::default();
        for (key, value) in pairs(record)? {
            batch.insert(key, value);
        }
        self.tree.apply_batch(batch).context(DatabaseSnafu { action: "write" })
    }

    /// Takes a workitem out, durably.
    pub(crate) fn remove(&mut self, record: &Record) -> Result<()> {
        self.note(&[Entry::Removed(record.uid.clone())])?;
        let mut batch = sled::Batch::default();
        batch.remove(sequence_key(record.sequence));
        batch.remove(uid_key(&record.uid));
        self.tree.apply_batch(batch).context(DatabaseSnafu { action: "write" })
    }

    /// Writes entries durably.
    pub(crate) fn note(&mut self, entries: &[Entry]) -> Result<()> {
        self.journal.append_all(entries).context(JournalSnafu)?;
        self.written += entries.len();
        Ok(())
    }

    /// Whether the journal has grown far beyond the entries that are needed.
    pub(crate) fn is_overgrown(&self, needed: usize) -> bool {
        self.written > needed.saturating_mul(2).saturating_add(SLACK)
    }

    /// Writes the journal anew.
    pub(crate) fn rewrite(&mut self, entries: &[Entry]) -> Result<()> {
        self.journal.rewrite(entries).context(JournalSnafu)?;
        self.written = entries.len();
        Ok(())
    }

    pub(crate) fn find(&self, uid: &str) -> Result<Option<Record>> {
        let found = self.tree.get(uid_key(uid)).context(DatabaseSnafu { action: "read" })?;
        let sequence = found.and_then(|bytes| bytes.as_ref().try_into().ok().map(u64::from_be_bytes));
        sequence.map_or(Ok(None), |sequence| self.at(sequence))
    }

    pub(crate) fn at(&self, sequence: u64) -> Result<Option<Record>> {
        let found = self.tree.get(sequence_key(sequence)).context(DatabaseSnafu { action: "read" })?;
        found.map(|bytes| serde_json::from_slice(&bytes).context(RecordSnafu)).transpose()
    }

    pub(crate) fn oldest_first(&self) -> impl Iterator<Item = Result<Record>> + use<> {
        self.tree.scan_prefix(b"w").map(|pair| {
            let (_, bytes) = pair.context(DatabaseSnafu { action: "read" })?;
            serde_json::from_slice(&bytes).context(RecordSnafu)
        })
    }
}

/// A workitem's keys and values.
fn pairs(record: &Record) -> Result<[(Vec<u8>, Vec<u8>); 2]> {
    let bytes = serde_json::to_vec(record).context(RecordSnafu)?;
    Ok([
        (sequence_key(record.sequence), bytes),
        (uid_key(&record.uid), record.sequence.to_be_bytes().to_vec()),
    ])
}

fn sequence_key(sequence: u64) -> Vec<u8> {
    [b"w".as_slice(), &sequence.to_be_bytes()].concat()
}

fn uid_key(uid: &str) -> Vec<u8> {
    [b"u".as_slice(), uid.as_bytes()].concat()
}
