//! Where in the plane labels were found.

use super::components::drop_small_components;
use super::consolidate::LabelBeliefs;
use super::fuse::Belief;
use crate::crop::PixelBox;
use engram_imaging::resample::Letterbox;
use ndarray::{Array1, Array2, Array3, Zip};

/// Share of the object's pixels that each side of the box may leave out: fringes far from it.
const TRIM: f32 = 0.01;

/// The box, in pixels of the slice, of each label over all slices where it is present: of its largest component,
/// after labels have settled which pixel is whose, so that a false find elsewhere does not widen the box. None for a
/// label that is nowhere.
pub(crate) fn locate(labels: &[LabelBeliefs]) -> Vec<Option<PixelBox>> {
    let mut map = settle(labels);
    drop_small_components(&mut map, 1.0);
    (1_u8..=u8::MAX)
        .zip(labels)
        .map(|(value, label)| {
            let (_, height, width) = map.dim();
            let (mut rows, mut columns) = (Array1::zeros(height), Array1::zeros(width));
            for ((_, row, column), found) in map.indexed_iter() {
                if *found == value {
                    rows[row] += 1.0;
                    columns[column] += 1.0;
                }
            }
            pixel_box(trimmed(&rows)?, trimmed(&columns)?, (height, width), &label.whole.letterbox)
        })
        .collect()
}

/// Whose each pixel is, in the squares of the whole view; `[slice, m, m]`, 0 is nobody's.
fn settle(labels: &[LabelBeliefs]) -> Array3<u8> {
    let beliefs = labels.iter().flat_map(|label| &label.whole.beliefs).flatten();
    let side = beliefs.map(Belief::dim).next().unwrap_or_default();
    let slices = labels.first().map_or(0, |label| label.present.len());
    let mut map = Array3::zeros((slices, side.0, side.1));
    for (slice, mut plane) in map.outer_iter_mut().enumerate() {
        let mut best = Array2::<f32>::zeros(side);
        for (value, label) in (1_u8..=u8::MAX).zip(labels).filter(|(_, label)| label.present[slice]) {
            let Some(belief) = &label.whole.beliefs[slice] else { continue };
            Zip::from(&mut plane).and(&mut best).and(&belief.logits()).for_each(|pixel, best, logit| {
                if *logit > *best {
                    (*pixel, *best) = (value, *logit);
                }
            });
        }
    }
    map
}

/// Rows and columns of the square, first to last, as a box on the slice.
fn pixel_box(
    (top, bottom): (usize, usize),
    (left, right): (usize, usize),
    (rows, columns): (usize, usize),
    letterbox: &Letterbox,
) -> Option<PixelBox> {
    let corner = |row: usize, column: usize| {
        let edge = |index: usize, of: usize| index as f64 * letterbox.size as f64 / of as f64 - 0.5;
        letterbox.inverse([edge(row, rows), edge(column, columns)]).map(|at| at + 0.5)
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
    use crate::segment::consolidate::Seen;
    use ndarray::{array, s};

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
            LabelBeliefs { whole: Seen { letterbox, beliefs }, close: None, present: vec![true, true, false] }
        };
        let labels = [label(1.0, 10..25, 45), label(2.0, 20..40, 2)];
        let found = locate(&labels);
        assert_eq!(found[0], Some(PixelBox { rows: (40, 80), columns: (30, 70) }));
        assert_eq!(found[1], Some(PixelBox { rows: (80, 160), columns: (30, 70) }));
        let nowhere = LabelBeliefs { present: vec![false; 3], ..label(1.0, 1..2, 1) };
        assert_eq!(locate(&[nowhere]), [None]);
    }
}
