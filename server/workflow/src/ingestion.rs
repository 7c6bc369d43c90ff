//! From annotations to exemplars. What exemplars a series should have follows from what the archive holds and
//! what people said; ingestion compares that with the bank and closes the gap, so that order of arrival, a
//! repeated job and a crash in between change nothing.

use std::collections::{BTreeMap, BTreeSet};

use engram_imaging::Volume;
use engram_memory::{ImageIdentity, LabelDefinition, ListFilter, NewSlice, SliceId, Superseded, Thinning};
use engram_seg::{AlgorithmType, Segmentation};
use engram_segmenter::{LabelMask, Observer, Origin, PreparedExemplar, encode_exemplars};
use ndarray::{Array3, Axis};
use serde::{Deserialize, Serialize};
use snafu::{ResultExt, ensure};

use crate::annotations::Annotation;
use crate::error::{BankSnafu, NotOnSeriesSnafu, Result};
use crate::labels::LabelTemplate;
use crate::placed::labels_on;
use crate::series::LoadedSeries;
use crate::{Error, ServedBundle, Workflow};

/// The collection of exemplars that neither a rule nor a request puts elsewhere.
pub const DEFAULT_COLLECTION: &str = "default";

/// The payload of an ingestion job: bring the bank up to date with this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IngestionJob {
    /// A SEG arrived.
    Segmentation {
        /// SOPInstanceUID.
        sop_instance: String,
    },
    /// The images of a series, or what was said about its SEGs, changed.
    Series {
        /// StudyInstanceUID.
        study: String,
        /// SeriesInstanceUID.
        series: String,
    },
}

/// What an ingestion did, with all served bundles together: a job's `result`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IngestionSummary {
    /// Slices taken into the banks.
    pub slices_added: usize,
    /// SEGs whose exemplars were made.
    pub ingested: Vec<String>,
    /// SEGs whose exemplars were removed.
    pub removed: Vec<String>,
    /// SEGs that wait for images that are not stored yet.
    pub waiting: Vec<String>,
    /// SEGs that give no exemplars, and why.
    pub passed_over: Vec<(String, String)>,
}

impl IngestionSummary {
    /// Adds what was done with another series or bundle; what both tell is told once.
    pub(crate) fn add(&mut self, other: Self) {
        self.slices_added += other.slices_added;
        extend(&mut self.ingested, other.ingested);
        extend(&mut self.removed, other.removed);
        extend(&mut self.waiting, other.waiting);
        extend(&mut self.passed_over, other.passed_over);
    }
}

fn extend<T: PartialEq>(all: &mut Vec<T>, more: Vec<T>) {
    for one in more {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}

/// Exemplars that a SEG should have on a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    labels: BTreeSet<String>,
    collection: String,
    partial: bool,
}

/// Which labels of which annotation count: of several annotations of a label, the latest.
fn latest_labels(eligible: &[(Annotation, BTreeSet<String>)]) -> BTreeMap<String, BTreeSet<String>> {
    let mut holder: BTreeMap<&str, &str> = BTreeMap::new();
    for (annotation, labels) in eligible {
        holder.extend(labels.iter().map(|label| (label.as_str(), annotation.segmentation.as_str())));
    }
    let mut by_segmentation: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (label, segmentation) in holder {
        by_segmentation.entry(segmentation.to_owned()).or_default().insert(label.to_owned());
    }
    by_segmentation
}

impl Workflow {
    /// Brings a bundle's bank up to date with one series.
    pub(crate) fn reconcile(
        &self,
        bundle: &ServedBundle,
        study: &str,
        series: &str,
        observer: &dyn Observer,
    ) -> Result<IngestionSummary> {
        let _one_at_a_time = bundle.ingesting.lock();
        let mut summary = IngestionSummary::default();
        let wanted = self.wanted(study, series, &mut summary)?;
        let present = self.in_bank(bundle, series)?;
        for segmentation in present.keys().filter(|held| !wanted.contains_key(*held)) {
            remove_from_bank(bundle, segmentation, series)?;
            summary.removed.push(segmentation.clone());
        }
        let to_make: Vec<_> = wanted
            .into_iter()
            .filter(|(segmentation, wanted)| !is_up_to_date(bundle, segmentation, series, wanted, &present))
            .collect();
        if to_make.is_empty() {
            return Ok(summary);
        }
        let loaded = self.load_series(study, series)?;
        for (segmentation, wanted) in to_make {
            summary.slices_added += self.ingest(bundle, &loaded, &segmentation, &wanted, observer)?;
            bundle.made.lock().insert((segmentation.clone(), series.to_owned()), wanted);
            summary.ingested.push(segmentation);
        }
        Ok(summary)
    }

