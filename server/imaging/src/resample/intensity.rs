//! Intensities: robust bounds, and their mapping to 0..1.

use ndarray::{Array2, ArrayView2, ArrayView3};

/// More voxels than this are thinned out evenly before their percentiles are taken.
const MOST_SAMPLES: usize = 1 << 22;

/// The values at the given percentiles (0 to 100) of the finite voxels, interpolated between neighbours as NumPy does.
///
/// Of more than 4 million voxels every n-th is looked at, n odd: the same voxels each time, so that the result is
/// reproducible. Zeros where there is no finite voxel.
pub fn percentiles(voxels: ArrayView3<f32>, at: &[f64]) -> Vec<f32> {
    let step = voxels.len().div_ceil(MOST_SAMPLES).max(1) | 1;
    let mut samples: Vec<f32> =
        voxels.iter().step_by(step).copied().filter(|value| value.is_finite()).collect();
    at.iter().map(|percent| percentile(&mut samples, *percent)).collect()
}

fn percentile(samples: &mut [f32], percent: f64) -> f32 {
    let Some(last) = samples.len().checked_sub(1) else { return 0.0 };
    let place = percent.clamp(0.0, 100.0) / 100.0 * last as f64;
    let (_, below, above) = samples.select_nth_unstable_by(place.floor() as usize, f32::total_cmp);
    let below = *below;
    let next = above.iter().copied().min_by(f32::total_cmp).unwrap_or(below);
    below + (next - below) * place.fract() as f32
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
    fn many_voxels_are_thinned_without_moving_the_percentiles() {
        let voxels = Array3::from_shape_fn((200, 256, 256), |(slice, row, column)| {
            ((slice * 65_536 + row * 256 + column) % 1000) as f32
        });
        for (value, expected) in
            percentiles(voxels.view(), &[0.5, 50.0, 99.5]).into_iter().zip([5.0, 499.5, 994.5])
        {
            assert!((value - expected).abs() < 2.0, "{value} {expected}");
        }
    }

    #[test]
    fn a_window_maps_to_the_unit_interval() {
        let slice = array![[-200.0, 0.0, 40.0, 900.0]];
        assert_eq!(window_to_unit(slice.view(), -160.0, 240.0), array![[0.0, 0.4, 0.5, 1.0]]);
        assert_eq!(window_to_unit(slice.view(), 40.0, 40.0), array![[0.0, 0.0, 0.0, 1.0]]);
    }
}
