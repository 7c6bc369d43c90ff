//! One attempt at a delivery.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engram_archive::InstanceEntry;
use engram_jobs::{Claimed, JobFailure, Retry};
use snafu::ResultExt;

use super::forms::{Parcel, is_label_map};
use super::{Content, Delivery, DeliverySummary, Ended, Node, Sent, TO_NODE, Unreachable, settle};
use crate::error::{ArchiveSnafu, NoSuchSeriesSnafu, Result, failure};
use crate::news::News;
use crate::{Error, Workflow};

/// What an attempt came to.
enum Attempt {
    /// The node has everything.
    Done(DeliverySummary),
    /// Trying again may help.
    Later(JobFailure),
    /// Trying again would end the same.
    Never(JobFailure),
    /// The server ends.
    Stopped,
}

/// What a node said of the instances that it was sent.
#[derive(Default)]
struct Answers {
    class_refused: Vec<InstanceEntry>,
    /// A LABELMAP, which may be taken as BINARY: what refers to it was not sent.
    label_map_refused: bool,
    refused: Vec<(String, String)>,
    refused_for_now: Vec<(String, String)>,
}

impl Workflow {
    /// Does a delivery, or has it tried again.
    pub(super) fn run_delivery(&self, node: &dyn Node, claimed: Claimed, stop: &Arc<AtomicBool>) {
        let job = claimed.job().clone();
        let mut delivery: Delivery = match serde_json::from_value(job.payload.clone()) {
            Ok(delivery) => delivery,
            Err(source) => {
                let error = Error::Json { what: "a delivery", source };
                return settle(claimed, Ended::Now(Err(failure(&error))));
            }
        };
        let is_over = {
            let cancel = claimed.cancel_token();
            move || stop.load(Ordering::Acquire) || cancel.is_cancelled()
        };
        let attempt = match self.deliver(node, &claimed, &mut delivery, &is_over) {
            Ok(attempt) => attempt,
            Err(error) if is_lasting(&error) => Attempt::Never(failure(&error)),
            Err(error) => Attempt::Later(failure(&error)),
        };
        let outcome = match attempt {
            Attempt::Done(summary) => serde_json::to_value(summary)
                .map_err(|source| failure(&Error::Json { what: "what a delivery did", source })),
            Attempt::Never(failure) => Err(failure),
            Attempt::Stopped => return self.try_again(claimed, &delivery, stopped(), self.outbox.now()),
            Attempt::Later(failure) => match self.options.outbox.next_attempt(&job, self.outbox.now()) {
                Some(at) => return self.try_again(claimed, &delivery, failure, at),
                None => Err(failure),
            },
        };
        if let Err(failure) = &outcome {
            tracing::error!(delivery = %job.id, node = node.name(), failure.message, "a delivery was given up");
        }
        self.announce(job.id, News::delivery_ended(job.id, &delivery, &outcome));
        settle(claimed, Ended::Now(outcome));
    }

    fn try_again(
        &self,
        claimed: Claimed,
        delivery: &Delivery,
        failure: JobFailure,
        not_before: engram_jobs::Timestamp,
    ) {
        // Where it does not serialise, what was kept before is done again: the node is sent the same once more.
        let payload = serde_json::to_value(delivery).unwrap_or_else(|_| claimed.job().payload.clone());
        let is_unreachable = failure.code == UNREACHABLE;
        tracing::warn!(node = delivery.node, failure.message, "a delivery failed for now");
        settle(claimed, Ended::Later(Retry { payload, failure, not_before }));
        // What else waits for the node would fail the same way.
        if is_unreachable {
            self.outbox.postpone_kind(&format!("{TO_NODE}{}", delivery.node), not_before);
        }
    }

