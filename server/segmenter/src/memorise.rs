//! From a slice and its mask to a memory: features, and the object's pointer where the bundle uses pointers.
//!
//! Follows SAM 2: `_use_mask_as_output` for given masks, `_encode_new_memory` for predicted ones (`sam2_base.py`).

use crate::Result;
use crate::error::ModelsSnafu;
use crate::masks;
use crate::models::{DecodedMasks, EncodedImages, ModelSpec, Models, expect_shape};
use engram_inference::{Clicks, Prompts};
use engram_memory::Memory;
use ndarray::{Array1, Array2, Array3, Array4, ArrayView2, Axis};
use snafu::ResultExt;

/// A mask that is to be remembered as it was predicted.
pub(crate) struct Predicted<'a> {
    /// `[m, m]`.
    pub logits: &'a Array2<f32>,
    /// Logit: above 0 the object is there.
    pub score: f32,
    /// For bundles that use pointers.
    pub pointer: Option<&'a Array1<f32>>,
    /// Whether it came of clicks or a box.
    pub prompted: bool,
}

/// Memories of masks that a person drew. `coverage`: `[B, 1, S, S]`, 0..1; an empty one says that the object is not
/// there.
pub(crate) fn given(
    models: &dyn Models,
    images: &EncodedImages,
    coverage: Array4<f32>,
) -> Result<Vec<Memory>> {
    let spec = models.spec();
    let masks = coverage.mapv_into(|coverage| masks::given(spec, coverage));
    let present: Vec<bool> = masks.outer_iter().map(|mask| mask.iter().any(|value| *value > 0.0)).collect();
    let pointers = match spec.pointers.used {
        true => given_pointers(models, images, &masks, &present)?.into_iter().map(Some).collect(),
        false => vec![None; present.len()],
    };
    let mut shown = masks;
    for mut mask in shown.outer_iter_mut() {
        let mut mask = mask.index_axis_mut(Axis(0), 0);
        let for_memory = masks::of_given(spec, mask.view());
        mask.assign(&for_memory);
    }
    let scores = Array2::from_shape_fn((present.len(), 1), |(row, _)| ModelSpec::given_score(present[row]));
    let features = encode(models, images.embed.clone(), shown, scores)?;
    Ok(features.into_iter().zip(pointers).map(|(features, pointer)| Memory { features, pointer }).collect())
}

/// Memories of predicted masks of images whose features are `embed`, `[B, C, h, h]`.
pub(crate) fn predicted(models: &dyn Models, embed: Array4<f32>, items: &[Predicted]) -> Result<Vec<Memory>> {
    let spec = models.spec();
    let side = spec.input.image_size;
    let mut shown = Array4::zeros((items.len(), 1, side, side));
    for (mut row, item) in shown.outer_iter_mut().zip(items) {
        row.index_axis_mut(Axis(0), 0).assign(&masks::of_predicted(spec, item.logits, item.prompted));
    }
    let score = |row: usize| ModelSpec::bounded_score(items[row].score);
    let scores = Array2::from_shape_fn((items.len(), 1), |(row, _)| score(row));
    let features = encode(models, embed, shown, scores)?;
    let memory =
        |(features, item): (Array3<f32>, &Predicted)| Memory { features, pointer: item.pointer.cloned() };
    Ok(features.into_iter().zip(items).map(memory).collect())
}

fn encode(
    models: &dyn Models,
    embed: Array4<f32>,
    masks: Array4<f32>,
    scores: Array2<f32>,
) -> Result<Vec<Array3<f32>>> {
    let action = "encode memories";
    let rows = masks.len_of(Axis(0));
    let memories = models.encode_memory(embed, masks, scores).context(ModelsSnafu { action })?;
    let [channels, height, width] = models.spec().memory_shape();
    expect_shape(action, &[rows, channels, height, width], memories.shape())?;
    Ok(memories.outer_iter().map(|memory| memory.to_owned()).collect())
}

/// Pointers of given masks `[B, 1, S, S]`: what the decoder makes of the mask as a prompt, on the raw features. That
/// of its first mask, whatever the decoder thinks of the others.
fn given_pointers(
    models: &dyn Models,
    images: &EncodedImages,
    masks: &Array4<f32>,
    present: &[bool],
) -> Result<Vec<Array1<f32>>> {
    let absent = no_pointer(models.spec());
    let rows: Vec<usize> = (0..present.len()).filter(|row| present[*row]).collect();
    let mut pointers = vec![absent.clone(); present.len()];
    if rows.is_empty() {
        return Ok(pointers);
    }
    let prompts = mask_prompts(models, masks.select(Axis(0), &rows))?;
    let EncodedImages { embed, high_res_0, high_res_1 } = images.select(&rows);
    let action = "find pointers of given masks";
    let decoded =
        models.decode(embed, high_res_0, high_res_1, Some(prompts)).context(ModelsSnafu { action })?;
    expect_decoded(action, models.spec(), rows.len(), &decoded)?;
    let Some(found) = &decoded.pointers else { return Ok(pointers) };
    for (index, row) in rows.into_iter().enumerate() {
        if decoded.object_score[[index, 0]] > 0.0 {
            pointers[row] = found.index_axis(Axis(0), index).row(0).to_owned();
        }
    }
    Ok(pointers)
}

/// Masks `[B, 1, S, S]` as the only prompt, with the point that is none.
fn mask_prompts(models: &dyn Models, masks: Array4<f32>) -> Result<Prompts> {
    let action = "encode mask prompts";
    let rows = masks.len_of(Axis(0));
    let mask = models.mask_prompt(masks).context(ModelsSnafu { action })?;
    let clicks = Clicks {
        points: Array3::zeros((rows, 1, 2)),
        labels: Array2::from_elem((rows, 1), -1),
        mask,
        has_mask: Array2::ones((rows, 1)),
    };
    models.encode_prompts(clicks).context(ModelsSnafu { action })
}

/// Holds a decoder's answer against the manifest.
pub(crate) fn expect_decoded(
    action: &'static str,
    spec: &ModelSpec,
    rows: usize,
    decoded: &DecodedMasks,
) -> Result<()> {
    let (tokens, side) = (spec.features.mask_tokens, spec.features.mask_size);
    expect_shape(action, &[rows, tokens, side, side], decoded.masks.shape())?;
    expect_shape(action, &[rows, tokens], decoded.iou.shape())?;
    expect_shape(action, &[rows, 1], decoded.object_score.shape())?;
    let pointers: &[usize] = decoded.pointers.as_ref().map_or(&[], |pointers| pointers.shape());
    let expected = [rows, tokens, spec.pointers.dim];
    expect_shape(action, if spec.pointers.used { &expected } else { &[] }, pointers)
}

/// The pointer of an object that is not there.
pub(crate) fn no_pointer(spec: &ModelSpec) -> Array1<f32> {
    spec.constants.no_obj_ptr.clone().unwrap_or_else(|| Array1::zeros(spec.pointers.dim))
}

/// A mask of a slice on the square, as coverage `[1, S, S]` of a batch.
pub(crate) fn put_coverage(
    batch: &mut Array4<f32>,
    row: usize,
    mask: ArrayView2<u8>,
    letterbox: &engram_imaging::resample::Letterbox,
) {
    batch.index_axis_mut(Axis(0), row).index_axis_mut(Axis(0), 0).assign(&masks::coverage(mask, letterbox));
}
