//! Masks between the forms that a bundle's graphs take and answer: coverage, logits, what a memory is made of.

use crate::models::{GIVEN_SCORE, ModelSpec, sigmoid};
use engram_imaging::resample::Letterbox;
use engram_inference::PromptSpec;
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayView3, Axis};

/// Coverage of the square's pixels by a mask, 0..1: resized with antialiasing.
pub(crate) fn coverage(mask: ArrayView2<u8>, letterbox: &Letterbox) -> Array2<f32> {
    let mask = mask.mapv(|value| f32::from(u8::from(value != 0)));
    letterbox.apply(mask.view())
}

/// A given mask on the square, from its coverage: 0 or 1 where the bundle wants it so.
pub(crate) fn given(spec: &ModelSpec, coverage: f32) -> f32 {
    if spec.memory.binarise_exemplar { f32::from(coverage >= 0.5) } else { coverage }
}

/// A given mask as the memory encoder wants it, `[S, S]`.
pub(crate) fn of_given(spec: &ModelSpec, mask: ArrayView2<f32>) -> Array2<f32> {
    let scale = |mask: f32| mask * spec.memory.mask_scale + spec.memory.mask_bias;
    if !spec.memory.given_through_mask_size {
        return mask.mapv(scale);
    }
    enlarge(&kept(spec, mask), spec.input.image_size).mapv_into(|logit| scale(f32::from(logit > 0.0)))
}

/// A given mask `[S, S]` as SAM 2's video predictor keeps it: as logits `[m, m]`, sure of themselves.
pub(crate) fn kept(spec: &ModelSpec, mask: ArrayView2<f32>) -> Array2<f32> {
    let logits = mask.mapv(|mask| 2.0 * GIVEN_SCORE * mask - GIVEN_SCORE);
    Letterbox::new(logits.dim(), [1.0, 1.0], spec.features.mask_size).apply(logits.view())
}

/// A predicted mask as the memory encoder wants it, `[S, S]`, from its logits `[m, m]`. `prompted`: it came of clicks.
pub(crate) fn of_predicted(spec: &ModelSpec, logits: &Array2<f32>, prompted: bool) -> Array2<f32> {
    let binarise = spec.memory.binarise_predicted || (prompted && spec.memory.binarise_prompted);
    let probability = |logit: f32| if binarise { f32::from(logit > 0.0) } else { sigmoid(logit) };
    let scale = |mask: f32| mask * spec.memory.mask_scale + spec.memory.mask_bias;
    enlarge(logits, spec.input.image_size).mapv_into(|logit| scale(probability(logit)))
}

/// The mask to follow: the only one, or of several the one thought best after the first, which is for prompts
/// (SAM 2, `multimask_output_for_tracking`).
pub(crate) fn tracking_token(iou: ArrayView1<f32>) -> usize {
    let better = |best: usize, token: usize| if iou[token] > iou[best] { token } else { best };
    (1..iou.len()).reduce(better).unwrap_or(0)
}

/// The mask that several clicks or a box ask for: the first, unless it is not stable (SAM 2,
/// `dynamic_multimask_via_stability`). `masks`: `[tokens, m, m]`.
pub(crate) fn prompted_token(prompts: &PromptSpec, masks: ArrayView3<f32>, iou: ArrayView1<f32>) -> usize {
    let delta = prompts.stability_delta;
    let first = masks.index_axis(Axis(0), 0);
    let above = |from: f32| first.iter().filter(|logit| **logit > from).count() as f32;
    let (inner, outer) = (above(delta), above(-delta));
    let stable = outer == 0.0 || inner / outer >= prompts.stability_threshold;
    if stable { 0 } else { tracking_token(iou) }
}

/// `[m, m]` on `[side, side]`, bilinearly, with half-pixel centres.
pub(crate) fn enlarge(map: &Array2<f32>, side: usize) -> Array2<f32> {
    let (rows, columns) = map.dim();
    if (rows, columns) == (side, side) {
        return map.clone();
    }
    let place = |index: usize, length: usize| {
        let at = (index as f32 + 0.5) * length as f32 / side as f32 - 0.5;
        let at = at.clamp(0.0, (length - 1) as f32);
        let low = at as usize;
        (low, (low + 1).min(length - 1), at - low as f32)
    };
    let across: Vec<_> = (0..side).map(|column| place(column, columns)).collect();
    let mut enlarged = Array2::zeros((side, side));
    for (index, mut row) in enlarged.outer_iter_mut().enumerate() {
        let (top, bottom, v) = place(index, rows);
        let (top, bottom) = (map.row(top), map.row(bottom));
        for (out, (left, right, u)) in row.iter_mut().zip(&across) {
            let upper = top[*left] * (1.0 - u) + top[*right] * u;
            let lower = bottom[*left] * (1.0 - u) + bottom[*right] * u;
            *out = upper * (1.0 - v) + lower * v;
        }
    }
    enlarged
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{array, stack};

    #[test]
    fn the_first_of_several_masks_is_for_prompts() {
        assert_eq!(tracking_token(array![0.1].view()), 0);
        assert_eq!(tracking_token(array![0.9, 0.2, 0.4, 0.3].view()), 2);
        // Of equals the first, as torch.argmax has it.
        assert_eq!(tracking_token(array![0.9, 1.0, 1.0, 0.3].view()), 1);
    }

    #[test]
    fn a_mask_that_a_hair_changes_gives_way_to_the_best_of_the_others() {
        let prompts = PromptSpec { used: true, stability_delta: 0.05, stability_threshold: 0.98 };
        let (sure, unsure) = (array![[9.0, -9.0]], array![[9.0, 0.01]]);
        let iou = array![0.9, 0.2, 0.7];
        let token = |first: &Array2<f32>| {
            let masks = stack![Axis(0), *first, sure, sure];
            prompted_token(&prompts, masks.view(), iou.view())
        };
        assert_eq!(token(&sure), 0);
        assert_eq!(token(&unsure), 2);
        assert_eq!(token(&array![[-9.0, -9.0]]), 0);
    }

    #[test]
    fn enlarging_keeps_constants_and_slopes() {
        assert_eq!(enlarge(&array![[3.0, 3.0], [3.0, 3.0]], 5), Array2::from_elem((5, 5), 3.0));
        let slope = enlarge(&array![[0.0, 1.0], [0.0, 1.0]], 4);
        assert_eq!(slope.row(0), array![0.0, 0.25, 0.75, 1.0]);
    }
}
