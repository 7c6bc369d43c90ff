//! Masks of slices conditioned on memories, in batches.

use super::features::{FeatureStore, Features, ViewIndex, stack};
use crate::Result;
use crate::encode::encode_memories;
use crate::error::ModelsSnafu;
use crate::models::{DecodedMasks, GIVEN_SCORE, Models, expect_shape};
use crate::observer::Steps;
use ndarray::{Array2, Array3, Array4, Array5, ArrayView1, Axis};
use snafu::ResultExt;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows of one call at the most: more gains nothing on a CPU.
const MOST_ROWS: usize = 16;

/// Attention scores that are at hand at once for two cells: of a few heads, before and after the softmax.
const SCORES_A_PAIR: usize = 12;

/// A memory at its place in time.
#[derive(Clone)]
pub(crate) struct Remembered {
    pub features: Arc<Array3<f32>>,
    pub temporal_index: i64,
}

/// One slice to be segmented for one label. At least one memory.
pub(crate) struct Job {
    pub view: ViewIndex,
    pub slice: usize,
    pub memories: Vec<Remembered>,
}

/// What the bundle says of one slice and label.
#[derive(Debug, Clone)]
pub(crate) struct Prediction {
    /// `[m, m]` over the view's square.
    pub logits: Array2<f32>,
    /// Guess of the mask's IoU, 0..1.
    pub iou: f32,
    /// Logit: above 0 the object is there.
    pub score: f32,
}

impl Prediction {
    /// Whether the object is there.
    pub fn present(&self) -> bool {
        self.score > 0.0
    }
}

pub(crate) struct Predictor<'a> {
    pub models: &'a dyn Models,
    pub features: FeatureStore<'a>,
    pub batch_bytes: usize,
}

impl Predictor<'_> {
    /// Predictions in the order of the jobs. Only jobs with the same temporal indices share a call.
    pub fn predict(&mut self, jobs: &[Job], steps: &mut Steps) -> Result<Vec<Prediction>> {
        let mut groups: BTreeMap<Vec<i64>, Vec<usize>> = BTreeMap::new();
        for (index, job) in jobs.iter().enumerate() {
            let times = job.memories.iter().map(|memory| memory.temporal_index).collect();
            groups.entry(times).or_default().push(index);
        }
        let mut predictions: Vec<Option<Prediction>> = jobs.iter().map(|_| None).collect();
        for (times, members) in groups {
            for chunk in members.chunks(self.rows(times.len())) {
                let batch: Vec<&Job> = chunk.iter().map(|index| &jobs[*index]).collect();
                for (index, prediction) in chunk.iter().zip(self.call(&batch, &times)?) {
                    predictions[*index] = Some(prediction);
                }
                steps.advance(chunk.len())?;
            }
        }
        Ok(predictions.into_iter().flatten().collect())
    }

    /// Memories of predicted slices; `(view, slice, prediction)`.
    pub fn remember(&mut self, items: &[(ViewIndex, usize, &Prediction)]) -> Result<Vec<Arc<Array3<f32>>>> {
        let side = self.models.spec().input.image_size;
        let mut memories = vec![];
        for chunk in items.chunks(MOST_ROWS) {
            let keys: Vec<_> = chunk.iter().map(|(view, slice, _)| (*view, *slice)).collect();
            let features = self.features.fetch(&keys)?;
            let mut masks = Array4::zeros((chunk.len(), 1, side, side));
            let mut scores = Array2::zeros((chunk.len(), 1));
            for (row, (_, _, prediction)) in chunk.iter().enumerate() {
                let logits = enlarge(&prediction.logits, side);
                let mask = logits.mapv_into(|logit| self.models.spec().predicted_mask(logit));
                masks.index_axis_mut(Axis(0), row).index_axis_mut(Axis(0), 0).assign(&mask);
                scores[[row, 0]] = prediction.score.clamp(-GIVEN_SCORE, GIVEN_SCORE);
            }
            let embed = stack(features.iter().map(|features| &features.embed));
            memories.extend(encode_memories(self.models, embed, masks, scores)?);
        }
        Ok(memories)
    }

    /// Rows of a call with `memories` memories each: each cell of a slice attends to each cell of each memory.
    fn rows(&self, memories: usize) -> usize {
        let [channels, height, width] = self.models.spec().memory_shape();
        let cells = height * width;
        let row = memories * cells * (channels + SCORES_A_PAIR * cells) * size_of::<f32>();
        (self.batch_bytes / row.max(1)).clamp(1, MOST_ROWS)
    }

    fn call(&mut self, jobs: &[&Job], times: &[i64]) -> Result<Vec<Prediction>> {
        let keys: Vec<_> = jobs.iter().map(|job| (job.view, job.slice)).collect();
        let features = self.features.fetch(&keys)?;
        let embed = stack(features.iter().map(|features| &features.embed));
        let memories = self.gather(jobs, times.len())?;
        let conditioned = self
            .models
            .attend(embed, memories, times)
            .context(ModelsSnafu { action: "condition slices on memories" })?;
        let of =
            |level: fn(&Features) -> &Array3<f32>| stack(features.iter().map(|features| level(features)));
        let (high_res_0, high_res_1) = (of(|row| &row.high_res_0), of(|row| &row.high_res_1));
        let decoded = self
            .models
            .decode(conditioned, high_res_0, high_res_1)
            .context(ModelsSnafu { action: "decode masks" })?;
        self.predictions(jobs.len(), &decoded)
    }

    fn gather(&self, jobs: &[&Job], count: usize) -> Result<Array5<f32>> {
        let shape = self.models.spec().memory_shape();
        let [channels, height, width] = shape;
        let mut gathered = Array5::zeros((jobs.len(), count, channels, height, width));
        for (mut row, job) in gathered.outer_iter_mut().zip(jobs) {
            for (mut slot, memory) in row.outer_iter_mut().zip(&job.memories) {
                expect_shape("use a memory", &shape, memory.features.shape())?;
                slot.assign(&memory.features);
            }
        }
        Ok(gathered)
    }

    fn predictions(&self, rows: usize, decoded: &DecodedMasks) -> Result<Vec<Prediction>> {
        let action = "decode masks";
        let features = &self.models.spec().features;
        let (tokens, side) = (features.mask_tokens, features.mask_size);
        expect_shape(action, &[rows, tokens, side, side], decoded.masks.shape())?;
        expect_shape(action, &[rows, tokens], decoded.iou.shape())?;
        expect_shape(action, &[rows, 1], decoded.object_score.shape())?;
        let predictions = (0..rows).map(|row| {
            let token = tracking_token(decoded.iou.row(row));
            Prediction {
                logits: decoded.masks.index_axis(Axis(0), row).index_axis(Axis(0), token).to_owned(),
                iou: decoded.iou[[row, token]],
                score: decoded.object_score[[row, 0]],
            }
        });
        Ok(predictions.collect())
    }
}

