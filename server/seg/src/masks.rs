//! A segment's masks on source slices.

use ndarray::Array3;

use crate::error::{NoSuchSegmentSnafu, NotOnSlicesSnafu, TiledSnafu};
use crate::pixels::check_limit;
use crate::place::{Geometry, Placer};
use crate::{ReferencedSlice, Result, Segmentation, SegmentationType};

/// One segment on given slices.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentMasks {
    /// `[slice, row, column]`, the slices in the order given: 1 in, 0 out.
    pub mask: Array3<u8>,
    /// For each slice, whether the SEG has a frame there that says where the segment is: its own frame, or any
    /// frame of a LABELMAP.
    pub frames_present: Vec<bool>,
    /// Frames (index from 0) of the segment that belong to none of the slices: another series', another phase's.
    pub unplaced_frames: Vec<usize>,
}

/// The same for values other than in and out.
struct Placed<T> {
    values: Array3<T>,
    present: Vec<bool>,
    unplaced: Vec<usize>,
}

impl Segmentation {
    /// The masks of a segment on source slices. A frame goes to the slice it names as its source; where it names
    /// several or none, its position decides. Frames flipped or turned by quarter turns against the slice, or
    /// cropped, are put where their positions say; frames that name other images are left out and listed.
    /// FRACTIONAL pixels are in from half the maximum; two frames of one slice are joined.
    ///
    /// All slices must have the rows and columns of the first.
    ///
    /// # Errors
    /// [`Error::NoSuchSegment`](crate::Error::NoSuchSegment); [`Error::Tiled`](crate::Error::Tiled) for whole
    /// slides; [`Error::NotOnSlices`](crate::Error::NotOnSlices) where no frame belongs to the slices (references
    /// that do not exist); [`Error::AmbiguousReference`](crate::Error::AmbiguousReference);
    /// [`Error::GridDiffers`](crate::Error::GridDiffers); [`Error::TooLarge`](crate::Error::TooLarge).
    pub fn masks_on(&self, segment_number: u16, slices: &[ReferencedSlice]) -> Result<SegmentMasks> {
        self.masks(segment_number, slices, Geometry::WithoutReference)
    }

    /// As [`Segmentation::masks_on`], but frames that name other images are placed by their position too: for
    /// slices that are the same acquisition in other instances, such as a multi-frame conversion.
    ///
    /// # Errors
    /// As [`Segmentation::masks_on`].
    pub fn masks_by_geometry(&self, segment_number: u16, slices: &[ReferencedSlice]) -> Result<SegmentMasks> {
        self.masks(segment_number, slices, Geometry::Always)
    }

    /// As [`Segmentation::masks_on`], the fractions 0 to 1 themselves: `value / MaximumFractionalValue`, or 0 and 1
    /// for BINARY and LABELMAP. Of two frames of one slice the larger counts.
    ///
    /// # Errors
    /// As [`Segmentation::masks_on`].
    pub fn fractions_on(&self, segment_number: u16, slices: &[ReferencedSlice]) -> Result<Array3<f32>> {
        let is_in = self.membership(segment_number);
        let maximum = match self.description.segmentation_type {
            SegmentationType::Fractional { maximum, .. } => Some(f32::from(maximum)),
            _ => None,
        };
        let fraction = |value: u16| match maximum {
            Some(maximum) => (f32::from(value) / maximum).min(1.0),
            None => f32::from(u8::from(is_in(value))),
        };
        Ok(self.placed(segment_number, slices, Geometry::WithoutReference, fraction)?.values)
    }

    fn masks(&self, number: u16, slices: &[ReferencedSlice], geometry: Geometry) -> Result<SegmentMasks> {
        let is_in = self.membership(number);
        let placed = self.placed(number, slices, geometry, |value| u8::from(is_in(value)))?;
        Ok(SegmentMasks {
            mask: placed.values,
            frames_present: placed.present,
            unplaced_frames: placed.unplaced,
        })
    }

    fn placed<T: Copy + Default + PartialOrd>(
        &self,
        number: u16,
        slices: &[ReferencedSlice],
        geometry: Geometry,
        of_value: impl Fn(u16) -> T,
    ) -> Result<Placed<T>> {
        let description = &self.description;
        if description.segment(number).is_none() {
            return NoSuchSegmentSnafu { number }.fail();
        }
        if description.total_pixel_matrix.is_some() {
            return TiledSnafu.fail();
        }
        let mut placed = Placed::new(slices, self.limits)?;
        let placer = Placer::new(description, slices, geometry);
        let mut frames = 0;
        for (index, frame) in description.frames.iter().enumerate() {
            if !self.is_label_map() && frame.segment_number != Some(number) {
                continue;
            }
            frames += 1;
            let Some(place) = placer.place(index, frame)? else {
                placed.unplaced.push(index);
                continue;
            };
            placed.present[place.slice] = true;
            let slice = &slices[place.slice];
            let columns = usize::from(description.columns);
            for (pixel, value) in self.pixels.frame(index).into_iter().flatten().enumerate() {
                let value = of_value(value);
                if value == T::default() {
                    continue;
                }
                let target = place.grid.target(pixel / columns, pixel % columns, slice);
                let voxel =
                    target.and_then(|[row, column]| placed.values.get_mut([place.slice, row, column]));
                if let Some(voxel) = voxel.filter(|voxel| **voxel < value) {
                    *voxel = value;
                }
            }
        }
        // A segment without a frame is empty everywhere on the slices that the SEG refers to, which is an answer;
        // frames that all lie elsewhere are not.
        let elsewhere = placed.unplaced.len() == frames && (frames > 0 || !placer.refers_to_slices());
        if elsewhere {
            return NotOnSlicesSnafu { number, frames }.fail();
        }
        Ok(placed)
    }
}

impl<T: Copy + Default> Placed<T> {
    fn new(slices: &[ReferencedSlice], limits: crate::Limits) -> Result<Self> {
        let (rows, columns) = slices.first().map_or((0, 0), |slice| (slice.rows, slice.columns));
        let bytes = [slices.len(), rows, columns, size_of::<T>()]
            .iter()
            .try_fold(1u64, |product, size| product.checked_mul(*size as u64))
            .unwrap_or(u64::MAX);
        check_limit(bytes, limits)?;
        Ok(Self {
            values: Array3::default((slices.len(), rows, columns)),
            present: vec![false; slices.len()],
            unplaced: Vec::new(),
        })
    }
}
