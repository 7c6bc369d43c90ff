//! How good a result is.

use ndarray::{ArrayBase, Data, Dimension, Zip};
use serde::{Deserialize, Serialize};

/// Dice coefficient of two masks of one shape, after the conventions of the protocols: None where the label is
/// absent from both (left out of means), 0 where it is in only one of them. None also for unlike shapes.
pub fn dice<A, B, D>(result: &ArrayBase<A, D>, truth: &ArrayBase<B, D>) -> Option<f64>
where
    A: Data<Elem = bool>,
    B: Data<Elem = bool>,
    D: Dimension,
{
    if result.raw_dim() != truth.raw_dim() {
        return None;
    }
    let (mut both, mut sum) = (0_u64, 0_u64);
    Zip::from(result).and(truth).for_each(|a, b| {
        both += u64::from(*a && *b);
        sum += u64::from(*a) + u64::from(*b);
    });
    (sum > 0).then(|| 2.0 * both as f64 / sum as f64)
}

/// Mean and standard deviation over targets.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Spread {
    /// Arithmetic mean; 0 where nothing counted.
    pub mean: f64,
    /// Standard deviation of the sample (n - 1); 0 for fewer than two values.
    pub sd: f64,
    /// How many values counted.
    pub count: usize,
}

impl Spread {
    /// Of the values given.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        let count = values.len();
        if count == 0 {
            return Self::default();
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let sd = if count > 1 { (squares / (count - 1) as f64).sqrt() } else { 0.0 };
        Self { mean, sd, count }
    }
}

/// Spearman's rank correlation of pairs, ties by their mean rank. None where either side is all the same.
pub fn rank_correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    let (one, other): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    correlation(&ranks(&one), &ranks(&other))
}

/// The rank of each value from 0, equal values sharing the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = before as f64 + (equal.len() - 1) as f64 / 2.0;
        equal.iter().for_each(|index| ranks[*index] = rank);
        before += equal.len();
    }
    ranks
}

/// Pearson's.
fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let (mean_a, mean_b) = (Spread::of(a.iter().copied()).mean, Spread::of(b.iter().copied()).mean);
    let (mut both, mut own_a, mut own_b) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        (both, own_a, own_b) = (both + a * b, own_a + a * a, own_b + b * b);
    }
    let scale = (own_a * own_b).sqrt();
    (scale > 0.0).then(|| both / scale)
}

/// Jaccard index of two label sets given as flags in one order; two empty sets agree fully.
pub fn label_sharing(a: &[bool], b: &[bool]) -> f64 {
    let both = a.iter().zip(b).filter(|(a, b)| **a && **b).count();
    let either = a.iter().zip(b).filter(|(a, b)| **a || **b).count();
    if either == 0 { 1.0 } else { both as f64 / either as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn dice_follows_the_conventions_for_absent_labels() {
        let none = array![[false, false], [false, false]];
        let one = array![[true, false], [false, false]];
        let two = array![[true, true], [false, false]];
        assert_eq!(dice(&none, &none), None);
        assert_eq!(dice(&one, &none), Some(0.0));
        assert_eq!(dice(&none, &one), Some(0.0));
        assert_eq!(dice(&two, &two), Some(1.0));
        assert_eq!(dice(&one, &two), Some(2.0 / 3.0));
        assert_eq!(dice(&one, &array![[true]]), None);
    }

    #[test]
    fn spread_is_that_of_a_sample() {
        let spread = Spread::of([1.0, 2.0, 3.0]);
        assert_eq!((spread.mean, spread.sd, spread.count), (2.0, 1.0, 3));
        assert_eq!(Spread::of([]).count, 0);
        assert_eq!(Spread::of([0.5]).sd, 0.0);
    }

    #[test]
    fn ranks_correlate_whatever_the_scale_and_share_ties() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [2.5, 0.0, 2.5, 1.0]);
        let pairs = [(0.1, 1.0), (0.2, 10.0), (0.3, 100.0)];
        assert!((rank_correlation(&pairs).unwrap() - 1.0).abs() < 1e-12);
        let falling = pairs.map(|(a, b)| (-a, b));
        assert!((rank_correlation(&falling).unwrap() + 1.0).abs() < 1e-12);
        // By hand: ranks 0, 1.5, 1.5, 3 against 0, 1, 2, 3.
        let tied = [(1.0, 1.0), (2.0, 2.0), (2.0, 3.0), (3.0, 4.0)];
        assert!((rank_correlation(&tied).unwrap() - 4.5 / (4.5_f64 * 5.0).sqrt()).abs() < 1e-12);
        assert_eq!(rank_correlation(&[(1.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(rank_correlation(&[]), None);
    }

    #[test]
    fn label_sharing_counts_two_empty_sets_as_agreement() {
        assert_eq!(label_sharing(&[false, false], &[false, false]), 1.0);
        assert_eq!(label_sharing(&[true, false], &[true, true]), 0.5);
        assert_eq!(label_sharing(&[true, false], &[false, true]), 0.0);
    }
}
