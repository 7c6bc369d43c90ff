//! Which series would help a bank most if somebody annotated them.
//!
//! Facility location (as in Wei, Iyer and Bilmes, "Submodularity in data subset selection and active learning", 2015): a
//! bank covers a slice as well as its most similar exemplar does, and a series is worth what its slices would add to
//! the coverage of all series that wait. Taken greedily, the best first, no suggestion repeats what one before it
//! brings.

use crate::Result;
use crate::models::Models;
use crate::observer::{Observer, Stage, Steps};
use crate::target::Target;
use engram_imaging::Volume;
use ndarray::{Array1, Array2, ArrayView1, Axis};
use std::collections::BTreeSet;

/// Slices that stand for a series.
pub const LOOKED_AT: usize = 4;

/// Retrieval vectors `[slices, D]`, of unit length, of slices spread evenly over a volume: what the series looks like.
///
/// # Errors
/// What the bundle cannot do, an empty volume, cancellation.
pub fn look_at(models: &dyn Models, volume: &Volume, observer: &dyn Observer) -> Result<Array2<f32>> {
    let target = Target::new(volume, &models.spec().input)?;
    let slices = spread(target.slices(), LOOKED_AT);
    Steps::run(observer, Stage::Prepare, slices.len(), |steps| target.unit_vectors(models, &slices, steps))
}

/// So many of `count` things, evenly spread, none of them an end where there is a choice.
pub fn spread(count: usize, wanted: usize) -> Vec<usize> {
    let wanted = wanted.min(count);
    let chosen: BTreeSet<usize> = (0..wanted).map(|i| (2 * i + 1) * count / (2 * wanted)).collect();
    chosen.into_iter().collect()
}

/// A series that nobody annotated.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its retrieval vectors `[slices, D]`, of unit length.
    pub vectors: Array2<f32>,
    /// Likeness of each slice to the most similar exemplar of the bank; 0 where it has none.
    pub covered: Array1<f32>,
}

/// What annotating a series would bring.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Suggestion {
    /// Index of the candidate.
    pub candidate: usize,
    /// Rise of the mean coverage of all candidates, once those suggested before are annotated too.
    pub gain: f32,
}

/// The most useful candidates, the best first, at most `limit`.
pub fn suggest(candidates: &[Candidate], limit: usize) -> Vec<Suggestion> {
    let mut covered: Vec<Array1<f32>> = candidates.iter().map(|c| c.covered.clone()).collect();
    let mut left: BTreeSet<usize> = (0..candidates.len()).collect();
    let mut suggestions = vec![];
    while suggestions.len() < limit {
        let gain = |index: &usize| (*index, gain(&candidates[*index], candidates, &covered));
        let best = left.iter().map(gain).max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        let Some((candidate, gain)) = best else { break };
        left.remove(&candidate);
        for (other, covered) in candidates.iter().zip(&mut covered) {
            let likeness = likeness(other, &candidates[candidate]);
            covered.zip_mut_with(&likeness, |covered, likeness| *covered = covered.max(*likeness));
        }
        suggestions.push(Suggestion { candidate, gain });
    }
    suggestions
}

/// Rise of the mean coverage of all candidates by one of them.
fn gain(chosen: &Candidate, all: &[Candidate], covered: &[Array1<f32>]) -> f32 {
    let rise = |(other, covered): (&Candidate, &Array1<f32>)| {
        let rises = likeness(other, chosen) - covered;
        rises.mapv(|rise| rise.max(0.0)).mean().unwrap_or(0.0)
    };
    all.iter().zip(covered).map(rise).sum::<f32>() / all.len().max(1) as f32
}

/// Likeness of each slice of one series to the most similar slice of another.
fn likeness(of: &Candidate, to: &Candidate) -> Array1<f32> {
    let products = of.vectors.dot(&to.vectors.t());
    products.map_axis(Axis(1), |row: ArrayView1<f32>| row.iter().copied().fold(0.0, f32::max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn candidate(angle: f32, covered: f32) -> Candidate {
        Candidate { vectors: array![[angle.cos(), angle.sin()]], covered: array![covered] }
    }

    #[test]
    fn slices_are_spread_evenly() {
        assert_eq!(spread(40, 4), [5, 15, 25, 35]);
        assert_eq!(spread(3, 4), [0, 1, 2]);
        assert_eq!(spread(1, 4), [0]);
        assert!(spread(0, 4).is_empty());
    }

    #[test]
    fn the_series_that_stands_for_most_comes_first_and_its_twins_bring_nothing_more() {
        // Three alike, one that is like none of them.
        let candidates = [0.0, 0.05, 0.1, 3.1].map(|angle| candidate(angle, 0.0));
        let found = suggest(&candidates, 4);
        assert_eq!(found[0].candidate, 1);
        assert_eq!(found[1].candidate, 3);
        assert!(found[0].gain > found[1].gain && found[1].gain > found[2].gain);
        assert!(found[2].gain < 0.01);
        assert_eq!(suggest(&candidates, 1).len(), 1);
        assert!(suggest(&[], 3).is_empty());
    }

    #[test]
    fn what_the_bank_covers_already_brings_little() {
        let candidates = [candidate(0.0, 0.99), candidate(0.1, 0.99), candidate(1.4, 0.3)];
        assert_eq!(suggest(&candidates, 1)[0].candidate, 2);
    }
}
