//! Transfers by DIMSE: C-STORE with Storage Commitment to a node, C-MOVE from it.

use std::time::Duration;

use engram_archive::InstanceEntry;
use engram_dimse::{Commitments, Error as DimseError, Moved, Outgoing, SubOperations, Wanted};
use engram_imaging::TranscodeLimits;
use engram_jobs::JobFailure;
use engram_workflow::report;
use serde_json::{Value, json};

use super::transfer::{Course, failed, interrupted, some_failed};
use super::{KnownNode, Objects};

/// How long a node may take to commit itself to keep what it was sent.
pub const COMMITMENT_PATIENCE: Duration = Duration::from_secs(600);

/// What it takes.
pub struct ByDimse<'a> {
    /// What may be transcoded for a node.
    pub transcoding: TranscodeLimits,
    /// Where nodes commit themselves.
    pub commitments: &'a Commitments,
}

impl ByDimse<'_> {
    /// Sends them by C-STORE, and where the node is to, has it commit itself to keep them.
    pub fn send(
        &self,
        course: &Course,
        node: &KnownNode,
        entries: &[InstanceEntry],
    ) -> Result<Value, JobFailure> {
        let mut outgoing = Outgoing::to_store(&node.remote, entries).map_err(|error| of_node(&error))?;
        let mut sent = Vec::new();
        let mut refused = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            if !course.goes_on() {
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
            course.claimed.progress(index as u64 + 1);
        }
        if let Err(error) = outgoing.release() {
            tracing::warn!(%error, node = node.remote.name, "a node did not end in good order");
        }
        if !refused.is_empty() {
            return Err(some_failed("some_not_sent", "sent", entries.len(), &refused));
        }
        let count = sent.len();
        if node.commits && count > 0 {
            course.claimed.stage("commitment", 0);
            self.commit(course, node, sent)?;
        }
        Ok(json!({ "instances": count, "committed": node.commits }))
    }

    /// Asks the node to keep what it was sent.
    fn commit(
        &self,
        course: &Course,
        node: &KnownNode,
        sent: Vec<(String, String)>,
    ) -> Result<(), JobFailure> {
        let asked = sent.len();
        // Of the attempt, too: what an earlier one asked may still be answered.
        let job = course.claimed.job();
        let transaction = format!("2.25.{}", job.id.as_u128().wrapping_add(u128::from(job.attempts)));
        let committed = Outgoing::request_commitment(
            &node.remote,
            self.commitments,
            &transaction,
            sent,
            COMMITMENT_PATIENCE,
            || course.goes_on(),
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

    /// Has the node send them to us (C-MOVE).
    pub fn retrieve(
        &self,
        course: &Course,
        node: &KnownNode,
        objects: &Objects,
    ) -> Result<Value, JobFailure> {
        let claimed = course.claimed;
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
            course.goes_on()
        };
        let remote = &node.remote;
        let moved = Outgoing::to_move(remote)
            .and_then(|outgoing| outgoing.move_to(&remote.calling_ae_title, &wanted, told))
            .map_err(|error| of_node(&error))?;
        if !course.goes_on() {
            return Err(interrupted());
        }
        came(&moved, remote)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retrieval_is_done_when_all_came() {
        let node = engram_dimse::RemoteNode {
            name: "PACS".into(),
            ae_title: "PACS".into(),
            address: "a:1".into(),
            calling_ae_title: "US".into(),
            timeout: Duration::from_secs(1),
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
