//! What leaves the house: a durable queue of deliveries to nodes and of news to webhooks.
//!
//! Each node and each webhook has a kind of job and a thread of its own, so that one that is down holds up no other. A delivery
//! that fails is tried again after a while that doubles, and is given up after `give_up_after`: it then stays, failed,
//! until somebody resends or discards it (a dead letter).

mod deliver;
mod forms;
mod hook;
mod node;
mod retry;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use engram_jobs::{CancelOutcome, Claimed, Job, JobFilter, JobId, NewJob};
use engram_routing::What;
use serde::{Deserialize, Serialize};
use snafu::ResultExt;
use utoipa::ToSchema;

use crate::error::{JsonSnafu, QueueSnafu, Result};
use crate::request::SegmentationSummary;
use crate::routing::{Route, named};
use crate::{Error, Workflow};

pub(crate) use forms::folder;

pub use hook::{CallFailure, Hook};
pub use node::{Node, Sent, Unreachable};
pub use retry::OutboxOptions;

/// What a kind of job for a node begins with; its name follows.
const TO_NODE: &str = "node:";
/// What a kind of job for a webhook begins with; its name follows.
const TO_HOOK: &str = "webhook:";

/// The payload of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Name of the node.
    pub node: String,
    /// Names of the rules that ask for it.
    pub rules: Vec<String>,
    /// StudyInstanceUID.
    pub study: String,
    /// What it gets.
    pub content: Content,
    /// SOPInstanceUIDs that it has taken already.
    #[serde(default)]
    pub sent: BTreeSet<String>,
    /// Whether it has turned out that it takes the SEG as BINARY alone.
    #[serde(default)]
    pub as_binary: bool,
}

/// What a node gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "content", rename_all = "snake_case")]
pub enum Content {
    /// A result.
    Result {
        /// SOPInstanceUID of the SEG.
        segmentation: String,
        /// In which forms.
        what: Vec<What>,
    },
    /// A series as it is stored.
    Series {
        /// SeriesInstanceUID.
        series: String,
    },
}

/// What a delivery's job had to tell at its end: its `result`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliverySummary {
    /// SOPInstanceUIDs that the node has.
    pub instances: BTreeSet<String>,
    /// Whether the SEG went as BINARY, since the node does not take LABELMAP.
    pub as_binary: bool,
}

/// Who gets something: a node or a webhook, and the thread that serves it.
#[derive(Clone)]
pub(crate) enum Recipient {
    Node(Arc<dyn Node>),
    Hook(Arc<dyn Hook>),
}

impl Recipient {
    /// The kind of its jobs.
    pub fn kind(&self) -> String {
        match self {
            Self::Node(node) => format!("{TO_NODE}{}", node.name()),
            Self::Hook(hook) => format!("{TO_HOOK}{}", hook.name()),
        }
    }
}

impl Workflow {
    pub(crate) fn recipients(&self) -> Vec<Recipient> {
        let nodes = self.nodes.iter().cloned().map(Recipient::Node);
        nodes.chain(self.hooks.iter().cloned().map(Recipient::Hook)).collect()
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Option<&Arc<dyn Node>> {
        self.nodes.iter().find(|node| node.name() == name)
    }

    pub(crate) fn names_of_nodes(&self) -> String {
        match self.nodes.iter().map(|node| node.name()).collect::<Vec<_>>() {
            names if names.is_empty() => "none".to_owned(),
            names => names.join(", "),
        }
    }

    /// Waits a moment for something to send to a recipient, and sends it.
    pub(crate) fn serve(
        &self,
        recipient: &Recipient,
        kind: &str,
        patience: Duration,
        stop: &Arc<AtomicBool>,
    ) {
        let Some(claimed) = self.outbox.claim(&[kind], patience) else { return };
        match recipient {
            Recipient::Node(node) => self.run_delivery(node.as_ref(), claimed, stop),
            Recipient::Hook(hook) => self.run_call(hook.as_ref(), claimed),
        }
    }

    /// Takes a delivery into the outbox, durably. One that is there already, or was lately, is not taken again.
    pub(crate) fn post(&self, id: JobId, priority: i32, delivery: Delivery) -> Result<()> {
        let kind = format!("{TO_NODE}{}", delivery.node);
        let payload = serde_json::to_value(delivery).context(JsonSnafu { what: "a delivery" })?;
        self.put_into_outbox(NewJob { id, priority, ..NewJob::new(kind, payload) })
    }

    /// Has a result sent to where its route says.
    pub(crate) fn post_result(&self, summary: &SegmentationSummary, route: &Route) -> Result<()> {
        for send in &route.send {
            let delivery = Delivery {
                node: send.to.clone(),
                rules: route.rules.clone(),
                study: summary.study.clone(),
                content: Content::Result {
                    segmentation: summary.sop_instance.clone(),
                    what: send.what.clone(),
                },
                sent: BTreeSet::new(),
                as_binary: false,
            };
            self.post(named(&["result", &summary.sop_instance, &send.to]), route.priority, delivery)?;
        }
        Ok(())
    }

    fn put_into_outbox(&self, new: NewJob) -> Result<()> {
        match self.outbox.enqueue(new) {
            Ok(_) | Err(engram_jobs::Error::Exists { .. }) => Ok(()),
            Err(source) => Err(Error::Queue { source }),
        }
    }

    /// What waits in the outbox, or went through it lately: deliveries and calls of webhooks, newest first.
    pub fn outbox(&self, filter: &JobFilter) -> Result<Vec<Job>> {
        self.outbox.list(filter).context(QueueSnafu)
    }

    /// One of them.
    pub fn posted(&self, id: JobId) -> Result<Option<Job>> {
        self.outbox.get(id).context(QueueSnafu)
    }

    /// Has it sent now: one that was given up, or that waits to be tried again.
    pub fn resend(&self, id: JobId) -> Result<Option<Job>> {
        self.outbox.again(id).context(QueueSnafu)
    }

    /// Has it not sent: one that waits is cancelled, one that was given up is forgotten. Whether there is such a one.
    pub fn discard(&self, id: JobId) -> Result<bool> {
        match self.outbox.cancel(id).context(QueueSnafu)? {
            None => Ok(false),
            Some(CancelOutcome::AlreadyFinished(_)) => self.outbox.forget(id).context(QueueSnafu),
            Some(_) => Ok(true),
        }
    }

    /// How many deliveries and calls wait, are under way, and were given up.
    pub fn outbox_depth(&self) -> (usize, usize, usize) {
        let (waiting, running) = self.outbox.depth();
        (waiting, running, self.outbox.failed())
    }
}

/// Records how something ended, or when it is tried again.
fn settle(claimed: Claimed, ended: Ended) {
    let id = claimed.job().id;
    let recorded = match ended {
        Ended::Now(outcome) => claimed.finish(outcome),
        Ended::Later(later) => claimed.retry(later),
    };
    if let Err(error) = recorded {
        tracing::error!(delivery = %id, error = %crate::report(&error), "could not record how a delivery ended");
    }
}

/// How an attempt ended.
enum Ended {
    Now(Result<serde_json::Value, engram_jobs::JobFailure>),
    Later(engram_jobs::Retry),
}
