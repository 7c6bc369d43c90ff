//! How long the stages of a segmentation take.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use engram_segmenter::{Observer, Stage};

use super::score::Took;

/// Times the stages, which follow one another.
pub struct Stopwatch {
    started: Instant,
    stages: Mutex<Stages>,
}

#[derive(Default)]
struct Stages {
    started: Option<Instant>,
    seconds: BTreeMap<String, f64>,
}

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self { started: Instant::now(), stages: Mutex::default() }
    }

    /// What passed until now.
    pub fn took(&self) -> Took {
        let stages = self.stages.lock().map(|stages| stages.seconds.clone()).unwrap_or_default();
        Took { seconds: self.started.elapsed().as_secs_f64(), stages }
    }
}

impl Observer for Stopwatch {
    fn stage_started(&self, _stage: Stage) {
        if let Ok(mut stages) = self.stages.lock() {
            stages.started = Some(Instant::now());
        }
    }

    fn stage_finished(&self, stage: Stage) {
        if let Ok(mut stages) = self.stages.lock()
            && let Some(started) = stages.started.take()
        {
            *stages.seconds.entry(stage.name().to_owned()).or_default() += started.elapsed().as_secs_f64();
        }
    }
}
