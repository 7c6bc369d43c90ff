//! What people said about segmentations: primary state, journalled, so that `rebuild` brings it back and
//! nothing removed rises again.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use engram_archive::{Journal, JournalError};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// One thing said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
enum Record {
    Received { segmentation: String, partial: bool, collection: Option<String> },
    Approved { segmentation: String },
    Withdrawn { segmentation: String, label: Option<String> },
    Forgotten { segmentation: String },
}

/// What has been said about one segmentation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SegmentationFlags {
    /// Slices without a frame are unknown, not negative (`?partial=true`).
    pub partial: bool,
    /// The collection asked for when it was stored.
    pub collection: Option<String>,
    /// A person made exemplars of it though it is AUTOMATIC.
    pub approved: bool,
    /// A person took it out of the bank altogether.
    pub withdrawn: bool,
    /// Label keys a person took out of the bank.
    pub withdrawn_labels: BTreeSet<String>,
}

/// The flags of every segmentation, by SOP Instance UID.
pub struct Flags {
    journal: Journal<Record>,
    known: Mutex<HashMap<String, SegmentationFlags>>,
}

impl Flags {
    /// Opens the journal at `path` and replays it.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let mut known = HashMap::new();
        let journal = Journal::open(path, |record| apply(&mut known, record))?;
        Ok(Self { journal, known: Mutex::new(known) })
    }

    /// What has been said about `segmentation`.
    pub fn of(&self, segmentation: &str) -> SegmentationFlags {
        self.known.lock().get(segmentation).cloned().unwrap_or_default()
    }

    /// How the segmentations were stored. Durable when it returns.
    pub fn received<'a>(
        &self,
        segmentations: impl Iterator<Item = &'a str>,
        partial: bool,
        collection: Option<&str>,
    ) -> Result<(), JournalError> {
        let records = segmentations
            .map(|s| Record::Received {
                segmentation: s.into(),
                partial,
                collection: collection.map(Into::into),
            })
            .collect();
        self.append(records)
    }

    /// A person wants exemplars of it, whatever made it; an earlier withdrawal is taken back.
    pub fn approve(&self, segmentation: &str) -> Result<(), JournalError> {
        self.append(vec![Record::Approved { segmentation: segmentation.into() }])
    }

    /// A person wants no exemplars of it, or of one of its labels.
    pub fn withdraw(&self, segmentation: &str, label: Option<&str>) -> Result<(), JournalError> {
        self.append(vec![Record::Withdrawn {
            segmentation: segmentation.into(),
            label: label.map(Into::into),
        }])
    }

    /// The segmentations were deleted: what was said about them no longer matters.
    pub fn forget<'a>(&self, segmentations: impl Iterator<Item = &'a str>) -> Result<(), JournalError> {
        let known = self.known.lock();
        let records = segmentations
            .filter(|s| known.contains_key(*s))
            .map(|s| Record::Forgotten { segmentation: s.into() })
            .collect();
        drop(known);
        self.append(records)
    }

    fn append(&self, records: Vec<Record>) -> Result<(), JournalError> {
        if records.is_empty() {
            return Ok(());
        }
        self.journal.append_all(&records)?;
        let mut known = self.known.lock();
        records.into_iter().for_each(|record| apply(&mut known, record));
        Ok(())
    }
}

fn apply(known: &mut HashMap<String, SegmentationFlags>, record: Record) {
    match record {
        Record::Received { segmentation, partial, collection } => {
            let flags = known.entry(segmentation).or_default();
            flags.partial = partial;
            flags.collection = collection;
        }
        Record::Approved { segmentation } => {
            let flags = known.entry(segmentation).or_default();
            flags.approved = true;
            flags.withdrawn = false;
            flags.withdrawn_labels.clear();
        }
        Record::Withdrawn { segmentation, label: None } => {
            let flags = known.entry(segmentation).or_default();
            flags.withdrawn = true;
            flags.approved = false;
        }
        Record::Withdrawn { segmentation, label: Some(label) } => {
            known.entry(segmentation).or_default().withdrawn_labels.insert(label);
        }
        Record::Forgotten { segmentation } => {
            known.remove(&segmentation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_survives_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flags.journal");
        {
            let flags = Flags::open(&path).unwrap();
            flags.received(["1.1", "1.2"].into_iter(), true, Some("knees")).unwrap();
            flags.withdraw("1.1", Some("SCT:10200004")).unwrap();
            flags.withdraw("1.3", None).unwrap();
            flags.forget(["1.2"].into_iter()).unwrap();
        }
        let flags = Flags::open(&path).unwrap();
        let first = flags.of("1.1");
        assert!(first.partial && first.collection.as_deref() == Some("knees"));
        assert!(first.withdrawn_labels.contains("SCT:10200004"));
        assert_eq!(flags.of("1.2"), SegmentationFlags::default());
        assert!(flags.of("1.3").withdrawn);
        flags.approve("1.3").unwrap();
        assert!(flags.of("1.3").approved && !flags.of("1.3").withdrawn);
    }
}
