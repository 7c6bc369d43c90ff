//! Every slice by itself, from exemplars alone.

use super::conditions::{Conditions, Look};
use super::predict::{Job, Prediction, Predictor};
use crate::Result;
use crate::observer::Steps;
use crate::target::SLICES_A_CALL;

/// `[look][slice]`; None where nothing was looked for.
pub(crate) type Table = Vec<Vec<Option<Prediction>>>;

/// Predictions for all looks, some slices at a time, so that each slice's features serve all labels.
pub(crate) fn first_pass(
    predictor: &mut Predictor,
    conditions: &mut Conditions,
    looks: &[Look],
    slices: usize,
    steps: &mut Steps,
) -> Result<Table> {
    let mut table: Table = looks.iter().map(|_| vec![None; slices]).collect();
    let all: Vec<usize> = (0..slices).collect();
    for chunk in all.chunks(SLICES_A_CALL) {
        let (mut jobs, mut places) = (vec![], vec![]);
        for (index, look) in looks.iter().enumerate() {
            for slice in chunk.iter().copied().filter(|slice| look.wanted[*slice]) {
                match conditions.of(look, slice)? {
                    Some(conditioning) => {
                        jobs.push(Job { view: look.view, slice, conditioning, pointing: None });
                        places.push((index, slice));
                    }
                    None => steps.advance(1)?,
                }
            }
        }
        for ((index, slice), prediction) in places.into_iter().zip(predictor.predict(&jobs, steps)?) {
            table[index][slice] = Some(prediction);
        }
    }
    Ok(table)
}
