//! Jobs that bring objects from nodes and send objects to them. A worker of ours does them; the queue is everyone's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engram_archive::{Archive, InstanceEntry};
use engram_dimse::{Commitments, Error as DimseError, Moved, Outgoing, SubOperations, Wanted};
use engram_imaging::TranscodeLimits;
use engram_jobs::{Claimed, Job, JobFailure, NewJob, Queue};
use engram_workflow::{Workers, report};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::nodes::KnownNode;
use crate::cli::Failure;
use crate::guard::{AuditLog, Record, shortened};

/// Kind of the jobs that have a node send objects to us.
pub const RETRIEVE_KIND: &str = "retrieve";
/// Kind of the jobs that send objects to a node.
pub const SEND_KIND: &str = "send";

/// How long a worker waits for a job before it looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(250);
/// How long a node may take to commit itself to keep what it was sent.
pub const COMMITMENT_PATIENCE: Duration = Duration::from_secs(600);
/// How many instances that failed are named in a message.
const NAMED: usize = 3;

/// What to retrieve, or to send: a study, series of it, or instances of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Objects {
    /// StudyInstanceUID.
    pub study: String,
    /// SeriesInstanceUIDs; none for the whole study.
    #[serde(default)]
    pub series: Vec<String>,
    /// SOPInstanceUIDs of the one series that is named; none for whole series.
    #[serde(default)]
    pub instances: Vec<String>,
}

/// A job's request.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    node: String,
    #[serde(flatten)]
    objects: Objects,
}

impl Objects {
    /// What is wrong with them.
    pub fn problem(&self) -> Option<&'static str> {
        let named = std::iter::once(&self.study).chain(&self.series).chain(&self.instances);
        let is_uid = |uid: &String| {
            (1..=64).contains(&uid.len()) && uid.chars().all(|c| c.is_ascii_digit() || c == '.')
        };
        if !named.into_iter().all(is_uid) {
            return Some("a UID has 1 to 64 digits and dots");
        }
        (!self.instances.is_empty() && self.series.len() != 1)
            .then_some("instances need the one series that they are of")
    }

    /// The instances that are stored of them.
    pub fn stored(&self, archive: &Archive) -> engram_archive::Result<Vec<InstanceEntry>> {
        let mut series = self.series.clone();
        if series.is_empty() {
            series.extend(archive.series(&self.study)?.into_iter().map(|entry| entry.series_instance_uid));
        }
        let mut entries = Vec::new();
        for one in &series {
            entries.extend(archive.instances(&self.study, one)?);
        }
        entries.retain(|entry| {
            self.instances.is_empty() || self.instances.contains(&entry.uids.sop_instance_uid)
        });
        Ok(entries)
    }
}

/// Asks for a job of a kind.
pub fn enqueue(queue: &Queue, kind: &str, node: &str, objects: Objects) -> engram_jobs::Result<Job> {
    queue.enqueue(NewJob::new(kind, json!({ "request": Request { node: node.to_owned(), objects } })))
}

