//! From one bundle to another while the first serves: the exemplars are encoded anew in the background, then the
//! switch is a single step.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use engram_inference::Bundle;
use engram_jobs::{CancelToken, Claimed, Job, JobId, NewJob};
use engram_segmenter::Observer;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use snafu::{OptionExt, ResultExt, ensure};

use super::choices::{Asked, Choice, Choices};
use super::served::ServedBundle;
use crate::error::{
    BundleNeededSnafu, CancelledSnafu, JournalSnafu, JsonSnafu, OpenBundleSnafu, QueueSnafu, Result,
    SwitchUnderWaySnafu,
};
use crate::{Error, REENCODING_KIND, Workflow, report};

/// How long a dropped bundle is waited for until its last computation has ended.
const LAST_COMPUTATION: Duration = Duration::from_secs(5);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The payload of a re-encoding job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ReencodingJob {
    /// Id of the bundle to come into use.
    bundle: String,
}

/// What came of a re-encoding: a job's `result`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reencoded {
    /// Id of the bundle in use.
    pub bundle: String,
    /// Id of the one before.
    pub before: String,
    /// Annotated slices in the bank of the bundle in use.
    pub exemplars: usize,
    /// Annotated slices in the bank of the one before.
    pub exemplars_before: usize,
    /// Series that give no exemplars, with neither bundle, and why.
    pub passed_over: BTreeMap<String, String>,
}

/// Has a bundle taken into use by a server that is not running; it will encode the exemplars when it starts.
///
/// # Errors
/// The journal in the data folder cannot be written.
pub fn ask_on_stopped_store(data: &Path, bundle: &Bundle) -> Result<()> {
    let choice = Choice { id: bundle.id().to_owned(), folder: bundle.folder().to_path_buf() };
    let choices = Choices::open(data).context(JournalSnafu)?;
    choices.ask(choice, JobId::new_v4()).context(JournalSnafu)
}

/// Nobody sees the stages of one series; the job's end is seen.
struct Interruption<'a> {
    cancel: CancelToken,
    stop: &'a Arc<AtomicBool>,
}

impl Observer for Interruption<'_> {
    fn cancelled(&self) -> bool {
        self.cancel.is_cancelled() || self.stop.load(Ordering::Acquire)
    }
}

impl Workflow {
    /// Asks for a bundle to come into use: a job encodes every exemplar for it, then it is in use, while the one
    /// before serves. `None` where it is in use already.
    ///
    /// # Errors
    /// [`Error::NoSuchBundle`], [`Error::SwitchUnderWay`], [`Error::OpenBundle`] where its files are damaged, or the
    /// queue or the journal fails.
    pub fn use_bundle(&self, asked: &str) -> Result<Option<Job>> {
        let known = self.bundles.known_as(asked)?;
        let bundle = Bundle::open(known.folder()).context(OpenBundleSnafu { folder: known.folder() })?;
        let _one_at_a_time = self.bundles.changing.lock();
        if let Some(Asked { bundle, job }) = self.switch_under_way()? {
            return SwitchUnderWaySnafu { bundle: bundle.id, job }.fail();
        }
        if bundle.id() == self.bundles.in_use().id() {
            return Ok(None);
        }
        let choice = Choice { id: bundle.id().to_owned(), folder: bundle.folder().to_path_buf() };
        let asked = Asked { bundle: choice, job: JobId::new_v4() };
        self.bundles.choices.ask(asked.bundle.clone(), asked.job).context(JournalSnafu)?;
        match self.enqueue_switch(&asked) {
            Ok(job) => Ok(Some(job)),
            Err(error) => {
                self.bundles.choices.abandon(asked.job).context(JournalSnafu)?;
                Err(error)
            }
        }
    }

