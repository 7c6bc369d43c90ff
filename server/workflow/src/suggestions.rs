//! Which stored series a person should annotate next.
//!
//! A series is surveyed once: a few of its slices are looked at, and what they look like is kept beside the results,
//! derived and small. A job does it, since an archive may hold many; suggestions are made of what is surveyed by then.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dicom_dictionary_std::tags;
use engram_archive::{Level, Query, SeriesEntry};
use engram_jobs::{Claimed, Job, JobFilter, JobState, NewJob};
use engram_segmenter::suggest::{Candidate, LOOKED_AT, look_at, spread, suggest};
use engram_segmenter::{BankExemplars, Exemplars};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use snafu::{ResultExt, ensure};
use utoipa::ToSchema;

use crate::error::{ArchiveSnafu, CancelledSnafu, FileSnafu, JsonSnafu, QueueSnafu, Result};
use crate::series::{from_objects, open_instance};
use crate::{NoProgress, SURVEY_KIND, ServedBundle, Workflow};

/// Series that are compared with one another at the most; of more, these many evenly chosen.
const MOST_COMPARED: usize = 1000;
/// Modalities of series that are no images.
const NO_IMAGES: [&str; 11] =
    ["SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "SR", "PR", "KO", "REG", "DOC", "AU", "ECG"];

/// Which suggestions to make.
#[derive(Debug, Clone, Default)]
pub struct SuggestionQuery {
    /// Key of the label that is to be annotated; none: any.
    pub label: Option<String>,
    /// Only series of this modality.
    pub modality: Option<String>,
    /// The part of the bank that is to be helped; none: all of it.
    pub collection: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// What to annotate next.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Suggestions {
    /// The most useful first.
    pub suggestions: Vec<SuggestedSeries>,
    /// Stored image series that nobody annotated.
    pub unannotated: usize,
    /// Those of them that the suggestions were made of.
    pub surveyed: usize,
    /// The job that looks at the others; none where all were looked at.
    pub job: Option<String>,
}

/// A series worth annotating.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SuggestedSeries {
    /// StudyInstanceUID.
    pub study: String,
    /// SeriesInstanceUID.
    pub series: String,
    /// Modality.
    pub modality: String,
    /// Mean likeness of its slices to the most similar exemplar, 0 to 1.
    pub covered: f32,
    /// How much its annotation, and those suggested before it, would raise the mean of `covered` over all series.
    pub gain: f32,
}

/// What a series looks like to a bundle.
#[derive(Debug, Serialize, Deserialize)]
struct Survey {
    bundle: String,
    series: String,
    /// Instances that it had then.
    instances: u64,
    /// Of unit length; none where the series is no volume.
    vectors: Vec<Vec<f32>>,
}

impl Workflow {
    /// Suggestions of what is surveyed; a job is made for what is not.
    pub fn suggestions(&self, query: &SuggestionQuery) -> Result<Suggestions> {
        let bundle = self.bundle_in_use();
        let wanted = |series: &SeriesEntry| query.modality.as_ref().is_none_or(|m| *m == series.modality);
        let unannotated: Vec<SeriesEntry> = self.unannotated()?.into_iter().filter(wanted).collect();
        let (mut volumes, mut missing) = (vec![], false);
        for series in &unannotated {
            match self.survey_of(&bundle, series) {
                Some(survey) if survey.vectors.is_empty() => {}
                Some(_) => volumes.push(series),
                None => missing = true,
            }
        }
        // Read again, so that no more surveys are in memory than are compared.
        let chosen = spread(volumes.len(), MOST_COMPARED).into_iter().map(|index| volumes[index]);
        let compared: Vec<(&SeriesEntry, Survey)> =
            chosen.filter_map(|series| Some((series, self.survey_of(&bundle, series)?))).collect();
        let mut suggestions = vec![];
        for modality in compared.iter().map(|(series, _)| &series.modality).collect::<BTreeSet<_>>() {
            let of_modality: Vec<_> =
                compared.iter().filter(|(series, _)| series.modality == *modality).collect();
            suggestions.extend(rank(&bundle, query, &of_modality)?);
        }
        suggestions.sort_by(|a, b| b.gain.total_cmp(&a.gain));
        suggestions.truncate(query.limit);
        Ok(Suggestions {
            suggestions,
            unannotated: unannotated.len(),
            surveyed: compared.len(),
            job: if missing { Some(self.survey_job()?.id.to_string()) } else { None },
        })
    }

