//! Questions about the bank and the jobs, and what people say about exemplars.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use engram_jobs::{CancelOutcome, Job, JobFilter, JobId, Subscription};
use engram_memory::{ExemplarSlice, ListFilter, SliceId};
use serde::Serialize;
use snafu::{OptionExt, ResultExt};
use utoipa::ToSchema;

use crate::error::{ArchiveSnafu, BankSnafu, FileSnafu, JournalSnafu, NoSuchResultSnafu, QueueSnafu, Result};
use crate::ingestion::IngestionJob;
use crate::request::SegmentationSummary;
use crate::{Workflow, annotations};

/// How the house stands.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // the names say it
pub struct Status {
    pub bundle: String,
    pub device: String,
    pub exemplar_slices: u64,
    pub annotations_waiting: usize,
    pub jobs_waiting: usize,
    pub jobs_running: usize,
    pub retrievals_by_graph: u64,
    pub retrievals_by_scan: u64,
}

/// A label of the bank.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LabelInfo {
    /// Its key.
    pub label: String,
    /// Its words.
    pub meaning: String,
    /// Slices that show it.
    pub exemplars: usize,
    /// Slices known not to show it.
    pub negatives: usize,
    /// Studies it was annotated in; counted anew in each collection and modality.
    pub studies: usize,
    /// Collections it is in.
    pub collections: BTreeSet<String>,
    /// What there is of it in each modality that it was annotated in.
    pub modalities: BTreeMap<String, LabelOfModality>,
}

/// What there is of a label in one modality.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct LabelOfModality {
    /// Slices that show it.
    pub exemplars: usize,
    /// Slices known not to show it.
    pub negatives: usize,
    /// Studies it was annotated in; counted anew in each collection.
    pub studies: usize,
}

/// Which exemplars to list.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)] // as the API names them
pub struct ExemplarFilter {
    pub label: Option<String>,
    pub study: Option<String>,
    pub series: Option<String>,
    pub collection: Option<String>,
    /// A served bundle; none: the one in use.
    pub bundle: Option<String>,
}

/// An annotated slice as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[allow(missing_docs)] // the names say it
pub struct ExemplarView {
    pub id: u64,
    pub study: String,
    pub series: String,
    pub sop_instance: String,
    pub frame: u32,
    pub slice_index: u32,
    pub patient_id: String,
    pub modality: String,
    pub collection: String,
    pub bundle: String,
    pub segmentation: String,
    /// Whether that SEG is silent about slices without a frame; else a label that it does not show is not there.
    pub partial: bool,
    pub present: Vec<String>,
    pub absent: Vec<String>,
}

/// A page of exemplars.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExemplarPage {
    /// The exemplars.
    pub exemplars: Vec<ExemplarView>,
    /// Where the next page starts, if there is one.
    pub next_offset: Option<usize>,
}

impl ExemplarView {
    fn new(slice: ExemplarSlice, partial: bool) -> Self {
        let (present, absent): (Vec<_>, Vec<_>) = slice.labels.into_iter().partition(|label| label.present);
        let keys = |labels: Vec<engram_memory::SliceLabel>| labels.into_iter().map(|l| l.label_key).collect();
        Self {
            id: slice.id.0,
            study: slice.image.study_instance_uid,
            series: slice.image.series_instance_uid,
            sop_instance: slice.image.sop_instance_uid,
            frame: slice.image.frame,
            slice_index: slice.slice_index,
            patient_id: slice.image.patient_id,
            modality: slice.image.modality,
            collection: slice.collection,
            bundle: slice.bundle_id,
            segmentation: slice.seg_sop_instance_uid,
            partial,
            present: keys(present),
            absent: keys(absent),
        }
    }
}

impl Workflow {
    /// How the house stands.
    pub fn status(&self) -> Status {
        let bundle = self.bundles.in_use();
        let bank = bundle.bank.metrics();
        let (jobs_waiting, jobs_running) = self.queue.depth();
        Status {
            bundle: bundle.id().to_owned(),
            device: bundle.engine().device().to_string(),
            exemplar_slices: bank.slices as u64,
            annotations_waiting: self.annotations.lock().waiting(),
            jobs_waiting,
            jobs_running,
            retrievals_by_graph: bank.graph_searches,
            retrievals_by_scan: bank.exact_searches,
        }
    }

