//! What a caller may choose about one segmentation.

use crate::segment::Counts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Speed against accuracy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// Two fifths of the exemplars that the bundle recommends, one closer look at small labels, no propagation.
    Fast,
    /// The exemplars that the bundle recommends, fewer of them where that costs little.
    #[default]
    Balanced,
    /// All of them everywhere, a second round of propagation, and a third closer look.
    Best,
}

impl Quality {
    /// Exemplars a slice where a bundle recommends so many; whole slices get a share of them.
    pub(crate) fn exemplars(self, recommended: usize, whole_share: f32) -> Counts {
        let close = match self {
            Self::Fast => (recommended * 2).div_ceil(5),
            Self::Balanced | Self::Best => recommended,
        };
        Counts { whole: (close as f32 * whole_share).ceil() as usize, close }
    }

    fn tuning(self) -> Tuning {
        let balanced = Tuning::default();
        match self {
            Self::Fast => Tuning { whole_share: 0.5, close_looks: 1, large_look: false, ..balanced },
            Self::Balanced => balanced,
            Self::Best => Tuning { whole_share: 1.0, rounds: 1, close_looks: 3, ..balanced },
        }
    }
}

/// In which order propagation visits the slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SliceOrder {
    /// Along the normal of the volume.
    #[default]
    Natural,
    /// Shuffled by a seed, each slice's neighbours taken for real ones: shows what the order is worth.
    Shuffled(u64),
}

/// Choices about one segmentation. The default follows the bundle.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Speed against accuracy: how many exemplars where that is not said.
    pub quality: Quality,
    /// Exemplars that a slice and label is conditioned on; None for the bundle's number, by quality.
    pub exemplars_per_slice: Option<usize>,
    /// Whether to propagate through the slices after the first pass.
    pub propagate: bool,
    /// Whether labels are looked at again: small ones on crops, large ones with all exemplars.
    pub crop: bool,
    /// The order of propagation.
    pub slice_order: SliceOrder,
    /// Whether the result carries a probability for every label and voxel.
    pub probabilities: bool,
    /// Confidence below which a slice is for review; None for the bundle's recommendation.
    pub review_below: Option<f32>,
    /// How the parts of the method weigh on each other.
    pub tuning: Tuning,
    /// Bytes of image features and exemplar memories kept between uses, each; more is computed or read again.
    pub cache_bytes: usize,
    /// Bytes of predictions and memories of the target at work; more labels are followed one group after another.
    pub working_bytes: usize,
    /// Bytes that one call to the bundle may take, estimated. The inputs of the next call are laid out meanwhile.
    pub batch_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self::of(Quality::default())
    }
}

impl Options {
    /// The method at a quality.
    pub fn of(quality: Quality) -> Self {
        Self {
            quality,
            exemplars_per_slice: None,
            propagate: quality != Quality::Fast,
            crop: true,
            slice_order: SliceOrder::Natural,
            probabilities: false,
            review_below: None,
            tuning: quality.tuning(),
            cache_bytes: 1 << 30,
            working_bytes: 1 << 30,
            batch_bytes: 320 << 20,
        }
    }
}

/// How the parts of the method weigh on each other. The defaults are for every label and modality.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    /// Share of the exemplars that whole slices get, and closer looks that only find the label; where a number is asked
    /// for, all get that.
    pub whole_share: f32,
    /// How much of a study's lead over the average study, in likeness to the whole target, is added to the likeness
    /// of its slices.
    pub study_weight: f32,
    /// A predicted slice is remembered if its guessed IoU is at least this.
    pub remembered_iou: f32,
    /// Or if it is at least this share of the best guess of the label's first pass: a bundle that is unsure of a
    /// label everywhere still follows what it is least unsure of.
    pub remembered_share: f32,
    /// Recent slices that a slice remembers at the most; never more than the bundle's number.
    pub recent_memories: usize,
    /// Rounds in which every slice is visited again with its neighbours on both sides.
    pub rounds: usize,
    /// Weight of a closer look against all looks before it, 0..1.
    pub close_weight: f32,
    /// Closer looks at a small label, each around where the ones before found it.
    pub close_looks: usize,
    /// Whether a label too large for that is looked at once more, on whole slices with all exemplars.
    pub large_look: bool,
    /// Weight of the slices beside one against its own, where they look the same; only with propagation.
    pub agreement: f32,
    /// Difference of grey, in shares of the window, at which the slice beside one still counts by 0.6.
    pub agreement_spread: f32,
    /// Presence, 0..1, from which a label is thought to be on a slice.
    pub presence: f32,
    /// A component is kept if it has at least this share of the voxels of its label's largest one.
    pub keep_component: f64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            whole_share: 0.375,
            study_weight: 0.5,
            remembered_iou: 0.5,
            remembered_share: 0.7,
            recent_memories: 3,
            rounds: 0,
            close_weight: 0.9,
            close_looks: 2,
            large_look: true,
            agreement: 1.0,
            agreement_spread: 0.05,
            presence: 0.5,
            keep_component: 0.2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_costs_more() {
        let exemplars = |quality: Quality| {
            let counts = quality.exemplars(24, quality.tuning().whole_share);
            (counts.whole, counts.close)
        };
        assert_eq!(exemplars(Quality::Fast), (5, 10));
        assert_eq!(exemplars(Quality::Balanced), (9, 24));
        assert_eq!(exemplars(Quality::Best), (24, 24));
        assert_eq!(Options::default(), Options::of(Quality::Balanced));
        assert!(!Options::of(Quality::Fast).propagate);
    }
}
