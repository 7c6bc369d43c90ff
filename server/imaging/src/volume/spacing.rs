//! What is worth a note about the steps between slices and the direction they go.

use super::geometry::dot;
use super::{VolumeGeometry, VolumeNote};

/// Steps beyond this many usual ones are gaps.
const GAP: f64 = 1.5;
/// Steps that differ by more than this part of the usual one are irregular; and by more than this, mm.
const IRREGULAR_PART: f64 = 0.01;
const IRREGULAR_MM: f64 = 0.01;
/// Angles below these are rounding, degrees.
const SHEARED_DEGREES: f64 = 0.5;
const OBLIQUE_DEGREES: f64 = 1.0;

/// Gaps, irregular steps, shear and obliqueness.
pub(super) fn notes(geometry: &VolumeGeometry) -> Vec<VolumeNote> {
    let mut notes = steps(geometry);
    let normal = geometry.normal();
    let axis = normal.iter().map(|coordinate| coordinate.abs()).fold(0.0, f64::max);
    let degrees = axis.min(1.0).acos().to_degrees();
    if degrees > OBLIQUE_DEGREES {
        notes.push(VolumeNote::Oblique { degrees });
    }
    if let (Some(first), Some(last)) = (geometry.positions.first(), geometry.positions.last()) {
        let line = [last[0] - first[0], last[1] - first[1], last[2] - first[2]];
        let length = dot(line, line).sqrt();
        if length > 0.0 {
            let degrees = (dot(line, normal).abs() / length).min(1.0).acos().to_degrees();
            if degrees > SHEARED_DEGREES {
                notes.push(VolumeNote::Sheared { degrees });
            }
        }
    }
    notes
}

fn steps(geometry: &VolumeGeometry) -> Vec<VolumeNote> {
    let Some(usual) = geometry.slice_spacing() else { return Vec::new() };
    let offsets = geometry.offsets();
    let mut notes = Vec::new();
    let (mut smallest, mut largest) = (usual, usual);
    for (slice, pair) in offsets.windows(2).enumerate() {
        let step = pair[1] - pair[0];
        if step > GAP * usual {
            let missing = (step / usual).round() as usize - 1;
            notes.push(VolumeNote::Gap { slice, missing, distance_mm: step });
        } else {
            smallest = smallest.min(step);
            largest = largest.max(step);
        }
    }
    if largest - smallest > (IRREGULAR_PART * usual).max(IRREGULAR_MM) {
        notes.push(VolumeNote::IrregularSpacing { min_mm: smallest, max_mm: largest });
    }
    notes
}
