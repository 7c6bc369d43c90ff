//! How large the segments are.

use crate::error::Result;
use crate::series::SegmentedSeries;
use crate::stack;

/// Cubic millimetres in a millilitre.
const MM3_PER_ML: f64 = 1000.0;

/// A segment, measured.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredSegment {
    /// Pixels of it on all slices.
    pub voxels: u64,
    /// Slices that show it.
    pub slices: usize,
    /// Volume, mL: its pixels on each slice, times their area, times what the slice stands for along the normal (half of
    /// what lies between it and its neighbours; the first and the last reach as far outwards as inwards; a single slice is
    /// as thick as it says). `None` where the slices are not one stack with a place, as in series of several time points.
    pub millilitres: Option<f64>,
}

/// Measures the segments that stand for something, in their order. One slice is in memory at a time.
///
/// # Errors
/// Those of [`SegmentedSeries::regions`].
pub fn measured_segments(series: &SegmentedSeries) -> Result<Vec<MeasuredSegment>> {
    let extents = stack::extents(&series.slices, engram_seg::slice_thickness(&series.source));
    let mut sums = vec![Sum::default(); series.segments().count()];
    for (index, slice) in series.slices.iter().enumerate() {
        let [between_rows, between_columns] = slice.pixel_spacing.unwrap_or_default();
        let extent = extents.as_ref().and_then(|extents| extents.get(index)).copied().unwrap_or_default();
        for region in series.regions(index)? {
            let Some(sum) = sums.get_mut(region.segment) else { continue };
            let pixels = region.pixels.iter().filter(|pixel| **pixel).count() as u64;
            sum.voxels += pixels;
            sum.slices += 1;
            sum.mm3 += pixels as f64 * between_rows * between_columns * extent;
        }
    }
    let measured = sums.into_iter().map(|Sum { voxels, slices, mm3 }| {
        let millilitres = extents.as_ref().map(|_| mm3 / MM3_PER_ML);
        MeasuredSegment { voxels, slices, millilitres }
    });
    Ok(measured.collect())
}

/// What has been counted of a segment.
#[derive(Debug, Clone, Default)]
struct Sum {
    voxels: u64,
    slices: usize,
    mm3: f64,
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::testing::{segmented, slices_at};

    #[test]
    fn volumes_follow_pixels_area_and_spacing() {
        // Pixels of 0.75 mm x 0.5 mm; slices that stand for 1, 2 and 3 mm.
        let slices = slices_at(&[0.0, 1.0, 4.0]);
        let labels = Array3::from_shape_fn((3, 2, 4), |(slice, row, _)| match (slice, row) {
            (1, 0) | (2, _) => 1,
            _ => 0,
        });
        let measured = measured_segments(&segmented(&labels, 2, &slices)).unwrap();
        assert_eq!((measured[0].voxels, measured[0].slices), (12, 2));
        let expected = 0.375 * (4.0 * 2.0 + 8.0 * 3.0) / 1000.0;
        assert!((measured[0].millilitres.unwrap() - expected).abs() < 1e-15);
        let none = MeasuredSegment { voxels: 0, slices: 0, millilitres: Some(0.0) };
        assert_eq!(measured[1], none);
    }

    #[test]
    fn what_is_no_stack_has_no_volume() {
        let slices = slices_at(&[0.0, 1.0, 1.0]);
        let labels = Array3::from_elem((3, 2, 4), 1);
        let measured = measured_segments(&segmented(&labels, 1, &slices)).unwrap();
        assert_eq!(measured, [MeasuredSegment { voxels: 24, slices: 3, millilitres: None }]);
    }
}
