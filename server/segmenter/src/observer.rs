//! Who watches a segmentation: stages, progress, cancellation. The room has no clock, so whoever passes an
//! observer times the stages; they follow one another without a gap.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A part of the method. Every part of the work falls into one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stage {
    /// Windowing and retrieval vectors.
    Prepare,
    /// The exemplars of each slice and label.
    Retrieve,
    /// Slices that a person pointed at.
    Prompts,
    /// Every slice from exemplars alone.
    FirstPass,
    /// Through the slices, remembering recent ones.
    Propagate,
    /// Small organs again, on crops.
    CropPass,
    /// Agreement in 3D, and the native grid.
    Consolidate,
}

impl Stage {
    /// All stages in the order they run.
    pub const ALL: [Self; 7] = [
        Self::Prepare,
        Self::Retrieve,
        Self::Prompts,
        Self::FirstPass,
        Self::Propagate,
        Self::CropPass,
        Self::Consolidate,
    ];

    /// Stable name, as in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Retrieve => "retrieve",
            Self::Prompts => "prompts",
            Self::FirstPass => "first_pass",
            Self::Propagate => "propagate",
            Self::CropPass => "crop_pass",
            Self::Consolidate => "consolidate",
        }
    }
}

/// Is told what happens, and may stop it.
pub trait Observer: Sync {
    /// A stage begins. The first pass and propagation come once for every group of labels, where there are too many
    /// labels to follow at once.
    fn stage_started(&self, _stage: Stage) {}

    /// The stage that began last is over, also when it failed.
    fn stage_finished(&self, _stage: Stage) {}

    /// `done` of `total` steps of a stage are over; a step is about a slice and label.
    fn progress(&self, _stage: Stage, _done: usize, _total: usize) {}

    /// Whether to stop; asked between batches.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Watches nothing and never stops the work.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// One stage under observation.
pub(crate) struct Steps<'a> {
    observer: &'a dyn Observer,
    stage: Stage,
    done: usize,
    total: usize,
}

impl<'a> Steps<'a> {
    /// Runs `work` as `stage`, of `total` steps.
    pub fn run<T>(
        observer: &'a dyn Observer,
        stage: Stage,
        total: usize,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        observer.stage_started(stage);
        let mut steps = Self { observer, stage, done: 0, total };
        let outcome = steps.check().and_then(|()| work(&mut steps));
        observer.stage_finished(stage);
        outcome
    }

    /// `count` more steps are over.
    pub fn advance(&mut self, count: usize) -> Result<()> {
        self.done = self.done.saturating_add(count);
        self.total = self.total.max(self.done);
        self.observer.progress(self.stage, self.done, self.total);
        self.check()
    }

    fn check(&self) -> Result<()> {
        if self.observer.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}
