//! The order of slices, and how thick each of them stands in its stack.

use engram_seg::{Plane, ReferencedSlice};

/// Cosine of the angle that normals of one stack may differ by.
const PARALLEL: f64 = 0.999;
/// Slices closer than this along their normal are at one position, mm.
const SAME_POSITION_MM: f64 = 0.01;

/// Sorts slices along their normal where they are one stack; those of several time points, directions or without a place
/// stay in the order given.
pub(crate) fn sort(slices: &mut [ReferencedSlice]) {
    if offsets(slices).is_none() {
        return;
    }
    let normal = slices.first().and_then(ReferencedSlice::plane).map_or([0.0; 3], |plane| plane.normal());
    let offset = |slice: &ReferencedSlice| slice.plane().map_or(0.0, |plane| dot(plane.position, normal));
    slices.sort_by(|a, b| offset(a).total_cmp(&offset(b)));
}

/// How much of the patient each slice stands for along the normal, mm: half of what lies between it and its neighbours;
/// for the first and the last as much outwards as inwards. With even spacing that is the spacing for every slice. A
/// single slice stands for its `thickness`. `None` where the slices are not one stack, or nothing says how thick one is.
pub(crate) fn extents(slices: &[ReferencedSlice], thickness: Option<f64>) -> Option<Vec<f64>> {
    let offsets = offsets(slices)?;
    if offsets.len() == 1 {
        return Some(vec![thickness?]);
    }
    let mut order: Vec<usize> = (0..offsets.len()).collect();
    order.sort_by(|a, b| offsets[*a].total_cmp(&offsets[*b]));
    let steps: Vec<f64> = order.windows(2).map(|pair| offsets[pair[1]] - offsets[pair[0]]).collect();
    let mut extents = vec![0.0; offsets.len()];
    for (rank, slice) in order.into_iter().enumerate() {
        let below = rank.checked_sub(1).and_then(|step| steps.get(step));
        let above = steps.get(rank);
        let sides = [below.or(above), above.or(below)];
        extents[slice] = sides.into_iter().flatten().sum::<f64>() / 2.0;
    }
    Some(extents)
}

/// The distance between slices, mm, where it is the same between all.
pub(crate) fn even_spacing(slices: &[ReferencedSlice]) -> Option<f64> {
    let extents = extents(slices, None)?;
    let first = *extents.first()?;
    extents.iter().all(|extent| (extent - first).abs() < SAME_POSITION_MM).then_some(first)
}

/// Distance of each slice along the normal, mm. `None` where they face different ways, or two are at one position.
fn offsets(slices: &[ReferencedSlice]) -> Option<Vec<f64>> {
    let planes: Vec<Plane> = slices.iter().map(ReferencedSlice::plane).collect::<Option<_>>()?;
    let normal = planes.first()?.normal();
    if planes.iter().any(|plane| dot(plane.normal(), normal) < PARALLEL) {
        return None;
    }
    let offsets: Vec<f64> = planes.iter().map(|plane| dot(plane.position, normal)).collect();
    let mut sorted = offsets.clone();
    sorted.sort_by(f64::total_cmp);
    let apart = sorted.windows(2).all(|pair| pair[1] - pair[0] > SAME_POSITION_MM);
    apart.then_some(offsets)
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::slices_at;

    fn sorted(offsets: &[f64]) -> Vec<f64> {
        let mut slices = slices_at(offsets);
        sort(&mut slices);
        slices.iter().map(|slice| slice.position.unwrap()[2]).collect()
    }

    #[test]
    fn a_stack_is_sorted_and_time_points_are_not() {
        assert_eq!(sorted(&[4.0, 0.0, 2.0]), [0.0, 2.0, 4.0]);
        assert_eq!(sorted(&[2.0, 0.0, 2.0, 0.0]), [2.0, 0.0, 2.0, 0.0]);
    }

    #[test]
    fn extents_meet_half_way_between_slices() {
        for (name, offsets, thickness, expected) in [
            ("even", &[0.0, 2.0, 4.0][..], None, Some(vec![2.0, 2.0, 2.0])),
            ("uneven", &[0.0, 1.0, 4.0], None, Some(vec![1.0, 2.0, 3.0])),
            ("in any order", &[4.0, 0.0, 1.0], None, Some(vec![3.0, 1.0, 2.0])),
            ("one", &[7.0], Some(5.0), Some(vec![5.0])),
            ("one without thickness", &[7.0], None, None),
            ("two at one place", &[1.0, 1.0, 2.0], Some(1.0), None),
        ] {
            assert_eq!(extents(&slices_at(offsets), thickness), expected, "{name}");
        }
        let mut turned = slices_at(&[0.0, 1.0]);
        turned[1].orientation = Some([0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(extents(&turned, None), None);
    }

    #[test]
    fn oblique_slices_are_measured_along_their_normal() {
        let half = std::f64::consts::FRAC_1_SQRT_2;
        let mut slices = slices_at(&[0.0, 2.0, 4.0]);
        for slice in &mut slices {
            slice.orientation = Some([1.0, 0.0, 0.0, 0.0, half, half]);
        }
        let extents = extents(&slices, None).unwrap();
        assert!(extents.iter().all(|extent| (extent - 2.0 * half).abs() < 1e-12), "{extents:?}");
    }
}
