//! Which label each voxel is.

use super::agree::{Agreement, Voice};
use super::beliefs::{LabelBeliefs, UNSEEN};
use crate::crop::PixelBox;
use crate::models::sigmoid;
use ndarray::{Array2, Array3, Array4, ArrayViewMut2, ArrayViewMut3, Axis, CowArray, Ix2, Zip};
use rayon::prelude::*;
use std::collections::{BTreeSet, HashMap};
use std::iter;

/// Slices that settle together at the most: what one of them says to those beside it is worked out once.
const SETTLED_TOGETHER: usize = 8;

/// Each voxel to the label that is surest of it, or to none, after neighbours have been heard where they are to be; and
/// probabilities `[slice, label, row, column]`, of no label where they are not wanted.
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
    // A label that has no logit above 0 wins no voxel, but it has a probability.
    let part_of = |label: &LabelBeliefs| match with_probabilities {
        true => Some(PixelBox::whole((shape.1, shape.2))),
        false => label.reach(),
    };
    let settling = Settling { labels, parts: labels.iter().map(part_of).collect(), close_weight, agreement };
    let planes = voxels.outer_iter_mut().zip(probabilities.outer_iter_mut()).enumerate();
    let mut planes: Vec<Plane> =
        planes.map(|(slice, (voxels, probabilities))| Plane { slice, voxels, probabilities }).collect();
    if let Some(agreement) = agreement {
        planes.sort_by_key(|plane| agreement.rank(plane.slice));
    }
    let a_thread = planes.len().div_ceil(rayon::current_num_threads());
    let together = a_thread.clamp(1, SETTLED_TOGETHER);
    planes.par_chunks_mut(together).for_each(|planes| settling.settle(planes));
    (voxels, probabilities)
}

/// A slice of the result.
struct Plane<'a> {
    slice: usize,
    /// `[row, column]`.
    voxels: ArrayViewMut2<'a, u8>,
    /// `[label, row, column]`, of no label where they are not wanted.
    probabilities: ArrayViewMut3<'a, u8>,
}

struct Settling<'a> {
    labels: &'a [LabelBeliefs],
    /// By label, where to look for it.
    parts: Vec<Option<PixelBox>>,
    close_weight: f32,
    agreement: Option<&'a Agreement<'a>>,
}

/// How loud two slices are to each other.
type Loudness = HashMap<(usize, usize), Array2<f32>>;

impl Settling<'_> {
    fn settle(&self, planes: &mut [Plane]) {
        let parts = self.parts.iter().flatten().cloned();
        let Some(reach) = parts.reduce(PixelBox::join) else { return };
        let slices: Vec<usize> = planes.iter().map(|plane| plane.slice).filter(|s| self.any_on(*s)).collect();
        let loudness = self.loudness(&slices, &reach);
        let mut best = vec![Array2::<f32>::zeros(reach.dim()); planes.len()];
        for (index, (value, label)) in (1_u8..=u8::MAX).zip(self.labels).enumerate() {
            let Some(part) = &self.parts[index] else { continue };
            let at = part.within(&reach);
            let logits = self.logits(label, &slices, part);
            for (plane, best) in planes.iter_mut().zip(&mut best) {
                let Some(own) = logits.get(&plane.slice) else { continue };
                let heard = self.heard(plane.slice, own, &logits, &loudness, &at);
                Zip::from(plane.voxels.slice_mut(part.slice()))
                    .and(best.slice_mut(at.slice()))
                    .and(&heard)
                    .for_each(|voxel, best, logit| {
                        if *logit > *best {
                            (*voxel, *best) = (value, *logit);
                        }
                    });
                if !plane.probabilities.is_empty() {
                    quantise(&heard, &mut plane.probabilities, index);
                }
            }
        }
    }

    /// Whether any label is on a slice.
    fn any_on(&self, slice: usize) -> bool {
        self.labels.iter().any(|label| label.present[slice])
    }

    /// The slices that one hears.
    fn beside(&self, slice: usize) -> Vec<usize> {
        self.agreement.map(|agreement| agreement.beside(slice).collect()).unwrap_or_default()
    }

    /// Of the slices and those beside them, in a part.
    fn loudness(&self, slices: &[usize], part: &PixelBox) -> Loudness {
        let Some(agreement) = self.agreement else { return Loudness::new() };
        let heard = slices.iter().flat_map(|slice| iter::repeat(*slice).zip(self.beside(*slice)));
        let pairs: BTreeSet<(usize, usize)> = heard.map(|(slice, other)| pair(slice, other)).collect();
        pairs.into_iter().map(|(a, b)| ((a, b), agreement.loudness(a, b, part))).collect()
    }

    /// A label's logits in a part of the slices and of those beside them, where it is there.
    fn logits(&self, label: &LabelBeliefs, slices: &[usize], part: &PixelBox) -> HashMap<usize, Array2<f32>> {
        let beside = |slice: &usize| self.beside(*slice).into_iter().chain([*slice]);
        let wanted: BTreeSet<usize> = slices.iter().flat_map(beside).collect();
        let logits = |slice| Some((slice, label.logits(slice, part, self.close_weight)?));
        wanted.into_iter().filter_map(logits).collect()
    }

    /// A slice's own logits, after those beside it have been heard: where the label is not, that it is not. `at`: the
    /// part that they are of, within that of `loudness`.
    fn heard<'l>(
        &self,
        slice: usize,
        own: &'l Array2<f32>,
        logits: &'l HashMap<usize, Array2<f32>>,
        loudness: &Loudness,
        at: &PixelBox,
    ) -> CowArray<'l, f32, Ix2> {
        let Some(agreement) = self.agreement else { return CowArray::from(own) };
        let silent = Array2::from_elem(own.dim(), UNSEEN);
        let voice = |other: usize| {
            let loudness = loudness.get(&pair(slice, other))?.slice(at.slice());
            Some(Voice { logits: logits.get(&other).unwrap_or(&silent).view(), loudness })
        };
        let voices: Vec<Voice> = self.beside(slice).into_iter().filter_map(voice).collect();
        CowArray::from(agreement.blend(own, &voices))
    }
}

/// Two slices, whichever comes first.
fn pair(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}

fn quantise(logits: &CowArray<f32, Ix2>, probabilities: &mut ArrayViewMut3<u8>, label: usize) {
    Zip::from(probabilities.index_axis_mut(Axis(0), label))
        .and(logits)
        .for_each(|out, logit| *out = (sigmoid(*logit) * 255.0).round() as u8);
}
