//! The part of a slice around an organ.

use engram_imaging::resample::Region;
use engram_inference::MemorySpec;
use ndarray::{ArrayView1, ArrayView2, ArrayView3, Ix2, SliceInfo, SliceInfoElem, s};
use std::ops::Range;

/// Rows and columns that hold an object, in pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PixelBox {
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

impl PixelBox {
    /// The box of the non-zero pixels of all slices together. None where there are none.
    pub fn of_mask(mask: ArrayView3<u8>) -> Option<Self> {
        mask.outer_iter().filter_map(|slice| Self::around(slice, |value| *value != 0)).reduce(Self::join)
    }

    /// The box of what lies inside on one slice. None where nothing does.
    pub fn around<T>(slice: ArrayView2<T>, is_inside: impl Fn(&T) -> bool) -> Option<Self> {
        let of_row = |(row, values): (usize, ArrayView1<T>)| {
            let first = values.iter().position(&is_inside)?;
            let last = values.iter().rposition(&is_inside)?;
            Some(Self { rows: row..row + 1, columns: first..last + 1 })
        };
        slice.outer_iter().enumerate().filter_map(of_row).reduce(Self::join)
    }

    /// All of a slice.
    pub fn whole((rows, columns): (usize, usize)) -> Self {
        Self { rows: 0..rows, columns: 0..columns }
    }

    /// What holds both.
    pub fn join(self, other: Self) -> Self {
        let join = |a: Range<usize>, b: Range<usize>| a.start.min(b.start)..a.end.max(b.end);
        Self { rows: join(self.rows, other.rows), columns: join(self.columns, other.columns) }
    }

    /// The box and the pixels next to it, of a slice of so many rows and columns.
    pub fn with_rim(&self, (rows, columns): (usize, usize)) -> Self {
        let widen = |range: &Range<usize>, length: usize| {
            range.start.saturating_sub(1)..range.end.saturating_add(1).min(length)
        };
        Self { rows: widen(&self.rows, rows), columns: widen(&self.columns, columns) }
    }

    /// The same box as seen from the first pixel of one that holds it.
    pub fn within(&self, outer: &Self) -> Self {
        let within =
            |range: &Range<usize>, outer: &Range<usize>| range.start - outer.start..range.end - outer.start;
        Self { rows: within(&self.rows, &outer.rows), columns: within(&self.columns, &outer.columns) }
    }

    /// Its rows and columns, for slicing an array.
    pub fn slice(&self) -> SliceInfo<[SliceInfoElem; 2], Ix2, Ix2> {
        s![self.rows.clone(), self.columns.clone()]
    }

    /// How many rows and columns it has.
    pub fn dim(&self) -> (usize, usize) {
        (self.rows.len(), self.columns.len())
    }

    /// The region that a second pass looks at: square in millimetres, the box in its middle with the manifest's
    /// margin on each side of its longer side. None where that is not much smaller than the slice, so that a
    /// second look would show nothing new.
    ///
    /// `native`: rows and columns of the slice; `pixel_spacing`: row spacing, column spacing.
    pub fn region(
        &self,
        native: (usize, usize),
        pixel_spacing: [f64; 2],
        memory: &MemorySpec,
    ) -> Option<Region> {
        let [row_mm, column_mm] = pixel_spacing;
        let (rows, columns) = (self.rows.len() as f64, self.columns.len() as f64);
        let longer_mm = (rows * row_mm).max(columns * column_mm);
        let side_mm = longer_mm * (1.0 + 2.0 * f64::from(memory.crop_margin));
        let slice_mm = (native.0 as f64 * row_mm).max(native.1 as f64 * column_mm);
        if side_mm > slice_mm * f64::from(memory.crop_max_extent) {
            return None;
        }
        let (height, width) = (side_mm / row_mm, side_mm / column_mm);
        let middle_row = (self.rows.start + self.rows.end) as f64 / 2.0;
        let middle_column = (self.columns.start + self.columns.end) as f64 / 2.0;
        Some(Region { top: middle_row - height / 2.0, left: middle_column - width / 2.0, height, width })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;

    fn manifest() -> MemorySpec {
        MemorySpec {
            mask_scale: 1.0,
            mask_bias: 0.0,
            binarise_exemplar: true,
            binarise_predicted: false,
            binarise_prompted: false,
            given_through_mask_size: false,
            absent_logit: None,
            conditioning_tpos: 6,
            recent_memories: 6,
            exemplars_per_slice: 8,
            crop_margin: 0.5,
            crop_max_extent: 0.6,
        }
    }

    #[test]
    fn a_small_object_gets_a_square_around_it_and_a_large_one_none() {
        let mut mask = Array3::zeros((2, 100, 100));
        mask[[0, 10, 40]] = 1;
        mask[[1, 19, 49]] = 1;
        let found = PixelBox::of_mask(mask.view()).unwrap();
        assert_eq!(found, PixelBox { rows: 10..20, columns: 40..50 });
        let region = found.region((100, 100), [1.0, 1.0], &manifest()).unwrap();
        assert_eq!(region, Region { top: 5.0, left: 35.0, height: 20.0, width: 20.0 });
        let large = PixelBox { rows: 10..50, columns: 40..50 };
        assert_eq!(large.region((100, 100), [1.0, 1.0], &manifest()), None);
        assert_eq!(PixelBox::of_mask(Array3::zeros((1, 4, 4)).view()), None);
    }

    #[test]
    fn the_square_is_one_of_millimetres() {
        let found = PixelBox { rows: 10..20, columns: 40..50 };
        let region = found.region((100, 100), [2.0, 1.0], &manifest()).unwrap();
        assert_eq!((region.height, region.width), (20.0, 40.0));
        assert_eq!((region.top, region.left), (5.0, 25.0));
    }
}
