//! From the method's events to a job's progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engram_jobs::{CancelToken, Claimed, Queue};
use engram_segmenter::{Observer, Stage};

use crate::{ROUTED_KIND, SEGMENTATION_KIND, Workflow};

/// Nobody watches.
pub use engram_segmenter::Unobserved as NoProgress;

/// Tells a claimed job of stages and slices, and the method of cancellation and the server's end.
pub(crate) struct JobObserver<'a> {
    claimed: &'a Claimed,
    cancel: CancelToken,
    stop: &'a Arc<AtomicBool>,
    slices: u64,
    /// Where a job waits that goes before this one.
    gives_way_in: Option<&'a Queue>,
}

/// How often a job that gives way looks whether it may go on.
const LOOK: Duration = Duration::from_millis(20);

impl Workflow {
    /// Watches a segmentation. One that a rule asked for stands still, between two slices, while a person waits for one.
    pub(crate) fn observer<'a>(
        &'a self,
        claimed: &'a Claimed,
        stop: &'a Arc<AtomicBool>,
        slices: usize,
    ) -> JobObserver<'a> {
        let gives_way_in = (claimed.job().kind == ROUTED_KIND).then(|| self.queue());
        JobObserver { gives_way_in, ..JobObserver::new(claimed, stop, slices) }
    }
}

impl<'a> JobObserver<'a> {
    /// Progress of every stage is shown in slices, of `slices`.
    pub fn new(claimed: &'a Claimed, stop: &'a Arc<AtomicBool>, slices: usize) -> Self {
        Self { claimed, cancel: claimed.cancel_token(), stop, slices: slices as u64, gives_way_in: None }
    }

    fn is_over(&self) -> bool {
        self.cancel.is_cancelled() || self.stop.load(Ordering::Acquire)
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
        while let Some(queue) = self.gives_way_in
            && queue.is_busy_with(SEGMENTATION_KIND)
            && !self.is_over()
        {
            std::thread::sleep(LOOK);
        }
        self.is_over()
    }
}