    /// Serves a bundle no longer and removes its exemplars.
    ///
    /// # Errors
    /// [`Error::NoSuchBundle`]; [`Error::BundleNeeded`] where it is in use, configured, named by a rule or about to
    /// come into use.
    pub fn drop_bundle(&self, asked: &str) -> Result<()> {
        let id = self.withdraw_bundle(asked)?;
        let deadline = Instant::now() + LAST_COMPUTATION;
        while !self.bundles.is_released(&id) {
            if Instant::now() > deadline {
                tracing::info!(bundle = id, "still computes; its exemplars are removed at the next start");
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        self.bundles.remove_bank(&id)
    }

    /// Takes a bundle that nothing needs away from requests to come; answers its id.
    fn withdraw_bundle(&self, asked: &str) -> Result<String> {
        let bundle = self.bundles.named(asked)?;
        let id = bundle.id().to_owned();
        let _one_at_a_time = self.bundles.changing.lock();
        if let Some(reason) = self.reason_to_keep(&bundle)? {
            return BundleNeededSnafu { bundle: id, reason }.fail();
        }
        self.bundles.choices.drop_bundle(&id).context(JournalSnafu)?;
        // The handle above outlives this one, and the lock.
        drop(self.bundles.withdraw(&id));
        Ok(id)
    }

    fn reason_to_keep(&self, bundle: &ServedBundle) -> Result<Option<String>> {
        if bundle.id() == self.bundles.in_use().id() {
            return Ok(Some("it is in use; take another into use first".into()));
        }
        if self.switch_under_way()?.is_some_and(|asked| asked.bundle.id == bundle.id()) {
            return Ok(Some("it is about to come into use; cancel its job first".into()));
        }
        if self.bundles.is_configured(bundle) {
            return Ok(Some("[models] bundles of the configuration names it".into()));
        }
        let names_it = |name: &String| self.bundles.named(name).is_ok_and(|named| named.id() == bundle.id());
        let rules = self.rules.current();
        let rule = rules.iter().find(|rule| rule.then.bundle.as_ref().is_some_and(names_it));
        Ok(rule.map(|rule| format!("rule \"{}\" names it", rule.name)))
    }

    /// The bundle that was asked for, while its job has not ended.
    pub(crate) fn switch_under_way(&self) -> Result<Option<Asked>> {
        let Some(asked) = self.bundles.choices.decided().asked else { return Ok(None) };
        let job = self.queue.get(asked.job).context(QueueSnafu)?;
        Ok(job.is_some_and(|job| !job.state.is_finished()).then_some(asked))
    }

    /// Takes up a switch that an earlier process, or a person while none ran, asked for.
    pub(crate) fn resume_switch(&self) -> Result<()> {
        let Some(asked) = self.bundles.choices.decided().asked else { return Ok(()) };
        match self.queue.get(asked.job).context(QueueSnafu)? {
            None => self.enqueue_switch(&asked).map(drop),
            Some(job) if job.state.is_finished() => {
                self.bundles.choices.abandon(asked.job).context(JournalSnafu)
            }
            Some(_) => Ok(()),
        }
    }

    fn enqueue_switch(&self, asked: &Asked) -> Result<Job> {
        let job = ReencodingJob { bundle: asked.bundle.id.clone() };
        let payload = serde_json::to_value(job).context(JsonSnafu { what: "a re-encoding job" })?;
        let new = NewJob { id: asked.job, ..NewJob::new(REENCODING_KIND, payload) };
        self.queue.enqueue(new).context(QueueSnafu)
    }

    /// Does a re-encoding job. Interrupted by the server's end it goes on later; failed or cancelled, everything
    /// stays as it was.
    pub(crate) fn run_reencoding(&self, claimed: &Claimed, stop: &Arc<AtomicBool>) -> Result<Value> {
        let id = claimed.job().id;
        let asked = self.bundles.choices.decided().asked.filter(|asked| asked.job == id);
        let Some(asked) = asked else { return self.resume_reencoding(claimed, stop) };
        let served_before = self.bundles.get(&asked.bundle.id).is_some();
        let outcome = self.reencode(&asked, claimed, stop);
        let goes_on = stop.load(Ordering::Acquire) && !claimed.cancel_token().is_cancelled();
        if let Err(error) = &outcome
            && !(goes_on && matches!(error, Error::Cancelled))
        {
            let one_at_a_time = self.bundles.changing.lock();
            self.bundles.choices.abandon(id).context(JournalSnafu)?;
            let gone = if served_before { None } else { self.bundles.withdraw(&asked.bundle.id) };
            drop(one_at_a_time);
            drop(gone);
        }
        serde_json::to_value(outcome?).context(JsonSnafu { what: "what a re-encoding did" })
    }

    /// Ends a job whose bundle is in use already: an earlier process came that far, or had to take it before its exemplars
    /// were made, since the one before it was broken. Cancelled where the bundle was asked for no longer.
    fn resume_reencoding(&self, claimed: &Claimed, stop: &Arc<AtomicBool>) -> Result<Value> {
        let what = "a re-encoding job";
        let job: ReencodingJob =
            serde_json::from_value(claimed.job().payload.clone()).context(JsonSnafu { what })?;
        let bundle = self.bundles.in_use();
        ensure!(bundle.id() == job.bundle, CancelledSnafu);
        let before = self.bundles.choices.decided().kept.pop().context(CancelledSnafu)?;
        let passed_over = self.encode_all(&bundle, claimed, stop)?;
        let done = self.reencoded(&bundle, before.id, passed_over);
        serde_json::to_value(done).context(JsonSnafu { what: "what a re-encoding did" })
    }

    /// What to tell once a bundle is in use, in place of the one called `before`.
    fn reencoded(
        &self,
        bundle: &ServedBundle,
        before: String,
        passed_over: BTreeMap<String, String>,
    ) -> Reencoded {
        Reencoded {
            bundle: bundle.id().to_owned(),
            exemplars: bundle.exemplar_slices(),
            exemplars_before: self.bundles.get(&before).map_or(0, |before| before.exemplar_slices()),
            before,
            passed_over,
        }
    }

    fn reencode(&self, asked: &Asked, claimed: &Claimed, stop: &Arc<AtomicBool>) -> Result<Reencoded> {
        claimed.stage("load", 0);
        let bundle = self.load_asked(&asked.bundle)?;
        let passed_over = self.encode_all(&bundle, claimed, stop)?;
        claimed.stage("switch", 0);
        bundle.bank.wait_for_index();
        let before = self.bundles.in_use();
        {
            let _one_at_a_time = self.bundles.changing.lock();
            self.bundles.switch_to(&bundle)?;
        }
        tracing::info!(bundle = bundle.id(), before = before.id(), "another bundle is in use");
        Ok(self.reencoded(&bundle, before.id().to_owned(), passed_over))
    }

    /// The bundle asked for, served beside the one in use, so that annotations that arrive now are encoded for both.
    fn load_asked(&self, asked: &Choice) -> Result<Arc<ServedBundle>> {
        if let Some(served) = self.bundles.get(&asked.id) {
            return Ok(served);
        }
        let folder = asked.folder.as_path();
        let found = Bundle::open(folder).context(OpenBundleSnafu { folder })?;
        let reason = format!("its folder now holds {}", found.id());
        ensure!(found.id() == asked.id, BundleNeededSnafu { bundle: &asked.id, reason });
        self.bundles.serve(found, |bundle| {
            // Nobody is to take it for taught before it is.
            let targets = self.annotations.lock().targets();
            bundle.begin_lessons(targets.len(), targets.into_iter().map(|(_, series)| series).collect());
        })
    }

    /// Encodes every annotated series that the bundle's bank lacks, until none is left. Answers the series that give
    /// no exemplars.
    fn encode_all(
        &self,
        bundle: &ServedBundle,
        claimed: &Claimed,
        stop: &Arc<AtomicBool>,
    ) -> Result<BTreeMap<String, String>> {
        let observer = Interruption { cancel: claimed.cancel_token(), stop };
        let mut passed_over: BTreeMap<String, String> = BTreeMap::new();
        loop {
            let total = self.annotations.lock().targets().len();
            let mut missing = self.missing(bundle)?;
            missing.retain(|(_, series)| !passed_over.contains_key(series));
            let left: BTreeSet<String> = missing.iter().map(|(_, series)| series.clone()).collect();
            bundle.begin_lessons(total, left);
            if missing.is_empty() {
                return Ok(passed_over);
            }
            claimed.stage("encode", total as u64);
            for (study, series) in missing {
                ensure!(!observer.cancelled(), CancelledSnafu);
                if let Err(error) = self.reconcile(bundle, &study, &series, &observer) {
                    passed_over.insert(series.clone(), self.excuse(&series, error)?);
                }
                bundle.end_lesson(&series);
                let (done, _) = bundle.lessons().unwrap_or((total, total));
                claimed.progress(done as u64);
            }
        }
    }

    /// Why a series that could not be encoded may be left out: with the bundle in use it gives no exemplars either.
    fn excuse(&self, series: &str, error: Error) -> Result<String> {
        if matches!(error, Error::Cancelled) || !self.in_bank(&self.bundles.in_use(), series)?.is_empty() {
            return Err(error);
        }
        let reason = report(&error);
        tracing::warn!(series, error = reason, "no exemplars of this series");
        Ok(reason)
    }
}
