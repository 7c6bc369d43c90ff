//! Webhooks: news for site scripts.

use std::sync::Arc;

use engram_jobs::{Claimed, JobFailure, JobId, NewJob, Retry};
use snafu::ResultExt;

use super::{Ended, TO_HOOK, settle};
use crate::Workflow;
use crate::error::{JsonSnafu, Result};
use crate::news::{Item, NewsKind};
use crate::routing::named;

/// Why a webhook could not be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFailure {
    /// What happened.
    pub reason: String,
    /// Whether it would happen again.
    pub lasting: bool,
}

/// A webhook. Called on a thread of its own; it may block, but must not for ever.
pub trait Hook: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// Whether it wants this kind of news.
    fn wants(&self, kind: NewsKind) -> bool;

    /// Hands it an item of news, JSON. `id` is the same where the same item is handed over again.
    ///
    /// # Errors
    /// [`CallFailure`]: it may have been heard all the same.
    fn call(&self, id: JobId, body: &str) -> Result<(), CallFailure>;
}

impl Workflow {
    /// Has a webhook called with an item of news, durably; once for each job that the news is of.
    pub(crate) fn post_news(&self, hook: &dyn Hook, about: JobId, item: &Arc<Item>) -> Result<()> {
        let kind = format!("{TO_HOOK}{}", hook.name());
        let payload = serde_json::to_value(item.as_ref()).context(JsonSnafu { what: "news" })?;
        let which = serde_json::to_string(&item.news.kind()).context(JsonSnafu { what: "news" })?;
        let id = named(&["news", &about.to_string(), &which, hook.name()]);
        self.put_into_outbox(NewJob { id, ..NewJob::new(kind, payload) })
    }

    pub(super) fn run_call(&self, hook: &dyn Hook, claimed: Claimed) {
        let job = claimed.job();
        let Err(failed) = hook.call(job.id, &job.payload.to_string()) else {
            return settle(claimed, Ended::Now(Ok(serde_json::Value::Null)));
        };
        let failure = JobFailure {
            code: "webhook_failed".to_owned(),
            message: format!("could not call webhook {}: {}", hook.name(), failed.reason),
            what_to_do: "Check the webhook's URL and the script behind it, then resend.".to_owned(),
        };
        let next = self.options.outbox.next_attempt(job, self.outbox.now()).filter(|_| !failed.lasting);
        tracing::warn!(
            hook = hook.name(),
            reason = failed.reason,
            again = next.is_some(),
            "a webhook failed"
        );
        let Some(not_before) = next else { return settle(claimed, Ended::Now(Err(failure))) };
        let payload = job.payload.clone();
        settle(claimed, Ended::Later(Retry { payload, failure, not_before }));
        self.outbox.postpone_kind(&format!("{TO_HOOK}{}", hook.name()), not_before);
    }
}