    /// Image series that no segmentation of the bank is of.
    fn unannotated(&self) -> Result<Vec<SeriesEntry>> {
        let annotated: BTreeSet<String> =
            self.annotations.lock().targets().into_iter().map(|(_, series)| series).collect();
        let studies = self.archive.search(&Query::at(Level::Study)).context(ArchiveSnafu)?;
        let mut found = vec![];
        for study in studies.items {
            let Some(uid) = study.text(tags::STUDY_INSTANCE_UID) else { continue };
            let series = self.archive.series(&uid).context(ArchiveSnafu)?;
            found.extend(series.into_iter().filter(|series| {
                !annotated.contains(&series.series_instance_uid)
                    && !NO_IMAGES.contains(&series.modality.as_str())
            }));
        }
        Ok(found)
    }

    /// The job that surveys: one that waits or runs, else a new one.
    fn survey_job(&self) -> Result<Job> {
        let filter = JobFilter {
            kind: Some(SURVEY_KIND.to_owned()),
            states: vec![JobState::Queued, JobState::Running],
            limit: 1,
        };
        if let Some(job) = self.queue.list(&filter).context(QueueSnafu)?.into_iter().next() {
            return Ok(job);
        }
        self.queue.enqueue(NewJob::new(SURVEY_KIND, json!({}))).context(QueueSnafu)
    }

    /// Looks at every unannotated series that was not looked at, and forgets those that are gone.
    pub(crate) fn run_survey(&self, claimed: &Claimed, stop: &Arc<AtomicBool>) -> Result<Value> {
        let bundle = self.bundle_in_use();
        let series = self.unannotated()?;
        claimed.stage("survey", series.len() as u64);
        let (mut surveyed, mut passed_over) = (0, vec![]);
        let mut current = BTreeSet::new();
        for (done, entry) in (1_u64..).zip(&series) {
            let stopped = claimed.cancel_token().is_cancelled() || stop.load(Ordering::Acquire);
            ensure!(!stopped, CancelledSnafu);
            current.insert(self.survey_path(&bundle, entry));
            if self.survey_of(&bundle, entry).is_none() {
                let vectors = self.look(&bundle, entry).unwrap_or_else(|error| {
                    passed_over.push(json!([entry.series_instance_uid, crate::report(&error)]));
                    vec![]
                });
                self.keep_survey(&bundle, entry, vectors)?;
                surveyed += 1;
            }
            claimed.progress(done);
        }
        self.forget_surveys(&bundle, &current)?;
        Ok(json!({ "series": series.len(), "surveyed": surveyed, "passed_over": passed_over }))
    }

    /// Vectors of a few slices of a series.
    fn look(&self, bundle: &ServedBundle, entry: &SeriesEntry) -> Result<Vec<Vec<f32>>> {
        let (study, series) = (&entry.study_instance_uid, &entry.series_instance_uid);
        let mut instances = self.archive.instances(study, series).context(ArchiveSnafu)?;
        instances.sort_by_key(|instance| instance.instance_number);
        let chosen = spread(instances.len(), LOOKED_AT);
        let objects =
            chosen.into_iter().map(|index| open_instance(&instances[index])).collect::<Result<Vec<_>>>()?;
        let loaded = from_objects(objects, series, &self.options.limits)?;
        let Some(volume) = loaded.volumes.first() else { return Ok(vec![]) };
        let vectors = look_at(bundle.models(), volume, &NoProgress)?;
        Ok(vectors.outer_iter().map(|vector| vector.to_vec()).collect())
    }

    /// Surveys of all bundles, a folder each.
    fn surveys(&self) -> PathBuf {
        self.results.join("surveys")
    }

    fn survey_path(&self, bundle: &ServedBundle, entry: &SeriesEntry) -> PathBuf {
        self.surveys().join(bundle.id()).join(format!("{}.json", entry.series_instance_uid))
    }

