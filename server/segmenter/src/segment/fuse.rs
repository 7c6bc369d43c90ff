//! Several predictions of one slice and label into one belief.

use super::predict::Prediction;
use crate::crop::PixelBox;
use crate::models::sigmoid;
use ndarray::Array2;

/// Logits beyond this say nothing more; SAM 2 marks an absent object with -1024, which would drown every other
/// voice.
const SURE: f32 = 12.0;

/// Steps of a stored logit to one: a belief takes a byte a pixel, since those of all labels and slices are kept
/// until the end.
const STEPS: f32 = 10.0;

/// What is believed of one slice and label.
#[derive(Debug, Clone)]
pub(crate) struct Belief {
    /// `[m, m]` over the view's square: the shape, if the object is there. In tenths of a logit.
    tenths: Array2<i8>,
    /// Probability that the object is there.
    pub presence: f32,
    /// Guess of the mask's IoU, 0..1.
    pub iou: f32,
}

impl Belief {
    pub fn new(logits: &Array2<f32>, presence: f32, iou: f32) -> Self {
        let tenths = logits.mapv(|logit| (logit.clamp(-SURE, SURE) * STEPS).round() as i8);
        Self { tenths, presence, iou }
    }

    /// `[m, m]`, the shape.
    pub fn logits(&self) -> Array2<f32> {
        self.tenths.mapv(|tenths| f32::from(tenths) / STEPS)
    }

    /// Rows and columns of the shape.
    pub fn dim(&self) -> (usize, usize) {
        self.tenths.dim()
    }

    /// The box of what is more likely the object than not.
    pub fn reach(&self) -> Option<PixelBox> {
        PixelBox::around(self.tenths.view(), |tenths| *tenths > 0)
    }
}

/// One belief of the first pass and the later visits: each voice counts by its own guess of its IoU, and says how
/// the object looks as far as it believes in it. None where nobody looked.
pub(crate) fn fuse<'a>(predictions: impl IntoIterator<Item = &'a Prediction>) -> Option<Belief> {
    let mut voices = 0.0;
    let (mut presence, mut weights, mut iou) = (0.0, 0.0, 0.0);
    let mut logits: Option<Array2<f32>> = None;
    for prediction in predictions {
        let there = sigmoid(prediction.score);
        let weight = there * prediction.iou.clamp(0.0, 1.0) + 1e-3;
        voices += 1.0;
        presence += there;
        weights += weight;
        iou += weight * prediction.iou;
        let part = prediction.logits.mapv(|logit| logit.clamp(-SURE, SURE) * weight);
        logits = Some(match logits {
            Some(sum) => sum + part,
            None => part,
        });
    }
    logits.map(|sum| Belief::new(&(sum / weights), presence / voices, iou / weights))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn voice(logit: f32, score: f32, iou: f32) -> Prediction {
        Prediction { logits: array![[logit, -logit]], iou, score, pointer: None }
    }

    #[test]
    fn a_surer_voice_counts_for_more_and_an_absent_object_shapes_nothing() {
        let belief = fuse(&[voice(4.0, 9.0, 0.9), voice(-4.0, 9.0, 0.3)]).unwrap();
        assert_eq!(belief.logits(), array![[2.0, -2.0]]);
        assert!(belief.presence > 0.99);
        let belief = fuse(&[voice(4.0, 9.0, 0.9), voice(-1024.0, -9.0, 0.9)]).unwrap();
        assert!((belief.logits()[[0, 0]] - 4.0).abs() < 0.11);
        assert!((belief.presence - 0.5).abs() < 0.01);
        assert!(fuse([]).is_none());
    }

    #[test]
    fn a_belief_reaches_as_far_as_it_is_above_zero() {
        let logits = array![[-1.0, 0.0, -1.0, -1.0], [-1.0, -1.0, 0.5, -1.0], [-1.0, 2.0, -3.0, -1.0]];
        let reach = Belief::new(&logits, 1.0, 1.0).reach();
        assert_eq!(reach, Some(PixelBox { rows: 1..3, columns: 1..3 }));
        assert_eq!(Belief::new(&-logits.mapv(f32::abs), 1.0, 1.0).reach(), None);
    }
}
