//! From a request to a DICOM-SEG.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use engram_archive::StoreRequirements;
use engram_imaging::Volume;
use engram_jobs::{Claimed, Job, NewJob};
use engram_seg::{
    AlgorithmIdentification, AlgorithmType, Content, Encoding, Equipment, NewSegment, NewSegmentation,
    ReferencedSlice, ResultUids, ReviewedSlice, SegmentProvenance, Voxels,
};
use engram_segmenter::{self as segmenter, BankExemplars, Observer, Options, Prompt, Request};
use ndarray::{Array3, Axis};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use snafu::{OptionExt, ResultExt};
use utoipa::ToSchema;

use crate::error::{
    ArchiveSnafu, BadRequestSnafu, BankSnafu, BundleNotReadySnafu, FileSnafu, JsonSnafu, NoExemplarsSnafu,
    NoSuchSeriesSnafu, OtherModalitySnafu, QueueSnafu, Result, StoreResultSnafu, UnknownLabelSnafu,
    WriteSegmentationSnafu,
};
use crate::labels::{LabelTemplate, key_of};
use crate::request::{
    FixedUids, LabelSummary, ResultEncoding, SegmentationJob, SegmentationRequest, SegmentationSummary,
    SliceForReview,
};
use crate::series::LoadedSeries;
use crate::{Error, MADE_BY, SEGMENTATION_KIND, ServedBundle, Workflow, prompts};

/// Labels that one result can hold: a voxel is one byte.
const MOST_LABELS: usize = 255;

/// The part of the bank that a target may draw from.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Only this collection.
    pub collection: Option<String>,
    /// Never these series: the target's own.
    pub excluded_series: Vec<String>,
    /// Never these patients: when measuring.
    pub excluded_patients: Vec<String>,
}

/// A series, segmented: what the method found and its DICOM-SEG.
pub struct SegmentedSeries {
    /// What the method answered, for each volume of the series.
    pub found: Vec<segmenter::Segmentation>,
    /// The DICOM-SEG, Part 10.
    pub part10: Vec<u8>,
    /// What to tell of it.
    pub summary: SegmentationSummary,
}

/// Which exemplars led to one slice's mask of one label. Holds identifiers of other patients' studies: it stays in
/// the API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Provenance {
    /// SOPInstanceUID of the target's slice.
    pub sop_instance: String,
    /// Its frame.
    pub frame: u32,
    /// The label's key.
    pub label: String,
    /// Pixels of the label.
    pub pixels: usize,
    /// 0 to 1.
    pub confidence: f32,
    /// Whether a person should look at it first.
    #[serde(default)]
    pub review: bool,
    /// The exemplars, most similar first.
    pub exemplars: Vec<Source>,
}

/// One exemplar of a provenance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ProvenanceExemplar)]
pub struct Source {
    /// The exemplar's identity in the bank.
    pub exemplar: String,
    /// StudyInstanceUID it comes from.
    pub study: String,
    /// Cosine of the retrieval vectors.
    pub similarity: f32,
    /// Whether the label is on it.
    pub present: bool,
}

impl Workflow {
    /// Takes a request into the queue. What can be told to be wrong now is an error now.
    pub fn request_segmentation(&self, request: SegmentationRequest) -> Result<Job> {
        self.check_request(&request)?;
        let job = SegmentationJob { request, uids: FixedUids::fresh(), workitem: None, route: None };
        let payload = serde_json::to_value(&job).context(JsonSnafu { what: "a segmentation job" })?;
        let job = self.queue.enqueue(NewJob::new(SEGMENTATION_KIND, payload)).context(QueueSnafu)?;
        self.show_job(&job);
        Ok(job)
    }

    /// The labels that a request would segment, as things stand; what can be told to be wrong now is an error now.
    pub(crate) fn check_request(&self, request: &SegmentationRequest) -> Result<Vec<String>> {
        let (study, series) = (request.study.as_str(), request.series.as_str());
        let entry = self.archive.series(study).context(ArchiveSnafu)?;
        let entry = entry.into_iter().find(|s| s.series_instance_uid == series);
        let entry = entry.context(NoSuchSeriesSnafu { study, series })?;
        let bundle = self.bundle_for(request, study, series)?;
        let labels = labels_for(&bundle, request, &entry.modality)?;
        prompts::check(&request.prompts, &labels, bundle.spec())?;
        if let Some(segmentation) = &request.prompt_segmentation {
            self.check_prompt_segmentation(segmentation)?;
        }
        Ok(labels)
    }

