//! From beliefs to voxels on the native grid.

use super::agree::{Agreement, Voice};
use super::components::drop_small_components;
use super::fuse::Belief;
use crate::models::sigmoid;
use crate::options::Tuning;
use engram_imaging::resample::Letterbox;
use ndarray::{Array2, Array3, Array4, ArrayViewMut3, Axis, CowArray, Ix2, Zip, s};
use rayon::prelude::*;

/// Logit of what no view shows.
const UNSEEN: f32 = -12.0;

/// A label as seen in one view.
pub(crate) struct Seen {
    pub letterbox: Letterbox,
    /// By slice.
    pub beliefs: Vec<Option<Belief>>,
}

/// All that is believed of a label.
pub(crate) struct LabelBeliefs {
    pub whole: Seen,
    /// Closer looks, the first one first; none at a label that is large or nowhere.
    pub close: Vec<Seen>,
    /// By slice, whether the label is there.
    pub present: Vec<bool>,
}

/// A mask that the caller gave for a slice.
pub(crate) struct GivenMask<'a> {
    pub label: usize,
    pub slice: usize,
    /// Not 0 in the object.
    pub mask: CowArray<'a, u8, Ix2>,
}

impl LabelBeliefs {
    /// Probability that the label is on a slice, of all looks at it. None where nobody looked.
    pub fn presence(&self, slice: usize, close_weight: f32) -> Option<f32> {
        let whole = self.whole.beliefs[slice].as_ref()?.presence;
        let close: Vec<f32> =
            self.close.iter().filter_map(|close| Some(close.beliefs[slice].as_ref()?.presence)).collect();
        if close.is_empty() {
            return Some(whole);
        }
        let mean = close.iter().sum::<f32>() / close.len() as f32;
        Some(close_weight * mean + (1.0 - close_weight) * whole)
    }

    /// Logits of a slice on the native grid. None where the label is not there.
    pub fn logits(&self, slice: usize, close_weight: f32) -> Option<Array2<f32>> {
        if !self.present[slice] {
            return None;
        }
        let whole = self.whole.native(slice, UNSEEN)?;
        if self.close.is_empty() {
            return Some(whole);
        }
        let (mut sum, mut looks) = (Array2::<f32>::zeros(whole.dim()), Array2::<f32>::zeros(whole.dim()));
        for close in self.close.iter().filter_map(|close| close.native(slice, f32::NAN)) {
            Zip::from(&mut sum).and(&mut looks).and(&close).for_each(|sum, looks, close| {
                if !close.is_nan() {
                    (*sum, *looks) = (*sum + close, *looks + 1.0);
                }
            });
        }
        Some(Zip::from(&whole).and(&sum).and(&looks).map_collect(|whole, sum, looks| match *looks {
            0.0 => *whole,
            looks => close_weight * sum / looks + (1.0 - close_weight) * whole,
        }))
    }

    /// What the slices beside one say; where the label is not, that it is not.
    fn heard<'v>(
        &self,
        voices: &'v [Voice],
        shape: (usize, usize),
        close_weight: f32,
    ) -> Vec<(&'v Voice, Array2<f32>)> {
        let logits =
            |slice| self.logits(slice, close_weight).unwrap_or_else(|| Array2::from_elem(shape, UNSEEN));
        voices.iter().map(|voice| (voice, logits(voice.slice))).collect()
    }
}

impl Seen {
    fn native(&self, slice: usize, fill: f32) -> Option<Array2<f32>> {
        let belief = self.beliefs[slice].as_ref()?;
        Some(self.letterbox.restore(belief.logits().view(), fill))
    }
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

/// Each voxel to the label that is surest of it, or to none, after neighbours have been heard where they are to be; and probabilities `[slice, label, row, column]`, of no
/// label where they are not wanted.
pub(crate) fn settle(
    labels: &[LabelBeliefs],
    shape: (usize, usize, usize),
    close_weight: f32,
    agreement: Option<&Agreement>,
    with_probabilities: bool,
) -> (Array3<u8>, Array4<u8>) {
    let mut voxels = Array3::zeros(shape);
    let wanted = if with_probabilities { labels.len() } else { 0 };
    let mut probabilities = Array4::zeros((shape.0, wanted, shape.1, shape.2));
    let rows: Vec<_> = voxels.outer_iter_mut().zip(probabilities.outer_iter_mut()).enumerate().collect();
    rows.into_par_iter().for_each(|(slice, (mut voxels, mut probabilities))| {
        let mut best = Array2::<f32>::zeros(voxels.dim());
        let voices = agreement.map(|agreement| agreement.voices(slice)).unwrap_or_default();
        for (index, (value, label)) in (1_u8..=u8::MAX).zip(labels).enumerate() {
            let Some(own) = label.logits(slice, close_weight) else { continue };
            let logits = match agreement {
                Some(agreement) => agreement.blend(&own, &label.heard(&voices, own.dim(), close_weight)),
                None => own,
            };
            Zip::from(&mut voxels).and(&mut best).and(&logits).for_each(|voxel, best, logit| {
                if *logit > *best {
                    (*voxel, *best) = (value, *logit);
                }
            });
            if with_probabilities {
                quantise(&logits, &mut probabilities, index);
            }
        }
    });
    (voxels, probabilities)
}

fn quantise(logits: &Array2<f32>, probabilities: &mut ArrayViewMut3<u8>, label: usize) {
    Zip::from(probabilities.index_axis_mut(Axis(0), label))
        .and(logits)
        .for_each(|out, logit| *out = (sigmoid(*logit) * 255.0).round() as u8);
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
