//! The threads that do jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use engram_jobs::{Claimed, JobFailure, Retry, Timestamp};
use serde_json::Value;
use snafu::ResultExt;

use crate::error::{Error, Result, StartWorkerSnafu, failure};
use crate::news::News;
use crate::outbox::Recipient;
use crate::request::SegmentationJob;
use crate::{
    INGESTION_KIND, REENCODING_KIND, ROUTED_KIND, ROUTING_KIND, SEGMENTATION_KIND, SURVEY_KIND, Workflow,
    worklist,
};

/// How long a worker waits for a job before it looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(250);
/// Milliseconds until the rules are asked again about a study, where that failed.
const ROUTING_RETRY_MS: u64 = 30_000;

/// Running workers.
#[must_use = "the workers run until `stop`"]
pub struct Workers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// These threads, which end soon after `stop` is set.
    pub fn new(stop: Arc<AtomicBool>, threads: Vec<JoinHandle<()>>) -> Self {
        Self { stop, threads }
    }

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

/// Starts the workers: `segmentation` of them for segmentations that people ask for, one for each other kind of job, one
/// for each node and each webhook.
pub fn start(workflow: &Arc<Workflow>, segmentation: usize) -> Result<Workers> {
    let stop = Arc::new(AtomicBool::new(false));
    let kinds = [INGESTION_KIND, REENCODING_KIND, SURVEY_KIND, ROUTING_KIND, ROUTED_KIND]
        .into_iter()
        .chain(std::iter::repeat_n(SEGMENTATION_KIND, segmentation.max(1)));
    let workers = kinds.map(|kind| {
        let (workflow, stop) = (Arc::clone(workflow), Arc::clone(&stop));
        let worker = std::thread::Builder::new().name(kind.into());
        worker.spawn(move || work(&workflow, kind, &stop)).context(StartWorkerSnafu)
    });
    let senders = workflow.recipients().into_iter().map(|recipient| {
        let (workflow, stop) = (Arc::clone(workflow), Arc::clone(&stop));
        let sender = std::thread::Builder::new().name(recipient.kind());
        sender.spawn(move || send(&workflow, &recipient, &stop)).context(StartWorkerSnafu)
    });
    let mut threads = workers.chain(senders).collect::<Result<Vec<_>>>()?;
    threads.push(worklist::start(workflow, &stop)?);
    Ok(Workers::new(stop, threads))
}

fn send(workflow: &Workflow, recipient: &Recipient, stop: &Arc<AtomicBool>) {
    let kind = recipient.kind();
    while !stop.load(Ordering::Acquire) {
        workflow.serve(recipient, &kind, LOOK, stop);
    }
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
        ROUTING_KIND => workflow.run_routing(&claimed),
        _ => workflow.run_segmentation(&claimed, stop),
    };
    let stopped = stop.load(Ordering::Acquire) && !claimed.cancel_token().is_cancelled();
    let recorded = match outcome {
        Err(Error::Cancelled) if stopped => claimed.release(),
        Err(error) if claimed.job().kind == ROUTING_KIND => ask_rules_later(workflow, claimed, &error),
        outcome => {
            let outcome = outcome.map_err(|error| {
                tracing::warn!(job = %id, error = %crate::report(&error), "a job failed");
                failure(&error)
            });
            announce(workflow, &claimed, &outcome);
            claimed.finish(outcome).map(drop)
        }
    };
    if let Err(error) = recorded {
        tracing::error!(job = %id, error = %crate::report(&error), "could not record how a job ended");
    }
}

/// A study must not go without the rules because the queue is full or a disk is: they are asked again.
fn ask_rules_later(workflow: &Workflow, claimed: Claimed, error: &Error) -> engram_jobs::Result<()> {
    tracing::error!(job = %claimed.job().id, error = %crate::report(error), "could not do what rules say; trying again");
    let not_before = Timestamp(workflow.queue().now().0.saturating_add(ROUTING_RETRY_MS));
    let payload = claimed.job().payload.clone();
    claimed.retry(Retry { payload, failure: failure(error), not_before }).map(drop)
}

/// Told before the end is recorded, so that a crash between the two cannot leave it untold.
fn announce(workflow: &Workflow, claimed: &Claimed, outcome: &std::result::Result<Value, JobFailure>) {
    let job = claimed.job();
    if !matches!(job.kind.as_str(), SEGMENTATION_KIND | ROUTED_KIND) {
        return;
    }
    if let Ok(segmentation) = serde_json::from_value::<SegmentationJob>(job.payload.clone()) {
        workflow.announce(job.id, News::segmentation_ended(job, segmentation, outcome));
    }
}
