//! Copying the mask of the most similar annotated slice.

use super::{Baselines, SIDE};
use ndarray::Array2;

/// A map a label, 0 or 1.
pub(super) fn copy(exemplars: &Baselines, grey: &Array2<f32>) -> Vec<Array2<f32>> {
    match exemplars.nearest(grey, 1)[..] {
        [best] => exemplars.slices[best]
            .masks
            .iter()
            .map(|mask| mask.mapv(|set| f32::from(u8::from(set))))
            .collect(),
        _ => exemplars.labels.iter().map(|_| Array2::zeros((SIDE, SIDE))).collect(),
    }
}
