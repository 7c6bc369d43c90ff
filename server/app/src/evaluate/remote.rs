//! What a running server can expect from its own bank: each annotated series is segmented from the exemplars of other
//! patients, and compared with its own annotation. Nothing is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engram_imaging::{Volume, VolumeLimits, assemble};
use engram_segmenter::evaluate::Case;
use engram_segmenter::{LabelMask, Quality, Segmentation, SliceReport};
use indicatif::ProgressBar;
use ndarray::Array3;
use serde_json::json;

use super::cases::evenly;
use super::report::{Names, Report, told_apart};
use super::score::{Scores, Took};
use super::truth;
use crate::cli::import::progress_bar;
use crate::cli::{Failure, ServerToken};
use crate::client::{Client, Exemplar, Job};

/// How often a job is asked how it does.
const POLL: Duration = Duration::from_millis(200);

/// What to measure.
#[derive(Debug, Clone, Default)]
pub struct RemoteWishes {
    /// Labels, by key or in words.
    pub labels: Vec<String>,
    /// Only this part of the bank.
    pub collection: Option<String>,
    /// At most so many series, evenly chosen.
    pub limit: Option<usize>,
    /// Speed against accuracy.
    pub quality: Option<Quality>,
    /// Whether the report lists every slice.
    pub slices: bool,
}

/// A series that is annotated.
struct AnnotatedSeries {
    study: String,
    series: String,
    patient: String,
    /// By SOPInstanceUID of each of its SEGs, the labels that the bank has of it: of several SEGs with a label, one counts.
    segmentations: BTreeMap<String, BTreeSet<String>>,
    /// Labels whose SEG speaks of every slice.
    complete: BTreeSet<String>,
    /// For each slice that the bank holds, the labels that are known to be there or not.
    known: BTreeMap<usize, BTreeSet<String>>,
}

