//! How good results are against annotations: the part of the protocols that needs no file.
//!
//! Dice is per target volume; a label absent from both result and truth is left out, a label in only one of them
//! counts 0. Exemplars of the target's own patient never count.

use crate::baselines::Baselines;
use crate::encode::{LabelMask, encode_exemplars};
use crate::exemplars::{Exemplars, MemoryExemplars};
use crate::metrics::{Spread, dice, label_sharing};
use crate::models::Models;
use crate::observer::{Observer, Stage, Steps};
use crate::surface::SurfaceDistance;
use crate::target::Target;
use crate::{BoxError, Neighbour, Result, Segmentation, Signals};
use engram_imaging::{Volume, VolumeGeometry};
use engram_memory::{ExemplarId, Memory, View};
use ndarray::{Array2, Array3, ArrayView1, Axis};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An annotated volume.
pub struct Case<'a> {
    /// What to call it in reports.
    pub name: &'a str,
    /// Tells patients apart.
    pub patient: &'a str,
    /// The images.
    pub volume: &'a Volume,
    /// The truth.
    pub masks: Vec<LabelMask<'a>>,
}

impl Case<'_> {
    /// Takes the slices named into a bank. The patient stands for the study too, so that a patient's several
    /// volumes vote as one.
    ///
    /// # Errors
    /// As [`encode_exemplars`].
    pub fn remember(
        &self,
        models: &dyn Models,
        bank: &mut MemoryExemplars,
        slices: &[usize],
        observer: &dyn Observer,
    ) -> Result<()> {
        let exemplars = encode_exemplars(models, self.volume, &self.masks, slices, observer)?;
        bank.insert(self.patient, &self.volume.modality, exemplars);
        Ok(())
    }

    /// All slices of the volume.
    pub fn slices(&self) -> Vec<usize> {
        (0..self.volume.voxels.len_of(Axis(0))).collect()
    }

    fn slices_without(&self, left_out: &[usize]) -> Vec<usize> {
        self.slices().into_iter().filter(|slice| !left_out.contains(slice)).collect()
    }
}

/// A bank without what it knows from one patient.
pub struct OtherPatients<'a> {
    /// The bank; each study in it is one patient's.
    pub bank: &'a MemoryExemplars,
    /// Whom to leave out.
    pub patient: &'a str,
}

impl Exemplars for OtherPatients<'_> {
    fn modalities(&self, label: &str) -> Result<BTreeSet<String>, BoxError> {
        self.bank.modalities(label)
    }

    fn nearest(
        &self,
        label: &str,
        modality: &str,
        vector: ArrayView1<f32>,
        limit: usize,
    ) -> Result<Vec<Neighbour>, BoxError> {
        let own = self.bank.slices_of(self.patient);
        let mut found = self.bank.nearest(label, modality, vector, limit.saturating_add(own))?;
        found.retain(|neighbour| &*neighbour.study != self.patient);
        found.truncate(limit);
        Ok(found)
    }

    fn memory(&self, exemplar: ExemplarId, view: View) -> Result<Option<Arc<Memory>>, BoxError> {
        self.bank.memory(exemplar, view)
    }
}

/// How good the result of one target is, by label key.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TargetScore {
    /// Name of the case.
    pub target: String,
    /// Dice; labels absent from both result and truth are left out.
    pub dice: BTreeMap<String, f64>,
    /// How far the surfaces are apart, of the labels in both.
    pub distance: BTreeMap<String, SurfaceDistance>,
}

impl TargetScore {
    /// Of masks given in the order of the case's labels; slices in `left_out` do not count.
    pub fn of(case: &Case, found: &[Array3<bool>], left_out: &[usize]) -> Self {
        let slices = case.slices_without(left_out);
        let geometry = part_of(&case.volume.geometry, &slices);
        let mut score = Self { target: case.name.to_owned(), ..Self::default() };
        for (truth, found) in case.masks.iter().zip(found) {
            let truth_mask = truth.mask.select(Axis(0), &slices).mapv(|value| value != 0);
            let found = found.select(Axis(0), &slices);
            let label = || truth.label.to_owned();
            score.dice.extend(dice(&found, &truth_mask).map(|dice| (label(), dice)));
            let distance = SurfaceDistance::between(&found, &truth_mask, &geometry);
            score.distance.extend(distance.map(|distance| (label(), distance)));
        }
        score
    }

    /// Of a segmentation.
    pub fn of_segmentation(case: &Case, result: &Segmentation, left_out: &[usize]) -> Self {
        let none = || Array3::from_elem(result.voxels.dim(), false);
        let found: Vec<_> =
            case.masks.iter().map(|truth| result.mask(truth.label).unwrap_or_else(none)).collect();
        Self::of(case, &found, left_out)
    }

    /// Mean Dice over the labels; None where none counts.
    pub fn mean(&self) -> Option<f64> {
        (!self.dice.is_empty()).then(|| self.dice.values().sum::<f64>() / self.dice.len() as f64)
    }
}

fn part_of(geometry: &VolumeGeometry, slices: &[usize]) -> VolumeGeometry {
    let positions = slices.iter().filter_map(|slice| geometry.positions.get(*slice).copied()).collect();
    VolumeGeometry { positions, ..geometry.clone() }
}

/// One slice and label of a result beside the truth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SliceScore {
    /// Key of the label.
    pub label: String,
    /// Index of the slice.
    pub slice: usize,
    /// Pixels of the label in the truth.
    pub truth_pixels: usize,
    /// Pixels of the label in the result.
    pub pixels: usize,
    /// None where both are 0.
    pub dice: Option<f64>,
    /// What the result was thought to be worth.
    pub confidence: f32,
    /// Whether it was to be reviewed.
    pub review: bool,
    /// What the confidence was made of.
    pub signals: Signals,
}

