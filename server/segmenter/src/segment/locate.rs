//! Where in the plane labels were found.

use super::beliefs::LabelBeliefs;
use super::components::drop_small_components;
use super::settle::settle;
use crate::crop::PixelBox;
use ndarray::Array1;

/// Share of the object's pixels that each side of the box may leave out: fringes far from it.
const TRIM: f32 = 0.01;

/// The box, in pixels of the slice, of each label over all slices where it is present: of its largest component,
/// after labels have settled which pixel is whose, so that a false find elsewhere does not widen the box. None for a
/// label that is nowhere.
///
/// `shape`: slices, rows and columns of the volume.
pub(crate) fn locate(
    labels: &[LabelBeliefs],
    shape: (usize, usize, usize),
    close_weight: f32,
) -> Vec<Option<PixelBox>> {
    let (mut map, _) = settle(labels, shape, close_weight, None, false);
    drop_small_components(&mut map, 1.0);
    let (_, height, width) = map.dim();
    let mut profiles = vec![(Array1::zeros(height), Array1::zeros(width)); labels.len()];
    for ((_, row, column), value) in map.indexed_iter().filter(|(_, value)| **value != 0) {
        let (rows, columns) = &mut profiles[usize::from(*value) - 1];
        rows[row] += 1.0;
        columns[column] += 1.0;
    }
    profiles.iter().map(|(rows, columns)| box_of(rows, columns)).collect()
}

/// The box of what has these profiles: pixels a row, pixels a column.
fn box_of(rows: &Array1<f32>, columns: &Array1<f32>) -> Option<PixelBox> {
    let ((top, bottom), (left, right)) = (trimmed(rows)?, trimmed(columns)?);
    Some(PixelBox { rows: top..bottom + 1, columns: left..right + 1 })
}

/// First and last index of a profile without its outermost specks. None where it is all zero.
fn trimmed(profile: &Array1<f32>) -> Option<(usize, usize)> {
    let spare = profile.sum() * TRIM;
    let passed = |sum: &mut f32, value: &f32| {
        *sum += value;
        Some(*sum > spare)
    };
    let first = profile.iter().scan(0.0, passed).position(|passed| passed)?;
    let last = profile.iter().rev().scan(0.0, passed).position(|passed| passed)?;
    Some((first, profile.len() - 1 - last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::beliefs::Seen;
    use crate::segment::fuse::Belief;
    use engram_imaging::resample::Letterbox;
    use ndarray::{Array2, array, s};

    #[test]
    fn specks_at_the_ends_are_left_out() {
        assert_eq!(trimmed(&array![0.0, 1.0, 0.0, 300.0, 200.0, 0.0, 1.0]), Some((3, 4)));
        assert_eq!(trimmed(&array![0.0, 0.0]), None);
    }

    #[test]
    fn the_box_covers_the_largest_component_that_is_the_labels_own() {
        let letterbox = Letterbox::new((200, 100), [1.0, 1.0], 100);
        let label = |logit: f32, rows: std::ops::Range<usize>, speck: usize| {
            let mut logits = Array2::from_elem((50, 50), -1.0);
            logits.slice_mut(s![rows, 20..30]).fill(logit);
            logits[[speck, 5]] = logit;
            let belief = Belief::new(&logits, 1.0, 1.0);
            let beliefs = vec![Some(belief.clone()), None, Some(belief)];
            LabelBeliefs {
                whole: Seen::new(&letterbox, beliefs),
                close: vec![],
                present: vec![true, true, false],
            }
        };
        let labels = [label(1.0, 10..25, 45), label(2.0, 20..40, 2)];
        let found = locate(&labels, (3, 200, 100), 0.5);
        // From -1 to 2 a logit rises above 0 after a third of the way, so a pixel early, and above 1 a pixel late.
        assert_eq!(found[0], Some(PixelBox { rows: 40..81, columns: 30..70 }));
        assert_eq!(found[1], Some(PixelBox { rows: 81..161, columns: 29..71 }));
        let nowhere = LabelBeliefs { present: vec![false; 3], ..label(1.0, 1..2, 1) };
        assert_eq!(locate(&[nowhere], (3, 200, 100), 0.5), [None]);
    }
}