    /// Every label of the bank of the bundle in use, by key.
    pub fn labels(&self) -> Result<Vec<LabelInfo>> {
        let bank = self.bundles.in_use().bank.clone();
        let mut labels: BTreeMap<String, LabelInfo> = BTreeMap::new();
        for counts in bank.labels() {
            let info = match labels.entry(counts.label_key.clone()) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    let definition = bank.label(&counts.label_key).context(BankSnafu)?;
                    entry.insert(LabelInfo {
                        label: counts.label_key.clone(),
                        meaning: definition.map(|d| d.name).unwrap_or_default(),
                        exemplars: 0,
                        negatives: 0,
                        studies: 0,
                        collections: BTreeSet::new(),
                        modalities: BTreeMap::new(),
                    })
                }
            };
            info.exemplars += counts.present;
            info.negatives += counts.absent;
            info.studies += counts.studies;
            info.collections.insert(counts.collection);
            let of_modality = info.modalities.entry(counts.modality).or_default();
            of_modality.exemplars += counts.present;
            of_modality.negatives += counts.absent;
            of_modality.studies += counts.studies;
        }
        Ok(labels.into_values().collect())
    }

    /// Annotated slices of one bundle's bank, in the order they came.
    pub fn exemplars(&self, filter: &ExemplarFilter, offset: usize, limit: usize) -> Result<ExemplarPage> {
        let bundle = match &filter.bundle {
            Some(bundle) => self.bundles.named(bundle)?,
            None => self.bundles.in_use(),
        };
        let filter = ListFilter {
            label_key: filter.label.as_deref(),
            study_instance_uid: filter.study.as_deref(),
            series_instance_uid: filter.series.as_deref(),
            collection: filter.collection.as_deref(),
            ..ListFilter::default()
        };
        let mut skipped = 0;
        let mut after: Option<SliceId> = None;
        let mut found: Vec<ExemplarView> = Vec::new();
        while found.len() <= limit {
            let page = bundle.bank.slices(&filter, after, usize::MAX).context(BankSnafu)?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            let skip = (offset - skipped).min(page.len());
            skipped += skip;
            found.extend(page.into_iter().skip(skip).map(|slice| {
                let partial = self.flags.of(&slice.seg_sop_instance_uid).partial;
                ExemplarView::new(slice, partial)
            }));
        }
        let more = found.len() > limit;
        found.truncate(limit);
        Ok(ExemplarPage { next_offset: more.then(|| offset + limit), exemplars: found })
    }

    /// A person vouches for a segmentation: it becomes exemplars whatever made it.
    pub fn approve(&self, segmentation: &str) -> Result<()> {
        let targets = self.annotated_by(segmentation)?;
        self.flags.approve(segmentation).context(JournalSnafu)?;
        self.update(targets);
        Ok(())
    }

    /// A person takes a segmentation, or one of its labels, out of the bank. It stays stored.
    pub fn withdraw(&self, segmentation: &str, label: Option<&str>) -> Result<()> {
        let targets = self.annotated_by(segmentation)?;
        self.flags.withdraw(segmentation, label).context(JournalSnafu)?;
        for (study, series) in &targets {
            self.drop_unwanted(study, series)?;
        }
        self.update(targets);
        Ok(())
    }

    fn update(&self, targets: Vec<(String, String)>) {
        targets.into_iter().for_each(|(study, series)| self.ask(&IngestionJob::Series { study, series }));
    }

    fn annotated_by(&self, segmentation: &str) -> Result<Vec<(String, String)>> {
        if let Some(known) = self.annotations.lock().get(segmentation) {
            return Ok(known.targets.keys().cloned().collect());
        }
        Ok(annotations::read(&self.segmentation_entry(segmentation)?)?.targets.into_keys().collect())
    }

    /// Jobs, newest first.
    pub fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>> {
        self.queue.list(filter).context(QueueSnafu)
    }

    /// One job.
    pub fn job(&self, id: JobId) -> Result<Option<Job>> {
        self.queue.get(id).context(QueueSnafu)
    }

    /// Asks a job to stop.
    pub fn cancel(&self, id: JobId) -> Result<Option<CancelOutcome>> {
        self.queue.cancel(id).context(QueueSnafu)
    }

    /// A job's events as they come.
    pub fn subscribe(&self, id: JobId) -> Result<Option<Subscription>> {
        self.queue.subscribe(id).context(QueueSnafu)
    }

    /// Waits until the job is finished, but no longer than `patience`; the job as it then stands.
    pub fn wait(&self, id: JobId, patience: Duration) -> Result<Option<Job>> {
        let Some(subscription) = self.subscribe(id)? else { return Ok(None) };
        let deadline = Instant::now() + patience;
        while !subscription.is_over() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            subscription.next(left);
        }
        self.job(id)
    }

    /// The SEG of a finished job, Part 10: from the archive, or the preview kept with the job.
    pub fn result_object(&self, id: JobId) -> Result<Vec<u8>> {
        let summary = self.summary(id)?;
        let path = if summary.stored {
            let stored = self
                .archive
                .instance(&summary.study, &summary.series, &summary.sop_instance)
                .context(ArchiveSnafu)?;
            stored.context(NoSuchResultSnafu { id })?.path
        } else {
            self.preview_path(id)
        };
        fs::read(&path).context(FileSnafu { action: "read", path })
    }

    /// The provenance of a finished job, JSON.
    pub fn provenance(&self, id: JobId) -> Result<Vec<u8>> {
        self.summary(id)?;
        let path = self.provenance_path(id);
        fs::read(&path).context(FileSnafu { action: "read", path })
    }

    fn summary(&self, id: JobId) -> Result<SegmentationSummary> {
        let job = self.job(id)?.context(NoSuchResultSnafu { id })?;
        let result = job.result.context(NoSuchResultSnafu { id })?;
        serde_json::from_value(result).ok().context(NoSuchResultSnafu { id })
    }
}
