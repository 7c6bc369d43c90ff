//! The map between a slice and a square.

use super::axis::{Tap, filtered, linear};
use ndarray::{Array2, ArrayView2, Axis};
use std::ops::Range;

/// A rectangle of a slice, in pixels; edges at whole numbers, so that the whole slice is `0, 0, rows,
/// columns`. It may reach past the slice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// Row of the upper edge.
    pub top: f64,
    /// Column of the left edge.
    pub left: f64,
    /// Rows covered, above 0.
    pub height: f64,
    /// Columns covered, above 0.
    pub width: f64,
}

/// The map from a slice to a square of `size` pixels: isotropic in millimetres, so that pixels that are not
/// square are made so by the ratio of their spacings; the longer side of the region fits the square, the
/// shorter one is centred.
///
/// Around a region that is not square, and around its edges, the square shows what the slice holds there;
/// past the slice it is zero. A whole slice is therefore zero padded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Letterbox {
    /// Side of the square, pixels.
    pub size: usize,
    /// Rows and columns of the slice.
    pub native: (usize, usize),
    /// Square pixels per slice row and per slice column.
    pub scale: [f64; 2],
    /// Square row and column of the slice's upper left corner.
    pub offset: [f64; 2],
}

/// Fits a whole slice into a square of `size` pixels. `pixel_spacing`: row spacing, column spacing.
pub fn letterbox(slice: ArrayView2<f32>, pixel_spacing: [f64; 2], size: usize) -> (Array2<f32>, Letterbox) {
    let letterbox = Letterbox::new(slice.dim(), pixel_spacing, size);
    (letterbox.apply(slice), letterbox)
}

impl Letterbox {
    /// The map for a whole slice of `native` rows and columns, neither of them 0.
    pub fn new(native: (usize, usize), pixel_spacing: [f64; 2], size: usize) -> Self {
        let region = Region { top: 0.0, left: 0.0, height: native.0 as f64, width: native.1 as f64 };
        Self::of_region(native, region, pixel_spacing, size)
    }

    /// The map for a region of a slice.
    pub fn of_region(native: (usize, usize), region: Region, pixel_spacing: [f64; 2], size: usize) -> Self {
        let [row_spacing, column_spacing] = pixel_spacing;
        let square = size as f64;
        let fit = square / (region.height * row_spacing).max(region.width * column_spacing);
        let scale = [fit * row_spacing, fit * column_spacing];
        let offset = [
            (square - region.height * scale[0]) / 2.0 - region.top * scale[0],
            (square - region.width * scale[1]) / 2.0 - region.left * scale[1],
        ];
        Self { size, native, scale, offset }
    }

    /// Square coordinates `[row, column]` of slice coordinates; pixel centres at whole numbers in both.
    pub fn forward(&self, [row, column]: [f64; 2]) -> [f64; 2] {
        [
            (row + 0.5) * self.scale[0] + self.offset[0] - 0.5,
            (column + 0.5) * self.scale[1] + self.offset[1] - 0.5,
        ]
    }

    /// Slice coordinates `[row, column]` of square coordinates: the inverse of [`Self::forward`].
    pub fn inverse(&self, [row, column]: [f64; 2]) -> [f64; 2] {
        [
            (row + 0.5 - self.offset[0]) / self.scale[0] - 0.5,
            (column + 0.5 - self.offset[1]) / self.scale[1] - 0.5,
        ]
    }

    /// The slice in the square, `[size, size]`; antialiased when reducing, bilinear when enlarging, zero
    /// outside the slice. Of a mask of 0 and 1: how much of each square pixel it covers.
    ///
    /// `slice` has the size that the letterbox was made for; what another one lacks counts as outside.
    pub fn apply(&self, slice: ArrayView2<f32>) -> Array2<f32> {
        let (rows, columns) = slice.dim();
        let down = filtered(self.size, rows, self.scale[0], self.offset[0]);
        let across = filtered(self.size, columns, self.scale[1], self.offset[1]);
        resample(slice, &down, &across, 0.0)
    }

    /// A map of the square (logits or probabilities; `[n, n]` of any n covers the same square) on the slice's
    /// grid, `[rows, columns]`, bilinearly. `fill` where the square does not reach.
    pub fn restore(&self, square: ArrayView2<f32>, fill: f32) -> Array2<f32> {
        let (rows, columns) = self.native;
        self.restorer(square.dim()).restore(square, 0..rows, 0..columns, fill)
    }

