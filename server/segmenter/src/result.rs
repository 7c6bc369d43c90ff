//! What a segmentation answers.

use crate::exemplars::Neighbour;
use ndarray::{Array3, Array4};
use serde::{Deserialize, Serialize};

/// A label volume with what it was drawn from.
#[derive(Debug, Clone)]
pub struct Segmentation {
    /// Keys of the labels: value `v` in `voxels` is `labels[v - 1]`.
    pub labels: Vec<String>,
    /// `[slice, row, column]` on the target's grid; 0 is background.
    pub voxels: Array3<u8>,
    /// `[label, slice, row, column]`, 0 to 255 for probabilities 0 to 1, where asked for.
    pub probabilities: Option<Array4<u8>>,
    /// Reports `[label][slice]`.
    pub slices: Vec<Vec<SliceReport>>,
    /// The bundle that computed it.
    pub bundle: String,
}

/// One slice and label of a result.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SliceReport {
    /// Pixels of the label in the result.
    pub pixels: usize,
    /// What the result is thought to be worth, 0..1: the Dice to be expected of a mask, the probability that the label
    /// is not there where none was drawn.
    pub confidence: f32,
    /// Whether a person should look at it first.
    pub review: bool,
    /// What that was made of.
    pub signals: Signals,
    /// Whether the slice was annotated by the caller, and the annotation kept.
    pub given: bool,
    /// The exemplars it was conditioned on, the most similar first.
    pub provenance: Vec<Neighbour>,
}

/// What speaks for and against the mask of one slice and label; all 0..1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Signals {
    /// Probability that the label is there, of all looks.
    pub presence: f32,
    /// The bundle's guess of the mask's IoU.
    pub iou: f32,
    /// Dice to be expected if each pixel were the label with its own probability; 0 without a pixel.
    pub expected_dice: f32,
    /// Mean Dice of the result with what each look says; 0 without a pixel.
    pub looks_agree: f32,
    /// Mean Dice with the masks of the slices beside it; without a mask, the share of those that have one.
    pub beside: f32,
    /// Mean likeness of the exemplars that show the label.
    pub similarity: f32,
    /// Share of the exemplars that show it.
    pub shown: f32,
}

impl Segmentation {
    /// Whether a voxel belongs to a label, `[slice, row, column]`. None for a label that was not asked for.
    pub fn mask(&self, label: &str) -> Option<Array3<bool>> {
        let index = self.labels.iter().position(|key| key == label)?;
        let value = u8::try_from(index + 1).ok()?;
        Some(self.voxels.mapv(|voxel| voxel == value))
    }

    /// Mean confidence of a label over the slices where it was found; None where it was found nowhere.
    pub fn confidence(&self, label: &str) -> Option<f32> {
        let index = self.labels.iter().position(|key| key == label)?;
        let found: Vec<f32> = self
            .slices
            .get(index)?
            .iter()
            .filter(|report| report.pixels > 0)
            .map(|report| report.confidence)
            .collect();
        (!found.is_empty()).then(|| found.iter().sum::<f32>() / found.len() as f32)
    }
}
