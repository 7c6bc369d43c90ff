//! Through the slices, each conditioned on its exemplars and on what was found in the slices just before.
//!
//! All fronts (a label, a direction) advance together, a slice at a time, so that they share calls.

use super::conditions::{Conditions, Look};
use super::first_pass::Table;
use super::line::Line;
use super::predict::{Job, Prediction, Predictor, Remembered};
use crate::Result;
use crate::observer::Steps;
use ndarray::Array3;
use std::collections::VecDeque;
use std::sync::Arc;

/// A prediction is remembered only if its guessed IoU is at least this.
const REMEMBERED_IOU: f32 = 0.5;

/// Predictions of the fronts that came by, `[look][slice]`.
pub(crate) type Visits = Vec<Vec<Vec<Prediction>>>;

/// A label followed in one direction.
struct Front {
    look: usize,
    /// Slices still to visit, the next one first.
    ahead: VecDeque<usize>,
    /// What is remembered, the nearest last.
    recent: VecDeque<(usize, Arc<Array3<f32>>)>,
}

/// Follows every label from the slice where the first pass was surest, in both directions and back again.
pub(crate) fn propagate(
    predictor: &mut Predictor,
    conditions: &mut Conditions,
    looks: &[Look],
    first: &Table,
    line: &Line,
    steps: &mut Steps,
) -> Result<Visits> {
    let slices = line.order.len();
    let mut visits: Visits = looks.iter().map(|_| vec![vec![]; slices]).collect();
    let mut fronts: Vec<Front> =
        (0..looks.len()).flat_map(|look| fronts(look, &looks[look], first, line)).collect();
    while fronts.iter().any(|front| !front.ahead.is_empty()) {
        let (mut jobs, mut movers) = (vec![], vec![]);
        for (index, front) in fronts.iter_mut().enumerate() {
            let look = &looks[front.look];
            let Some(slice) = front.ahead.pop_front() else { continue };
            if let Some(given) = conditions.given(look, slice) {
                front.remember(
                    slice,
                    Arc::clone(&given.features),
                    predictor.models.spec().memory.recent_memories,
                );
                steps.advance(1)?;
                continue;
            }
            match conditions.of(look, slice)? {
                Some(mut memories) => {
                    memories.extend(front.memories(
                        slice,
                        line,
                        predictor.models.spec().memory.recent_memories,
                    ));
                    jobs.push(Job { view: look.view, slice, memories });
                    movers.push(index);
                }
                None => steps.advance(1)?,
            }
        }
        let predictions = predictor.predict(&jobs, steps)?;
        let worthy: Vec<_> = jobs
            .iter()
            .zip(&movers)
            .zip(predictions.iter())
            .filter(|(_, prediction)| is_worth_remembering(prediction))
            .map(|((job, mover), prediction)| (*mover, job.view, job.slice, prediction))
            .collect();
        let items: Vec<_> =
            worthy.iter().map(|(_, view, slice, prediction)| (*view, *slice, *prediction)).collect();
        let memories = predictor.remember(&items)?;
        for ((mover, _, slice, _), memory) in worthy.iter().zip(memories) {
            fronts[*mover].remember(*slice, memory, predictor.models.spec().memory.recent_memories);
        }
        for ((job, mover), prediction) in jobs.iter().zip(movers).zip(predictions) {
            visits[fronts[mover].look][job.slice].push(prediction);
        }
    }
    Ok(visits)
}

/// The gate: a slice without the object, or with a doubtful mask, would mislead those after it.
fn is_worth_remembering(prediction: &Prediction) -> bool {
    prediction.present()
        && prediction.iou >= REMEMBERED_IOU
        && prediction.logits.iter().any(|logit| *logit > 0.0)
}

impl Front {
    /// Recent memories for a slice, farthest first: k steps away has temporal index k - 1.
    fn memories(&self, slice: usize, line: &Line, most: usize) -> Vec<Remembered> {
        self.recent
            .iter()
            .filter_map(|(of, features)| {
                let steps = line.steps(*of, slice);
                let temporal_index = i64::try_from(steps.checked_sub(1)?).ok()?;
                (steps <= most).then(|| Remembered { features: Arc::clone(features), temporal_index })
            })
            .collect()
    }

    fn remember(&mut self, slice: usize, memory: Arc<Array3<f32>>, most: usize) {
        self.recent.push_back((slice, memory));
        while self.recent.len() > most {
            self.recent.pop_front();
        }
    }
}

/// Two fronts a label.
fn fronts(index: usize, look: &Look, first: &Table, line: &Line) -> Vec<Front> {
    let visited = |slice: &usize| look.wanted[*slice];
    let up: VecDeque<usize> = line.order.iter().copied().filter(visited).collect();
    let down: VecDeque<usize> = up.iter().rev().copied().collect();
    let front = |ahead| Front { look: index, ahead, recent: VecDeque::new() };
    let _ = first;
    vec![front(up), front(down)]
}
