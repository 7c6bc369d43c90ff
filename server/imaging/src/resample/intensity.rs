//! Intensities: robust bounds, and their mapping to 0..1.

use ndarray::{Array2, ArrayView2, ArrayView3};
use std::collections::BTreeMap;

/// Half the bits of a voxel: what one pass over the volume tells apart.
const HALF: u32 = 16;

/// The values at the given percentiles (0 to 100) of the finite voxels, interpolated between neighbours as
/// NumPy does. Zeros where there is no finite voxel.
///
/// Exact, in two passes over the volume and without a copy of it: the first counts the upper halves of the
/// voxels' bits, the second the lower halves of those that share an upper half with a value sought.
pub fn percentiles(voxels: ArrayView3<f32>, at: &[f64]) -> Vec<f32> {
    let keys = || voxels.iter().filter(|value| value.is_finite()).map(|value| key(*value));
    let mut upper = vec![0u64; 1 << HALF];
    keys().for_each(|key| upper[(key >> HALF) as usize] += 1);
    let Some(last) = upper.iter().sum::<u64>().checked_sub(1) else { return vec![0.0; at.len()] };

    let place = |percent: &f64| percent.clamp(0.0, 100.0) / 100.0 * last as f64;
    let ranks: Vec<u64> = at
        .iter()
        .flat_map(|percent| {
            let below = place(percent).floor() as u64;
            [below, (below + 1).min(last)]
        })
        .collect();
    let bins: Vec<(usize, u64)> = ranks.iter().map(|rank| bin_of(&upper, *rank)).collect();
    let mut lower: BTreeMap<usize, Vec<u64>> = bins.iter().map(|(bin, _)| (*bin, Vec::new())).collect();
    lower.values_mut().for_each(|counts| counts.resize(1 << HALF, 0));
    for key in keys() {
        if let Some(counts) = lower.get_mut(&((key >> HALF) as usize)) {
            counts[(key & 0xFFFF) as usize] += 1;
        }
    }
    let values: Vec<f64> = bins
        .iter()
        .map(|(bin, rank)| {
            let low = lower.get(bin).map_or(0, |counts| bin_of(counts, *rank).0);
            f64::from(value((*bin << HALF | low) as u32))
        })
        .collect();
    let pairs = values.as_chunks::<2>().0;
    let between = |(percent, [below, above]): (&f64, &[f64; 2])| {
        (below + (above - below) * place(percent).fract()) as f32
    };
    at.iter().zip(pairs).map(between).collect()
}

/// The bin that holds the value of this rank, and the value's rank in it.
fn bin_of(counts: &[u64], rank: u64) -> (usize, u64) {
    let mut left = rank;
    for (bin, count) in counts.iter().enumerate() {
        if left < *count {
            return (bin, left);
        }
        left -= count;
    }
    (counts.len().saturating_sub(1), 0)
}

/// Bits that order as the values do.
fn key(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The value of a key.
fn value(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

/// Maps `lower..upper` to 0..1, values past them to the ends. A window without width is a threshold.
pub fn window_to_unit(slice: ArrayView2<f32>, lower: f32, upper: f32) -> Array2<f32> {
    let width = upper - lower;
    if width <= 0.0 {
        return slice.mapv(|value| if value > lower { 1.0 } else { 0.0 });
    }
    slice.mapv(|value| ((value - lower) / width).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, array};

    #[test]
    fn percentiles_interpolate_and_skip_what_is_no_number() {
        let voxels = array![[[4.0, 1.0, f32::NAN], [3.0, 2.0, 5.0]]];
        assert_eq!(percentiles(voxels.view(), &[0.0, 50.0, 100.0, 10.0]), [1.0, 3.0, 5.0, 1.4]);
        assert_eq!(percentiles(Array3::zeros((0, 1, 1)).view(), &[50.0]), [0.0]);
    }

    #[test]
    fn keys_order_as_values_do() {
        let values = [f32::MIN, -3.5, -0.0, 0.0, 1e-30, 2.0, f32::MAX];
        assert!(values.map(key).is_sorted());
        assert_eq!(values.map(|sample| value(key(sample))), values);
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_voxels() {
        let voxels = Array3::from_shape_fn((3, 50, 70), |(slice, row, column)| {
            ((slice * 7919 + row * 104_729 + column * 1_299_709) % 10_007) as f32 * 0.37 - 1500.0
        });
        let mut sorted: Vec<f32> = voxels.iter().copied().collect();
        sorted.sort_by(f32::total_cmp);
        for percent in [0.5, 25.0, 99.5] {
            let place = percent / 100.0 * (sorted.len() - 1) as f64;
            let (below, above) = (sorted[place as usize], sorted[place as usize + 1]);
            let expected = f64::from(below) + f64::from(above - below) * place.fract();
            let found = percentiles(voxels.view(), &[percent])[0];
            assert!((f64::from(found) - expected).abs() < 1e-3, "{found} {expected}");
        }
    }

    #[test]
    fn a_window_maps_to_the_unit_interval() {
        let slice = array![[-200.0, 0.0, 40.0, 900.0]];
        assert_eq!(window_to_unit(slice.view(), -160.0, 240.0), array![[0.0, 0.4, 0.5, 1.0]]);
        assert_eq!(window_to_unit(slice.view(), 40.0, 40.0), array![[0.0, 0.0, 0.0, 1.0]]);
    }
}