    /// [`Self::restore`] of maps of so many rows and columns, for many maps or parts of the slice.
    pub fn restorer(&self, map: (usize, usize)) -> Restorer {
        let taps = |outputs: usize, inputs: usize, axis: usize| {
            let resolution = inputs as f64 / self.size as f64;
            linear(outputs, inputs, self.scale[axis] * resolution, self.offset[axis] * resolution)
        };
        Restorer { down: taps(self.native.0, map.0, 0), across: taps(self.native.1, map.1, 1) }
    }
}

/// The way from maps of one size back to the slice's grid: what depends on the sizes alone, worked out once.
#[derive(Debug, Clone)]
pub struct Restorer {
    down: Vec<Tap>,
    across: Vec<Tap>,
}

impl Restorer {
    /// A part of [`Letterbox::restore`]: `rows` and `columns` of the slice, as far as it has them.
    pub fn restore(
        &self,
        map: ArrayView2<f32>,
        rows: Range<usize>,
        columns: Range<usize>,
        fill: f32,
    ) -> Array2<f32> {
        let part = |taps: &[Tap], wanted: Range<usize>| {
            let end = wanted.end.min(taps.len());
            wanted.start.min(end)..end
        };
        let (rows, columns) = (part(&self.down, rows), part(&self.across, columns));
        resample(map, &self.down[rows], &self.across[columns], fill)
    }

    /// Rows and columns of the slice that these rows and columns of a map have a say in; empty where none.
    pub fn reach(&self, rows: Range<usize>, columns: Range<usize>) -> [Range<usize>; 2] {
        [reach(&self.down, &rows), reach(&self.across, &columns)]
    }
}

/// The outputs from the first to the last that one of these inputs counts for.
fn reach(taps: &[Tap], inputs: &Range<usize>) -> Range<usize> {
    let counts = |tap: &Tap| tap.start < inputs.end && tap.start + tap.weights.len() > inputs.start;
    let first = taps.iter().position(counts);
    let last = taps.iter().rposition(counts);
    first.zip(last).map_or(0..0, |(first, last)| first..last + 1)
}

