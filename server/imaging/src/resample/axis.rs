//! Resampling along one axis: for each output place, which inputs count how much.

/// The inputs of one output: `weights` from input `start` on, summing to 1; empty where there is none.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tap {
    pub start: usize,
    pub weights: Vec<f32>,
}

/// Taps of `outputs` places over `inputs` places. Output `i` has its centre at input coordinate `(i + 0.5 -
/// offset) / scale` (edges at whole numbers). A triangle filter as wide as an output when reducing, which
/// keeps fine structure from aliasing, and linear interpolation when enlarging; weights past the ends go to
/// the inputs that are there. An output whose centre lies past the ends has no inputs.
pub(super) fn filtered(outputs: usize, inputs: usize, scale: f64, offset: f64) -> Vec<Tap> {
    let support = (1.0 / scale).max(1.0);
    (0..outputs)
        .map(|output| {
            let edge = (output as f64 + 0.5 - offset) / scale;
            if !(0.0..inputs as f64).contains(&edge) {
                return Tap { start: 0, weights: Vec::new() };
            }
            let center = edge - 0.5;
            let start = (center - support).ceil().max(0.0) as usize;
            let end = ((center + support).floor().max(0.0) as usize + 1).min(inputs);
            tap(start, (start..end).map(|input| 1.0 - (input as f64 - center).abs() / support))
        })
        .collect()
}

/// Taps of linear interpolation, the inputs' ends repeated: output `i` reads input coordinate
/// `(i + 0.5) * scale + offset` (edges at whole numbers). An output past the ends has no inputs.
pub(super) fn linear(outputs: usize, inputs: usize, scale: f64, offset: f64) -> Vec<Tap> {
    (0..outputs)
        .map(|output| {
            let edge = (output as f64 + 0.5) * scale + offset;
            if !(0.0..inputs as f64).contains(&edge) {
                return Tap { start: 0, weights: Vec::new() };
            }
            let center = (edge - 0.5).clamp(0.0, (inputs - 1) as f64);
            let start = center.floor();
            let weight = center - start;
            let weights = [1.0 - weight, weight];
            tap(start as usize, weights.into_iter().take(if weight > 0.0 { 2 } else { 1 }))
        })
        .collect()
}

/// Leaves out weights of zero at the ends and makes the sum 1.
fn tap(start: usize, weights: impl Iterator<Item = f64>) -> Tap {
    let weights: Vec<f64> = weights.collect();
    let zeros = weights.iter().take_while(|weight| **weight <= 0.0).count();
    let used = weights.iter().rposition(|weight| *weight > 0.0).map_or(0, |last| last + 1);
    let weights = weights.get(zeros..used).unwrap_or_default();
    let total: f64 = weights.iter().sum();
    Tap { start: start + zeros, weights: weights.iter().map(|weight| (weight / total) as f32).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(taps: &[Tap]) -> Vec<(usize, Vec<f32>)> {
        taps.iter().map(|tap| (tap.start, tap.weights.clone())).collect()
    }

    #[test]
    fn the_same_size_copies() {
        let expected = vec![(0, vec![1.0]), (1, vec![1.0]), (2, vec![1.0])];
        assert_eq!(weights(&filtered(3, 3, 1.0, 0.0)), expected);
        assert_eq!(weights(&linear(3, 3, 1.0, 0.0)), expected);
    }

    #[test]
    fn halving_weighs_by_a_triangle_and_the_ends_keep_their_sum() {
        let eighth = [1.0 / 8.0, 3.0 / 8.0, 3.0 / 8.0, 1.0 / 8.0];
        let seventh = vec![3.0 / 7.0, 3.0 / 7.0, 1.0 / 7.0];
        let taps = weights(&filtered(3, 6, 0.5, 0.0));
        assert_eq!(taps[0], (0, seventh.clone()));
        assert_eq!(taps[1], (1, eighth.to_vec()));
        assert_eq!(taps[2], (3, seventh.into_iter().rev().collect()));
    }

    #[test]
    fn doubling_interpolates_and_the_outside_is_empty() {
        let expected = vec![
            (0, vec![]),
            (0, vec![1.0]),
            (0, vec![0.75, 0.25]),
            (0, vec![0.25, 0.75]),
            (1, vec![1.0]),
            (0, vec![]),
        ];
        assert_eq!(weights(&filtered(6, 2, 2.0, 1.0)), expected);
    }
}