    /// Takes out of the banks what the series no longer teaches; computes nothing.
    pub(crate) fn drop_unwanted(&self, study: &str, series: &str) -> Result<()> {
        let wanted = self.wanted(study, series, &mut IngestionSummary::default())?;
        for bundle in self.bundles.all() {
            let present = self.in_bank(&bundle, series)?;
            for segmentation in present.keys().filter(|held| !wanted.contains_key(*held)) {
                remove_from_bank(&bundle, segmentation, series)?;
            }
        }
        Ok(())
    }

    /// Whether the bundle's bank holds just what the series teaches.
    pub(crate) fn series_is_up_to_date(
        &self,
        bundle: &ServedBundle,
        study: &str,
        series: &str,
    ) -> Result<bool> {
        let wanted = self.wanted(study, series, &mut IngestionSummary::default())?;
        let present = self.in_bank(bundle, series)?;
        let good = |(segmentation, wanted): (&String, &Wanted)| {
            is_up_to_date(bundle, segmentation, series, wanted, &present)
        };
        Ok(present.keys().all(|held| wanted.contains_key(held)) && wanted.iter().all(good))
    }

    /// What exemplars the series should have, by SEG.
    fn wanted(
        &self,
        study: &str,
        series: &str,
        summary: &mut IngestionSummary,
    ) -> Result<BTreeMap<String, Wanted>> {
        let (annotations, waiting) = {
            let index = self.annotations.lock();
            (index.complete(series), index.waiting_for(series))
        };
        summary.waiting = waiting;
        let actions = self.actions(study, series)?;
        let mut eligible = Vec::new();
        for annotation in annotations {
            match self.eligible_labels(&annotation, series, actions.automatic_segmentations_are_exemplars) {
                Ok(labels) => eligible.push((annotation, labels)),
                Err(reason) => summary.passed_over.push((annotation.segmentation, reason)),
            }
        }
        let wanted = latest_labels(&eligible).into_iter().map(|(segmentation, labels)| {
            let flags = self.flags.of(&segmentation);
            let collection = flags
                .collection
                .or_else(|| actions.collection.clone())
                .unwrap_or_else(|| DEFAULT_COLLECTION.to_owned());
            (segmentation, Wanted { labels, collection, partial: flags.partial })
        });
        Ok(wanted.collect())
    }

    /// The labels of an annotation that may become exemplars on a series (DESIGN, "Who may be an exemplar").
    fn eligible_labels(
        &self,
        annotation: &Annotation,
        series: &str,
        automatic: bool,
    ) -> Result<BTreeSet<String>, String> {
        let flags = self.flags.of(&annotation.segmentation);
        if flags.withdrawn {
            return Err("a person took it out of the bank".into());
        }
        let elsewhere = annotation.elsewhere.get(series);
        let here: Vec<_> = annotation
            .labels
            .iter()
            .filter(|(label, _)| elsewhere.is_none_or(|elsewhere| !elsewhere.contains(*label)))
            .collect();
        if here.is_empty() {
            return Err("all its frames belong to other series".into());
        }
        let labels: BTreeSet<String> = here
            .into_iter()
            .filter(|(_, made)| **made != AlgorithmType::Automatic || automatic || flags.approved)
            .map(|(label, _)| label.clone())
            .filter(|label| !flags.withdrawn_labels.contains(label))
            .collect();
        if labels.is_empty() {
            return Err("it is AUTOMATIC, and no person or rule vouches for it".into());
        }
        Ok(labels)
    }

    /// What the bundle's bank holds of the series, by SEG.
    pub(crate) fn in_bank(&self, bundle: &ServedBundle, series: &str) -> Result<BTreeMap<String, Held>> {
        let filter = ListFilter { series_instance_uid: Some(series), ..ListFilter::default() };
        let mut held: BTreeMap<String, Held> = BTreeMap::new();
        let mut after: Option<SliceId> = None;
        loop {
            let page = bundle.bank.slices(&filter, after, usize::MAX).context(BankSnafu)?;
            let Some(last) = page.last() else { return Ok(held) };
            after = Some(last.id);
            for slice in &page {
                let entry = held.entry(slice.seg_sop_instance_uid.clone()).or_insert_with(|| Held {
                    labels: BTreeSet::new(),
                    collection: slice.collection.clone(),
                    bundle_id: slice.bundle_id.clone(),
                });
                entry.labels.extend(slice.labels.iter().map(|label| label.label_key.clone()));
            }
        }
    }

