//! From what was found to what is answered.

use super::agree::Agreement;
use super::beliefs::LabelBeliefs;
use super::confidence::{self, Judge};
use super::consolidate::{GivenMask, consolidate};
use super::line::Line;
use super::retrieve::Selection;
use super::run::Request;
use crate::exemplars::Neighbour;
use crate::models::Models;
use crate::result::{Segmentation, Signals, SliceReport};
use ndarray::{Array2, Array3, Axis};

/// All that is known of a target at the end.
pub(super) struct Findings<'a, 'g> {
    pub labels: &'a [LabelBeliefs],
    pub given: &'a [GivenMask<'g>],
    /// `[label][slice]`.
    pub selections: Vec<Vec<Selection>>,
    pub agreement: Option<Agreement<'a>>,
    /// Slices along the normal.
    pub axis: &'a Line,
}

impl Findings<'_, '_> {
    /// Voxels and a report of each slice and label.
    pub fn conclude(self, models: &dyn Models, request: &Request) -> Segmentation {
        let (options, tuning) = (&request.options, &request.options.tuning);
        let shape = request.volume.voxels.dim();
        let agreement = self.agreement.as_ref();
        let given = self.given;
        let (voxels, probabilities) =
            consolidate(self.labels, given, shape, tuning, agreement, options.probabilities);
        let judge = Judge::new(models.spec().confidence.as_ref(), options.review_below);
        let mut slices = self.reports(&voxels, &judge, tuning.close_weight);
        for given in given {
            let report = &mut slices[given.label][given.slice];
            (report.given, report.confidence, report.review) = (true, 1.0, false);
        }
        Segmentation {
            labels: request.labels.iter().map(|label| (*label).to_owned()).collect(),
            voxels,
            probabilities,
            slices,
            bundle: models.spec().id.clone(),
        }
    }

    fn reports(self, voxels: &Array3<u8>, judge: &Judge, close_weight: f32) -> Vec<Vec<SliceReport>> {
        let pixels = count(voxels, self.labels.len());
        let mut reports = vec![];
        for ((value, label), selections) in (1_u8..=u8::MAX).zip(self.labels).zip(self.selections) {
            let signals = confidence::signals(label, value, voxels, &selections, self.axis, close_weight);
            let slices = selections.into_iter().zip(signals).enumerate();
            let report = |(slice, (selection, signals)): (usize, (Selection, Signals))| {
                let pixels = pixels[[slice, usize::from(value) - 1]];
                let confidence = judge.confidence(&signals, pixels > 0);
                SliceReport {
                    pixels,
                    confidence,
                    review: judge.is_for_review(confidence),
                    signals,
                    given: false,
                    provenance: by_likeness(selection.exemplars),
                }
            };
            reports.push(slices.map(report).collect());
        }
        reports
    }
}

/// Pixels `[slice, label]` of each label.
fn count(voxels: &Array3<u8>, labels: usize) -> Array2<usize> {
    let mut pixels = Array2::zeros((voxels.len_of(Axis(0)), labels));
    for (plane, mut counts) in voxels.outer_iter().zip(pixels.outer_iter_mut()) {
        plane.iter().filter(|value| **value != 0).for_each(|value| counts[usize::from(*value) - 1] += 1);
    }
    pixels
}

/// The most similar first.
fn by_likeness(mut exemplars: Vec<Neighbour>) -> Vec<Neighbour> {
    exemplars.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
    exemplars
}