    /// The bundle that segments the series: the one that the request names, else a rule, else the one in use.
    ///
    /// # Errors
    /// [`Error::NoSuchBundle`], [`Error::BundleNotReady`].
    pub fn bundle_for(
        &self,
        request: &SegmentationRequest,
        study: &str,
        series: &str,
    ) -> Result<Arc<ServedBundle>> {
        let named = match &request.options.bundle {
            Some(bundle) => Some(bundle.clone()),
            None => self.actions(study, series)?.bundle,
        };
        let Some(named) = named else { return Ok(self.bundles.in_use()) };
        let bundle = self.bundles.named(&named)?;
        match bundle.lessons() {
            Some((done, total)) if bundle.id() != self.bundles.in_use().id() => {
                BundleNotReadySnafu { bundle: bundle.id(), done, total }.fail()
            }
            _ => Ok(bundle),
        }
    }

    /// Does a segmentation job; run twice, it makes one SEG.
    pub(crate) fn run_segmentation(&self, claimed: &Claimed, stop: &Arc<AtomicBool>) -> Result<Value> {
        let job: SegmentationJob = serde_json::from_value(claimed.job().payload.clone())
            .context(JsonSnafu { what: "a segmentation job" })?;
        claimed.stage("load", 0);
        let loaded = self.load_series(&job.request.study, &job.request.series)?;
        let slices = loaded.volumes.iter().map(|v| v.sources.len()).sum();
        let observer = self.observer(claimed, stop, slices);
        let result = self.segment(&loaded, &job.request, &job.uids, &observer)?;
        claimed.stage("store", 0);
        let provenance = serde_json::to_vec(&provenance(&loaded.volumes, &result.found))
            .context(JsonSnafu { what: "provenance" })?;
        let id = claimed.job().id;
        self.keep(&self.provenance_path(id), &provenance)?;
        if job.request.store {
            self.store_result(&result)?;
        } else {
            self.keep(&self.preview_path(id), &result.part10)?;
        }
        if let Some(route) = &job.route {
            self.post_result(&result.summary, route)?;
        }
        serde_json::to_value(&result.summary).context(JsonSnafu { what: "a summary" })
    }

    fn store_result(&self, result: &SegmentedSeries) -> Result<()> {
        let mut incoming = self.archive.incoming().context(ArchiveSnafu)?;
        let path = std::path::Path::new(&result.summary.sop_instance);
        incoming.write_all(&result.part10).context(FileSnafu { action: "write", path })?;
        let outcome =
            self.archive.store(incoming, &StoreRequirements::default()).context(StoreResultSnafu)?;
        self.instance_stored(outcome.instance());
        Ok(())
    }

    /// Segments a loaded series; stores nothing.
    pub fn segment(
        &self,
        loaded: &LoadedSeries,
        request: &SegmentationRequest,
        uids: &FixedUids,
        observer: &dyn Observer,
    ) -> Result<SegmentedSeries> {
        let first = loaded.volumes.first().context(NoExemplarsSnafu { reason: "the series is empty" })?;
        let bundle = self.bundle_for(request, &first.study_instance_uid, &first.series_instance_uid)?;
        let labels = labels_for(&bundle, request, &first.modality)?;
        prompts::check(&request.prompts, &labels, bundle.spec())?;
        let scope = Scope {
            collection: request.collection.clone(),
            excluded_series: vec![first.series_instance_uid.clone()],
            excluded_patients: match request.options.leave_out_patient {
                true => vec![first.patient_id.clone()],
                false => vec![],
            },
        };
        let options = self.method_options(request);
        let prompts =
            self.place_prompts(loaded, &request.prompts, request.prompt_segmentation.as_deref(), &labels)?;
        let segment = |(index, volume): (usize, &Volume)| {
            bundle.segment_volume(volume, &labels, &prompts.on(index), &scope, &options, observer)
        };
        let found = loaded.volumes.iter().enumerate().map(segment).collect::<Result<Vec<_>>>()?;
        bundle.to_dicom(loaded, request, uids, found)
    }

