//! One call of several slices: condition, then decode.

use super::predict::{Job, Prediction};
use crate::Result;
use crate::error::{ModelsSnafu, NoMemorySnafu};
use crate::masks::{prompted_token, tracking_token};
use crate::memorise;
use crate::models::{DecodedMasks, EncodedImages, ModelSpec, Models};
use engram_inference::{Pointers, Prompts};
use ndarray::{Array4, Array5, Axis};
use snafu::{OptionExt, ResultExt};

/// What the bundle takes to predict some slices, a row each.
pub(crate) struct Batch<'j> {
    /// Which of the jobs of many calls these are.
    pub members: &'j [usize],
    pub jobs: Vec<&'j Job>,
    pub images: EncodedImages,
    /// None where the slices stand for themselves.
    pub gathered: Option<Gathered>,
    /// For bundles that take prompts.
    pub prompts: Option<Prompts>,
}

/// What the slices are conditioned on, gathered from their jobs.
pub(crate) struct Gathered {
    /// `[B, N, M, h, h]`.
    pub memories: Array5<f32>,
    /// Temporal indices `[N]` of the memories of every row.
    pub times: Vec<i64>,
    /// For bundles that use them.
    pub pointers: Option<Pointers>,
}

impl Batch<'_> {
    /// A prediction a job, in their order.
    pub fn compute(self, models: &dyn Models) -> Result<Vec<Prediction>> {
        let Self { jobs, images, gathered, prompts, .. } = self;
        let EncodedImages { embed, high_res_0, high_res_1 } = images;
        let conditioned = match gathered {
            None => unconditioned(models.spec(), embed)?,
            Some(Gathered { memories, times, pointers }) => models
                .attend(embed, memories, &times, pointers)
                .context(ModelsSnafu { action: "condition slices on memories" })?,
        };
        let action = "decode masks";
        let decoded =
            models.decode(conditioned, high_res_0, high_res_1, prompts).context(ModelsSnafu { action })?;
        memorise::expect_decoded(action, models.spec(), jobs.len(), &decoded)?;
        let prediction = |(row, job)| prediction(models.spec(), row, job, &decoded);
        Ok(jobs.into_iter().enumerate().map(prediction).collect())
    }
}

/// Features of slices without any memory (SAM 2, `directly_add_no_mem_embed`).
fn unconditioned(spec: &ModelSpec, mut embed: Array4<f32>) -> Result<Array4<f32>> {
    let no_memory = spec.constants.no_mem_embed.as_ref().context(NoMemorySnafu)?;
    let added = no_memory.view().insert_axis(Axis(1)).insert_axis(Axis(2));
    embed += &added;
    Ok(embed)
}

/// One row of the decoder's answer (SAM 2, `_forward_sam_heads`).
fn prediction(spec: &ModelSpec, row: usize, job: &Job, decoded: &DecodedMasks) -> Prediction {
    let (masks, iou) = (decoded.masks.index_axis(Axis(0), row), decoded.iou.row(row));
    let clicks = job.pointing.as_ref().map_or(0, |pointing| pointing.points.len());
    // A single click may mean any of several things, as may none; more clicks or a box mean one.
    let token = match clicks {
        0 | 1 => tracking_token(iou),
        _ => prompted_token(&spec.prompts, masks, iou),
    };
    let score = decoded.object_score[[row, 0]];
    let mut logits = masks.index_axis(Axis(0), token).to_owned();
    if let Some(absent) = spec.memory.absent_logit.filter(|_| score <= 0.0) {
        logits.fill(absent);
    }
    let pointer = decoded.pointers.as_ref().map(|pointers| match score > 0.0 {
        // Where one mask was asked for, its pointer is the first's, whichever mask was stable.
        true => pointers.index_axis(Axis(0), row).row(if clicks > 1 { 0 } else { token }).to_owned(),
        false => memorise::no_pointer(spec),
    });
    Prediction { logits, iou: iou[token], score, pointer }
}
