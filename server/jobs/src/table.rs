//! Where jobs are kept: the journal, which is the truth, and the sled table derived from it.

use crate::{
    Job, JobId, Result,
    error::{DatabaseSnafu, JournalSnafu, RecordSnafu},
};
use engram_archive::{Journal, change_in_pieces};
use snafu::ResultExt;
use std::{collections::BTreeMap, path::Path};

/// The journal is written anew once it holds this many records more than twice the jobs there are.
const SLACK: usize = 1024;

/// Keys: `j` and the sequence number, big endian, for the job; `i` and the id for its sequence number.
pub(crate) struct Table {
    tree: sled::Tree,
    journal: Journal<Job>,
    /// Records in the journal.
    written: usize,
}

impl Table {
    /// Replays the journal. The tree is filled by [`Table::reset`].
    pub(crate) fn open(tree: sled::Tree, journal: &Path) -> Result<(Self, Vec<Job>)> {
        let mut jobs: BTreeMap<JobId, Job> = BTreeMap::new();
        let journal = Journal::open(journal, |job: Job| {
            jobs.insert(job.id, job);
        });
        let mut jobs: Vec<Job> = jobs.into_values().collect();
        jobs.sort_by_key(|job| job.sequence);
        Ok((Table { tree, journal: journal.context(JournalSnafu)?, written: 0 }, jobs))
    }

    /// Makes these jobs, and no others, the content of journal and tree.
    pub(crate) fn reset(&mut self, jobs: &[Job]) -> Result<()> {
        self.journal.rewrite(jobs).context(JournalSnafu)?;
        self.written = jobs.len();
        self.match_tree(jobs)
    }

    /// Changes in the tree what differs from these jobs, which is mostly little.
    fn match_tree(&self, jobs: &[Job]) -> Result<()> {
        let mut missing = BTreeMap::new();
        for job in jobs {
            missing.extend(entries(job)?);
        }
        let mut surplus = vec![];
        for entry in &self.tree {
            let (key, value) = entry.context(DatabaseSnafu { action: "read" })?;
            match missing.get(key.as_ref()) {
                Some(wanted) if wanted.as_slice() == value.as_ref() => {
                    missing.remove(key.as_ref());
                }
                Some(_) => {}
                None => surplus.push(key),
            }
        }
        let removals = surplus.into_iter().map(|key| (key, None));
        let changes = removals.chain(missing.into_iter().map(|(key, value)| (key.into(), Some(value))));
        change_in_pieces(&self.tree, changes).context(DatabaseSnafu { action: "write" })
    }

    /// Writes a job durably.
    pub(crate) fn keep(&mut self, job: &Job) -> Result<()> {
        self.journal.append(job).context(JournalSnafu)?;
        self.written += 1;
        self.show(job)
    }

    /// Writes a job to the tree alone, where a crash may lose it.
    pub(crate) fn show(&self, job: &Job) -> Result<()> {
        let mut batch = sled::Batch::default();
        for (key, value) in entries(job)? {
            batch.insert(key, value);
        }
        self.tree.apply_batch(batch).context(DatabaseSnafu { action: "write" })
    }

    /// Takes a job out of the tree. The journal forgets it when it is next written anew.
    pub(crate) fn forget(&self, sequence: u64) -> Result<()> {
        let Some(job) = self.at(sequence)? else { return Ok(()) };
        let mut batch = sled::Batch::default();
        batch.remove(sequence_key(sequence).as_slice());
        batch.remove(id_key(job.id).as_slice());
        self.tree.apply_batch(batch).context(DatabaseSnafu { action: "write" })
    }

    /// Writes the journal anew if it has grown far beyond the `jobs` there are.
    pub(crate) fn trim(&mut self, jobs: usize) -> Result<()> {
        if self.written <= jobs.saturating_mul(2).saturating_add(SLACK) {
            return Ok(());
        }
        self.rewrite()
    }

    /// Writes the journal anew: with the jobs that the tree holds, and no others.
    pub(crate) fn rewrite(&mut self) -> Result<()> {
        let kept: Result<Vec<Job>> = self.oldest_first().collect();
        let kept = kept?;
        self.journal.rewrite(&kept).context(JournalSnafu)?;
        self.written = kept.len();
        Ok(())
    }

    pub(crate) fn sequence(&self, id: JobId) -> Result<Option<u64>> {
        let found = self.tree.get(id_key(id)).context(DatabaseSnafu { action: "read" })?;
        Ok(found.and_then(|bytes| bytes.as_ref().try_into().ok().map(u64::from_be_bytes)))
    }

    pub(crate) fn at(&self, sequence: u64) -> Result<Option<Job>> {
        let found = self.tree.get(sequence_key(sequence)).context(DatabaseSnafu { action: "read" })?;
        found.map(|bytes| serde_json::from_slice(&bytes).context(RecordSnafu)).transpose()
    }

    pub(crate) fn oldest_first(&self) -> impl DoubleEndedIterator<Item = Result<Job>> + use<> {
        self.tree.scan_prefix(b"j").map(|entry| {
            let (_, bytes) = entry.context(DatabaseSnafu { action: "read" })?;
            serde_json::from_slice(&bytes).context(RecordSnafu)
        })
    }
}

/// A job's keys and values.
fn entries(job: &Job) -> Result<[(Vec<u8>, Vec<u8>); 2]> {
    let record = serde_json::to_vec(job).context(RecordSnafu)?;
    Ok([(sequence_key(job.sequence), record), (id_key(job.id), job.sequence.to_be_bytes().to_vec())])
}

fn sequence_key(sequence: u64) -> Vec<u8> {
    [b"j".as_slice(), &sequence.to_be_bytes()].concat()
}

fn id_key(id: JobId) -> Vec<u8> {
    [b"i".as_slice(), id.as_bytes()].concat()
}
