//! Where in the plane a label was found.

use super::fuse::Belief;
use crate::crop::PixelBox;
use engram_imaging::resample::Letterbox;
use ndarray::Array1;

/// Share of the object's pixels that each side of the box may leave out: specks far from it.
const TRIM: f32 = 0.005;

/// The box, in pixels of the slice, of a label over all slices where it is present. None where it is nowhere.
pub(crate) fn locate(
    beliefs: &[Option<Belief>],
    present: &[bool],
    letterbox: &Letterbox,
) -> Option<PixelBox> {
    let found = beliefs
        .iter()
        .zip(present)
        .filter(|(_, present)| **present)
        .filter_map(|(belief, _)| belief.as_ref());
    let mut profile: Option<(Array1<f32>, Array1<f32>)> = None;
    for belief in found {
        let (rows, columns) = profile.get_or_insert_with(|| {
            let (rows, columns) = belief.logits.dim();
            (Array1::zeros(rows), Array1::zeros(columns))
        });
        for ((row, column), logit) in belief.logits.indexed_iter() {
            if *logit > 0.0 {
                rows[row] += 1.0;
                columns[column] += 1.0;
            }
        }
    }
    let (rows, columns) = profile?;
    let (top, bottom) = trimmed(&rows)?;
    let (left, right) = trimmed(&columns)?;
    let corner = |row: usize, column: usize| {
        let edge = |index: usize, of: usize| index as f64 * letterbox.size as f64 / of as f64 - 0.5;
        letterbox.inverse([edge(row, rows.len()), edge(column, columns.len())]).map(|at| at + 0.5)
    };
    let (upper_left, lower_right) = (corner(top, left), corner(bottom + 1, right + 1));
    let (height, width) = letterbox.native;
    let pixels = |from: f64, to: f64, length: usize| {
        let from = from.floor().clamp(0.0, length as f64) as usize;
        let to = to.ceil().clamp(0.0, length as f64) as usize;
        (to > from).then_some((from, to))
    };
    Some(PixelBox {
        rows: pixels(upper_left[0], lower_right[0], height)?,
        columns: pixels(upper_left[1], lower_right[1], width)?,
    })
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
    use ndarray::{Array2, array, s};

    #[test]
    fn specks_at_the_ends_are_left_out() {
        assert_eq!(trimmed(&array![0.0, 1.0, 0.0, 300.0, 200.0, 0.0, 1.0]), Some((3, 4)));
        assert_eq!(trimmed(&array![0.0, 0.0]), None);
    }

    #[test]
    fn the_box_covers_the_object_on_the_slice() {
        let letterbox = Letterbox::new((200, 100), [1.0, 1.0], 100);
        let mut logits = Array2::from_elem((50, 50), -1.0);
        logits.slice_mut(s![10..20, 20..30]).fill(1.0);
        let belief = Belief { logits, presence: 1.0, iou: 1.0 };
        let beliefs = [Some(belief.clone()), None, Some(belief)];
        let found = locate(&beliefs, &[true, false, true], &letterbox).unwrap();
        assert_eq!(found, PixelBox { rows: (40, 80), columns: (30, 70) });
        assert_eq!(locate(&beliefs, &[false; 3], &letterbox), None);
    }
}
