//! Slices of the target that the caller annotated: prompts.

use super::conditions::GivenMemory;
use super::consolidate::GivenMask;
use super::features::{ViewIndex, stack};
use super::predict::Predictor;
use crate::Result;
use crate::encode::{encode_memories, graph_mask};
use crate::error::{MaskShapeSnafu, SliceOutOfRangeSnafu};
use crate::models::ModelSpec;
use crate::target::{SLICES_A_CALL, Target};
use ndarray::{Array2, Array4, ArrayView2, Axis};
use snafu::ensure;

/// A label on one slice of the target, as a person drew it. Such slices condition those near them, and keep the
/// mask given.
#[derive(Debug, Clone, Copy)]
pub struct Prompt<'a> {
    /// Key of the label.
    pub label: &'a str,
    /// The slice, counted from 0.
    pub slice: usize,
    /// `[row, column]`, not 0 in the object; all 0 says that the label is not there.
    pub mask: ArrayView2<'a, u8>,
}

/// The prompts of the labels asked for, with the labels' indices.
pub(crate) fn sort<'p>(
    prompts: &[Prompt<'p>],
    labels: &[&str],
    target: &Target,
) -> Result<Vec<GivenMask<'p>>> {
    let (rows, columns) = target.native();
    let expected = [rows, columns];
    let mut given = vec![];
    for prompt in prompts {
        let (slice, slices) = (prompt.slice, target.slices());
        ensure!(slice < slices, SliceOutOfRangeSnafu { slice, slices });
        let found = prompt.mask.shape();
        ensure!(found == expected, MaskShapeSnafu { label: prompt.label, expected, found });
        if let Some(label) = labels.iter().position(|label| *label == prompt.label) {
            given.push(GivenMask { label, slice, mask: prompt.mask });
        }
    }
    Ok(given)
}

/// Memories of a label's given masks in a view.
pub(crate) fn memories(
    predictor: &mut Predictor,
    given: &[GivenMask],
    label: usize,
    view: ViewIndex,
) -> Result<Vec<GivenMemory>> {
    let mine: Vec<&GivenMask> = given.iter().filter(|given| given.label == label).collect();
    let letterbox = *predictor.features.letterbox(view);
    let side = letterbox.size;
    let mut memories = vec![];
    for chunk in mine.chunks(SLICES_A_CALL) {
        let keys: Vec<_> = chunk.iter().map(|given| (view, given.slice)).collect();
        let features = predictor.features.fetch(&keys)?;
        let embed = stack(features.iter().map(|features| &features.embed));
        let mut masks = Array4::zeros((chunk.len(), 1, side, side));
        let mut scores = Array2::zeros((chunk.len(), 1));
        let present: Vec<bool> =
            chunk.iter().map(|given| given.mask.iter().any(|value| *value != 0)).collect();
        for (row, given) in chunk.iter().enumerate() {
            let mask = graph_mask(predictor.models.spec(), given.mask, &letterbox);
            masks.index_axis_mut(Axis(0), row).index_axis_mut(Axis(0), 0).assign(&mask);
            scores[[row, 0]] = ModelSpec::given_score(present[row]);
        }
        let encoded = encode_memories(predictor.models, embed, masks, scores)?;
        for ((given, present), features) in chunk.iter().zip(present).zip(encoded) {
            memories.push(GivenMemory { slice: given.slice, present, features });
        }
    }
    Ok(memories)
}
