//! Which bundle is in use, which one was asked for, and which were dropped: primary state, journalled.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use engram_archive::{Journal, JournalError};
use engram_jobs::JobId;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// The journal's name in the data folder.
const JOURNAL: &str = "bundles.journal";

/// A bundle as a person chose it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The bundle's identity.
    pub id: String,
    /// Where it lies.
    pub folder: PathBuf,
}

/// One thing that was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
enum Record {
    /// A person wants the bundle in use; the job encodes the exemplars for it first.
    Asked { bundle: Choice, job: JobId },
    /// It is in use from now on; the one before it stays served.
    Used { bundle: Choice, before: Choice },
    /// It did not come to that.
    Abandoned { job: JobId },
    /// A person no longer wants it served.
    Dropped { id: String },
}

/// A bundle that was asked for and is not in use yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The bundle.
    pub bundle: Choice,
    /// The job that encodes the exemplars for it.
    pub job: JobId,
}

/// What all decisions so far amount to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decided {
    /// The bundle in use; none: nobody ever chose, so the configuration's.
    pub in_use: Option<Choice>,
    /// Bundles that were in use before and stay served.
    pub kept: Vec<Choice>,
    /// Bundles that a person dropped.
    pub dropped: BTreeSet<String>,
    /// The bundle that was asked for last, if it is not in use yet.
    pub asked: Option<Asked>,
}

impl Decided {
    /// What the journal in the data folder says, which a running server may be writing to; changes nothing.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn read(data: &Path) -> Result<Self, JournalError> {
        let mut decided = Self::default();
        Journal::read(&data.join(JOURNAL), |record| decided.apply(record))?;
        Ok(decided)
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Asked { bundle, job } => self.asked = Some(Asked { bundle, job }),
            Record::Used { bundle, before } => {
                self.kept.retain(|kept| kept.id != bundle.id && kept.id != before.id);
                self.dropped.remove(&bundle.id);
                if before.id != bundle.id {
                    self.kept.push(before);
                }
                self.in_use = Some(bundle);
                self.asked = None;
            }
            Record::Abandoned { job } => {
                if self.asked.as_ref().is_some_and(|asked| asked.job == job) {
                    self.asked = None;
                }
            }
            Record::Dropped { id } => {
                self.kept.retain(|kept| kept.id != id);
                self.dropped.insert(id);
            }
        }
    }
}

/// The decisions and their journal.
pub struct Choices {
    journal: Journal<Record>,
    decided: Mutex<Decided>,
}

impl Choices {
    /// Opens the journal in the data folder and replays it.
    pub fn open(data: &Path) -> Result<Self, JournalError> {
        let mut decided = Decided::default();
        let journal = Journal::open(&data.join(JOURNAL), |record| decided.apply(record))?;
        Ok(Self { journal, decided: Mutex::new(decided) })
    }

    /// What all decisions amount to.
    pub fn decided(&self) -> Decided {
        self.decided.lock().clone()
    }

    /// A bundle is asked for, in place of any that was before. Durable when it returns; so below.
    pub fn ask(&self, bundle: Choice, job: JobId) -> Result<(), JournalError> {
        self.decide(Record::Asked { bundle, job })
    }

    /// A bundle is in use, in place of `before`.
    pub fn use_now(&self, bundle: Choice, before: Choice) -> Result<(), JournalError> {
        self.decide(Record::Used { bundle, before })
    }

    /// The job did not bring its bundle into use.
    pub fn abandon(&self, job: JobId) -> Result<(), JournalError> {
        self.decide(Record::Abandoned { job })
    }

    /// A bundle is no longer to be served.
    pub fn drop_bundle(&self, id: &str) -> Result<(), JournalError> {
        self.decide(Record::Dropped { id: id.to_owned() })
    }

    fn decide(&self, record: Record) -> Result<(), JournalError> {
        let mut decided = self.decided.lock();
        self.journal.append(&record)?;
        decided.apply(record);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(id: &str) -> Choice {
        Choice { id: id.into(), folder: Path::new("models").join(id) }
    }

    #[test]
    fn decisions_survive_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (JobId::new_v4(), JobId::new_v4());
        {
            let choices = Choices::open(folder.path()).unwrap();
            assert_eq!(choices.decided(), Decided::default());
            choices.ask(choice("b"), first).unwrap();
            choices.use_now(choice("b"), choice("a")).unwrap();
            choices.ask(choice("c"), second).unwrap();
        }
        let decided = Decided::read(folder.path()).unwrap();
        assert_eq!(decided.in_use, Some(choice("b")));
        assert_eq!(decided.kept, [choice("a")]);
        assert_eq!(decided.asked, Some(Asked { bundle: choice("c"), job: second }));

        let choices = Choices::open(folder.path()).unwrap();
        choices.abandon(first).unwrap();
        assert!(choices.decided().asked.is_some(), "an earlier job says nothing of a later one");
        choices.abandon(second).unwrap();
        choices.drop_bundle("a").unwrap();
        let decided = choices.decided();
        assert!(decided.asked.is_none() && decided.kept.is_empty());
        assert!(decided.dropped.contains("a"));
        choices.use_now(choice("a"), choice("b")).unwrap();
        assert!(choices.decided().dropped.is_empty(), "what is used again is no longer dropped");
        assert_eq!(choices.decided().kept, [choice("b")]);
    }
}
