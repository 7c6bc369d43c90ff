//! What a frame shows, pixel by pixel: for pictures of a SEG over its source.

use std::collections::BTreeSet;

use crate::pixels::check_limit;
use crate::place::{Geometry, Placer};
use crate::{GridMap, ReferencedSlice, Result, Segmentation, SegmentationType};

/// A pixel that belongs to a segment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SegmentPixel {
    /// SegmentNumber.
    pub segment: u16,
    /// The share of it, above 0 and at most 1: `value / MaximumFractionalValue` in FRACTIONAL, else 1.
    pub fraction: f32,
}

/// A frame on the source slice that it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameOnSlice {
    /// Index of the slice among those given.
    pub slice: usize,
    /// The slice's pixels, row after row; `None` where no segment is.
    pub pixels: Vec<Option<SegmentPixel>>,
}

impl Segmentation {
    /// The pixels of a frame (index from 0) on its own grid, row after row: in BINARY and FRACTIONAL of the one
    /// segment that the frame holds, in a LABELMAP of all but the background. `None` past the last frame.
    pub fn frame_pixels(&self, frame: usize) -> Option<impl Iterator<Item = Option<SegmentPixel>> + '_> {
        let values = self.pixels.frame(frame)?;
        let held = self.description.frame_segment(frame);
        let kind = self.description.segmentation_type;
        let listed: BTreeSet<u16> = self.description.foreground().map(|segment| segment.number).collect();
        Some(values.map(move |value| {
            let (segment, fraction) = match kind {
                SegmentationType::Binary => (held?, f32::from(u8::from(value != 0))),
                SegmentationType::Fractional { maximum, .. } => {
                    (held?, (f32::from(value) / f32::from(maximum)).min(1.0))
                }
                SegmentationType::LabelMap => (value, f32::from(u8::from(listed.contains(&value)))),
            };
            (fraction > 0.0).then_some(SegmentPixel { segment, fraction })
        }))
    }

    /// A frame (index from 0) on the one of `slices` that it belongs to, found as [`Segmentation::masks_on`] does;
    /// `None` where it belongs to none of them, past the last frame, and for whole slides.
    ///
    /// # Errors
    /// [`Error::AmbiguousReference`](crate::Error::AmbiguousReference);
    /// [`Error::GridDiffers`](crate::Error::GridDiffers); [`Error::TooLarge`](crate::Error::TooLarge).
    pub fn frame_on(&self, frame: usize, slices: &[ReferencedSlice]) -> Result<Option<FrameOnSlice>> {
        let description = &self.description;
        let described = description.frames.get(frame).filter(|_| description.total_pixel_matrix.is_none());
        let (Some(described), Some(values)) = (described, self.frame_pixels(frame)) else { return Ok(None) };
        let placer = Placer::new(description, slices, Geometry::WithoutReference);
        let Some(place) = placer.place(frame, described)? else { return Ok(None) };
        let pixels = self.placed_pixels(values, &place.grid, &slices[place.slice])?;
        Ok(Some(FrameOnSlice { slice: place.slice, pixels }))
    }

    /// The pixels of a frame (index from 0) on a slice, row after row, `grid` being how its grid lies there
    /// ([`Description::placements`](crate::Description::placements)). `None` past the last frame.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge).
    pub fn pixels_on(
        &self,
        frame: usize,
        grid: &GridMap,
        slice: &ReferencedSlice,
    ) -> Result<Option<Vec<Option<SegmentPixel>>>> {
        self.frame_pixels(frame).map(|values| self.placed_pixels(values, grid, slice)).transpose()
    }

    fn placed_pixels(
        &self,
        values: impl Iterator<Item = Option<SegmentPixel>>,
        grid: &GridMap,
        slice: &ReferencedSlice,
    ) -> Result<Vec<Option<SegmentPixel>>> {
        let area = slice.rows.saturating_mul(slice.columns);
        check_limit((area as u64).saturating_mul(size_of::<Option<SegmentPixel>>() as u64), self.limits)?;
        let mut pixels = vec![None; area];
        let columns = usize::from(self.description.columns);
        for (index, value) in values.enumerate().filter(|(_, value)| value.is_some()) {
            let target = grid.target(index / columns, index % columns, slice);
            if let Some([row, column]) = target {
                pixels[row * slice.columns + column] = value;
            }
        }
        Ok(pixels)
    }
}