    /// The method's options: as asked for, else as configured, else as the bundle recommends.
    pub fn method_options(&self, request: &SegmentationRequest) -> Options {
        let (asked, configured) = (&request.options, self.options.segmentation);
        let quality = asked.quality.unwrap_or(configured.quality);
        let method = Options::of(quality);
        let per_slice = asked.exemplars_per_slice.unwrap_or(configured.exemplars_per_slice);
        Options {
            exemplars_per_slice: (per_slice > 0).then_some(per_slice),
            propagate: asked.propagation.unwrap_or(configured.propagation && method.propagate),
            crop: asked.close_up.unwrap_or(configured.close_up),
            review_below: asked.review_below.or(configured.review_below),
            cache_bytes: configured.cache_bytes,
            ..method
        }
    }
}

impl ServedBundle {
    /// The method on one volume, drawing from the bank within `scope`.
    pub fn segment_volume(
        &self,
        volume: &Volume,
        labels: &[String],
        prompts: &[Prompt<'_>],
        scope: &Scope,
        options: &Options,
        observer: &dyn Observer,
    ) -> Result<segmenter::Segmentation> {
        let exemplars = BankExemplars {
            bank: &self.bank,
            collection: scope.collection.as_deref(),
            excluded_series: &scope.excluded_series,
            excluded_patients: &scope.excluded_patients,
        };
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let request = Request { volume, labels: &labels, prompts, options: options.clone() };
        segmenter::segment(self.models(), &exemplars, &request, observer).map_err(Error::from)
    }

    /// Puts what was found on each volume of a series into one DICOM-SEG.
    pub fn to_dicom(
        &self,
        loaded: &LoadedSeries,
        request: &SegmentationRequest,
        uids: &FixedUids,
        found: Vec<segmenter::Segmentation>,
    ) -> Result<SegmentedSeries> {
        let slices: Vec<ReferencedSlice> =
            loaded.volumes.iter().flat_map(ReferencedSlice::of_volume).collect();
        let voxels = stacked(&found)?;
        let mut summaries = self.summarise(&loaded.volumes, &found)?;
        // A SEG without a voxel is still an answer; its segments then say so.
        let any = summaries.iter().any(|s| s.voxels > 0);
        let written: Vec<usize> = (0..summaries.len()).filter(|i| summaries[*i].voxels > 0 || !any).collect();
        let masks: Vec<Array3<u8>> =
            written.iter().map(|index| voxels.mapv(|v| u8::from(usize::from(v) == index + 1))).collect();
        let mut segments = Vec::with_capacity(written.len());
        for (number, index) in (1u16..).zip(&written) {
            let summary = &mut summaries[*index];
            summary.segment_number = Some(number);
            segments.push(self.new_segment(summary, &found)?);
        }
        let bundle = self.spec();
        let new = NewSegmentation {
            slices: &slices,
            source: &loaded.template,
            voxels: Voxels::Masks(masks.iter().map(|mask| mask.view()).collect()),
            segments,
            encoding: match request.options.encoding {
                ResultEncoding::Labelmap => Encoding::LabelMap,
                ResultEncoding::Binary => Encoding::Binary,
            },
            uids: ResultUids {
                sop_instance_uid: uids.sop_instance_uid.clone(),
                series_instance_uid: uids.series_instance_uid.clone(),
            },
            content: Content {
                series_number: 9000,
                series_description: "Engram segmentation".into(),
                label: "ENGRAM".into(),
                description: "Automatic segmentation from annotated cases".into(),
                creator_name: None,
                date: uids.content.0.clone(),
                time: uids.content.1.clone(),
            },
            equipment: Equipment {
                manufacturer: MADE_BY.into(),
                model_name: MADE_BY.into(),
                device_serial_number: "1".into(),
                software_versions: env!("CARGO_PKG_VERSION").into(),
                contribution: "Segmented from annotated cases".into(),
            },
            algorithm: Some(AlgorithmIdentification {
                name: bundle.name.clone(),
                version: bundle.version.clone(),
            }),
        };
        let object = engram_seg::write(&new).context(WriteSegmentationSnafu)?;
        let part10 = engram_seg::to_part10(&object).context(WriteSegmentationSnafu)?;
        let summary = SegmentationSummary {
            study: loaded.volumes.first().map(|v| v.study_instance_uid.clone()).unwrap_or_default(),
            series: uids.series_instance_uid.clone(),
            sop_instance: uids.sop_instance_uid.clone(),
            sop_class: object.meta().media_storage_sop_class_uid().trim_end_matches('\0').to_owned(),
            stored: request.store,
            bundle: self.id().to_owned(),
            slices: slices.len(),
            labels: summaries,
            notes: loaded.volumes.iter().flat_map(|v| v.notes.iter().map(ToString::to_string)).collect(),
        };
        Ok(SegmentedSeries { found, part10, summary })
    }

    fn summarise(&self, volumes: &[Volume], found: &[segmenter::Segmentation]) -> Result<Vec<LabelSummary>> {
        let Some(first) = found.first() else { return Ok(Vec::new()) };
        first
            .labels
            .iter()
            .enumerate()
            .map(|(index, label)| {
                let reports = || found.iter().filter_map(|f| f.slices.get(index)).flatten();
                let shown: Vec<f64> =
                    reports().filter(|r| r.pixels > 0).map(|r| f64::from(r.confidence)).collect();
                let definition = self.bank.label(label).context(BankSnafu)?;
                Ok(LabelSummary {
                    label: label.clone(),
                    meaning: definition.map(|d| d.name).unwrap_or_default(),
                    segment_number: None,
                    voxels: reports().map(|r| r.pixels as u64).sum(),
                    confidence: mean(&shown),
                    review: for_review(volumes, found, index),
                })
            })
            .collect()
    }

    fn new_segment(&self, summary: &LabelSummary, found: &[segmenter::Segmentation]) -> Result<NewSegment> {
        let definition = self.bank.label(&summary.label).context(BankSnafu)?;
        let definition = definition.context(UnknownLabelSnafu { label: &summary.label })?;
        let template = LabelTemplate::parse(&definition)?;
        let bundle = self.spec();
        let sources: Vec<(String, f64)> = found
            .iter()
            .filter_map(|f| Some(&f.slices[f.labels.iter().position(|l| *l == summary.label)?]))
            .flatten()
            .flat_map(|report| &report.provenance)
            .map(|n| (n.exemplar.to_string(), f64::from(n.similarity)))
            .collect();
        let distinct: std::collections::BTreeSet<&str> = sources.iter().map(|(id, _)| id.as_str()).collect();
        let similarities: Vec<f64> = sources.iter().map(|(_, s)| *s).collect();
        Ok(NewSegment {
            label: template.name,
            description: None,
            concept: template.concept,
            anatomic_regions: template.anatomic_regions,
            algorithm_type: AlgorithmType::Automatic,
            tracking_id: None,
            tracking_uid: None,
            recommended_cielab: template.recommended_cielab,
            provenance: Some(SegmentProvenance {
                exemplars: u32::try_from(distinct.len()).unwrap_or(u32::MAX),
                similarity: mean(&similarities),
                confidence: summary.confidence,
                review: summary.review.iter().map(reviewed).collect(),
                bundle: format!("{} {}", bundle.name, bundle.version),
            }),
        })
    }
}

/// Slices of a label that a person should look at first, in the order of the volumes.
fn for_review(volumes: &[Volume], found: &[segmenter::Segmentation], label: usize) -> Vec<SliceForReview> {
    let of_volume = |(volume, found): (&Volume, &segmenter::Segmentation)| -> Vec<SliceForReview> {
        let slices = volume.sources.iter().zip(found.slices.get(label).into_iter().flatten());
        let flagged = slices.filter(|(_, report)| report.review);
        let told = flagged.map(|(source, report)| SliceForReview {
            sop_instance: source.sop_instance_uid.clone(),
            frame: source.frame,
            confidence: report.confidence,
            pixels: report.pixels,
        });
        told.collect()
    };
    volumes.iter().zip(found).flat_map(of_volume).collect()
}

fn reviewed(slice: &SliceForReview) -> ReviewedSlice {
    ReviewedSlice {
        sop_instance_uid: slice.sop_instance.clone(),
        frame: slice.frame,
        confidence: f64::from(slice.confidence),
    }
}

/// The labels to segment: those asked for, or all that the modality and collection offer.
fn labels_for(bundle: &ServedBundle, request: &SegmentationRequest, modality: &str) -> Result<Vec<String>> {
    let mut by_label: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let in_collection = |collection: &String| request.collection.as_ref().is_none_or(|c| c == collection);
    for counts in bundle.bank.labels() {
        if counts.present > 0 && in_collection(&counts.collection) {
            by_label.entry(counts.label_key).or_default().push(counts.modality);
        }
    }
    let fits = |modalities: &Vec<String>| modalities.iter().any(|m| m == modality);
    let Some(asked) = &request.labels else {
        let offered: Vec<String> =
            by_label.iter().filter(|(_, m)| fits(m)).map(|(label, _)| label.clone()).collect();
        return match offered.is_empty() {
            false => Ok(offered),
            true => NoExemplarsSnafu { reason: nothing_to_draw_from(&by_label, request, modality) }.fail(),
        };
    };
    if asked.is_empty() || asked.len() > MOST_LABELS {
        return BadRequestSnafu { reason: format!("name 1 to {MOST_LABELS} labels, or none at all") }.fail();
    }
    let mut labels = Vec::with_capacity(asked.len());
    for asked in asked {
        let label = key_of(asked);
        let available = by_label.get(&label).context(UnknownLabelSnafu { label: &label })?;
        if !fits(available) {
            let available = available.clone();
            return OtherModalitySnafu { label, modality, available }.fail();
        }
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    Ok(labels)
}

fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// Why no label can be segmented, in words that say what is there.
fn nothing_to_draw_from(
    by_label: &BTreeMap<String, Vec<String>>,
    request: &SegmentationRequest,
    modality: &str,
) -> String {
    let mut modalities: Vec<&str> = by_label.values().flatten().map(String::as_str).collect();
    modalities.sort_unstable();
    modalities.dedup();
    match (modalities.is_empty(), &request.collection) {
        (true, None) => "nobody stored an annotated study yet".into(),
        (true, Some(collection)) => format!("the collection \"{collection}\" has no annotated study"),
        (false, _) => {
            format!("the target is {modality}, and every annotated study is {}", modalities.join(", "))
        }
    }
}

/// The volumes' labels one after the other, as one stack of slices.
fn stacked(found: &[segmenter::Segmentation]) -> Result<Array3<u8>> {
    let views: Vec<_> = found.iter().map(|f| f.voxels.view()).collect();
    ndarray::concatenate(Axis(0), &views)
        .ok()
        .context(BadRequestSnafu { reason: "the volumes of the series differ in size; segment them apart" })
}

/// Provenance of every slice that shows a label.
fn provenance(volumes: &[Volume], found: &[segmenter::Segmentation]) -> Vec<Provenance> {
    let mut all = Vec::new();
    for (volume, found) in volumes.iter().zip(found) {
        for (label, reports) in found.labels.iter().zip(&found.slices) {
            for (source, report) in volume.sources.iter().zip(reports) {
                all.push(Provenance {
                    sop_instance: source.sop_instance_uid.clone(),
                    frame: source.frame,
                    label: label.clone(),
                    pixels: report.pixels,
                    confidence: report.confidence,
                    review: report.review,
                    exemplars: report
                        .provenance
                        .iter()
                        .map(|neighbour| Source {
                            exemplar: neighbour.exemplar.to_string(),
                            study: neighbour.study.to_string(),
                            similarity: neighbour.similarity,
                            present: neighbour.present,
                        })
                        .collect(),
                });
            }
        }
    }
    all
}
