//! A job in a worker's hands.

use crate::{Job, JobFailure, Queue, Result, job::Retry};
use serde_json::Value;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Tells a worker that its job is to stop. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CancelToken {
    cancelled: Arc<AtomicBool>,
}

impl CancelToken {
    /// Whether the job is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Asks the job to stop.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }
}

/// A job that a worker has claimed. Dropped without [`finish`](Claimed::finish), as by a panic, the job fails.
pub struct Claimed {
    queue: Queue,
    job: Job,
    cancel: CancelToken,
    is_settled: bool,
}

impl Claimed {
    pub(crate) fn new(queue: Queue, job: Job, cancel: CancelToken) -> Self {
        Claimed { queue, job, cancel, is_settled: false }
    }

    /// The job as it was claimed.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Whether the job is to stop; hand it to whatever does the work.
    pub fn cancel_token(&self) -> CancelToken {
        self.cancel.clone()
    }

    /// Begins a stage of `total` units (0 where unknown) and ends the one before, which is timed.
    pub fn stage(&self, name: &str, total: u64) {
        self.queue.begin_stage(self.job.sequence, name, total);
    }

    /// So many units of the stage are done.
    pub fn progress(&self, done: u64) {
        self.queue.report_progress(self.job.sequence, done);
    }

    /// Ends the job: succeeded or failed, or cancelled where that was asked for and the outcome is an
    /// error. Durable when it returns.
    ///
    /// # Errors
    /// [`Error::Journal`](crate::Error::Journal) where the end could not be kept: the job counts as running
    /// and is done again after a restart.
    pub fn finish(mut self, outcome: Result<Value, JobFailure>) -> Result<Job> {
        self.is_settled = true;
        self.queue.end(self.job.sequence, outcome)
    }

    /// Puts the job back to be tried again later. Durable when it returns. Where it was to be cancelled, it is.
    pub fn retry(mut self, later: Retry) -> Result<Job> {
        self.is_settled = true;
        self.queue.put_off(self.job.sequence, later)
    }

    /// Puts the job back, as for an orderly shutdown; the attempt does not count.
    pub fn release(mut self) -> Result<()> {
        self.is_settled = true;
        self.queue.put_back(self.job.sequence)
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        let failure = JobFailure {
            code: "worker_ended".to_owned(),
            message: "The worker ended without an outcome.".to_owned(),
            what_to_do: "Look for the panic in the server's log, and report it.".to_owned(),
        };
        if let Err(error) = self.queue.end(self.job.sequence, Err(failure)) {
            tracing::error!(job = %self.job.id, error = %snafu::Report::from_error(error), "could not keep that a job failed");
        }
    }
}