    /// Makes the exemplars of one SEG on a loaded series.
    fn ingest(
        &self,
        bundle: &ServedBundle,
        loaded: &LoadedSeries,
        segmentation: &str,
        wanted: &Wanted,
        observer: &dyn Observer,
    ) -> Result<usize> {
        let read = self.read_segmentation(segmentation)?;
        let definitions = definitions(&read, &wanted.labels)?;
        let series = loaded.series_instance_uid();
        let mut ingest = bundle.bank.ingest(segmentation, series, definitions).context(BankSnafu)?;
        let mut unplaced = wanted.labels.clone();
        for volume in &loaded.volumes {
            let Some(annotated) = annotated(&read, segmentation, volume, wanted)? else { continue };
            unplaced.retain(|label| !annotated.masks.contains_key(label));
            if annotated.slices.is_empty() {
                continue;
            }
            let masks: Vec<LabelMask> =
                annotated.masks.iter().map(|(label, mask)| LabelMask { label, mask: mask.view() }).collect();
            let prepared = encode_exemplars(bundle.models(), volume, &masks, &annotated.slices, observer)
                .map_err(Error::from)?;
            for exemplar in prepared {
                if let Some(slice) = annotated.new_slice(exemplar, volume, wanted, self.now()) {
                    ingest.push(slice).context(BankSnafu)?;
                }
            }
        }
        let labels = Vec::from_iter(unplaced);
        ensure!(labels.is_empty(), NotOnSeriesSnafu { segmentation, series, labels });
        ingest.commit(&self.superseded(bundle, segmentation, loaded, wanted)).context(BankSnafu)
    }

    /// Labels of the series that other SEGs still hold in the bank.
    fn superseded(
        &self,
        bundle: &ServedBundle,
        segmentation: &str,
        loaded: &LoadedSeries,
        wanted: &Wanted,
    ) -> Vec<Superseded> {
        let series = loaded.series_instance_uid();
        let held = self.in_bank(bundle, series).unwrap_or_default();
        held.into_iter()
            .filter(|(other, _)| other != segmentation)
            .flat_map(|(other, held)| {
                let labels: Vec<_> = held.labels.intersection(&wanted.labels).cloned().collect();
                labels.into_iter().map(move |label| Superseded {
                    seg_sop_instance_uid: other.clone(),
                    series_instance_uid: series.to_owned(),
                    label_key: Some(label),
                })
            })
            .collect()
    }
}

/// Whether the bundle's bank, which holds `present` of the series, has just the exemplars wanted of a SEG.
fn is_up_to_date(
    bundle: &ServedBundle,
    segmentation: &str,
    series: &str,
    wanted: &Wanted,
    present: &BTreeMap<String, Held>,
) -> bool {
    let made = bundle.made.lock();
    match made.get(&(segmentation.to_owned(), series.to_owned())) {
        Some(made) => made == wanted,
        None => present.get(segmentation).is_some_and(|held| {
            held.labels == wanted.labels
                && held.collection == wanted.collection
                && held.bundle_id == bundle.id()
        }),
    }
}

fn remove_from_bank(bundle: &ServedBundle, segmentation: &str, series: &str) -> Result<()> {
    bundle.bank.remove_by_seg(segmentation, series).context(BankSnafu)?;
    bundle.made.lock().remove(&(segmentation.to_owned(), series.to_owned()));
    Ok(())
}

/// What the bank holds of a SEG on a series.
pub(crate) struct Held {
    labels: BTreeSet<String>,
    collection: String,
    bundle_id: String,
}

fn definitions(segmentation: &Segmentation, labels: &BTreeSet<String>) -> Result<Vec<LabelDefinition>> {
    let mut definitions: BTreeMap<String, LabelDefinition> = BTreeMap::new();
    for segment in segmentation.description.foreground() {
        let key = segment.concept.key();
        if labels.contains(&key) && !definitions.contains_key(&key) {
            definitions.insert(key, LabelTemplate::of(segment).definition()?);
        }
    }
    Ok(definitions.into_values().collect())
}

