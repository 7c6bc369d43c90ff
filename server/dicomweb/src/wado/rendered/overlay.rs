//! A segmentation over the image it was made on.

use std::collections::BTreeMap;

use dicom_object::DefaultDicomObject;
use engram_imaging::{Raster, Window};
use engram_seg::{Frame, Limits, ReferencedSlice, SegmentPixel, Segmentation, colour_of_number, read_within};
use snafu::ResultExt;

use super::source::Sources;
use crate::error::{PixelsSnafu, Result, SegmentationSnafu};
use crate::state::DicomWeb;
use crate::wado::object;

/// How much of a segment's colour is seen, where the segment fills the pixel.
const OPACITY: f32 = 0.5;

/// A SEG, and what is needed to find the images under its frames.
pub struct Overlay {
    sources: Sources,
    segmentation: Segmentation,
    colours: BTreeMap<u16, [u8; 3]>,
    /// Slices of all images that the SEG refers to: for frames that name none. Read when the first asks.
    all_slices: Option<Vec<ReferencedSlice>>,
}

impl Overlay {
    /// Reads a SEG.
    pub fn new(state: &DicomWeb, object: &DefaultDicomObject) -> Result<Self> {
        let limits = Limits { max_bytes: state.options.max_decode_bytes };
        let segmentation = read_within(object, limits).context(SegmentationSnafu)?;
        let colours = segmentation.description.segments.iter();
        let colours = colours.map(|segment| (segment.number, segment.colour()));
        Ok(Self { sources: Sources::new(state), colours: colours.collect(), segmentation, all_slices: None })
    }

    /// NumberOfFrames.
    pub fn frames(&self) -> usize {
        self.segmentation.description.number_of_frames as usize
    }

    /// A frame, counted from 1 and known to be there: its segments half transparent over the slice that it belongs to,
    /// which is shown through `window` or its own; over black where the archive has no such slice.
    pub fn raster(&mut self, frame: usize, window: Option<Window>) -> Result<Raster> {
        let index = frame.saturating_sub(1);
        match self.over_source(index, window)? {
            Some(raster) => Ok(raster),
            None => self.over_black(index),
        }
    }

    fn over_source(&mut self, index: usize, window: Option<Window>) -> Result<Option<Raster>> {
        let slices = self.slices(index)?;
        let placed = match self.segmentation.frame_on(index, &slices) {
            Ok(placed) => placed,
            Err(error) => {
                tracing::debug!(%error, "a segmentation's frame does not lie on its source");
                None
            }
        };
        let Some(placed) = placed else { return Ok(None) };
        let Some(slice) = slices.get(placed.slice) else { return Ok(None) };
        let limits = self.sources.options.decoding();
        let Some(source) = self.sources.open(&slice.sop_instance_uid)? else { return Ok(None) };
        match Raster::of_frame(source, slice.frame as usize, window, limits) {
            Ok(raster) => Ok(Some(raster.overlaid(self.layer(placed.pixels)))),
            Err(error) => {
                tracing::debug!(%error, "a segmentation's source cannot be shown");
                Ok(None)
            }
        }
    }

    fn over_black(&self, index: usize) -> Result<Raster> {
        let description = &self.segmentation.description;
        let size = (u32::from(description.columns), u32::from(description.rows));
        let black = Raster::black(size.0, size.1, self.sources.options.decoding()).context(PixelsSnafu)?;
        let pixels = self.segmentation.frame_pixels(index).into_iter().flatten();
        Ok(black.overlaid(self.layer(pixels)))
    }

    fn layer(
        &self,
        pixels: impl IntoIterator<Item = Option<SegmentPixel>>,
    ) -> impl Iterator<Item = Option<([u8; 3], f32)>> {
        pixels.into_iter().map(|pixel| {
            let SegmentPixel { segment, fraction } = pixel?;
            let colour = self.colours.get(&segment).copied().unwrap_or_else(|| colour_of_number(segment));
            Some((colour, OPACITY * fraction))
        })
    }

    /// The slices that a frame may lie on: those it names, else all that the SEG refers to.
    fn slices(&mut self, index: usize) -> Result<Vec<ReferencedSlice>> {
        let named = self.segmentation.description.frames.get(index).map(|frame: &Frame| &frame.sources);
        if let Some(sources) = named.filter(|sources| !sources.is_empty()) {
            let uids: Vec<&str> = sources.iter().map(|source| source.sop_instance_uid.as_str()).collect();
            return slices_of(&self.sources, uids.into_iter().take(self.sources.options.max_frames));
        }
        if self.all_slices.is_none() {
            let uids = self.segmentation.description.referenced_instances().into_iter();
            self.all_slices = Some(slices_of(&self.sources, uids.take(self.sources.options.max_frames))?);
        }
        Ok(self.all_slices.clone().unwrap_or_default())
    }
}

/// The slices of those of the instances that the archive has.
fn slices_of<'a>(sources: &Sources, uids: impl Iterator<Item = &'a str>) -> Result<Vec<ReferencedSlice>> {
    let mut slices = Vec::new();
    for uid in uids {
        let Some(entry) = sources.find(uid)? else { continue };
        let header = object::header(&entry)?;
        match ReferencedSlice::of_instance(&header) {
            Ok(of_instance) => slices.extend(of_instance),
            Err(error) => tracing::debug!(%error, uid, "a segmentation refers to what is no image"),
        }
    }
    Ok(slices)
}
