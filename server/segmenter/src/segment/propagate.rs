//! Through the slices: each conditioned on its exemplars and on what was found in the slices near it.
//!
//! First outwards: from the slice where the first pass was surest, in both directions, each slice remembering
//! those before it. Then once more over all slices, each remembering its neighbours on both sides, so that what
//! was found later corrects what came before. All labels advance together and share calls.

use super::conditions::{Conditions, Look};
use super::first_pass::Table;
use super::line::Line;
use super::predict::{Conditioning, Job, Prediction, Predictor};
use crate::Result;
use crate::models::sigmoid;
use crate::observer::Steps;
use crate::options::Tuning;
use crate::target::SLICES_A_CALL;
use engram_memory::Memory;
use std::collections::VecDeque;
use std::sync::Arc;

/// Predictions of the times a slice was visited, `[look][slice]`.
pub(crate) type Visits = Vec<Vec<Vec<Prediction>>>;

/// Steps of progress that propagation reports for every slice of every look.
pub(crate) fn visits(tuning: &Tuning) -> usize {
    1 + tuning.rounds
}

/// What is remembered of the target, `[look][slice]`.
struct Trail {
    memories: Vec<Vec<Option<Arc<Memory>>>>,
}

/// A memory of the target itself, so many steps away.
struct Near {
    steps: usize,
    memory: Arc<Memory>,
}

/// On which side of a slice to look for what is remembered.
#[derive(Clone, Copy)]
enum Side {
    Before,
    After,
    Both,
}

/// A label followed in one direction.
struct Front {
    look: usize,
    side: Side,
    /// Slices still to visit, the next one first.
    ahead: VecDeque<usize>,
}

/// Follows every look of the first pass through the slices.
pub(crate) fn propagate(
    predictor: &mut Predictor,
    conditions: &mut Conditions,
    looks: &[Look],
    first: &Table,
    line: &Line,
    tuning: &Tuning,
    steps: &mut Steps,
) -> Result<Visits> {
    let gates = first.iter().map(|first| gate(first, tuning)).collect();
    let spec = predictor.models.spec();
    let most = tuning.recent_memories.min(spec.memory.recent_memories);
    let most_pointers = if spec.pointers.used { spec.pointers.most.saturating_sub(1) } else { 0 };
    let mut walk = Walk {
        predictor,
        conditions,
        looks,
        line,
        gates,
        most,
        most_pointers,
        trail: Trail::new(looks.len(), line.order.len()),
    };
    let mut visits: Visits = looks.iter().map(|_| vec![vec![]; line.order.len()]).collect();
    walk.outwards(first, &mut visits, steps)?;
    for round in 1..=tuning.rounds {
        walk.again(round < tuning.rounds, &mut visits, steps)?;
    }
    Ok(visits)
}

struct Walk<'w, 'p, 'c> {
    predictor: &'w mut Predictor<'p>,
    conditions: &'w mut Conditions<'c>,
    looks: &'w [Look],
    line: &'w Line,
    /// Guessed IoU from which a prediction is remembered, by look.
    gates: Vec<f32>,
    /// Recent slices remembered at the most.
    most: usize,
    /// Recent slices whose pointers are remembered at the most.
    most_pointers: usize,
    trail: Trail,
}

