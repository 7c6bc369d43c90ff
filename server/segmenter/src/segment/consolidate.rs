//! From beliefs to voxels on the native grid.

use super::agree::Agreement;
use super::beliefs::LabelBeliefs;
use super::components::drop_small_components;
use super::settle::settle;
use crate::options::Tuning;
use ndarray::{Array3, Array4, CowArray, Ix2, Zip, s};

/// A mask that the caller gave for a slice.
pub(crate) struct GivenMask<'a> {
    pub label: usize,
    pub slice: usize,
    /// Not 0 in the object.
    pub mask: CowArray<'a, u8, Ix2>,
}

/// Each voxel to the label that is surest of it, or to none; then small components go, and given masks return.
/// Answers voxels `[slice, row, column]`, and probabilities `[label, slice, row, column]` where wanted.
pub(crate) fn consolidate(
    labels: &[LabelBeliefs],
    given: &[GivenMask],
    shape: (usize, usize, usize),
    tuning: &Tuning,
    agreement: Option<&Agreement>,
    with_probabilities: bool,
) -> (Array3<u8>, Option<Array4<u8>>) {
    let weight = tuning.close_weight;
    let (mut voxels, probabilities) = settle(labels, shape, weight, agreement, with_probabilities);
    drop_small_components(&mut voxels, tuning.keep_component);
    for given in given {
        put_given(&mut voxels, given);
    }
    let probabilities = with_probabilities
        .then(|| probabilities.permuted_axes([1, 0, 2, 3]).as_standard_layout().into_owned());
    (voxels, probabilities)
}

fn put_given(voxels: &mut Array3<u8>, given: &GivenMask) {
    let Ok(value) = u8::try_from(given.label + 1) else { return };
    Zip::from(voxels.slice_mut(s![given.slice, .., ..])).and(&given.mask).for_each(|voxel, mask| {
        if *mask != 0 {
            *voxel = value;
        } else if *voxel == value {
            *voxel = 0;
        }
    });
}