/// Measures a server's bank.
pub fn evaluate(url: &str, token: &ServerToken, wishes: &RemoteWishes) -> Result<Report, Failure> {
    let client = Client::new(url.trim_end_matches('/'), token)?;
    let names = wanted(&client, &wishes.labels)?;
    let series = annotated(&client, &names, wishes.collection.as_deref())?;
    let patients: BTreeSet<&str> = series.values().map(|series| series.patient.as_str()).collect();
    if patients.len() < 2 {
        return Err(Failure::say("the bank must hold these labels of two patients or more"));
    }
    let all: Vec<&AnnotatedSeries> = series.values().collect();
    let chosen = evenly(&all, wishes.limit);
    let mut scores = Scores::new(names.clone(), wishes.slices);
    let bar = progress_bar(chosen.len() as u64, "segmenting");
    for series in chosen {
        if let Err(failure) = measure(&client, series, wishes, &mut scores, &bar) {
            scores.add_error(&series.series, None, failure.to_string());
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(scores.report("leave-one-patient-out", &client.bundle()?, all.len(), None))
}

/// The labels asked for, words by key.
fn wanted(client: &Client, labels: &[String]) -> Result<Names, Failure> {
    let known = client.labels()?;
    let mut names = Names::new();
    for wanted in labels {
        let found: Vec<_> = known
            .iter()
            .filter(|label| label.label == *wanted || label.meaning.eq_ignore_ascii_case(wanted))
            .collect();
        match found[..] {
            [label] => names.insert(label.label.clone(), label.meaning.clone()),
            [] => {
                let words: Vec<&str> = known.iter().map(|label| label.meaning.as_str()).collect();
                let offer = words.join(", ");
                return Err(Failure::say(format!("the bank has no label \"{wanted}\"; it has {offer}")));
            }
            _ => {
                return Err(Failure::say(format!("several labels are called \"{wanted}\": name one by key")));
            }
        };
    }
    if labels.is_empty() {
        names.extend(known.into_iter().map(|label| (label.label, label.meaning)));
    }
    Ok(told_apart(names))
}

/// Annotated series by SeriesInstanceUID.
fn annotated(
    client: &Client,
    names: &Names,
    collection: Option<&str>,
) -> Result<BTreeMap<String, AnnotatedSeries>, Failure> {
    let mut found: BTreeMap<String, AnnotatedSeries> = BTreeMap::new();
    for label in names.keys() {
        for exemplar in client.exemplars(label, collection)? {
            let Exemplar { study, series, slice_index, patient_id, segmentation, partial, present, absent } =
                exemplar;
            let entry = found.entry(series.clone()).or_insert_with(|| AnnotatedSeries {
                study,
                series,
                patient: patient_id,
                segmentations: BTreeMap::new(),
                complete: BTreeSet::new(),
                known: BTreeMap::new(),
            });
            let labels: Vec<String> =
                present.into_iter().chain(absent).filter(|label| names.contains_key(label)).collect();
            entry.segmentations.entry(segmentation).or_default().extend(labels.iter().cloned());
            if !partial {
                entry.complete.extend(labels.iter().cloned());
            }
            entry.known.entry(slice_index).or_default().extend(labels);
        }
    }
    Ok(found)
}

impl AnnotatedSeries {
    /// Every label that is known of any slice.
    fn labels(&self) -> BTreeSet<&String> {
        self.known.values().flatten().collect()
    }

    /// Slices of which not every label is known: a partial annotation says nothing of them. The bank does not hold
    /// every slice of a complete one, but it says something of all.
    fn left_out(&self, slices: usize) -> Vec<usize> {
        let partial: BTreeSet<&String> =
            self.labels().into_iter().filter(|label| !self.complete.contains(*label)).collect();
        let is_known = |slice: &usize| {
            let known = self.known.get(slice);
            partial.iter().all(|label| known.is_some_and(|known| known.contains(*label)))
        };
        (0..slices).filter(|slice| !is_known(slice)).collect()
    }
}

fn measure(
    client: &Client,
    series: &AnnotatedSeries,
    wishes: &RemoteWishes,
    scores: &mut Scores,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let volume = images(client, series)?;
    let drawn = annotation(client, series, &volume)?;
    let labels: Vec<String> = series.labels().into_iter().cloned().collect();
    let none = || Array3::zeros(volume.voxels.dim());
    let masks: Vec<Array3<u8>> =
        labels.iter().map(|label| drawn.get(label).map_or_else(none, |(_, mask)| mask.clone())).collect();
    let views = labels.iter().zip(&masks).map(|(label, mask)| LabelMask { label, mask: mask.view() });
    let name = format!("{} {}", series.patient, series.series);
    let case = Case { name: &name, patient: &series.patient, volume: &volume, masks: views.collect() };
    bar.set_message(series.patient.clone());
    let (found, took) = segment(client, series, &labels, &volume, wishes)?;
    scores.add(&case, &found, &series.left_out(case.slices().len()), took);
    Ok(())
}

/// The series' images as a volume.
fn images(client: &Client, series: &AnnotatedSeries) -> Result<Volume, Failure> {
    let query = format!("studies/{}/series/{}/instances", series.study, series.series);
    let mut objects = vec![];
    for path in client.find_instances(&query)? {
        let bytes = client.retrieve_instance(&path)?;
        objects.push(dicom_object::from_reader(bytes.as_slice()).map_err(Failure::of)?);
    }
    let mut volumes = assemble(&objects, &VolumeLimits::default()).map_err(Failure::of)?;
    match (volumes.pop(), volumes.len()) {
        (Some(volume), 0) => Ok(volume),
        (_, others) => Err(Failure::say(format!("its images make {} volumes, not one", others + 1))),
    }
}

/// What its SEGs say, each of the labels that the bank has of it.
fn annotation(client: &Client, series: &AnnotatedSeries, volume: &Volume) -> Result<truth::Masks, Failure> {
    let mut masks = truth::Masks::new();
    for (segmentation, labels) in &series.segmentations {
        for path in client.find_instances(&format!("instances?SOPInstanceUID={segmentation}"))? {
            let bytes = client.retrieve_instance(&path)?;
            let object = dicom_object::from_reader(bytes.as_slice()).map_err(Failure::of)?;
            let drawn = truth::masks_of(&object, volume)?;
            masks.extend(drawn.into_iter().filter(|(label, _)| labels.contains(label)));
        }
    }
    Ok(masks)
}

/// The series segmented from other patients' exemplars.
fn segment(
    client: &Client,
    series: &AnnotatedSeries,
    labels: &[String],
    volume: &Volume,
    wishes: &RemoteWishes,
) -> Result<(Segmentation, Took), Failure> {
    let mut options = json!({ "leave_out_patient": true });
    if let Some(quality) = wishes.quality {
        options["quality"] = json!(quality);
    }
    let mut request = json!({
        "study": series.study, "series": series.series, "labels": labels, "store": false, "options": options,
    });
    if let Some(collection) = &wishes.collection {
        request["collection"] = json!(collection);
    }
    let mut job = client.request_segmentation(&request)?;
    while !job.is_finished() {
        std::thread::sleep(POLL);
        job = client.job(&job.id)?;
    }
    let job = job.succeeded()?;
    let stages: BTreeMap<String, f64> = job.stage_seconds.iter().cloned().collect();
    let took = Took { seconds: stages.values().sum(), stages };
    Ok((result(client, &job, labels, volume)?, took))
}

/// A job's result as the method would have answered it.
fn result(client: &Client, job: &Job, labels: &[String], volume: &Volume) -> Result<Segmentation, Failure> {
    let bytes = client.result(job)?;
    let object = dicom_object::from_reader(bytes.as_slice()).map_err(Failure::of)?;
    let masks = truth::masks_of(&object, volume)?;
    let mut voxels = Array3::zeros(volume.voxels.dim());
    for (number, label) in (1_u8..=u8::MAX).zip(labels) {
        let Some((_, mask)) = masks.get(label) else { continue };
        voxels.zip_mut_with(mask, |voxel, inside| {
            if *inside != 0 {
                *voxel = number;
            }
        });
    }
    let mut slices = vec![vec![SliceReport::default(); volume.sources.len()]; labels.len()];
    for told in client.provenance(job)? {
        let is_it = |source: &engram_imaging::SliceSource| {
            source.sop_instance_uid == told.sop_instance && source.frame == told.frame
        };
        let label = labels.iter().position(|label| *label == told.label);
        let slice = volume.sources.iter().position(is_it);
        if let (Some(label), Some(slice)) = (label, slice) {
            let report = &mut slices[label][slice];
            (report.pixels, report.confidence, report.review) = (told.pixels, told.confidence, told.review);
        }
    }
    Ok(Segmentation { labels: labels.to_vec(), voxels, probabilities: None, slices, bundle: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_that_was_not_annotated_does_not_count() {
        let known = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
        let series = AnnotatedSeries {
            study: String::new(),
            series: String::new(),
            patient: String::new(),
            segmentations: BTreeMap::new(),
            complete: BTreeSet::new(),
            known: [(1, known(&["a", "b"])), (2, known(&["a"])), (4, known(&["b", "a"]))].into(),
        };
        assert_eq!(series.left_out(6), [0, 2, 3, 5]);
        let series = AnnotatedSeries { complete: known(&["b"]), ..series };
        assert_eq!(series.left_out(6), [0, 3, 5], "b is known of every slice");
        let series = AnnotatedSeries { complete: known(&["a", "b"]), ..series };
        assert_eq!(series.left_out(6), [0; 0]);
    }
}