/// A SEG's masks on a volume, and which of its slices are worth an exemplar.
struct Annotated {
    masks: BTreeMap<String, Array3<u8>>,
    /// By label: which slices to keep as exemplars.
    kept: BTreeMap<String, Vec<bool>>,
    /// Slices that any label keeps.
    slices: Vec<usize>,
}

/// The wanted labels on a volume; `None` where the SEG says nothing about it.
fn annotated(
    segmentation: &Segmentation,
    uid: &str,
    volume: &Volume,
    wanted: &Wanted,
) -> Result<Option<Annotated>> {
    let labels = labels_on(segmentation, uid, volume, |label| wanted.labels.contains(label))?;
    if labels.is_empty() {
        return Ok(None);
    }
    let speaks_of =
        |slice: usize| labels.values().any(|label| label.frames_present.get(slice) == Some(&true));
    let touched: Vec<bool> = (0..volume.sources.len()).map(speaks_of).collect();
    let masks = labels.into_iter().map(|(key, label)| (key, label.mask)).collect();
    Ok(Some(Annotated::new(masks, if wanted.partial { Some(&touched) } else { None })))
}

impl Annotated {
    /// `annotated`: the slices a partial annotation speaks of; none: all of them.
    fn new(masks: BTreeMap<String, Array3<u8>>, annotated: Option<&[bool]>) -> Self {
        let kept: BTreeMap<String, Vec<bool>> = masks
            .iter()
            .map(|(label, mask)| {
                let present: Vec<bool> =
                    mask.axis_iter(Axis(0)).map(|slice| slice.iter().any(|v| *v != 0)).collect();
                let kept = match annotated {
                    Some(annotated) => annotated.to_vec(),
                    None => Thinning::default().keep(&present),
                };
                (label.clone(), kept)
            })
            .collect();
        let count = kept.values().map(Vec::len).max().unwrap_or(0);
        let is_kept = |slice: usize| kept.values().any(|k| k.get(slice).copied().unwrap_or(false));
        let slices = (0..count).filter(|slice| is_kept(*slice)).collect();
        Self { masks, kept, slices }
    }

    fn keeps(&self, label: &str, slice: usize) -> bool {
        self.kept.get(label).and_then(|kept| kept.get(slice)).copied().unwrap_or(false)
    }

    /// The exemplar as the bank takes it; `None` where no label keeps it.
    fn new_slice(
        &self,
        mut exemplar: PreparedExemplar,
        volume: &Volume,
        wanted: &Wanted,
        created: u64,
    ) -> Option<NewSlice> {
        let slice = exemplar.slice;
        let source = volume.sources.get(slice)?;
        exemplar.labels.retain(|label| label.present || self.keeps(&label.label, slice));
        if exemplar.labels.is_empty() {
            return None;
        }
        Some(exemplar.into_new_slice(Origin {
            image: ImageIdentity {
                study_instance_uid: volume.study_instance_uid.clone(),
                series_instance_uid: volume.series_instance_uid.clone(),
                sop_instance_uid: source.sop_instance_uid.clone(),
                frame: source.frame,
                patient_id: volume.patient_id.clone(),
                modality: volume.modality.clone(),
            },
            slices: volume.sources.len(),
            collection: wanted.collection.clone(),
            created,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotation(segmentation: &str, labels: &[&str]) -> (Annotation, BTreeSet<String>) {
        let annotation = Annotation {
            segmentation: segmentation.into(),
            own_series: String::new(),
            study: String::new(),
            made: String::new(),
            labels: BTreeMap::new(),
            targets: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
        };
        (annotation, labels.iter().map(|l| (*l).to_owned()).collect())
    }

    #[test]
    fn the_latest_annotation_of_a_label_counts() {
        let latest = latest_labels(&[annotation("early", &["a", "b"]), annotation("late", &["b", "c"])]);
        assert_eq!(latest["early"], ["a".to_owned()].into());
        assert_eq!(latest["late"], ["b".to_owned(), "c".to_owned()].into());
    }

    #[test]
    fn a_partial_annotation_is_silent_about_other_slices() {
        let mut mask = Array3::zeros((5, 2, 2));
        mask[[2, 0, 0]] = 1;
        let masks: BTreeMap<String, Array3<u8>> = [("a".to_owned(), mask)].into();
        let partial = Annotated::new(masks.clone(), Some(&[false, false, true, true, false]));
        assert_eq!(partial.slices, [2, 3]);
        let complete = Annotated::new(masks, None);
        assert_eq!(complete.slices, [0, 1, 2, 3, 4]);
    }
}