/// Across, then down. Only the input rows that some output needs are touched.
fn resample(input: ArrayView2<f32>, down: &[Tap], across: &[Tap], fill: f32) -> Array2<f32> {
    let mut output = Array2::from_elem((down.len(), across.len()), fill);
    let used = across.iter().position(|tap| !tap.weights.is_empty()).unwrap_or(across.len())
        ..across.iter().rposition(|tap| !tap.weights.is_empty()).map_or(0, |last| last + 1);
    let across = across.get(used.clone()).unwrap_or_default();
    let first = down.iter().filter(|tap| !tap.weights.is_empty()).map(|tap| tap.start).min().unwrap_or(0);
    let last = down.iter().map(|tap| tap.start + tap.weights.len()).max().unwrap_or(0);

    let mut lines = Array2::<f32>::zeros((last.saturating_sub(first), across.len()));
    for (mut line, row) in lines.outer_iter_mut().zip(input.axis_iter(Axis(0)).skip(first)) {
        let contiguous;
        let row = match row.as_slice() {
            Some(row) => row,
            None => {
                contiguous = row.to_vec();
                &contiguous
            }
        };
        for (value, tap) in line.iter_mut().zip(across) {
            let inputs = row.get(tap.start..).unwrap_or_default();
            *value = tap.weights.iter().zip(inputs).map(|(weight, input)| weight * input).sum();
        }
    }
    for (mut row, tap) in output.outer_iter_mut().zip(down) {
        if tap.weights.is_empty() || across.is_empty() {
            continue;
        }
        let mut row = row.slice_mut(ndarray::s![used.clone()]);
        row.fill(0.0);
        for (index, weight) in tap.weights.iter().enumerate() {
            row.scaled_add(*weight, &lines.row(tap.start - first + index));
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_wide_slice_is_centred_and_zero_padded() {
        let (square, letterbox) =
            letterbox(array![[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]].view(), [1.0; 2], 4);
        let expected =
            array![[0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [0.0, 0.0, 0.0, 0.0]];
        assert_eq!(square, expected);
        assert_eq!(
            letterbox.restore(square.view(), -1.0),
            array![[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]
        );
    }

    #[test]
    fn pixels_that_are_not_square_are_made_so() {
        // Rows twice as far apart as columns: two rows of four columns are a square in millimetres.
        let letterbox = Letterbox::new((2, 4), [2.0, 1.0], 4);
        assert_eq!((letterbox.scale, letterbox.offset), ([2.0, 1.0], [0.0, 0.0]));
        let square = letterbox.apply(array![[0.0, 0.0, 0.0, 0.0], [4.0, 4.0, 4.0, 4.0]].view());
        assert_eq!(square.column(0).to_vec(), [0.0, 1.0, 3.0, 4.0]);
    }

    #[test]
    fn reducing_a_mask_gives_coverage() {
        let mask = Array2::from_shape_fn((8, 8), |(row, _)| if row < 4 { 1.0 } else { 0.0 });
        let (square, _) = letterbox(mask.view(), [1.0; 2], 4);
        assert_eq!(square.column(2).to_vec(), [1.0, 0.875, 0.125, 0.0]);
    }

    #[test]
    fn a_region_shows_its_surroundings_and_zero_past_the_slice() {
        let slice = array![[1.0, 2.0], [3.0, 4.0]];
        let region = Region { top: -1.0, left: 0.0, height: 3.0, width: 3.0 };
        let letterbox = Letterbox::of_region((2, 2), region, [1.0; 2], 3);
        assert_eq!(letterbox.apply(slice.view()), array![[0.0, 0.0, 0.0], [1.0, 2.0, 0.0], [3.0, 4.0, 0.0]]);
        let narrow = Region { top: 0.0, left: 0.0, height: 2.0, width: 1.0 };
        let letterbox = Letterbox::of_region((2, 2), narrow, [1.0; 2], 2);
        assert_eq!(letterbox.offset, [0.0, 0.5]);
        assert_eq!(letterbox.apply(slice.view()), array![[1.0, 1.5], [3.0, 3.5]]);
    }

    #[test]
    fn outside_the_square_is_filled() {
        let region = Region { top: 0.0, left: 0.0, height: 2.0, width: 2.0 };
        let letterbox = Letterbox::of_region((3, 3), region, [1.0; 2], 4);
        let restored = letterbox.restore(Array2::from_elem((2, 2), 5.0).view(), -9.0);
        assert_eq!(restored, array![[5.0, 5.0, -9.0], [5.0, 5.0, -9.0], [-9.0, -9.0, -9.0]]);
    }

    #[test]
    fn a_part_is_that_of_the_whole_and_holds_all_that_a_blob_reaches() {
        let region = Region { top: 3.0, left: -2.0, height: 21.0, width: 17.0 };
        let letterbox = Letterbox::of_region((30, 40), region, [0.8, 1.1], 64);
        let mut map = Array2::zeros((16, 16));
        map.slice_mut(ndarray::s![4..7, 9..13]).fill(1.0);
        let whole = letterbox.restore(map.view(), 0.0);
        let restorer = letterbox.restorer(map.dim());
        let [rows, columns] = restorer.reach(4..7, 9..13);
        let part = restorer.restore(map.view(), rows.clone(), columns.clone(), 0.0);
        assert_eq!(part, whole.slice(ndarray::s![rows.clone(), columns.clone()]));
        assert!(part.iter().any(|value| *value > 0.0));
        assert_eq!(part.iter().filter(|v| **v > 0.0).count(), whole.iter().filter(|v| **v > 0.0).count());
        assert!(rows.len() < 15 && columns.len() < 15, "{rows:?} {columns:?}");
        assert_eq!(restorer.restore(map.view(), 28..99, 40..41, 0.0).dim(), (2, 0));
    }

    #[test]
    fn coordinates_go_there_and_back() {
        let region = Region { top: 3.5, left: -2.0, height: 20.0, width: 11.0 };
        let letterbox = Letterbox::of_region((40, 30), region, [0.7, 1.3], 64);
        for point in [[0.0, 0.0], [12.25, 7.5], [-3.0, 99.0]] {
            let [row, column] = letterbox.inverse(letterbox.forward(point));
            assert!((row - point[0]).abs() < 1e-9 && (column - point[1]).abs() < 1e-9);
        }
        let corner = letterbox.forward([3.0, -2.5]);
        assert!((corner[0] - (letterbox.scale[0] * 3.5 + letterbox.offset[0] - 0.5)).abs() < 1e-9);
    }

    #[test]
    fn a_restored_map_puts_a_blob_where_it_was() {
        let slice = Array2::from_shape_fn((50, 70), |(row, column)| {
            if (10..30).contains(&row) && (20..60).contains(&column) { 1.0 } else { 0.0 }
        });
        let (square, letterbox) = letterbox(slice.view(), [1.0, 1.5], 128);
        let restored = letterbox.restore(square.view(), 0.0);
        let wrong = restored.iter().zip(&slice).filter(|(a, b)| (**a >= 0.5) != (**b >= 0.5)).count();
        assert_eq!(wrong, 0);
    }
}
