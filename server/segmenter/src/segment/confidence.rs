//! What a result is worth, slice by slice: signals that speak for and against it, and what a bundle's calibration
//! makes of them.

use super::beliefs::LabelBeliefs;
use super::line::Line;
use super::retrieve::Selection;
use crate::crop::PixelBox;
use crate::models::sigmoid;
use crate::result::Signals;
use engram_inference::{ConfidenceSpec, SignalWeights};
use ndarray::{Array2, Array3, ArrayView2, Axis, Zip, s};

/// Confidence below which a bundle without a calibration has slices reviewed.
const REVIEW_BELOW: f32 = 0.5;

/// What signals are worth with a bundle.
pub(super) struct Judge<'s> {
    calibration: Option<&'s ConfidenceSpec>,
    review_below: f32,
}

impl<'s> Judge<'s> {
    /// `review_below`: as asked for, else as the bundle recommends.
    pub fn new(calibration: Option<&'s ConfidenceSpec>, review_below: Option<f32>) -> Self {
        let recommended = || calibration.map_or(REVIEW_BELOW, |calibration| calibration.review_below);
        Self { calibration, review_below: review_below.unwrap_or_else(recommended) }
    }

    /// Dice to be expected of a slice with a mask; probability that there is none on one without.
    pub fn confidence(&self, signals: &Signals, drawn: bool) -> f32 {
        match (self.calibration, drawn) {
            (Some(calibration), true) => logistic(&calibration.mask, signals),
            (Some(calibration), false) => logistic(&calibration.absence, signals),
            (None, true) => signals.presence * signals.expected_dice,
            (None, false) => 1.0 - signals.presence,
        }
    }

    /// Whether a person should look at a slice of this confidence.
    pub fn is_for_review(&self, confidence: f32) -> bool {
        confidence < self.review_below
    }
}

fn logistic(weights: &SignalWeights, signals: &Signals) -> f32 {
    sigmoid(
        weights.intercept
            + weights.presence * signals.presence
            + weights.iou * signals.iou
            + weights.expected_dice * signals.expected_dice
            + weights.looks_agree * signals.looks_agree
            + weights.beside * signals.beside
            + weights.similarity * signals.similarity
            + weights.shown * signals.shown,
    )
}

/// Signals `[slice]` of the label that is `value` in the voxels.
pub(super) fn signals(
    label: &LabelBeliefs,
    value: u8,
    voxels: &Array3<u8>,
    selections: &[Selection],
    axis: &Line,
    close_weight: f32,
) -> Vec<Signals> {
    let part = label.reach();
    let masks = part.as_ref().map(|part| Masks { value, voxels, part });
    let of_slice = |(slice, selection): (usize, &Selection)| {
        let shape = masks.as_ref().and_then(|masks| masks.judge(label, slice, close_weight));
        Signals {
            presence: label.presence(slice, close_weight).unwrap_or(0.0),
            iou: label.iou(slice, close_weight).unwrap_or(0.0),
            expected_dice: shape.map_or(0.0, |shape| shape.expected_dice),
            looks_agree: shape.map_or(0.0, |shape| shape.looks_agree),
            beside: masks.as_ref().map_or(0.0, |masks| masks.beside(slice, axis)),
            similarity: similarity(selection),
            shown: shown(selection),
        }
    };
    selections.iter().enumerate().map(of_slice).collect()
}

/// Masks of one label, in the part of the slices that it reaches.
struct Masks<'v> {
    value: u8,
    voxels: &'v Array3<u8>,
    part: &'v PixelBox,
}

/// How sure a mask's shape is.
#[derive(Clone, Copy)]
struct Shape {
    expected_dice: f32,
    looks_agree: f32,
}

impl Masks<'_> {
    fn mask(&self, slice: usize) -> ArrayView2<'_, u8> {
        let PixelBox { rows, columns } = self.part;
        self.voxels.index_axis(Axis(0), slice).slice_move(s![rows.clone(), columns.clone()])
    }

    fn is_on(&self, slice: usize) -> bool {
        self.mask(slice).iter().any(|value| *value == self.value)
    }

    /// None where the label has no pixel on the slice.
    fn judge(&self, label: &LabelBeliefs, slice: usize, close_weight: f32) -> Option<Shape> {
        if !self.is_on(slice) {
            return None;
        }
        let mask = self.mask(slice);
        let logits = label.logits(slice, self.part, close_weight)?;
        let agreement = |look: &Array2<f32>| overlap(mask, self.value, look, |logit| *logit > 0.0);
        Some(Shape {
            expected_dice: self.expected_dice(mask, &logits),
            looks_agree: mean(label.looks(slice, self.part).iter().map(agreement)),
        })
    }

    /// Dice to be expected if each pixel were the label with its own probability.
    fn expected_dice(&self, mask: ArrayView2<u8>, logits: &Array2<f32>) -> f32 {
        let (mut both, mut sum) = (0.0, 0.0);
        Zip::from(&mask).and(logits).for_each(|value, logit| {
            let (probability, inside) = (sigmoid(*logit), f32::from(u8::from(*value == self.value)));
            both += probability * inside;
            sum += probability + inside;
        });
        2.0 * both / f32::max(sum, f32::MIN_POSITIVE)
    }

    /// Mean Dice with the masks of the slices beside it; without a mask, the share of those that have one.
    fn beside(&self, slice: usize, axis: &Line) -> f32 {
        let (mask, drawn) = (self.mask(slice), self.is_on(slice));
        let closeness = |other: usize| match drawn {
            true => overlap(mask, self.value, &self.mask(other), |value| *value == self.value),
            false => f32::from(u8::from(self.is_on(other))),
        };
        mean(axis.beside(slice).map(closeness))
    }
}

