//! What an operator may set.

use crate::{Clock, Job, JobState, SystemClock};
use std::{sync::Arc, time::Duration};

/// Limits of a queue.
#[derive(Clone)]
pub struct QueueOptions {
    /// The most jobs that may wait; [`enqueue`](crate::Queue::enqueue) refuses beyond. Default 10,000.
    pub max_queued: usize,
    /// The most finished jobs that are kept; the oldest go first. Default 1,000.
    pub max_finished: usize,
    /// Whether failed jobs stay, beyond that number, until somebody has them done [again](crate::Queue::again) or
    /// [forgotten](crate::Queue::forget). They then count among the jobs that wait. Default no.
    pub keep_failed: bool,
    /// How often a job is started before it counts as failed, where the process ends under it. Default 3.
    pub max_attempts: u32,
    /// How often at most a running job's progress is written to the database; observers always see all of
    /// it. Default 1 s.
    pub save_progress_every: Duration,
    /// Where timestamps come from.
    pub clock: Arc<dyn Clock>,
}

impl QueueOptions {
    /// Whether a job is finished and, once there are too many such, let go of.
    pub(crate) fn lets_go_of(&self, job: &Job) -> bool {
        job.state.is_finished() && !(self.keep_failed && job.state == JobState::Failed)
    }
}

impl Default for QueueOptions {
    fn default() -> Self {
        QueueOptions {
            max_queued: 10_000,
            max_finished: 1_000,
            keep_failed: false,
            max_attempts: 3,
            save_progress_every: Duration::from_secs(1),
            clock: Arc::new(SystemClock),
        }
    }
}
