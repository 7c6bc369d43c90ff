//! From beliefs to voxels on the native grid.

use super::agree::{Agreement, Voice};
use super::components::drop_small_components;
use super::fuse::Belief;
use crate::crop::PixelBox;
use crate::models::sigmoid;
use crate::options::Tuning;
use engram_imaging::resample::{Letterbox, Restorer};
use ndarray::{Array2, Array3, Array4, ArrayViewMut2, ArrayViewMut3, Axis, CowArray, Ix2, Zip, s};
use rayon::prelude::*;
use std::collections::{BTreeSet, HashMap};
use std::iter;

/// Logit of what no view shows.
const UNSEEN: f32 = -12.0;

/// Slices that settle together at the most: what one of them says to those beside it is worked out once.
const SETTLED_TOGETHER: usize = 8;

/// A label as seen in one view.
pub(crate) struct Seen {
    /// From the view's square to the native grid.
    restorer: Restorer,
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

    /// Logits of a part of a slice on the native grid. None where the label is not on the slice.
    fn logits(&self, slice: usize, part: &PixelBox, close_weight: f32) -> Option<Array2<f32>> {
        if !self.present[slice] {
            return None;
        }
        let whole = self.whole.native(slice, part, UNSEEN)?;
        if self.close.is_empty() {
            return Some(whole);
        }
        let (mut sum, mut looks) = (Array2::<f32>::zeros(whole.dim()), Array2::<f32>::zeros(whole.dim()));
        for close in self.close.iter().filter_map(|close| close.native(slice, part, f32::NAN)) {
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

    /// The part of the slices outside of which the label has no logit above 0. None where it has none at all.
    fn reach(&self) -> Option<PixelBox> {
        let looks = iter::once(&self.whole).chain(&self.close);
        looks.filter_map(|seen| seen.reach(&self.present)).reduce(|reach, seen| reach.join(&seen))
    }
}

impl Seen {
    /// What was seen through a letterbox, by slice.
    pub fn new(letterbox: &Letterbox, beliefs: Vec<Option<Belief>>) -> Self {
        let map = beliefs.iter().flatten().next().map_or((1, 1), Belief::dim);
        Self { restorer: letterbox.restorer(map), beliefs }
    }

    fn native(&self, slice: usize, part: &PixelBox, fill: f32) -> Option<Array2<f32>> {
        let logits = self.beliefs[slice].as_ref()?.logits();
        Some(self.restorer.restore(logits.view(), part.rows.clone(), part.columns.clone(), fill))
    }

    /// The part of the slices named that any logit above 0 has a say in.
    fn reach(&self, slices: &[bool]) -> Option<PixelBox> {
        let named = self.beliefs.iter().zip(slices).filter(|(_, named)| **named);
        let boxes = named.filter_map(|(belief, _)| belief.as_ref()?.reach());
        let PixelBox { rows, columns } = boxes.reduce(|reach, belief| reach.join(&belief))?;
        let [rows, columns] = self.restorer.reach(rows, columns);
        (!rows.is_empty() && !columns.is_empty()).then_some(PixelBox { rows, columns })
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
        let Some(reach) = parts.reduce(|reach, part| reach.join(&part)) else { return };
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