/// Dice of where a mask has a value with where a map is inside.
fn overlap<T, S>(
    mask: ArrayView2<u8>,
    value: u8,
    map: &ndarray::ArrayBase<S, ndarray::Ix2>,
    is_inside: impl Fn(&T) -> bool,
) -> f32
where
    S: ndarray::Data<Elem = T>,
{
    let (mut both, mut sum) = (0_usize, 0_usize);
    Zip::from(&mask).and(map).for_each(|own, other| {
        let (own, other) = (*own == value, is_inside(other));
        both += usize::from(own && other);
        sum += usize::from(own) + usize::from(other);
    });
    2.0 * both as f32 / sum.max(1) as f32
}

fn mean(values: impl Iterator<Item = f32>) -> f32 {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
    sum / count.max(1) as f32
}

/// Mean likeness of the exemplars that show the label.
fn similarity(selection: &Selection) -> f32 {
    let present = selection.exemplars.iter().filter(|neighbour| neighbour.present);
    mean(present.map(|neighbour| neighbour.similarity))
}

/// Share of the exemplars that show the label.
fn shown(selection: &Selection) -> f32 {
    mean(selection.exemplars.iter().map(|neighbour| f32::from(u8::from(neighbour.present))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::volume;
    use crate::options::SliceOrder;
    use crate::segment::beliefs::Seen;
    use crate::segment::fuse::Belief;
    use engram_imaging::resample::Letterbox;

    fn of(logits: [f32; 3]) -> Vec<Signals> {
        let letterbox = Letterbox::new((4, 4), [1.0, 1.0], 4);
        let belief = |logit: f32| {
            let mut map = Array2::from_elem((4, 4), -9.0);
            map.slice_mut(s![1..3, 1..3]).fill(logit);
            Some(Belief::new(&map, sigmoid(logit), 0.8))
        };
        let beliefs: Vec<_> = logits.into_iter().map(belief).collect();
        let present: Vec<bool> = logits.iter().map(|logit| *logit > 0.0).collect();
        let label = LabelBeliefs { whole: Seen::new(&letterbox, beliefs), close: vec![], present };
        let mut voxels = Array3::zeros((3, 4, 4));
        for (slice, logit) in logits.iter().enumerate() {
            voxels.slice_mut(s![slice, 1..3, 1..3]).fill(u8::from(*logit > 0.0));
        }
        let geometry = volume(Array3::zeros((3, 4, 4)), &[0.0, 1.0, 2.0]).geometry;
        let axis = Line::new(&geometry, 3, SliceOrder::Natural);
        signals(&label, 1, &voxels, &vec![Selection::default(); 3], &axis, 0.5)
    }

    #[test]
    fn a_surer_mask_promises_more_and_agrees_with_what_was_seen() {
        let found = of([6.0, 1.0, -6.0]);
        assert!(found[0].expected_dice > 0.99 && found[1].expected_dice < found[0].expected_dice);
        assert_eq!((found[0].looks_agree, found[2].looks_agree), (1.0, 0.0));
        assert_eq!((found[0].beside, found[1].beside, found[2].beside), (1.0, 0.5, 1.0));
    }

    #[test]
    fn without_a_calibration_doubt_lowers_confidence_all_the_same() {
        let found = of([6.0, 1.0, -6.0]);
        let judge = Judge::new(None, None);
        let confidence = |slice: usize, drawn| judge.confidence(&found[slice], drawn);
        assert!(confidence(0, true) > 0.95 && confidence(1, true) < 0.7 && confidence(2, false) > 0.95);
        assert!(judge.is_for_review(0.4) && !judge.is_for_review(0.6));
    }

    #[test]
    fn a_calibration_weighs_the_signals() {
        let weights = |iou| SignalWeights { intercept: -1.0, iou, ..SignalWeights::default() };
        let calibration = ConfidenceSpec { review_below: 0.3, mask: weights(2.0), absence: weights(0.0) };
        let judge = Judge::new(Some(&calibration), None);
        let signals = Signals { iou: 0.5, ..Signals::default() };
        assert!((judge.confidence(&signals, true) - 0.5).abs() < 1e-6);
        assert!((judge.confidence(&signals, false) - sigmoid(-1.0)).abs() < 1e-6);
        assert!(!judge.is_for_review(0.4) && Judge::new(Some(&calibration), Some(0.7)).is_for_review(0.4));
    }
}
