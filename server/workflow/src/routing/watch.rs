//! Waiting until a study is complete.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use engram_archive::StoredInstance;
use engram_jobs::{JobFilter, JobId, JobState, NewJob, Timestamp};
use engram_routing::Origin;
use parking_lot::Mutex;
use snafu::ResultExt;

use super::{ROUTING_KIND, RoutingJob};
use crate::Workflow;
use crate::error::{JsonSnafu, QueueSnafu, Result};

/// Seconds of quiet after which a webhook hears of a study that no rule waits for.
const QUIET_FOR_HOOKS: u64 = 60;

/// The routing jobs that wait for their studies to be quiet: by StudyInstanceUID and seconds of quiet.
#[derive(Default)]
pub(crate) struct Watch {
    waiting: Mutex<HashMap<(String, u64), JobId>>,
}

impl Workflow {
    /// Instances are stored and about to be acknowledged, new or once more: when this returns it is durable that the rules
    /// will be asked about their studies. Costs nothing where no rule acts.
    ///
    /// # Errors
    /// The queue is full, or fails: the sender is to be told, so that it tries again.
    pub fn arriving<'a>(
        &self,
        instances: impl Iterator<Item = &'a StoredInstance>,
        origin: &Origin,
    ) -> Result<()> {
        let quiets = self.awaited_quiets();
        if quiets.is_empty() {
            return Ok(());
        }
        let studies: BTreeSet<&str> = instances.map(|i| i.uids.study_instance_uid.as_str()).collect();
        for study in studies {
            for quiet_seconds in &quiets {
                let quiet_seconds = *quiet_seconds;
                self.await_quiet(&RoutingJob {
                    study: study.to_owned(),
                    quiet_seconds,
                    origin: origin.clone(),
                })?;
            }
        }
        Ok(())
    }

    /// Takes up waiting again for what an earlier process left. Each study is given its time of quiet anew.
    pub(crate) fn resume_watch(&self) -> Result<()> {
        let filter = JobFilter {
            kind: Some(ROUTING_KIND.to_owned()),
            states: vec![JobState::Queued],
            ..JobFilter::default()
        };
        let mut waiting = self.watch.waiting.lock();
        for job in self.queue.list(&filter).context(QueueSnafu)? {
            let routing: RoutingJob =
                serde_json::from_value(job.payload).context(JsonSnafu { what: "a routing job" })?;
            self.queue.postpone(job.id, self.quiet_from_now(&routing)).context(QueueSnafu)?;
            waiting.insert((routing.study, routing.quiet_seconds), job.id);
        }
        Ok(())
    }

    /// The job is about to be done: what arrives from now on makes another.
    pub(super) fn end_watch(&self, routing: &RoutingJob) {
        self.watch.waiting.lock().remove(&(routing.study.clone(), routing.quiet_seconds));
    }

    fn await_quiet(&self, routing: &RoutingJob) -> Result<()> {
        let not_before = self.quiet_from_now(routing);
        let mut waiting = self.watch.waiting.lock();
        let key = (routing.study.clone(), routing.quiet_seconds);
        if let Some(id) = waiting.get(&key)
            && self.queue.postpone(*id, not_before).context(QueueSnafu)?
        {
            return Ok(());
        }
        let payload = serde_json::to_value(routing).context(JsonSnafu { what: "a routing job" })?;
        let new = NewJob { not_before: Some(not_before), ..NewJob::new(ROUTING_KIND, payload) };
        let job = self.queue.enqueue(new).context(QueueSnafu)?;
        waiting.insert(key, job.id);
        Ok(())
    }

    fn quiet_from_now(&self, routing: &RoutingJob) -> Timestamp {
        let quiet = Duration::from_secs(routing.quiet_seconds).as_millis();
        Timestamp(self.queue.now().0.saturating_add(u64::try_from(quiet).unwrap_or(u64::MAX)))
    }

    /// How long studies must be quiet, in the words of each rule that acts and of webhooks.
    fn awaited_quiets(&self) -> BTreeSet<u64> {
        let mut quiets: BTreeSet<u64> =
            self.rules.current().iter().filter(|rule| rule.acts()).map(|rule| rule.quiet_seconds).collect();
        if quiets.is_empty() && self.hooks_want_studies() {
            quiets.insert(QUIET_FOR_HOOKS);
        }
        quiets
    }
}
