//! The threads that do jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use engram_jobs::Claimed;
use snafu::ResultExt;

use crate::error::{Error, Result, StartWorkerSnafu, failure};
use crate::{INGESTION_KIND, REENCODING_KIND, SEGMENTATION_KIND, SURVEY_KIND, Workflow, worklist};

/// How long a worker waits for a job before it looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(250);

/// Running workers.
#[must_use = "the workers run until `stop`"]
pub struct Workers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Lets each worker finish or put back what it has, and waits for it.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker had panicked");
            }
        }
    }
}

/// Starts one worker each for ingestion, re-encoding, surveys and the worklist, and `segmentation` workers for segmentations.
pub fn start(workflow: &Arc<Workflow>, segmentation: usize) -> Result<Workers> {
    let stop = Arc::new(AtomicBool::new(false));
    let kinds = [INGESTION_KIND, REENCODING_KIND, SURVEY_KIND]
        .into_iter()
        .chain(std::iter::repeat_n(SEGMENTATION_KIND, segmentation.max(1)));
    let mut threads = kinds
        .map(|kind| {
            let (workflow, stop) = (Arc::clone(workflow), Arc::clone(&stop));
            std::thread::Builder::new()
                .name(kind.into())
                .spawn(move || work(&workflow, kind, &stop))
                .context(StartWorkerSnafu)
        })
        .collect::<Result<Vec<_>>>()?;
    threads.push(worklist::start(workflow, &stop)?);
    Ok(Workers { stop, threads })
}

fn work(workflow: &Workflow, kind: &'static str, stop: &Arc<AtomicBool>) {
    while !stop.load(Ordering::Acquire) {
        if let Some(claimed) = workflow.queue().claim(&[kind], LOOK) {
            run(workflow, claimed, stop);
        }
    }
}

/// Does one job. Stopped by the server's end, it goes back into the queue; else its outcome is recorded.
pub(crate) fn run(workflow: &Workflow, claimed: Claimed, stop: &Arc<AtomicBool>) {
    let id = claimed.job().id;
    let outcome = match claimed.job().kind.as_str() {
        INGESTION_KIND => workflow.run_ingestion(&claimed, stop),
        REENCODING_KIND => workflow.run_reencoding(&claimed, stop),
        SURVEY_KIND => workflow.run_survey(&claimed, stop),
        _ => workflow.run_segmentation(&claimed, stop),
    };
    let stopped = stop.load(Ordering::Acquire) && !claimed.cancel_token().is_cancelled();
    let recorded = match outcome {
        Err(Error::Cancelled) if stopped => claimed.release(),
        Err(error) => {
            tracing::warn!(job = %id, error = %crate::report(&error), "a job failed");
            claimed.finish(Err(failure(&error))).map(drop)
        }
        Ok(result) => claimed.finish(Ok(result)).map(drop),
    };
    if let Err(error) = recorded {
        tracing::error!(job = %id, error = %crate::report(&error), "could not record how a job ended");
    }
}
