//! A SEG with the slices that it was made on.

use std::collections::{BTreeMap, HashSet};

use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use engram_seg::{
    Description, GridMap, Limits, Placement, ReferencedSlice, Segment, Segmentation, read_within,
};
use snafu::{OptionExt, ResultExt, ensure};

use crate::error::{
    FramesElsewhereSnafu, NoSlicesSnafu, NoSuchSliceSnafu, Result, SegmentationSnafu, TooLargeSnafu,
};
use crate::stack;

/// A SEG on the series that it was made on, without the series' pixels.
#[derive(Debug)]
pub struct SegmentedSeries {
    pub(crate) segmentation: Segmentation,
    /// What the SEG says, without its pixels.
    pub(crate) header: InMemDicomObject,
    /// What an image says, without its pixels: patient, study and series are taken from it.
    pub(crate) source: InMemDicomObject,
    pub(crate) slices: Vec<ReferencedSlice>,
    /// For each slice the frames that lie on it, and how.
    frames: Vec<Vec<(usize, GridMap)>>,
    limits: Limits,
}

/// The part of a slice that belongs to one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Index of the segment among those that stand for something.
    pub segment: usize,
    /// The slice's pixels, row after row: whether each belongs to it. At least one does.
    pub pixels: Vec<bool>,
}

impl SegmentedSeries {
    /// Puts a SEG on its series. `source`: what an image of the series says; `slices`: those of all its images, in the
    /// order of their numbers.
    ///
    /// # Errors
    /// The SEG cannot be read; [`Error::NoSlices`](crate::Error::NoSlices);
    /// [`Error::FramesElsewhere`](crate::Error::FramesElsewhere).
    pub fn new(
        segmentation: DefaultDicomObject,
        source: InMemDicomObject,
        mut slices: Vec<ReferencedSlice>,
        limits: Limits,
    ) -> Result<Self> {
        ensure!(!slices.is_empty(), NoSlicesSnafu);
        let read = read_within(&segmentation, limits).context(SegmentationSnafu)?;
        stack::sort(&mut slices);
        let mut frames = vec![Vec::new(); slices.len()];
        let mut elsewhere = 0;
        for (frame, placement) in read.description.placements(&slices).into_iter().enumerate() {
            match placement {
                Some(Placement { slice, grid }) => frames[slice].push((frame, grid)),
                None => elsewhere += usize::from(has_voxels(&read, frame)),
            }
        }
        if elsewhere > 0 {
            return FramesElsewhereSnafu { frames: elsewhere }.fail();
        }
        let (header, source) = (without_pixels(segmentation.into_inner()), without_pixels(source));
        Ok(Self { segmentation: read, header, source, slices, frames, limits })
    }

    /// The slices, in the order in which pictures of them are made.
    pub fn slices(&self) -> &[ReferencedSlice] {
        &self.slices
    }

    /// A slice of each instance, in the order of the slices.
    pub(crate) fn instances(&self) -> impl Iterator<Item = &ReferencedSlice> {
        let mut listed: HashSet<&str> = HashSet::new();
        self.slices.iter().filter(move |slice| listed.insert(&slice.sop_instance_uid))
    }

    /// What the SEG says of itself.
    pub fn description(&self) -> &Description {
        &self.segmentation.description
    }

