//! Several predictions of one slice and label into one belief, and agreement along the axis.

use super::line::Line;
use super::predict::Prediction;
use crate::models::sigmoid;
use ndarray::Array2;

/// Logits beyond this say nothing more; SAM 2 marks an absent object with -1024, which would drown every other
/// voice.
const SURE: f32 = 12.0;

/// What is believed of one slice and label.
#[derive(Debug, Clone)]
pub(crate) struct Belief {
    /// `[m, m]` over the view's square: the shape, if the object is there.
    pub logits: Array2<f32>,
    /// Probability that the object is there.
    pub presence: f32,
    /// Guess of the mask's IoU, 0..1.
    pub iou: f32,
}

/// One belief of the first pass and the later visits: each voice counts by its own guess of its IoU, and says how
/// the object looks as far as it believes in it. None where nobody looked.
pub(crate) fn fuse(first: Option<&Prediction>, visits: &[Prediction], first_weight: f32) -> Option<Belief> {
    let voices_with_weights = first.map(|first| (first, first_weight)).into_iter();
    let predictions = voices_with_weights.chain(visits.iter().map(|visit| (visit, 1.0)));
    let mut voices = 0.0;
    let (mut presence, mut weights, mut iou) = (0.0, 0.0, 0.0);
    let mut logits: Option<Array2<f32>> = None;
    for (prediction, share) in predictions {
        let there = sigmoid(prediction.score);
        let weight = share * (there * prediction.iou.clamp(0.0, 1.0) + 1e-3);
        voices += share;
        presence += share * there;
        weights += weight;
        iou += weight * prediction.iou;
        let part = prediction.logits.mapv(|logit| logit.clamp(-SURE, SURE) * weight);
        logits = Some(match logits {
            Some(sum) => sum + part,
            None => part,
        });
    }
    logits.map(|sum| Belief { logits: sum / weights, presence: presence / voices, iou: iou / weights })
}

/// In which slices a label is: presence weighed with that of the neighbours one step away, cut at `from`.
pub(crate) fn presence_along(beliefs: &[Option<Belief>], line: &Line, from: f32) -> Vec<bool> {
    let at =
        |slice: usize| beliefs.get(slice).map(|belief| belief.as_ref().map_or(0.0, |belief| belief.presence));
    (0..beliefs.len())
        .map(|slice| {
            let Some(Some(own)) = beliefs.get(slice) else { return false };
            let neighbours = [slice.checked_sub(1), Some(slice + 1)];
            let near = neighbours
                .into_iter()
                .flatten()
                .filter_map(|other| at(other).filter(|_| line.steps(slice, other) == 1));
            let (mut sum, mut weight) = (2.0 * own.presence, 2.0);
            for presence in near {
                sum += presence;
                weight += 1.0;
            }
            sum >= from * weight
        })
        .collect()
}
