//! Jobs that bring objects from nodes and send objects to them. A worker of ours does them; the queue is everyone's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engram_dicomweb::DicomWeb;
use engram_dimse::Commitments;
use engram_imaging::TranscodeLimits;
use engram_jobs::{Claimed, Job, JobFailure, NewJob, Queue};
use engram_workflow::{Workers, report};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::by_dimse::ByDimse;
use super::{Named, Nodes, Objects};
use crate::cli::Failure;
use crate::guard::{AuditLog, Record, shortened};

/// Kind of the jobs that bring objects from a node.
pub const RETRIEVE_KIND: &str = "retrieve";
/// Kind of the jobs that send objects to a node.
pub const SEND_KIND: &str = "send";

/// How long a worker waits for a job before it looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(250);
/// How many instances that failed are named in a message.
const NAMED: usize = 3;

/// A job's request.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    node: String,
    #[serde(flatten)]
    objects: Objects,
}

/// Asks for a job of a kind.
pub fn enqueue(queue: &Queue, kind: &str, node: &str, objects: Objects) -> engram_jobs::Result<Job> {
    queue.enqueue(NewJob::new(kind, json!({ "request": Request { node: node.to_owned(), objects } })))
}

/// What the workers work with.
pub struct Transfers {
    /// Where jobs wait.
    pub queue: Queue,
    /// What is sent, and where what comes is stored.
    pub dicomweb: DicomWeb,
    /// The nodes by name.
    pub nodes: Nodes,
    /// What may be transcoded for a node.
    pub transcoding: TranscodeLimits,
    /// Where nodes commit themselves.
    pub commitments: Arc<Commitments>,
    /// Every transfer is recorded.
    pub audit: AuditLog,
}

/// A job that runs: it is told how far it is, and tells whether it is to go on.
pub struct Course<'a> {
    /// The job.
    pub claimed: &'a Claimed,
    stop: &'a AtomicBool,
}

impl Course<'_> {
    /// Whether nobody cancelled it and the server does not end.
    pub fn goes_on(&self) -> bool {
        !self.claimed.cancel_token().is_cancelled() && !self.stop.load(Ordering::Acquire)
    }
}

impl Transfers {
    /// Starts `workers` threads, one at least.
    pub fn start(self, workers: usize) -> Result<Workers, Failure> {
        let (transfers, stop) = (Arc::new(self), Arc::new(AtomicBool::new(false)));
        let start = |_| {
            let (transfers, stop) = (Arc::clone(&transfers), Arc::clone(&stop));
            let thread = std::thread::Builder::new().name("transfer".into());
            thread.spawn(move || transfers.work(&stop)).map_err(Failure::of)
        };
        let threads = (0..workers.max(1)).map(start).collect::<Result<_, _>>()?;
        Ok(Workers::new(stop, threads))
    }

    fn work(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            if let Some(claimed) = self.queue.claim(&[RETRIEVE_KIND, SEND_KIND], LOOK) {
                self.run(claimed, stop);
            }
        }
    }

    /// Does one job. Stopped by the server's end, it goes back into the queue.
    fn run(&self, claimed: Claimed, stop: &AtomicBool) {
        let outcome = self.carry_out(&Course { claimed: &claimed, stop });
        let id = claimed.job().id;
        let recorded = match outcome {
            Err(_) if stop.load(Ordering::Acquire) && !claimed.cancel_token().is_cancelled() => {
                claimed.release()
            }
            outcome => claimed.finish(outcome).map(drop),
        };
        if let Err(error) = recorded {
            tracing::error!(job = %id, error = %report(&error), "could not record how a job ended");
        }
    }

    fn carry_out(&self, course: &Course) -> Result<Value, JobFailure> {
        let job = course.claimed.job();
        let request = job.payload.get("request").cloned().unwrap_or_default();
        let Request { node: name, objects } = serde_json::from_value(request)
            .map_err(|error| failed("bad_job", error.to_string(), ASK_AGAIN))?;
        let Some(node) = self.nodes.named(&name) else {
            let message = format!("there is no node {name} any more");
            return Err(failed("no_such_node", message, "GET /api/v1/nodes lists the nodes; ask again."));
        };
        let is_retrieval = job.kind == RETRIEVE_KIND;
        let outcome = match is_retrieval {
            true => self.retrieve(course, &node, &objects),
            false => self.send(course, &node, &objects),
        };
        self.record(line(&node, is_retrieval), &objects, &outcome);
        if let Err(failure) = &outcome {
            tracing::warn!(job = %job.id, node = name, error = failure.message, "a transfer failed");
        }
        outcome
    }

    fn retrieve(&self, course: &Course, node: &Named, objects: &Objects) -> Result<Value, JobFailure> {
        match node {
            Named::Dimse(node) => self.by_dimse().retrieve(course, node, objects),
            Named::Dicomweb(node) => node.retrieve(course, &self.dicomweb, objects),
        }
    }

    fn send(&self, course: &Course, node: &Named, objects: &Objects) -> Result<Value, JobFailure> {
        let entries = objects
            .stored(&self.dicomweb.archive)
            .map_err(|error| failed("archive", report(&error), LOOK_IN_LOG))?;
        course.claimed.stage("sending", entries.len() as u64);
        match node {
            Named::Dimse(node) => self.by_dimse().send(course, node, &entries),
            Named::Dicomweb(node) => node.send_all(course, &entries),
        }
    }

    fn by_dimse(&self) -> ByDimse<'_> {
        ByDimse { transcoding: self.transcoding, commitments: &self.commitments }
    }

    /// A line of the audit log: what left, or came.
    fn record(&self, line: Record, objects: &Objects, outcome: &Result<Value, JobFailure>) {
        let one = |uids: &[String]| uids.first().filter(|_| uids.len() == 1).map(|uid| shortened(uid));
        let instances = outcome.as_ref().ok().and_then(|result| result.get("instances")?.as_u64());
        self.audit.write(Record {
            study: Some(shortened(&objects.study)),
            series: one(&objects.series),
            instance: one(&objects.instances),
            instances,
            complete: outcome.is_ok(),
            ..line
        });
    }
}

fn line(node: &Named, is_retrieval: bool) -> Record {
    match (node, is_retrieval) {
        (Named::Dimse(node), true) => node.audit_line("C-MOVE to us"),
        (Named::Dimse(node), false) => node.audit_line("C-STORE to a node"),
        (Named::Dicomweb(node), true) => node.audit_line("WADO-RS from a node"),
        (Named::Dicomweb(node), false) => node.audit_line("STOW-RS to a node"),
    }
}

const ASK_AGAIN: &str = "Ask again.";
const LOOK_IN_LOG: &str = "The server's log says more.";

/// Why not all of them could be transferred, with the first that could not.
pub fn some_failed(code: &str, what: &str, all: usize, failed_ones: &[String]) -> JobFailure {
    let named = failed_ones.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = if failed_ones.len() > NAMED { ", …" } else { "" };
    let message = format!("not all of {all} instances could be {what}: {named}{more}");
    failed(
        code,
        message,
        "The node's log says more; what is there already is not doubled when you ask again.",
    )
}

/// Somebody cancelled it, or the server ends.
pub fn interrupted() -> JobFailure {
    failed("interrupted", "the transfer was interrupted", ASK_AGAIN)
}

/// Why a transfer failed.
pub fn failed(code: &str, message: impl Into<String>, what_to_do: &str) -> JobFailure {
    JobFailure { code: code.into(), message: message.into(), what_to_do: what_to_do.into() }
}