    /// The segments that stand for something.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.description().foreground()
    }

    /// The segments that a slice (index from 0) shows, by their order. FRACTIONAL pixels belong from half the maximum.
    ///
    /// # Errors
    /// [`Error::NoSuchSlice`](crate::Error::NoSuchSlice), [`Error::TooLarge`](crate::Error::TooLarge).
    pub fn regions(&self, slice: usize) -> Result<Vec<Region>> {
        let slices = self.slices.len();
        let target = self.slices.get(slice).context(NoSuchSliceSnafu { slice, slices })?;
        let area = target.rows.saturating_mul(target.columns);
        let indices: BTreeMap<u16, usize> =
            self.segments().enumerate().map(|(index, segment)| (segment.number, index)).collect();
        let mut regions: BTreeMap<usize, Vec<bool>> = BTreeMap::new();
        for (frame, grid) in self.frames.get(slice).into_iter().flatten() {
            let placed = self.segmentation.pixels_on(*frame, grid, target).context(SegmentationSnafu)?;
            for (pixel, held) in placed.into_iter().flatten().enumerate() {
                let Some(held) = held.filter(|held| held.fraction >= 0.5) else { continue };
                let Some(index) = indices.get(&held.segment) else { continue };
                if !regions.contains_key(index) {
                    self.check_limit(regions.len() + 1, area)?;
                }
                regions.entry(*index).or_insert_with(|| vec![false; area])[pixel] = true;
            }
        }
        Ok(regions.into_iter().map(|(segment, pixels)| Region { segment, pixels }).collect())
    }

    fn check_limit(&self, regions: usize, area: usize) -> Result<()> {
        let (bytes, limit) = (regions.saturating_mul(area) as u64, self.limits.max_bytes);
        if bytes > limit {
            return TooLargeSnafu { bytes, limit }.fail();
        }
        Ok(())
    }
}

/// Whether a frame holds anything that should be seen.
fn has_voxels(segmentation: &Segmentation, frame: usize) -> bool {
    let pixels = segmentation.frame_pixels(frame).into_iter().flatten();
    pixels.flatten().any(|pixel| pixel.fraction >= 0.5)
}

fn without_pixels(mut object: InMemDicomObject) -> InMemDicomObject {
    for tag in [tags::PIXEL_DATA, tags::FLOAT_PIXEL_DATA, tags::DOUBLE_FLOAT_PIXEL_DATA] {
        object.remove_element(tag);
    }
    object
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::Error;
    use crate::testing::{image, segmentation, segmented, slices_at};

    #[test]
    fn slices_are_in_the_order_of_their_places_and_keep_their_segments() {
        let slices = slices_at(&[4.0, 0.0, 2.0]);
        let labels = Array3::from_shape_fn((3, 2, 4), |(slice, row, _)| match (slice, row) {
            (0, _) => 2,
            (2, 1) => 1,
            _ => 0,
        });
        let series = segmented(&labels, 2, &slices);
        let heights: Vec<f64> = series.slices().iter().map(|slice| slice.position.unwrap()[2]).collect();
        assert_eq!(heights, [0.0, 2.0, 4.0]);
        assert_eq!(series.regions(0).unwrap(), []);
        let lower = [false, false, false, false, true, true, true, true];
        assert_eq!(series.regions(1).unwrap(), [Region { segment: 0, pixels: lower.to_vec() }]);
        assert_eq!(series.regions(2).unwrap(), [Region { segment: 1, pixels: vec![true; 8] }]);
        assert!(matches!(series.regions(3), Err(Error::NoSuchSlice { .. })));
    }

    #[test]
    fn a_series_that_lacks_slices_with_voxels_is_refused() {
        let slices = slices_at(&[0.0, 2.0, 4.0]);
        let labels = Array3::from_shape_fn((3, 2, 4), |(slice, ..)| u16::from(slice < 2));
        let on = |kept: &[usize]| {
            let kept = kept.iter().map(|index| slices[*index].clone()).collect();
            let segmentation = segmentation(&labels, 1, &slices);
            SegmentedSeries::new(segmentation, image(&slices[0]), kept, Limits::default())
        };
        assert!(on(&[0, 1]).is_ok());
        assert!(matches!(on(&[0, 2]), Err(Error::FramesElsewhere { frames: 1 })));
        assert!(matches!(on(&[]), Err(Error::NoSlices)));
    }

    #[test]
    fn masks_are_held_within_the_limit() {
        let slices = slices_at(&[0.0]);
        let labels = Array3::from_shape_fn((1, 2, 4), |(_, _, column)| column as u16);
        let mut series = segmented(&labels, 3, &slices);
        series.limits.max_bytes = 16;
        assert!(matches!(series.regions(0), Err(Error::TooLarge { bytes: 24, limit: 16 })));
    }
}
