//! A SEG, read.

use dicom_object::DefaultDicomObject;

use crate::describe::{Description, describe};
use crate::pixels::Pixels;
use crate::{Result, SegmentationType};

/// How much memory reading may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of pixel data kept (BINARY: an eighth of the pixels, also where it came compressed), and of any one
    /// array of masks.
    pub max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 2 << 30 }
    }
}

/// A SEG: what it says of itself, and its voxels. [`Segmentation::masks_on`] places them on source slices.
#[derive(Debug, Clone)]
pub struct Segmentation {
    /// Everything but the voxels.
    pub description: Description,
    pub(crate) pixels: Pixels,
    pub(crate) limits: Limits,
}

impl Segmentation {
    /// The pixels of one frame (index from 0), row after row, that belong to a segment: 1 in, 0 out. FRACTIONAL
    /// pixels are in from half the maximum. `None` past the last frame.
    pub fn frame_mask(&self, frame: usize, segment_number: u16) -> Option<Vec<u8>> {
        let holds = self.is_label_map() || self.description.frame_segment(frame) == Some(segment_number);
        let values = self.pixels.frame(frame)?;
        let is_in = self.membership(segment_number);
        Some(values.map(|value| u8::from(holds && is_in(value))).collect())
    }

    /// Whether a pixel value means that the pixel belongs to the segment.
    pub(crate) fn membership(&self, segment_number: u16) -> impl Fn(u16) -> bool + use<> {
        let kind = self.description.segmentation_type;
        let background = self.description.background;
        move |value| match kind {
            SegmentationType::Binary => value != 0,
            SegmentationType::Fractional { maximum, .. } => u32::from(value) * 2 >= u32::from(maximum),
            SegmentationType::LabelMap => value == segment_number && Some(value) != background,
        }
    }

    pub(crate) fn is_label_map(&self) -> bool {
        self.description.segmentation_type == SegmentationType::LabelMap
    }
}

/// Read a SEG within the default [`Limits`].
///
/// # Errors
/// As [`read_within`].
pub fn read(object: &DefaultDicomObject) -> Result<Segmentation> {
    read_within(object, Limits::default())
}

/// Read a SEG: BINARY, FRACTIONAL or LABELMAP, native or compressed. References need not exist.
///
/// # Errors
/// Those of [`describe`]; [`Error::PixelDataLength`](crate::Error::PixelDataLength) where native pixel data has
/// another length than the frames take; [`Error::DecodeFrame`](crate::Error::DecodeFrame) and
/// [`Error::DecodedFrame`](crate::Error::DecodedFrame) for compressed frames;
/// [`Error::TooLarge`](crate::Error::TooLarge) past the limits.
pub fn read_within(object: &DefaultDicomObject, limits: Limits) -> Result<Segmentation> {
    let description = describe(object)?;
    let pixels = Pixels::read(object, &description, limits)?;
    Ok(Segmentation { description, pixels, limits })
}
