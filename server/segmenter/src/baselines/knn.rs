//! k nearest pixels by intensity and position: a pixel takes the labels that most of the exemplar pixels have
//! which are like it and lie where it lies.
//!
//! Features are the intensity, the intensity smoothed, and the row and column as fractions of the side, weighted.
//! Exemplar pixels are those of the most similar slices, within reach of the pixel's place; beyond it position
//! alone outweighs what intensities usually differ by.

use super::{Baselines, SIDE};
use ndarray::Array2;

/// Annotated slices that pixels are taken from.
const SLICES: usize = 8;
/// Neighbours that vote.
const NEIGHBOURS: usize = 15;
/// Standard deviation of the smoothing, pixels.
const SMOOTHING: f32 = 2.0;
/// Weight of the position against the intensity, both 0..1.
const POSITION: f32 = 3.0;
/// Reach of the search, pixels.
const REACH: usize = 16;
/// Every how many rows and columns an exemplar pixel is taken.
const STRIDE: usize = 2;

/// Intensity and smoothed intensity of a slice.
struct Intensities {
    sharp: Array2<f32>,
    smooth: Array2<f32>,
}

/// Share of votes a label, `[SIDE, SIDE]`.
pub(super) fn knn(exemplars: &Baselines, grey: &Array2<f32>) -> Vec<Array2<f32>> {
    let sources = exemplars.nearest(grey, SLICES);
    let intensities: Vec<Intensities> =
        sources.iter().map(|source| Intensities::of(&exemplars.slices[*source].grey)).collect();
    let query = Intensities::of(grey);
    let mut votes: Vec<Array2<f32>> = exemplars.labels.iter().map(|_| Array2::zeros((SIDE, SIDE))).collect();
    for row in 0..SIDE {
        for column in 0..SIDE {
            let nearest = Nearest::find(&query, &intensities, row, column);
            let share = 1.0 / nearest.count.max(1) as f32;
            for (source, at) in nearest.found() {
                for (votes, mask) in votes.iter_mut().zip(&exemplars.slices[sources[source]].masks) {
                    if mask[at] {
                        votes[[row, column]] += share;
                    }
                }
            }
        }
    }
    votes
}

impl Intensities {
    fn of(grey: &Array2<f32>) -> Self {
        Self { sharp: grey.clone(), smooth: smooth(grey) }
    }
}

/// The nearest pixels so far, the farthest of them last.
struct Nearest {
    distances: [f32; NEIGHBOURS],
    places: [(usize, [usize; 2]); NEIGHBOURS],
    count: usize,
}

impl Nearest {
    fn find(query: &Intensities, sources: &[Intensities], row: usize, column: usize) -> Self {
        let mut nearest =
            Self { distances: [f32::INFINITY; NEIGHBOURS], places: [(0, [0, 0]); NEIGHBOURS], count: 0 };
        let (sharp, smooth) = (query.sharp[[row, column]], query.smooth[[row, column]]);
        let weight = (POSITION / SIDE as f32).powi(2);
        let window = |centre: usize| {
            let first = centre.saturating_sub(REACH).next_multiple_of(STRIDE);
            (first..(centre + REACH + 1).min(SIDE)).step_by(STRIDE)
        };
        for (index, source) in sources.iter().enumerate() {
            for y in window(row) {
                let dy = y.abs_diff(row) as f32;
                for x in window(column) {
                    let dx = x.abs_diff(column) as f32;
                    let (a, b) = (source.sharp[[y, x]] - sharp, source.smooth[[y, x]] - smooth);
                    let distance = a * a + b * b + weight * (dx * dx + dy * dy);
                    if distance < nearest.distances[NEIGHBOURS - 1] {
                        nearest.insert(distance, (index, [y, x]));
                    }
                }
            }
        }
        nearest
    }

    fn insert(&mut self, distance: f32, place: (usize, [usize; 2])) {
        let mut slot = NEIGHBOURS - 1;
        while slot > 0 && self.distances[slot - 1] > distance {
            self.distances[slot] = self.distances[slot - 1];
            self.places[slot] = self.places[slot - 1];
            slot -= 1;
        }
        (self.distances[slot], self.places[slot]) = (distance, place);
        self.count = (self.count + 1).min(NEIGHBOURS);
    }

    fn found(&self) -> impl Iterator<Item = (usize, [usize; 2])> {
        self.places.iter().take(self.count).copied()
    }
}

/// Gaussian smoothing, edges repeated.
fn smooth(grey: &Array2<f32>) -> Array2<f32> {
    let reach = (3.0 * SMOOTHING).ceil() as isize;
    let kernel: Vec<f32> =
        (-reach..=reach).map(|at| (-0.5 * (at as f32 / SMOOTHING).powi(2)).exp()).collect();
    let total: f32 = kernel.iter().sum();
    let clamp = |at: isize| at.clamp(0, SIDE as isize - 1) as usize;
    let along = |image: &Array2<f32>, vertical: bool| {
        Array2::from_shape_fn((SIDE, SIDE), |(row, column)| {
            let offsets = (-reach..=reach).zip(&kernel);
            let sum: f32 = offsets
                .map(|(offset, weight)| {
                    let place = match vertical {
                        true => [clamp(row as isize + offset), column],
                        false => [row, clamp(column as isize + offset)],
                    };
                    weight * image[place]
                })
                .sum();
            sum / total
        })
    };
    along(&along(grey, true), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_constants() {
        let smoothed = smooth(&Array2::from_elem((SIDE, SIDE), 0.3));
        assert!(smoothed.iter().all(|value| (value - 0.3).abs() < 1e-5));
    }

    #[test]
    fn the_nearest_pixel_has_the_intensity_at_the_place() {
        let mut grey = Array2::zeros((SIDE, SIDE));
        grey[[40, 40]] = 1.0;
        let flat = |grey: Array2<f32>| Intensities { smooth: Array2::zeros((SIDE, SIDE)), sharp: grey };
        let mut query = Array2::zeros((SIDE, SIDE));
        query[[44, 44]] = 1.0;
        let nearest = Nearest::find(&flat(query), &[flat(grey)], 44, 44);
        assert_eq!(nearest.found().next(), Some((0, [40, 40])));
    }
}