/// What the workers work with.
pub struct Transfers {
    /// Where jobs wait.
    pub queue: Queue,
    /// What is sent.
    pub archive: Archive,
    /// The nodes by name.
    pub nodes: Arc<Vec<KnownNode>>,
    /// What may be transcoded for a node.
    pub transcoding: TranscodeLimits,
    /// Where nodes commit themselves.
    pub commitments: Arc<Commitments>,
    /// Every transfer is recorded.
    pub audit: AuditLog,
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
        let cancel = claimed.cancel_token();
        let go_on = || !cancel.is_cancelled() && !stop.load(Ordering::Acquire);
        let outcome = self.carry_out(&claimed, &go_on);
        let id = claimed.job().id;
        let recorded = match outcome {
            Err(_) if stop.load(Ordering::Acquire) && !cancel.is_cancelled() => claimed.release(),
            outcome => claimed.finish(outcome).map(drop),
        };
        if let Err(error) = recorded {
            tracing::error!(job = %id, error = %report(&error), "could not record how a job ended");
        }
    }

    fn carry_out(&self, claimed: &Claimed, go_on: &dyn Fn() -> bool) -> Result<Value, JobFailure> {
        let job = claimed.job();
        let request = job.payload.get("request").cloned().unwrap_or_default();
        let Request { node, objects } = serde_json::from_value(request)
            .map_err(|error| failed("bad_job", error.to_string(), ASK_AGAIN))?;
        let Some(known) = self.nodes.iter().find(|known| known.remote.name == node) else {
            let message = format!("there is no node {node} any more");
            return Err(failed("no_such_node", message, "GET /api/v1/nodes lists the nodes; ask again."));
        };
        let outcome = match job.kind.as_str() {
            RETRIEVE_KIND => retrieve(claimed, known, &objects, go_on),
            _ => self.send(claimed, known, &objects, go_on),
        };
        self.record(&job.kind, known, &objects, &outcome);
        if let Err(failure) = &outcome {
            tracing::warn!(job = %job.id, node, error = failure.message, "a transfer failed");
        }
        outcome
    }

    fn send(
        &self,
        claimed: &Claimed,
        node: &KnownNode,
        objects: &Objects,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Value, JobFailure> {
        let entries =
            objects.stored(&self.archive).map_err(|error| failed("archive", report(&error), LOOK_IN_LOG))?;
        claimed.stage("sending", entries.len() as u64);
        let mut outgoing = Outgoing::to_store(&node.remote, &entries).map_err(|error| of_node(&error))?;
        let mut sent = Vec::new();
        let mut refused = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            if !go_on() {
                return Err(interrupted());
            }
            match outgoing.store(entry, None, self.transcoding) {
                Ok(status) if is_stored(status) => sent.push(reference(entry)),
                Ok(status) => refused.push(format!("{} (status {status:#06x})", entry.uids.sop_instance_uid)),
                Err(error) if error.is_of_the_instance() => {
                    refused.push(format!("{} ({error})", entry.uids.sop_instance_uid));
                }
                Err(error) => return Err(of_node(&error)),
            }
            claimed.progress(index as u64 + 1);
        }
        if let Err(error) = outgoing.release() {
            tracing::warn!(%error, node = node.remote.name, "a node did not end in good order");
        }
        if !refused.is_empty() {
            return Err(some_failed("some_not_sent", "sent", entries.len(), &refused));
        }
        let count = sent.len();
        if node.commits && count > 0 {
            claimed.stage("commitment", 0);
            self.commit(claimed, node, sent, go_on)?;
        }
        Ok(json!({ "instances": count, "committed": node.commits }))
    }

    /// Asks the node to keep what it was sent.
    fn commit(
        &self,
        claimed: &Claimed,
        node: &KnownNode,
        sent: Vec<(String, String)>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), JobFailure> {
        let asked = sent.len();
        // Of the attempt, too: what an earlier one asked may still be answered.
        let job = claimed.job();
        let transaction = format!("2.25.{}", job.id.as_u128().wrapping_add(u128::from(job.attempts)));
        let committed = Outgoing::request_commitment(
            &node.remote,
            &self.commitments,
            &transaction,
            sent,
            COMMITMENT_PATIENCE,
            go_on,
        );
        let committed = committed.map_err(|error| {
            let message =
                format!("the node did not commit itself to keep what it was sent: {}", report(&error));
            failed(
                "not_committed",
                message,
                "See that the node reaches our DIMSE port under our AE title; send again.",
            )
        })?;
        let missing = committed.instances().iter().filter_map(|instance| {
            let reason = instance.failure?;
            Some(format!("{} (reason {reason:#06x})", instance.sop_instance_uid))
        });
        let missing: Vec<_> = missing.collect();
        match committed.kept() == asked as u64 {
            true => Ok(()),
            false => Err(some_failed("not_committed", "committed", asked, &missing)),
        }
    }

    /// A line of the audit log: what left, or came.
    fn record(&self, kind: &str, node: &KnownNode, objects: &Objects, outcome: &Result<Value, JobFailure>) {
        let one = |uids: &[String]| uids.first().filter(|_| uids.len() == 1).map(|uid| shortened(uid));
        let instances = outcome.as_ref().ok().and_then(|result| result.get("instances")?.as_u64());
        self.audit.write(Record {
            study: Some(shortened(&objects.study)),
            series: one(&objects.series),
            instance: one(&objects.instances),
            instances,
            complete: outcome.is_ok(),
            ..node.audit_line(if kind == RETRIEVE_KIND { "C-MOVE to us" } else { "C-STORE to a node" })
        });
    }
}

fn retrieve(
    claimed: &Claimed,
    node: &KnownNode,
    objects: &Objects,
    go_on: &dyn Fn() -> bool,
) -> Result<Value, JobFailure> {
    claimed.stage("asking", 0);
    let Objects { study, series, instances } = objects.clone();
    let wanted = Wanted { study, series, instances };
    let mut total = 0;
    let told = |counts: SubOperations| {
        let done = u64::from(counts.completed) + u64::from(counts.failed) + u64::from(counts.warning);
        let all = done + u64::from(counts.remaining);
        if all > 0 && all != total {
            total = all;
            claimed.stage("retrieval", total);
        }
        if all > 0 {
            claimed.progress(done);
        }
        go_on()
    };
    let remote = &node.remote;
    let moved = Outgoing::to_move(remote)
        .and_then(|outgoing| outgoing.move_to(&remote.calling_ae_title, &wanted, told))
        .map_err(|error| of_node(&error))?;
    if !go_on() {
        return Err(interrupted());
    }
    came(&moved, remote)
}

