//! What would rules do to what is stored?

use std::time::{Duration, SystemTime};

use engram_archive::{Level, Query};
use engram_jobs::{JobFailure, JobId};
use engram_routing::{PlannedSegmentation, Rule, Send};
use serde::{Deserialize, Serialize};
use snafu::ResultExt;
use utoipa::ToSchema;

use super::act::Seen;
use crate::Workflow;
use crate::error::{ArchiveSnafu, Result, failure};
use crate::request::FixedUids;

/// Days that are looked back, unless a query says otherwise.
const DAYS: u32 = 7;
/// Series told of, unless a query says otherwise, and at the most.
const LIMIT: usize = 1000;
/// StudyInstanceUID.
const STUDY: dicom_core::Tag = dicom_dictionary_std::tags::STUDY_INSTANCE_UID;

/// Which rules, and what they are tried on.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DryRunQuery {
    /// The rules to try; none: those in force.
    pub rules: Option<Vec<Rule>>,
    /// Studies that arrived in the last so many days.
    pub days: u32,
    /// Series told of at the most.
    pub limit: usize,
}

impl Default for DryRunQuery {
    fn default() -> Self {
        Self { rules: None, days: DAYS, limit: LIMIT }
    }
}

/// What rules would do.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DryRun {
    /// Studies that arrived in those days.
    pub studies: usize,
    /// Series of theirs that were looked at.
    pub series: usize,
    /// Whether there is more than is told of.
    pub truncated: bool,
    /// What would be done.
    pub foreseen: Vec<Foreseen>,
}

/// What would be done about a series.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Foreseen {
    /// StudyInstanceUID.
    pub study: String,
    /// SeriesInstanceUID.
    pub series: String,
    /// Modality.
    pub modality: String,
    /// SeriesDescription.
    pub description: String,
    /// Its slices.
    pub slices: u64,
    /// Names of the rules.
    pub rules: Vec<String>,
    /// Whether a condition on where the study came from was taken to hold: nobody can tell any more.
    pub assumed: bool,
    /// What would be done.
    #[serde(flatten)]
    pub would: Would,
}

/// What would be done.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "would", rename_all = "snake_case")]
pub enum Would {
    /// Segment it.
    Segment {
        /// Keys of the labels.
        labels: Vec<String>,
        /// Where the result would go.
        send: Vec<Send>,
    },
    /// Nothing: it was segmented in these words already.
    BeDoneAlready {
        /// The job that did.
        #[schema(value_type = String)]
        job: JobId,
    },
    /// Nothing: it cannot be segmented as the rule says.
    Refuse {
        /// Why not.
        error: JobFailure,
    },
    /// Send it to a node.
    Forward {
        /// The node's name.
        to: String,
    },
}

impl Workflow {
    /// What rules would do to the studies that arrived lately, had they been in force. Does nothing.
    ///
    /// # Errors
    /// [`Error::BadRule`](crate::Error::BadRule); the archive fails.
    pub fn dry_run(&self, query: &DryRunQuery) -> Result<DryRun> {
        let in_force = self.rules.current();
        let rules = query.rules.as_deref().unwrap_or(&in_force);
        rules.iter().try_for_each(|rule| self.check_rule(rule))?;
        let since = SystemTime::now().checked_sub(Duration::from_secs(u64::from(query.days) * 24 * 3600));
        let mut run = DryRun { studies: 0, series: 0, truncated: false, foreseen: Vec::new() };
        for found in self.archive.search(&Query::at(Level::Study)).context(ArchiveSnafu)?.items {
            let study = found.text(STUDY).unwrap_or_default();
            if !self.arrived_since(&study, since)? {
                continue;
            }
            run.studies += 1;
            self.try_on_study(rules, &study, &mut run)?;
            if run.foreseen.len() >= query.limit.clamp(1, LIMIT) {
                run.foreseen.truncate(query.limit.clamp(1, LIMIT));
                run.truncated = true;
                break;
            }
        }
        Ok(run)
    }

    /// Whether an object of the study was written since then. None: since ever.
    fn arrived_since(&self, study: &str, since: Option<SystemTime>) -> Result<bool> {
        let Some(since) = since else { return Ok(true) };
        for series in self.archive.series(study).context(ArchiveSnafu)? {
            let instances =
                self.archive.instances(study, &series.series_instance_uid).context(ArchiveSnafu)?;
            let written = |path: &std::path::Path| path.metadata().and_then(|file| file.modified()).ok();
            let last = instances.last().and_then(|instance| written(&instance.path));
            if last.is_some_and(|at| at >= since) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn try_on_study(&self, rules: &[Rule], study: &str, run: &mut DryRun) -> Result<()> {
        for entry in self.archive.series(study).context(ArchiveSnafu)? {
            let Some(seen) = self.see(entry)? else { continue };
            run.series += 1;
            let plan = seen.plan(rules.iter(), None);
            for planned in &plan.segmentations {
                let would = self.would_segment(&seen, planned)?;
                run.foreseen.push(seen.foreseen(planned.rules.clone(), planned.assumed, would));
            }
            for planned in &plan.forwards {
                let would = Would::Forward { to: planned.to.clone() };
                run.foreseen.push(seen.foreseen(vec![planned.rule.clone()], planned.assumed, would));
            }
        }
        Ok(())
    }

    fn would_segment(&self, seen: &Seen, planned: &PlannedSegmentation) -> Result<Would> {
        let job = seen.id_of(planned)?;
        let sop_instance = FixedUids::of_job(job).sop_instance_uid;
        if self.archive.find_instance(&sop_instance).context(ArchiveSnafu)?.is_some() {
            return Ok(Would::BeDoneAlready { job });
        }
        Ok(match self.check_request(&seen.request(planned)?) {
            Ok(labels) => Would::Segment { labels, send: planned.send.clone() },
            Err(error) => Would::Refuse { error: failure(&error) },
        })
    }
}

impl Seen {
    fn foreseen(&self, rules: Vec<String>, assumed: bool, would: Would) -> Foreseen {
        let description = self.attributes.get("0008103E").and_then(|element| element["Value"][0].as_str());
        Foreseen {
            study: self.entry.study_instance_uid.clone(),
            series: self.entry.series_instance_uid.clone(),
            modality: self.entry.modality.clone(),
            description: description.unwrap_or_default().to_owned(),
            slices: self.slices,
            rules,
            assumed,
            would,
        }
    }
}