impl Walk<'_, '_, '_> {
    /// From the surest slice of each look to both ends.
    fn outwards(&mut self, first: &Table, visits: &mut Visits, steps: &mut Steps) -> Result<()> {
        let mut fronts = vec![];
        for (index, (look, first)) in self.looks.iter().zip(first).enumerate() {
            let visited: Vec<usize> =
                self.line.order.iter().copied().filter(|slice| look.wanted[*slice]).collect();
            let Some(start) = surest(&visited, first) else {
                steps.advance(visited.len())?;
                continue;
            };
            if let Some(prediction) = first[visited[start]].as_ref() {
                self.remember(&[(index, visited[start], prediction)])?;
            }
            steps.advance(1)?;
            let (before, after) =
                (visited[..start].iter().rev().copied(), visited[start + 1..].iter().copied());
            fronts.push(Front { look: index, side: Side::After, ahead: before.collect() });
            fronts.push(Front { look: index, side: Side::Before, ahead: after.collect() });
        }
        while fronts.iter().any(|front| !front.ahead.is_empty()) {
            let next: Vec<(usize, usize, Side)> = fronts
                .iter_mut()
                .filter_map(|front| Some((front.look, front.ahead.pop_front()?, front.side)))
                .collect();
            let found = self.visit(&next, steps)?;
            let items: Vec<_> =
                found.iter().map(|(look, slice, prediction)| (*look, *slice, prediction)).collect();
            self.remember(&items)?;
            for (look, slice, prediction) in found {
                visits[look][slice].push(prediction);
            }
        }
        Ok(())
    }

    /// Every slice with its neighbours on both sides; remembered only where another round is to come.
    fn again(&mut self, remember: bool, visits: &mut Visits, steps: &mut Steps) -> Result<()> {
        let order = self.line.order.clone();
        let mut found = vec![];
        for chunk in order.chunks(SLICES_A_CALL) {
            let places: Vec<(usize, usize, Side)> = chunk
                .iter()
                .flat_map(|slice| (0..self.looks.len()).map(|look| (look, *slice, Side::Both)))
                .filter(|(look, slice, _)| self.looks[*look].wanted[*slice])
                .collect();
            found.extend(self.visit(&places, steps)?);
        }
        if remember {
            let items: Vec<_> =
                found.iter().map(|(look, slice, prediction)| (*look, *slice, prediction)).collect();
            self.remember(&items)?;
        }
        for (look, slice, prediction) in found {
            visits[look][slice].push(prediction);
        }
        Ok(())
    }

    /// Predictions for slices that have anything near to remember; the others keep what the first pass says.
    fn visit(
        &mut self,
        places: &[(usize, usize, Side)],
        steps: &mut Steps,
    ) -> Result<Vec<(usize, usize, Prediction)>> {
        let (mut jobs, mut visited) = (vec![], vec![]);
        for (index, slice, side) in places.iter().copied() {
            let look = &self.looks[index];
            let given = self.is_given(index, slice);
            let shown = !self.conditions.given_in(look).is_empty();
            let near = self.trail.near(index, slice, side, self.line, self.most.max(self.most_pointers));
            let recent = near.iter().filter(|near| near.steps <= self.most).count().min(self.most);
            // Beside a slice that a person showed there is nothing recent yet, and much to go on.
            match self.conditions.of(look, slice)?.filter(|_| (recent > 0 || shown) && !given) {
                Some(mut conditioning) => {
                    self.add_recent(&mut conditioning, &near, recent);
                    jobs.push(Job { view: look.view, slice, conditioning, pointing: None });
                    visited.push((index, slice));
                }
                None => steps.advance(1)?,
            }
        }
        let predictions = self.predictor.predict(&jobs, steps)?;
        Ok(visited.into_iter().zip(predictions).map(|((look, slice), found)| (look, slice, found)).collect())
    }

    /// Adds what is near: the nearest `recent` as memories, farthest first, and the pointers of all of them.
    fn add_recent(&self, conditioning: &mut Conditioning, near: &[Near], recent: usize) {
        for Near { steps, memory } in near.iter().take(recent).rev() {
            // k steps away has temporal index k - 1.
            let time = i64::try_from(steps.saturating_sub(1)).unwrap_or(i64::MAX);
            conditioning.add(Arc::clone(memory), time, None);
        }
        for Near { steps, memory } in near.iter().take(self.most_pointers) {
            conditioning.point(memory, self.conditions.difference(*steps));
        }
    }

    fn remember(&mut self, items: &[(usize, usize, &Prediction)]) -> Result<()> {
        let worthy: Vec<_> = items
            .iter()
            .copied()
            .filter(|(look, slice, prediction)| {
                is_worth_remembering(prediction, self.gates[*look]) && !self.is_given(*look, *slice)
            })
            .collect();
        let keys: Vec<_> = worthy
            .iter()
            .map(|(look, slice, prediction)| (self.looks[*look].view, *slice, *prediction))
            .collect();
        for ((look, slice, _), memory) in worthy.iter().zip(self.predictor.remember(&keys)?) {
            self.trail.memories[*look][*slice] = Some(memory);
        }
        Ok(())
    }

    /// What a person drew conditions every slice; it is no recent memory besides.
    fn is_given(&self, look: usize, slice: usize) -> bool {
        self.conditions.given(&self.looks[look], slice).is_some()
    }
}