    fn deliver(
        &self,
        node: &dyn Node,
        claimed: &Claimed,
        delivery: &mut Delivery,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Attempt> {
        let mut answers = self.send_parcel(node, claimed, delivery, is_over)?;
        if matches!(&answers, Ok(answers) if answers.label_map_refused) {
            delivery.as_binary = true;
            answers = self.send_parcel(node, claimed, delivery, is_over)?;
        }
        let answers = match answers {
            Ok(answers) => answers,
            Err(unreachable) => return Ok(Attempt::Later(unreachable_failure(node, &unreachable))),
        };
        if is_over() && !claimed.cancel_token().is_cancelled() {
            return Ok(Attempt::Stopped);
        }
        if claimed.cancel_token().is_cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(answers.judge(node, delivery))
    }

    /// Makes what is to be sent and sends what is left of it.
    fn send_parcel(
        &self,
        node: &dyn Node,
        claimed: &Claimed,
        delivery: &mut Delivery,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Result<Answers, Unreachable>> {
        let parcel = self.parcel(delivery)?;
        claimed.stage("send", parcel.instances.len() as u64);
        Ok(send(node, claimed, &parcel.left(&delivery.sent), delivery, is_over))
    }

    /// What is to be sent, in the forms asked for.
    fn parcel(&self, delivery: &Delivery) -> Result<Parcel> {
        match &delivery.content {
            Content::Result { segmentation, what } => {
                self.result_parcel(segmentation, what, delivery.as_binary)
            }
            Content::Series { series } => {
                let study = delivery.study.as_str();
                let instances = self.archive.instances(study, series).context(ArchiveSnafu)?;
                if instances.is_empty() {
                    return NoSuchSeriesSnafu { study, series }.fail();
                }
                Ok(Parcel::stored(instances))
            }
        }
    }
}

const UNREACHABLE: &str = "node_unreachable";

/// Sends what is left, noting in the delivery what the node has taken.
fn send(
    node: &dyn Node,
    claimed: &Claimed,
    left: &[InstanceEntry],
    delivery: &mut Delivery,
    is_over: &dyn Fn() -> bool,
) -> Result<Answers, Unreachable> {
    let mut answers = Answers::default();
    if left.is_empty() {
        return Ok(answers);
    }
    let is_result = matches!(delivery.content, Content::Result { .. });
    let sent = &mut delivery.sent;
    let mut told = |entry: &InstanceEntry, what: Sent| {
        let uid = entry.uids.sop_instance_uid.clone();
        match what {
            Sent::Taken => drop(sent.insert(uid)),
            Sent::ClassRefused if is_label_map(entry) && is_result => answers.label_map_refused = true,
            Sent::ClassRefused => answers.class_refused.push(entry.clone()),
            Sent::Refused { reason, lasting: true } => answers.refused.push((uid, reason)),
            Sent::Refused { reason, lasting: false } => answers.refused_for_now.push((uid, reason)),
        }
        claimed.progress(sent.len() as u64);
        !is_over() && !answers.label_map_refused
    };
    node.send(left, &mut told)?;
    Ok(answers)
}

impl Answers {
    fn judge(self, node: &dyn Node, delivery: &Delivery) -> Attempt {
        let node = node.name();
        if let Some((uid, reason)) = self.refused_for_now.first() {
            return Attempt::Later(JobFailure {
                code: "refused_for_now".to_owned(),
                message: format!(
                    "could not deliver: {node} refused {} instances for now; of {uid} it said: {reason}",
                    self.refused_for_now.len()
                ),
                what_to_do: "It is tried again; look at the node if it stays so.".to_owned(),
            });
        }
        let classes = self.class_refused.iter().map(|entry| {
            let reason = format!("it takes no instances of SOP class {}", entry.sop_class_uid);
            (entry.uids.sop_instance_uid.clone(), reason)
        });
        let refused: Vec<(String, String)> = self.refused.into_iter().chain(classes).collect();
        if let Some((uid, reason)) = refused.first() {
            return Attempt::Never(JobFailure {
                code: "refused".to_owned(),
                message: format!(
                    "could not deliver: {node} refused {} instances; of {uid} it said: {reason}",
                    refused.len()
                ),
                what_to_do: "Change what the rule sends to this node, or what the node takes; then resend."
                    .to_owned(),
            });
        }
        Attempt::Done(DeliverySummary { instances: delivery.sent.clone(), as_binary: delivery.as_binary })
    }
}

fn unreachable_failure(node: &dyn Node, unreachable: &Unreachable) -> JobFailure {
    JobFailure {
        code: UNREACHABLE.to_owned(),
        message: format!("could not reach {}: {}", node.name(), unreachable.reason),
        what_to_do: "It is tried again; `engram doctor` asks every node whether it is there.".to_owned(),
    }
}

fn stopped() -> JobFailure {
    JobFailure {
        code: "interrupted".to_owned(),
        message: "The server ended before everything was sent.".to_owned(),
        what_to_do: "Nothing: it goes on.".to_owned(),
    }
}

/// Whether trying again would end the same.
fn is_lasting(error: &Error) -> bool {
    !matches!(error, Error::Archive { .. } | Error::File { .. } | Error::Queue { .. })
}
