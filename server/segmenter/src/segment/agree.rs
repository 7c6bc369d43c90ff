//! Agreement between slices: where one looks like the slice beside it, both should be labelled alike.
//!
//! A bilateral filter along the normal (Tomasi and Manduchi, 1998), of logits by the likeness of grey: each pixel hears
//! the same pixel of the slices on both sides, the more the more alike the patches around it are.

use super::line::Line;
use crate::crop::PixelBox;
use crate::options::Tuning;
use crate::target::Target;
use ndarray::{Array2, ArrayView2, Zip, s};

/// Logits beyond this are no louder: a slice that is sure should not decide for one that only resembles it.
const LOUDEST: f32 = 6.0;

/// Who hears whom, and how much.
pub(crate) struct Agreement<'a> {
    target: &'a Target<'a>,
    line: &'a Line,
    /// Weight of the slices beside one against its own, where they look the same.
    weight: f32,
    /// Difference of grey, in shares of the window, at which a patch still counts by 0.6.
    spread: f32,
}

/// A slice that is heard: its logits, and how much each pixel counts, 0..1.
pub(crate) struct Voice<'v> {
    pub logits: ArrayView2<'v, f32>,
    pub loudness: ArrayView2<'v, f32>,
}

impl<'a> Agreement<'a> {
    /// None where nobody is to be heard.
    pub fn new(target: &'a Target, line: &'a Line, tuning: &Tuning) -> Option<Self> {
        let (weight, spread) = (tuning.agreement, tuning.agreement_spread);
        (weight > 0.0 && spread > 0.0).then_some(Self { target, line, weight, spread })
    }

    /// Where a slice stands in the order in which each lies between those that it hears.
    pub fn rank(&self, slice: usize) -> usize {
        self.line.rank(slice)
    }

    /// The slices that one hears.
    pub fn beside(&self, slice: usize) -> impl Iterator<Item = usize> {
        self.line.beside(slice)
    }

    /// How loud two slices are to each other in a part of them: the louder, the more alike they look.
    pub fn loudness(&self, one: usize, other: usize, part: &PixelBox) -> Array2<f32> {
        let around = part.with_rim(self.target.native());
        let differences = self.target.unit_of(one, &around) - self.target.unit_of(other, &around);
        let means = patch_means(&differences.mapv_into(|d| d * d));
        let sharpness = 0.5 / self.spread.powi(2);
        means.slice(part.within(&around).slice()).mapv(|d| (-sharpness * d).exp())
    }

    /// A slice's own logits with those of its neighbours.
    pub fn blend(&self, own: &Array2<f32>, voices: &[Voice]) -> Array2<f32> {
        let (mut sum, mut loudness) = (Array2::<f32>::zeros(own.dim()), Array2::<f32>::zeros(own.dim()));
        for voice in voices {
            Zip::from(&mut sum).and(&mut loudness).and(&voice.loudness).and(&voice.logits).for_each(
                |sum, total, loud, logit| {
                    *sum += loud * logit.clamp(-LOUDEST, LOUDEST);
                    *total += loud;
                },
            );
        }
        Zip::from(own).and(&sum).and(&loudness).map_collect(|own, sum, loudness| {
            if *loudness <= f32::EPSILON {
                return *own;
            }
            let weight = self.weight * loudness.min(1.0);
            (own.clamp(-LOUDEST, LOUDEST) + weight * sum / loudness) / (1.0 + weight)
        })
    }
}

/// Means over 3x3 pixels; at the rim over those there are.
fn patch_means(map: &Array2<f32>) -> Array2<f32> {
    let (rows, columns) = map.dim();
    let around = |index: usize, length: usize| index.saturating_sub(1)..(index + 2).min(length);
    let mut along = Array2::zeros((rows, columns));
    for row in 0..rows {
        let window = map.slice(s![around(row, rows), ..]);
        let count = window.nrows() as f32;
        along.row_mut(row).assign(&(window.sum_axis(ndarray::Axis(0)) / count));
    }
    Array2::from_shape_fn((rows, columns), |(row, column)| {
        let window = around(column, columns);
        let count = window.len() as f32;
        window.map(|column| along[[row, column]]).sum::<f32>() / count
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{FakeModels, volume};
    use crate::models::Models;
    use crate::options::SliceOrder;
    use ndarray::{Array3, array};

    #[test]
    fn a_patch_mean_is_of_what_there_is() {
        let means = patch_means(&array![[9.0, 0.0, 0.0], [0.0, 0.0, 0.0]]);
        assert_eq!(means, array![[2.25, 1.5, 0.0], [2.25, 1.5, 0.0]]);
    }

    #[test]
    fn a_part_of_a_slice_is_as_loud_as_it_is_in_the_whole() {
        let voxels = Array3::from_shape_fn((2, 7, 9), |(z, y, x)| ((z * 31 + y * 17 + x * 5) % 11) as f32);
        let volume = volume(voxels, &[0.0, 5.0]);
        let target = Target::new(&volume, &FakeModels::new().spec().input).unwrap();
        let line = Line::new(&volume.geometry, 2, SliceOrder::Natural);
        let tuning = Tuning { agreement: 1.0, agreement_spread: 0.5, ..Tuning::default() };
        let agreement = Agreement::new(&target, &line, &tuning).unwrap();
        let whole = agreement.loudness(0, 1, &PixelBox::whole((7, 9)));
        for part in [
            PixelBox { rows: 2..5, columns: 3..4 },
            PixelBox { rows: 0..2, columns: 6..9 },
            PixelBox { rows: 6..7, columns: 0..9 },
        ] {
            assert_eq!(agreement.loudness(1, 0, &part), whole.slice(part.slice()), "{part:?}");
        }
    }

    #[test]
    fn like_slices_are_heard_and_unlike_ones_are_not() {
        let mut voxels = Array3::zeros((3, 4, 4));
        voxels.slice_mut(s![2, .., ..]).fill(1.0);
        let volume = volume(voxels, &[0.0, 5.0, 10.0]);
        let target = Target::new(&volume, &FakeModels::new().spec().input).unwrap();
        let line = Line::new(&volume.geometry, 3, SliceOrder::Natural);
        let tuning = Tuning { agreement: 1.0, agreement_spread: 0.1, ..Tuning::default() };
        let agreement = Agreement::new(&target, &line, &tuning).unwrap();
        assert_eq!(agreement.beside(1).collect::<Vec<_>>(), [0, 2]);
        let (own, other) = (Array2::from_elem((4, 4), 2.0), Array2::from_elem((4, 4), -12.0));
        let blend = |loudness: &Array2<f32>| {
            let voice = Voice { logits: other.view(), loudness: loudness.view() };
            agreement.blend(&own, &[voice])
        };
        let whole = PixelBox::whole((4, 4));
        let like = blend(&agreement.loudness(1, 0, &whole));
        assert!(like.iter().all(|logit| (logit + 2.0).abs() < 1e-4), "{like}");
        assert_eq!(blend(&agreement.loudness(1, 2, &whole)), own);
        assert_eq!(agreement.blend(&own, &[]), own);
        assert!(Agreement::new(&target, &line, &Tuning { agreement: 0.0, ..tuning }).is_none());
    }
}