/// The mask to follow: the only one, or of several the one thought best after the first, which is for prompts
/// (SAM 2, `multimask_output_for_tracking`).
fn tracking_token(iou: ArrayView1<f32>) -> usize {
    (1..iou.len()).max_by(|a, b| iou[*a].total_cmp(&iou[*b])).unwrap_or(0)
}

/// `[m, m]` on `[side, side]`, bilinearly, with half-pixel centres.
fn enlarge(map: &Array2<f32>, side: usize) -> Array2<f32> {
    let (rows, columns) = map.dim();
    if (rows, columns) == (side, side) {
        return map.clone();
    }
    let place = |index: usize, length: usize| {
        let at = (index as f32 + 0.5) * length as f32 / side as f32 - 0.5;
        let at = at.clamp(0.0, (length - 1) as f32);
        let low = at as usize;
        (low, (low + 1).min(length - 1), at - low as f32)
    };
    Array2::from_shape_fn((side, side), |(row, column)| {
        let (top, bottom, v) = place(row, rows);
        let (left, right, u) = place(column, columns);
        let upper = map[[top, left]] * (1.0 - u) + map[[top, right]] * u;
        let lower = map[[bottom, left]] * (1.0 - u) + map[[bottom, right]] * u;
        upper * (1.0 - v) + lower * v
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn the_first_of_several_masks_is_for_prompts() {
        assert_eq!(tracking_token(array![0.1].view()), 0);
        assert_eq!(tracking_token(array![0.9, 0.2, 0.4, 0.3].view()), 2);
    }

    #[test]
    fn enlarging_keeps_constants_and_slopes() {
        assert_eq!(enlarge(&array![[3.0, 3.0], [3.0, 3.0]], 5), Array2::from_elem((5, 5), 3.0));
        let slope = enlarge(&array![[0.0, 1.0], [0.0, 1.0]], 4);
        assert_eq!(slope.row(0), array![0.0, 0.25, 0.75, 1.0]);
    }
}