    /// None where there is none that still holds.
    fn survey_of(&self, bundle: &ServedBundle, entry: &SeriesEntry) -> Option<Survey> {
        let bytes = fs::read(self.survey_path(bundle, entry)).ok()?;
        let survey: Survey = serde_json::from_slice(&bytes).ok()?;
        let dim = bundle.spec().retrieval.embedding_dim;
        let holds = survey.bundle == bundle.id()
            && survey.series == entry.series_instance_uid
            && survey.instances == entry.instances
            && survey.vectors.iter().all(|vector| vector.len() == dim);
        holds.then_some(survey)
    }

    fn keep_survey(&self, bundle: &ServedBundle, entry: &SeriesEntry, vectors: Vec<Vec<f32>>) -> Result<()> {
        let survey = Survey {
            bundle: bundle.id().to_owned(),
            series: entry.series_instance_uid.clone(),
            instances: entry.instances,
            vectors,
        };
        let folder = self.surveys().join(bundle.id());
        fs::create_dir_all(&folder).context(FileSnafu { action: "make", path: &folder })?;
        let bytes = serde_json::to_vec(&survey).context(JsonSnafu { what: "a survey" })?;
        self.keep(&self.survey_path(bundle, entry), &bytes)
    }

    /// Removes the bundle's surveys but the current ones, and those of other bundles.
    fn forget_surveys(&self, bundle: &ServedBundle, current: &BTreeSet<PathBuf>) -> Result<()> {
        for folder in listed(&self.surveys())? {
            let is_own = folder.ends_with(bundle.id());
            for file in listed(&folder)?.iter().filter(|file| !is_own || !current.contains(*file)) {
                fs::remove_file(file).context(FileSnafu { action: "remove", path: file })?;
            }
            if !is_own {
                fs::remove_dir(&folder).context(FileSnafu { action: "remove", path: &folder })?;
            }
        }
        Ok(())
    }
}

/// What a folder holds; nothing where there is none.
fn listed(folder: &Path) -> Result<Vec<PathBuf>> {
    let list =
        || -> io::Result<Vec<PathBuf>> { fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect() };
    match list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        listed => listed.context(FileSnafu { action: "list", path: folder }),
    }
}

/// Series of one modality, the most useful first.
fn rank(
    bundle: &ServedBundle,
    query: &SuggestionQuery,
    series: &[&(&SeriesEntry, Survey)],
) -> Result<Vec<SuggestedSeries>> {
    let mut candidates = vec![];
    for (entry, survey) in series {
        let dim = survey.vectors.first().map_or(0, Vec::len);
        let vectors = Array2::from_shape_fn((survey.vectors.len(), dim), |(row, at)| survey.vectors[row][at]);
        let covered = coverage(bundle, query, &entry.modality, &vectors)?;
        candidates.push(Candidate { vectors, covered });
    }
    let suggested = suggest(&candidates, query.limit).into_iter().map(|suggestion| {
        let (entry, _) = series[suggestion.candidate];
        SuggestedSeries {
            study: entry.study_instance_uid.clone(),
            series: entry.series_instance_uid.clone(),
            modality: entry.modality.clone(),
            covered: candidates[suggestion.candidate].covered.mean().unwrap_or(0.0),
            gain: suggestion.gain,
        }
    });
    Ok(suggested.collect())
}

/// Likeness of each slice to the most similar exemplar.
fn coverage(
    bundle: &ServedBundle,
    query: &SuggestionQuery,
    modality: &str,
    vectors: &Array2<f32>,
) -> Result<Array1<f32>> {
    let exemplars = BankExemplars {
        bank: &bundle.bank,
        collection: query.collection.as_deref(),
        excluded_series: &[],
        excluded_patients: &[],
    };
    let labels: BTreeSet<String> = match &query.label {
        Some(label) => BTreeSet::from([label.clone()]),
        None => bundle.bank.labels().into_iter().map(|counts| counts.label_key).collect(),
    };
    let mut covered = Array1::zeros(vectors.nrows());
    for label in &labels {
        for (covered, vector) in covered.iter_mut().zip(vectors.outer_iter()) {
            let nearest = exemplars.nearest(label, modality, vector, 1);
            let nearest = nearest
                .map_err(|source| engram_segmenter::Error::Bank { action: "search exemplars", source })?;
            *covered = nearest.iter().map(|neighbour| neighbour.similarity).fold(*covered, f32::max);
        }
    }
    Ok(covered)
}
