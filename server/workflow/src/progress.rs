//! From the method's events to a job's progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engram_jobs::{CancelToken, Claimed};
use engram_segmenter::{Observer, Stage};

/// Nobody watches.
pub use engram_segmenter::Unobserved as NoProgress;

/// Tells a claimed job of stages and slices, and the method of cancellation and the server's end.
pub(crate) struct JobObserver<'a> {
    claimed: &'a Claimed,
    cancel: CancelToken,
    stop: &'a Arc<AtomicBool>,
    slices: u64,
}

impl<'a> JobObserver<'a> {
    /// Progress of every stage is shown in slices, of `slices`.
    pub fn new(claimed: &'a Claimed, stop: &'a Arc<AtomicBool>, slices: usize) -> Self {
        Self { claimed, cancel: claimed.cancel_token(), stop, slices: slices as u64 }
    }
}

impl Observer for JobObserver<'_> {
    fn stage_started(&self, stage: Stage) {
        self.claimed.stage(stage.name(), self.slices);
    }

    fn progress(&self, _stage: Stage, done: usize, total: usize) {
        let done = (done as u64).saturating_mul(self.slices) / (total as u64).max(1);
        self.claimed.progress(done);
    }

    fn cancelled(&self) -> bool {
        self.cancel.is_cancelled() || self.stop.load(Ordering::Acquire)
    }
}
