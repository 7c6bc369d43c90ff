//! How far the surfaces of two masks are from each other.

use engram_imaging::VolumeGeometry;
use ndarray::Array3;
use rstar::RTree;
use serde::{Deserialize, Serialize};

/// Share of the distances that the Hausdorff distance takes in: the rest are outliers.
const HAUSDORFF_SHARE: f64 = 0.95;

/// Distances between the surfaces of two masks, mm: from each voxel of either surface to the nearest of the other.
/// Where the geometry is nominal, so are the millimetres.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SurfaceDistance {
    /// 95th percentile of the distances of both surfaces together (HD95).
    pub hausdorff_95: f64,
    /// Mean of the distances of both surfaces together (ASSD).
    pub average: f64,
}

impl SurfaceDistance {
    /// Between two masks on the same grid. None where either is empty, or their shapes differ.
    pub fn between(result: &Array3<bool>, truth: &Array3<bool>, geometry: &VolumeGeometry) -> Option<Self> {
        if result.dim() != truth.dim() {
            return None;
        }
        let (result, truth) = (surface(result, geometry), surface(truth, geometry));
        if result.is_empty() || truth.is_empty() {
            return None;
        }
        let (to_result, to_truth) = (RTree::bulk_load(result.clone()), RTree::bulk_load(truth.clone()));
        let mut distances = distances(&result, &to_truth);
        distances.extend(self::distances(&truth, &to_result));
        distances.sort_by(f64::total_cmp);
        Some(Self {
            hausdorff_95: percentile(&distances, HAUSDORFF_SHARE),
            average: distances.iter().sum::<f64>() / distances.len() as f64,
        })
    }
}

/// Centres, mm, of the voxels of a mask that have a face in common with one outside of it, or lie at the rim. A volume
/// of one slice has no faces along the normal.
fn surface(mask: &Array3<bool>, geometry: &VolumeGeometry) -> Vec<[f64; 3]> {
    let (slices, rows, columns) = mask.dim();
    let [row_mm, column_mm] = geometry.pixel_spacing;
    let offsets = geometry.offsets();
    let inside = |slice: usize, row: usize, column: usize| mask.get((slice, row, column)) == Some(&true);
    let is_inner = |slice: usize, row: usize, column: usize| {
        let around = [
            (slices == 1 || inside(slice.wrapping_sub(1), row, column)),
            (slices == 1 || inside(slice + 1, row, column)),
            inside(slice, row.wrapping_sub(1), column),
            inside(slice, row + 1, column),
            inside(slice, row, column.wrapping_sub(1)),
            inside(slice, row, column + 1),
        ];
        around.into_iter().all(|inside| inside)
    };
    let mut points = vec![];
    for slice in 0..slices {
        let height = offsets.get(slice).copied().unwrap_or(slice as f64);
        for row in 0..rows {
            for column in 0..columns {
                if inside(slice, row, column) && !is_inner(slice, row, column) {
                    points.push([height, row as f64 * row_mm, column as f64 * column_mm]);
                }
            }
        }
    }
    points
}

fn distances(points: &[[f64; 3]], other: &RTree<[f64; 3]>) -> Vec<f64> {
    let nearest = |point: &[f64; 3]| {
        let found = other.nearest_neighbor(point)?;
        let squares: f64 = point.iter().zip(found).map(|(a, b)| (a - b).powi(2)).sum();
        Some(squares.sqrt())
    };
    points.iter().filter_map(nearest).collect()
}

/// Of sorted values, at least one; between two of them in proportion.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, part) = (sorted[at as usize], at.fract());
    let above = sorted.get(at as usize + 1).copied().unwrap_or(below);
    below + part * (above - below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::s;

    fn geometry(slices: usize) -> VolumeGeometry {
        VolumeGeometry {
            columns: 20,
            rows: 20,
            pixel_spacing: [2.0, 0.5],
            orientation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            positions: (0..slices).map(|slice| [0.0, 0.0, slice as f64 * 5.0]).collect(),
            spatial: true,
        }
    }

    fn block(slices: std::ops::Range<usize>, columns: std::ops::Range<usize>) -> Array3<bool> {
        let mut mask = Array3::from_elem((8, 20, 20), false);
        mask.slice_mut(s![slices, 4..14, columns]).fill(true);
        mask
    }

    #[test]
    fn equal_masks_are_nowhere_apart_and_an_empty_one_is_at_no_distance() {
        let mask = block(2..6, 3..12);
        let same = SurfaceDistance::between(&mask, &mask, &geometry(8)).unwrap();
        assert_eq!((same.hausdorff_95, same.average), (0.0, 0.0));
        assert_eq!(SurfaceDistance::between(&mask, &block(0..0, 0..0), &geometry(8)), None);
        let other = Array3::from_elem((7, 20, 20), true);
        assert_eq!(SurfaceDistance::between(&mask, &other, &geometry(8)), None);
    }

    #[test]
    fn distances_are_millimetres_of_the_grid() {
        // Single voxels: 3 slices of 5 mm and 6 columns of 0.5 mm apart.
        let voxel = |slice: usize, column: usize| {
            let mut mask = Array3::from_elem((8, 20, 20), false);
            mask[[slice, 7, column]] = true;
            mask
        };
        let apart = SurfaceDistance::between(&voxel(1, 2), &voxel(4, 8), &geometry(8)).unwrap();
        let expected = 15.0_f64.hypot(3.0);
        assert!((apart.average - expected).abs() < 1e-12 && (apart.hausdorff_95 - expected).abs() < 1e-12);
    }

    #[test]
    fn a_slab_more_is_a_slice_away_at_one_end() {
        let (small, large) = (block(2..5, 3..12), block(2..6, 3..12));
        let apart = SurfaceDistance::between(&small, &large, &geometry(8)).unwrap();
        assert_eq!(apart.hausdorff_95, 5.0);
        assert!(apart.average > 0.0 && apart.average < 5.0);
    }

    #[test]
    fn a_single_slice_has_a_contour_and_no_cover() {
        let mut mask = Array3::from_elem((1, 20, 20), false);
        mask.slice_mut(s![.., 4..14, 3..12]).fill(true);
        assert_eq!(surface(&mask, &geometry(1)).len(), 2 * 10 + 2 * 9 - 4);
    }

    #[test]
    fn a_percentile_lies_between_two_values() {
        assert_eq!(percentile(&[1.0], 0.95), 1.0);
        assert!((percentile(&[0.0, 10.0], 0.95) - 9.5).abs() < 1e-12);
    }
}