impl SliceScore {
    /// Every slice and label of a segmentation but the slices in `left_out`.
    pub fn of_segmentation(case: &Case, result: &Segmentation, left_out: &[usize]) -> Vec<Self> {
        let slices = case.slices_without(left_out);
        let mut scores = vec![];
        for truth in &case.masks {
            let found = result.labels.iter().position(|label| label == truth.label);
            let Some(found) =
                found.and_then(|index| Some((result.slices.get(index)?, result.mask(truth.label)?)))
            else {
                continue;
            };
            let (reports, mask) = found;
            for slice in slices.iter().copied() {
                let Some(report) = reports.get(slice) else { continue };
                let truth_mask = truth.mask.index_axis(Axis(0), slice).mapv(|value| value != 0);
                scores.push(Self {
                    label: truth.label.to_owned(),
                    slice,
                    truth_pixels: truth_mask.iter().filter(|inside| **inside).count(),
                    pixels: report.pixels,
                    dice: dice(&mask.index_axis(Axis(0), slice), &truth_mask),
                    confidence: report.confidence,
                    review: report.review,
                    signals: report.signals,
                });
            }
        }
        scores
    }
}

/// Scores over targets.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Mean over targets of each target's mean over labels.
    pub mean_dice: f64,
    /// Over targets, by label key.
    pub labels: BTreeMap<String, LabelSpread>,
    /// Each target.
    pub targets: Vec<TargetScore>,
}

/// One label over targets.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LabelSpread {
    /// Over the targets that have the label or were thought to.
    pub dice: Spread,
    /// mm, over the targets that have the label and were thought to.
    pub hausdorff_95: Spread,
    /// Mean distance of the surfaces, mm, over the same.
    pub average_distance: Spread,
}

impl Summary {
    /// Of all targets' scores.
    pub fn of(targets: Vec<TargetScore>) -> Self {
        let labels: BTreeSet<&String> = targets.iter().flat_map(|target| target.dice.keys()).collect();
        let spread = |label: &String| {
            let distances = || targets.iter().filter_map(|target| target.distance.get(label));
            LabelSpread {
                dice: Spread::of(targets.iter().filter_map(|target| target.dice.get(label).copied())),
                hausdorff_95: Spread::of(distances().map(|distance| distance.hausdorff_95)),
                average_distance: Spread::of(distances().map(|distance| distance.average)),
            }
        };
        Self {
            mean_dice: Spread::of(targets.iter().filter_map(TargetScore::mean)).mean,
            labels: labels.into_iter().map(|label| (label.clone(), spread(label))).collect(),
            targets,
        }
    }
}

/// How many labels a slice shares with the slices found for it: mean Jaccard index of the sets of labels present,
/// over slices and the K found for each.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LabelSharing {
    /// K nearest by the bundle's retrieval vectors.
    pub retrieval: f64,
    /// K nearest by the correlation of 16 x 16 thumbnails.
    pub correlation: f64,
    /// Expected of K random ones: all of them.
    pub random: f64,
}

/// Measures [`LabelSharing`] of `k` slices, over all slices of the targets, among all slices of the exemplars.
///
/// # Errors
/// What the bundle cannot do, cancellation.
pub fn retrieval_sharing(
    models: &dyn Models,
    exemplars: &[Case],
    targets: &[Case],
    k: usize,
    observer: &dyn Observer,
) -> Result<LabelSharing> {
    let labels: BTreeSet<&str> =
        exemplars.iter().flat_map(|case| &case.masks).map(|mask| mask.label).collect();
    let labels: Vec<&str> = labels.into_iter().collect();
    let mut baselines = Baselines::new(&labels, &models.spec().input);
    let (mut vectors, mut sets) = (vec![], vec![]);
    for case in exemplars {
        baselines.insert(case.volume, &case.masks, &case.slices())?;
        vectors.extend(unit_vectors(models, case, observer)?.outer_iter().map(|vector| vector.to_owned()));
        sets.extend(case.slices().into_iter().map(|slice| label_set(case, &labels, slice)));
    }
    let (mut retrieval, mut correlation, mut random) = (vec![], vec![], vec![]);
    for case in targets {
        let correlated = baselines.most_similar(case.volume, k)?;
        let own_vectors = unit_vectors(models, case, observer)?;
        for ((slice, vector), correlated) in own_vectors.outer_iter().enumerate().zip(correlated) {
            let own = label_set(case, &labels, slice);
            let share = |index: usize| label_sharing(&own, &sets[index]);
            let mut ranked: Vec<(usize, f32)> =
                vectors.iter().map(|other| vector.dot(other)).enumerate().collect();
            ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
            retrieval.extend(ranked.iter().take(k).map(|(index, _)| share(*index)));
            correlation.extend(correlated.into_iter().map(share));
            random.extend((0..sets.len()).map(share));
        }
    }
    let mean = |values: Vec<f64>| Spread::of(values).mean;
    Ok(LabelSharing { retrieval: mean(retrieval), correlation: mean(correlation), random: mean(random) })
}

fn unit_vectors(models: &dyn Models, case: &Case, observer: &dyn Observer) -> Result<Array2<f32>> {
    let target = Target::new(case.volume, &models.spec().input)?;
    let slices = case.slices();
    Steps::run(observer, Stage::Prepare, slices.len(), |steps| target.unit_vectors(models, &slices, steps))
}

fn label_set(case: &Case, labels: &[&str], slice: usize) -> Vec<bool> {
    let present = |label: &&str| {
        let mask = case.masks.iter().find(|mask| mask.label == *label);
        mask.is_some_and(|mask| mask.mask.index_axis(Axis(0), slice).iter().any(|value| *value != 0))
    };
    labels.iter().map(present).collect()
}