impl Trail {
    fn new(looks: usize, slices: usize) -> Self {
        Self { memories: vec![vec![None; slices]; looks] }
    }

    /// The nearest memories of a slice within `most` steps, `most` of them at the most, the nearest first.
    fn near(&self, look: usize, slice: usize, side: Side, line: &Line, most: usize) -> Vec<Near> {
        let place = line.rank(slice);
        let before = || line.order[..place].iter().rev().take(most);
        let after = || line.order[place + 1..].iter().take(most);
        let around: Vec<&usize> = match side {
            Side::Before => before().collect(),
            Side::After => after().collect(),
            Side::Both => before().chain(after()).collect(),
        };
        let mut near: Vec<Near> = around
            .into_iter()
            .filter_map(|other| {
                let memory = Arc::clone(self.memories[look][*other].as_ref()?);
                Some(Near { steps: line.steps(slice, *other), memory })
            })
            .filter(|near| near.steps <= most)
            .collect();
        near.sort_by_key(|near| near.steps);
        near.truncate(most);
        near
    }
}

/// A slice without the object, or with a doubtful mask, would mislead its neighbours.
fn is_worth_remembering(prediction: &Prediction, gate: f32) -> bool {
    prediction.present() && prediction.iou >= gate && prediction.logits.iter().any(|logit| *logit > 0.0)
}

/// Guessed IoU from which a look's predictions are remembered.
fn gate(first: &[Option<Prediction>], tuning: &Tuning) -> f32 {
    let present = first.iter().flatten().filter(|prediction| prediction.present());
    let best = present.map(|prediction| prediction.iou).fold(0.0, f32::max);
    tuning.remembered_iou.min(tuning.remembered_share * best)
}

/// Where among `visited` to start: where the object is surely there, well seen and not a mere speck.
fn surest(visited: &[usize], first: &[Option<Prediction>]) -> Option<usize> {
    let surety = |prediction: &Prediction| {
        let area = prediction.logits.iter().filter(|logit| **logit > 0.0).count();
        sigmoid(prediction.score) * prediction.iou * (area as f32).powf(0.25)
    };
    let sure = visited.iter().map(|slice| first[*slice].as_ref().map_or(0.0, surety));
    sure.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    fn prediction(iou: f32, score: f32) -> Prediction {
        Prediction { logits: Array2::from_elem((2, 2), 1.0), iou, score, pointer: None }
    }

    fn remembered(ious: &[f32]) -> Vec<bool> {
        let first: Vec<_> = ious.iter().map(|iou| Some(prediction(*iou, 1.0))).collect();
        let gate = gate(&first, &Tuning::default());
        first.iter().flatten().map(|prediction| is_worth_remembering(prediction, gate)).collect()
    }

    #[test]
    fn a_doubtful_slice_is_not_remembered() {
        assert_eq!(remembered(&[0.9, 0.55, 0.3]), [true, true, false]);
        // Where every slice is doubtful, the least doubtful ones must do.
        assert_eq!(remembered(&[0.3, 0.25, 0.1]), [true, true, false]);
    }

    #[test]
    fn a_slice_without_the_object_is_not_remembered() {
        assert!(!is_worth_remembering(&prediction(0.9, -1.0), 0.5));
        let nothing = Prediction { logits: Array2::from_elem((2, 2), -1.0), ..prediction(0.9, 1.0) };
        assert!(!is_worth_remembering(&nothing, 0.5));
    }
}
