//! Reports of storage commitment that are owed to nodes: kept in a journal from the moment that the request is answered
//! until the node has taken the report, and tried again and again in between, also after a restart.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use engram_archive::Journal;
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use snafu::ResultExt;

use crate::commitment::Request;
use crate::{Error, KeepReportsSnafu, TooManyReportsSnafu};

/// References in all reports that are owed together, at the most: some 30 MB.
const MAX_REFERENCES: usize = 200_000;
/// A report that could not be delivered for so long is given up.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long after a failed attempt the next one is; then twice as long, and so on.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// The journal is written anew once it holds this many records more than reports are owed.
const SLACK: usize = 256;

/// A report that is owed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// Its number.
    pub id: u64,
    /// The node's AE title.
    pub ae_title: String,
    /// What it asked. What is told of it is looked up when it is told.
    pub request: Request,
    /// Seconds since 1970 when it asked.
    since: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum Record {
    Owed(Owed),
    Settled { id: u64 },
}

/// A report that is owed, and when it is tried next.
struct Waiting {
    owed: Owed,
    /// `None` while it is being tried.
    due: Option<Instant>,
    attempts: u32,
}

struct State {
    waiting: BTreeMap<u64, Waiting>,
    next_id: u64,
    /// Records in the journal.
    written: usize,
}

/// What is owed.
pub struct Reports {
    journal: Journal<Record>,
    state: Mutex<State>,
    changed: Condvar,
}

impl Reports {
    /// Reads what is owed. All of it is due at once.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut owed = BTreeMap::new();
        let mut next_id = 0;
        let journal = Journal::open(path, |record| match record {
            Record::Owed(report) => {
                next_id = next_id.max(report.id + 1);
                owed.insert(report.id, report);
            }
            Record::Settled { id } => {
                next_id = next_id.max(id + 1);
                owed.remove(&id);
            }
        });
        let journal = journal.context(KeepReportsSnafu)?;
        let due = Some(Instant::now());
        let waiting: BTreeMap<_, _> =
            owed.into_iter().map(|(id, owed)| (id, Waiting { owed, due, attempts: 0 })).collect();
        let state = State { written: waiting.len(), waiting, next_id };
        let reports = Self { journal, state: Mutex::new(state), changed: Condvar::new() };
        reports.rewrite(&mut reports.state.lock())?;
        Ok(reports)
    }

    /// Takes a report on, durably. The caller tries it first, and then says [`Reports::settle`] or [`Reports::put_off`].
    pub fn owe(&self, ae_title: &str, request: &Request) -> Result<u64, Error> {
        let mut state = self.state.lock();
        let references: usize = state.waiting.values().map(|one| one.owed.request.instances.len()).sum();
        if references + request.instances.len() > MAX_REFERENCES {
            return TooManyReportsSnafu.fail();
        }
        let id = state.next_id;
        let owed = Owed { id, ae_title: ae_title.to_owned(), request: request.clone(), since: now() };
        self.journal.append(&Record::Owed(owed.clone())).context(KeepReportsSnafu)?;
        state.written += 1;
        state.next_id += 1;
        state.waiting.insert(id, Waiting { owed, due: None, attempts: 0 });
        Ok(id)
    }

    /// The report was taken, or is given up.
    pub fn settle(&self, id: u64) -> Result<(), Error> {
        let mut state = self.state.lock();
        if state.waiting.remove(&id).is_none() {
            return Ok(());
        }
        self.journal.append(&Record::Settled { id }).context(KeepReportsSnafu)?;
        state.written += 1;
        match state.written > state.waiting.len() + SLACK {
            true => self.rewrite(&mut state),
            false => Ok(()),
        }
    }

    /// The report could not be delivered: it is tried again later, unless it is too old.
    pub fn put_off(&self, id: u64) -> Result<(), Error> {
        let mut state = self.state.lock();
        let Some(waiting) = state.waiting.get_mut(&id) else { return Ok(()) };
        if now().saturating_sub(waiting.owed.since) > MAX_AGE.as_secs() {
            let Owed { ae_title, request, .. } = &waiting.owed;
            tracing::error!(
                ae_title,
                transaction = request.transaction_uid,
                "a report of storage commitment is given up"
            );
            drop(state);
            return self.settle(id);
        }
        waiting.due = Instant::now().checked_add(pause(waiting.attempts));
        waiting.attempts = waiting.attempts.saturating_add(1);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for a report that is due. The caller tries it, and then says [`Reports::settle`] or [`Reports::put_off`].
    pub fn next_due(&self) -> Owed {
        let mut state = self.state.lock();
        loop {
            let first = state.waiting.values_mut().filter(|one| one.due.is_some()).min_by_key(|one| one.due);
            match first {
                Some(Waiting { due: Some(at), .. }) if *at > Instant::now() => {
                    let at = *at;
                    self.changed.wait_until(&mut state, at);
                }
                Some(first) => {
                    first.due = None;
                    return first.owed.clone();
                }
                None => self.changed.wait(&mut state),
            }
        }
    }

    fn rewrite(&self, state: &mut State) -> Result<(), Error> {
        let records: Vec<_> = state.waiting.values().map(|one| Record::Owed(one.owed.clone())).collect();
        self.journal.rewrite(&records).context(KeepReportsSnafu)?;
        state.written = records.len();
        Ok(())
    }
}

/// How long to wait after so many failed attempts before this one's.
fn pause(attempts: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << attempts.min(16)).min(LONGEST_PAUSE)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(references: usize) -> Request {
        let instances = (0..references).map(|n| ("1.2".to_owned(), format!("1.2.3.{n}"))).collect();
        Request { transaction_uid: "1.2.3".into(), instances }
    }

    #[test]
    fn what_is_owed_is_owed_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commitment.journal");
        let reports = Reports::open(&path).unwrap();
        let settled = reports.owe("PACS", &request(1)).unwrap();
        let owed = reports.owe("PACS", &request(2)).unwrap();
        reports.settle(settled).unwrap();
        reports.put_off(owed).unwrap();
        drop(reports);
        let reports = Reports::open(&path).unwrap();
        let due = reports.next_due();
        assert_eq!((due.id, due.ae_title.as_str(), due.request), (owed, "PACS", request(2)));
        assert!(reports.owe("PACS", &request(1)).unwrap() > owed);
    }

    #[test]
    fn attempts_become_rarer_and_what_is_owed_is_bounded() {
        let pauses: Vec<_> = [0, 1, 2, 9, 10, u32::MAX].map(|attempts| pause(attempts).as_secs()).into();
        assert_eq!(pauses, [5, 10, 20, 2560, 3600, 3600]);
        let folder = tempfile::tempdir().unwrap();
        let reports = Reports::open(&folder.path().join("commitment.journal")).unwrap();
        reports.owe("PACS", &request(MAX_REFERENCES)).unwrap();
        assert!(matches!(reports.owe("PACS", &request(1)), Err(Error::TooManyReports)));
    }

    #[test]
    fn the_journal_stays_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commitment.journal");
        let reports = Reports::open(&path).unwrap();
        for _ in 0..SLACK {
            let id = reports.owe("PACS", &request(1)).unwrap();
            reports.settle(id).unwrap();
        }
        let mut records = 0;
        Journal::read(&path, |_: Record| records += 1).unwrap();
        assert!(records <= SLACK + 2, "{records}");
    }
}