/// What came of a retrieval.
fn came(moved: &Moved, node: &engram_dimse::RemoteNode) -> Result<Value, JobFailure> {
    let counts = moved.counts;
    let stored = u64::from(counts.completed) + u64::from(counts.warning);
    if moved.status == 0 && counts.failed == 0 {
        return Ok(json!({ "instances": stored }));
    }
    if stored > 0 {
        let all = usize::try_from(stored).unwrap_or(usize::MAX).saturating_add(usize::from(counts.failed));
        return Err(some_failed("some_not_retrieved", "retrieved", all, &moved.failed));
    }
    let comment = if moved.comment.is_empty() { String::new() } else { format!(": {}", moved.comment) };
    let message = format!("the node answered the C-MOVE with status {:#06x}{comment}", moved.status);
    let what_to_do = format!(
        "See that the node knows our AE title {}, with our address and [dimse] port, and may send to it.",
        node.calling_ae_title
    );
    Err(JobFailure { code: "node_refused".into(), message, what_to_do })
}

const ASK_AGAIN: &str = "Ask again.";
const LOOK_IN_LOG: &str = "The server's log says more.";

/// Success, or a warning (PS3.4 B.2.3).
pub fn is_stored(status: u16) -> bool {
    matches!(status, 0 | 0xB000 | 0xB006 | 0xB007)
}

/// SOP class and SOP instance UIDs.
pub fn reference(entry: &InstanceEntry) -> (String, String) {
    (entry.sop_class_uid.clone(), entry.uids.sop_instance_uid.clone())
}

fn of_node(error: &DimseError) -> JobFailure {
    let what_to_do =
        "See that the node is up, knows our AE title, and takes what it is sent; then ask again.";
    failed("node_failed", report(error), what_to_do)
}

fn some_failed(code: &str, what: &str, all: usize, failed_ones: &[String]) -> JobFailure {
    let named = failed_ones.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = if failed_ones.len() > NAMED { ", …" } else { "" };
    let message = format!("not all of {all} instances could be {what}: {named}{more}");
    failed(
        code,
        message,
        "The node's log says more; what is there already is not doubled when you ask again.",
    )
}

fn interrupted() -> JobFailure {
    failed("interrupted", "the transfer was interrupted", ASK_AGAIN)
}

fn failed(code: &str, message: impl Into<String>, what_to_do: &str) -> JobFailure {
    JobFailure { code: code.into(), message: message.into(), what_to_do: what_to_do.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_by_their_uids_and_instances_with_their_series() {
        let objects = |study: &str, series: &[&str], instances: &[&str]| Objects {
            study: study.into(),
            series: series.iter().map(|uid| uid.to_string()).collect(),
            instances: instances.iter().map(|uid| uid.to_string()).collect(),
        };
        for (objects, is_fine) in [
            (objects("1.2", &[], &[]), true),
            (objects("1.2", &["1.3", "1.4"], &[]), true),
            (objects("1.2", &["1.3"], &["1.5", "1.6"]), true),
            (objects("", &[], &[]), false),
            (objects("1.2.*", &[], &[]), false),
            (objects("1.2", &[], &["1.5"]), false),
            (objects("1.2", &["1.3", "1.4"], &["1.5"]), false),
        ] {
            assert_eq!(objects.problem().is_none(), is_fine, "{objects:?}");
        }
    }

    #[test]
    fn a_retrieval_is_done_when_all_came() {
        let node = engram_dimse::RemoteNode {
            name: "PACS".into(),
            ae_title: "PACS".into(),
            address: "a:1".into(),
            calling_ae_title: "US".into(),
            timeout: LOOK,
            tls: None,
        };
        let ended = |status, completed, failed| {
            let counts = SubOperations { completed, failed, ..SubOperations::default() };
            came(&Moved { status, comment: "no".into(), counts, failed: vec!["1.2".into()] }, &node)
        };
        assert_eq!(ended(0, 3, 0).unwrap(), json!({ "instances": 3 }));
        assert_eq!(ended(0xB000, 2, 1).unwrap_err().code, "some_not_retrieved");
        let refused = ended(0xA801, 0, 0).unwrap_err();
        assert!(refused.message.contains("0xa801: no") && refused.what_to_do.contains("US"), "{refused:?}");
    }
}
