//! What is believed of a label, in all views of the slices.

use super::fuse::Belief;
use crate::crop::PixelBox;
use engram_imaging::resample::{Letterbox, Restorer};
use ndarray::{Array2, Zip};
use std::iter;

/// Logit of what no view shows.
pub(super) const UNSEEN: f32 = -12.0;

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

impl LabelBeliefs {
    /// Probability that the label is on a slice, of all looks at it. None where nobody looked.
    pub fn presence(&self, slice: usize, close_weight: f32) -> Option<f32> {
        self.of_all_looks(slice, close_weight, |belief| belief.presence)
    }

    /// Guess of the mask's IoU, of all looks at a slice. None where nobody looked.
    pub fn iou(&self, slice: usize, close_weight: f32) -> Option<f32> {
        self.of_all_looks(slice, close_weight, |belief| belief.iou)
    }

    /// What the look at the whole slice says, then each closer one weighed against what the ones before it say.
    fn of_all_looks(&self, slice: usize, close_weight: f32, value: impl Fn(&Belief) -> f32) -> Option<f32> {
        let whole = value(self.whole.beliefs[slice].as_ref()?);
        let close = self.close.iter().filter_map(|close| close.beliefs[slice].as_ref());
        Some(close.fold(whole, |before, look| close_weight * value(look) + (1.0 - close_weight) * before))
    }

    /// Logits of each look at a part of a slice on the native grid, NaN where it did not look.
    pub fn looks(&self, slice: usize, part: &PixelBox) -> Vec<Array2<f32>> {
        let looks = iter::once(&self.whole).chain(&self.close);
        looks.filter_map(|seen| seen.native(slice, part, f32::NAN)).collect()
    }

    /// Logits of a part of a slice on the native grid. None where the label is not on the slice.
    pub fn logits(&self, slice: usize, part: &PixelBox, close_weight: f32) -> Option<Array2<f32>> {
        if !self.present[slice] {
            return None;
        }
        let mut logits = self.whole.native(slice, part, UNSEEN)?;
        for close in self.close.iter().filter_map(|close| close.native(slice, part, f32::NAN)) {
            Zip::from(&mut logits).and(&close).for_each(|logit, close| {
                if !close.is_nan() {
                    *logit = close_weight * close + (1.0 - close_weight) * *logit;
                }
            });
        }
        Some(logits)
    }

    /// The part of the slices outside of which the label has no logit above 0. None where it has none at all.
    pub fn reach(&self) -> Option<PixelBox> {
        let looks = iter::once(&self.whole).chain(&self.close);
        looks.filter_map(|seen| seen.reach(&self.present)).reduce(PixelBox::join)
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
        let PixelBox { rows, columns } = boxes.reduce(PixelBox::join)?;
        let [rows, columns] = self.restorer.reach(rows, columns);
        (!rows.is_empty() && !columns.is_empty()).then_some(PixelBox { rows, columns })
    }
}
