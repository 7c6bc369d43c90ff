//! The k best of many.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A candidate: how similar, and who. Ordered so that the worse is the greater; among equals the older wins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scored {
    pub(crate) similarity: f32,
    pub(crate) slice: u64,
    pub(crate) entry: u16,
}

impl Eq for Scored {}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        let worse = other.similarity.total_cmp(&self.similarity);
        worse.then_with(|| (self.slice, self.entry).cmp(&(other.slice, other.entry)))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Keeps the k best of what is offered.
#[derive(Debug)]
pub(crate) struct Top {
    k: usize,
    heap: BinaryHeap<Scored>,
}

impl Top {
    pub(crate) fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::new() }
    }

    pub(crate) fn offer(&mut self, candidate: Scored) {
        if self.heap.len() < self.k {
            self.heap.push(candidate);
        } else if self.heap.peek().is_some_and(|worst| candidate < *worst) {
            self.heap.pop();
            self.heap.push(candidate);
        }
    }

    /// Best first.
    pub(crate) fn into_best(self) -> Vec<Scored> {
        self.heap.into_sorted_vec()
    }
}

/// Inner product in eight lanes, which the compiler turns into vector instructions.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut lanes = [0.0f32; 8];
    for (a, b) in a.iter().zip(b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

/// The vector at length 1; `None` where it has no direction.
pub(crate) fn normalised(vector: &[f32]) -> Option<Vec<f32>> {
    // In f64: the square of a large f32 overflows.
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let good = length.is_finite() && length > 0.0;
    good.then(|| vector.iter().map(|x| (f64::from(*x) / length) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_stay_in_order() {
        let mut top = Top::new(3);
        for (slice, similarity) in [(1, 0.2), (2, 0.9), (3, 0.5), (4, 0.9), (5, -1.0), (6, 0.6)] {
            top.offer(Scored { similarity, slice, entry: 0 });
        }
        let best: Vec<u64> = top.into_best().into_iter().map(|scored| scored.slice).collect();
        assert_eq!(best, [2, 4, 6]);
    }

    #[test]
    fn dot_of_any_length() {
        for length in [0, 1, 7, 8, 19] {
            let a: Vec<f32> = (0..length).map(|i| i as f32).collect();
            let expected: f32 = a.iter().map(|x| x * x).sum();
            assert_eq!(dot(&a, &a), expected);
        }
    }

    #[test]
    fn vectors_without_direction_are_refused() {
        assert!(normalised(&[0.0, 0.0]).is_none());
        assert!(normalised(&[f32::NAN, 1.0]).is_none());
        assert!(normalised(&[f32::INFINITY, 1.0]).is_none());
        assert_eq!(normalised(&[3.0, 4.0]).unwrap(), [0.6, 0.8]);
        assert_eq!(normalised(&[f32::MAX, 0.0]).unwrap(), [1.0, 0.0]);
    }
}
