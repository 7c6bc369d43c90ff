//! What happens when instances come and go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use engram_archive::{InstanceEntry, StoredInstance};
use engram_jobs::{Claimed, NewJob};
use engram_routing::{Actions, Facts, decide};
use engram_segmenter::Observer;
use serde_json::Value;
use snafu::ResultExt;

use crate::annotations::{self, is_segmentation};
use crate::error::{ArchiveSnafu, JournalSnafu, JsonSnafu, QueueSnafu, Result};
use crate::ingestion::{IngestionJob, IngestionSummary};
use crate::progress::JobObserver;
use crate::{Error, INGESTION_KIND, ServedBundle, Workflow, report};

impl Workflow {
    /// Makes durable what a request said about the segmentations among its instances. Called before any of them is
    /// acknowledged; a request that says nothing costs nothing.
    pub fn before_acknowledge<'a>(
        &self,
        stored: impl Iterator<Item = &'a StoredInstance>,
        partial: bool,
        collection: Option<&str>,
    ) -> Result<()> {
        if !partial && collection.is_none() {
            return Ok(());
        }
        let segmentations =
            stored.filter(|i| is_segmentation(&i.sop_class_uid)).map(|i| i.uids.sop_instance_uid.as_str());
        // A deletion that is being told of must not take what is said of a SEG that is stored again.
        let _index = self.annotations.lock();
        self.flags.received(segmentations, partial, collection).context(JournalSnafu)
    }

    /// An instance is in the archive, whether it has just come or was there before: who sent it may not have been told, and the
    /// workflow neither. Quick: what takes time becomes a job.
    pub fn instance_stored(&self, instance: &StoredInstance) {
        let uids = &instance.uids;
        let job = if is_segmentation(&instance.sop_class_uid) {
            IngestionJob::Segmentation { sop_instance: uids.sop_instance_uid.clone() }
        } else if self.annotations.lock().arrived(&uids.series_instance_uid, &uids.sop_instance_uid) {
            IngestionJob::Series {
                study: uids.study_instance_uid.clone(),
                series: uids.series_instance_uid.clone(),
            }
        } else {
            return;
        };
        self.ask(&job);
    }

    /// Instances are gone from the archive: so are their exemplars, and an earlier annotation may count again. Those that have been
    /// stored again in the meantime stay.
    pub fn deleted(&self, instances: &[StoredInstance]) {
        let mut series: BTreeSet<(String, String)> = BTreeSet::new();
        {
            let mut segmentations = Vec::new();
            let mut index = self.annotations.lock();
            for instance in instances {
                let uids = &instance.uids;
                if self.is_stored(&uids.study_instance_uid, &uids.series_instance_uid, &uids.sop_instance_uid)
                {
                    continue;
                }
                if is_segmentation(&instance.sop_class_uid) {
                    segmentations.push(uids.sop_instance_uid.as_str());
                    series.extend(
                        index.remove(&uids.sop_instance_uid).into_iter().flat_map(|a| a.targets.into_keys()),
                    );
                } else {
                    index.departed(&uids.series_instance_uid, &uids.sop_instance_uid);
                    series.insert((uids.study_instance_uid.clone(), uids.series_instance_uid.clone()));
                }
            }
            if let Err(error) = self.flags.forget(segmentations.into_iter()) {
                tracing::error!(error = %report(&error), "could not forget flags of deleted segmentations");
            }
        }
        for (study, series) in series {
            // With its images gone there is nothing to compute, so this is quick; what remains becomes a job.
            if let Err(error) = self.drop_unwanted(&study, &series) {
                tracing::error!(%series, error = %report(&error), "could not remove exemplars");
            }
            self.ask(&IngestionJob::Series { study, series });
        }
    }

    /// Puts an ingestion job into the queue. If that fails nothing is lost: the next start asks again.
    pub(crate) fn ask(&self, job: &IngestionJob) {
        let enqueued = serde_json::to_value(job)
            .context(JsonSnafu { what: "an ingestion job" })
            .and_then(|payload| self.queue.enqueue(NewJob::new(INGESTION_KIND, payload)).context(QueueSnafu));
        if let Err(error) = enqueued {
            tracing::error!(error = %report(&error), "could not ask for exemplars; the next start will");
        }
    }

    /// Reads which SEGs annotate what.
    pub(crate) fn index_annotations(&self) -> Result<()> {
        let found = annotations::scan(&self.archive)?;
        let mut index = self.annotations.lock();
        for annotation in found {
            index.add(annotation, |study, series, sop| self.is_stored(study, series, sop));
        }
        Ok(())
    }

    /// Asks for what the banks lack: ingestion that a crash lost between storing and queueing, and what was annotated
    /// before a bundle was served.
    pub(crate) fn resume(&self) -> Result<()> {
        let total = self.annotations.lock().targets().len();
        let mut missing = BTreeSet::new();
        for bundle in self.bundles.all() {
            let of_bundle = self.missing(&bundle)?;
            bundle.begin_lessons(total, of_bundle.iter().map(|(_, series)| series.clone()).collect());
            missing.extend(of_bundle);
        }
        self.bundles.remove_unused_banks(missing.is_empty())?;
        for (study, series) in missing {
            self.ask(&IngestionJob::Series { study, series });
        }
        Ok(())
    }

    /// Annotated series, (study, series), that the bundle's bank is not up to date with.
    pub(crate) fn missing(&self, bundle: &ServedBundle) -> Result<Vec<(String, String)>> {
        let targets = self.annotations.lock().targets();
        let mut missing = Vec::new();
        for (study, series) in targets {
            if !self.series_is_up_to_date(bundle, &study, &series)? {
                missing.push((study, series));
            }
        }
        Ok(missing)
    }

    /// Does an ingestion job.
    pub(crate) fn run_ingestion(&self, claimed: &Claimed, stop: &Arc<AtomicBool>) -> Result<Value> {
        let job: IngestionJob = serde_json::from_value(claimed.job().payload.clone())
            .context(JsonSnafu { what: "an ingestion job" })?;
        let observer = JobObserver::new(claimed, stop, 0);
        let summary = self.ingest_job(&job, &observer)?;
        serde_json::to_value(summary).context(JsonSnafu { what: "what an ingestion did" })
    }

    fn ingest_job(&self, job: &IngestionJob, observer: &dyn Observer) -> Result<IngestionSummary> {
        let targets = match job {
            IngestionJob::Series { study, series } => vec![(study.clone(), series.clone())],
            IngestionJob::Segmentation { sop_instance } => self.register(sop_instance)?,
        };
        let mut all = IngestionSummary::default();
        let mut failed = None;
        for (study, series) in targets {
            for bundle in self.bundles.all() {
                match self.reconcile(&bundle, &study, &series, observer) {
                    Ok(one) => all.add(one),
                    Err(Error::Cancelled) => return Err(Error::Cancelled),
                    // Deleted in the meantime: there is nothing to make exemplars of.
                    Err(Error::NoSuchSeries { .. } | Error::NoSuchSegmentation { .. }) => {}
                    // What one bundle cannot do, another may.
                    Err(error) => failed = failed.or(Some(error)),
                }
                bundle.end_lesson(&series);
            }
        }
        failed.map_or(Ok(all), Err)
    }

    /// Takes a stored SEG into the index; the series it annotates.
    fn register(&self, segmentation: &str) -> Result<Vec<(String, String)>> {
        let Some(entry) = self.archive.find_instance(segmentation).context(ArchiveSnafu)? else {
            return Ok(Vec::new());
        };
        let annotation = annotations::read(&entry)?;
        let targets = annotation.targets.keys().cloned().collect();
        // The index is locked while it looks into the archive: an image that arrives meanwhile is either seen
        // there or finds its SEG waiting.
        let mut index = self.annotations.lock();
        index.add(annotation, |study, series, sop| self.is_stored(study, series, sop));
        Ok(targets)
    }

    fn is_stored(&self, study: &str, series: &str, sop: &str) -> bool {
        self.archive.instance(study, series, sop).is_ok_and(|found| found.is_some())
    }

    /// What the rules decide for a series, by the attributes of its first instance.
    pub(crate) fn actions(&self, study: &str, series: &str) -> Result<Actions> {
        let rules = self.rules.current();
        if rules.is_empty() {
            return Ok(Actions::default());
        }
        let instances = self.archive.instances(study, series).context(ArchiveSnafu)?;
        let Some(first) = instances.first() else { return Ok(Actions::default()) };
        let sop = first.uids.sop_instance_uid.as_str();
        let json = self.archive.instance_json(study, series, sop).context(ArchiveSnafu)?.unwrap_or_default();
        Ok(decide(&rules, &Facts { attributes: &json, slices: slices(&instances), origin: None }))
    }
}

/// The slices of a series: instances, or frames where it is a single instance.
pub(crate) fn slices(instances: &[InstanceEntry]) -> u64 {
    match instances {
        [only] => u64::from(only.frames),
        several => several.len() as u64,
    }
}
