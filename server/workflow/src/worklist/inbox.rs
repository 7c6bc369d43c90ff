//! What waits for the thread that performs workitems. A job's events take each other's place, so that what waits is no more
//! than the jobs there are.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use engram_jobs::{Job, JobId};
use parking_lot::{Condvar, Mutex};

/// Jobs as they last stood, and whether to look at the worklist.
#[derive(Default)]
pub struct Inbox {
    pending: Mutex<Pending>,
    changed: Condvar,
}

/// What came since it was last emptied.
#[derive(Default)]
pub struct Pending {
    /// Jobs whose events came.
    pub jobs: BTreeMap<JobId, Job>,
    /// Jobs to be watched from now on.
    pub new: Vec<JobId>,
    is_woken: bool,
}

impl Inbox {
    /// A job's event came.
    pub fn put(&self, job: &Job) {
        self.pending.lock().jobs.insert(job.id, job.clone());
        self.changed.notify_all();
    }

    /// A job is to be watched.
    pub fn watch(&self, id: JobId) {
        self.pending.lock().new.push(id);
        self.changed.notify_all();
    }

    /// The worklist changed.
    pub fn wake(&self) {
        self.pending.lock().is_woken = true;
        self.changed.notify_all();
    }

    /// Waits until something comes, or so long; empties it.
    pub fn take(&self, patience: Duration) -> Pending {
        let deadline = Instant::now() + patience;
        let mut pending = self.pending.lock();
        while pending.jobs.is_empty() && pending.new.is_empty() && !pending.is_woken {
            if self.changed.wait_until(&mut pending, deadline).timed_out() {
                break;
            }
        }
        std::mem::take(&mut pending)
    }
}
