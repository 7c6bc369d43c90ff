//! Images as a presentation state shows them.

use dicom_object::DefaultDicomObject;
use engram_archive::InstanceEntry;
use engram_imaging::{PresentationState, Raster, ReferencedImage, Window};
use snafu::ResultExt;

use super::source::Sources;
use crate::error::{NotFoundSnafu, PixelsSnafu, Result};
use crate::state::DicomWeb;
use crate::wado::object;

/// A presentation state, and the frames that it is for and the archive has: its own frames, as it were, in the state's order.
pub struct Presented {
    sources: Sources,
    presentation: PresentationState,
    /// SOPInstanceUID, and the frame, counted from 1.
    frames: Vec<(String, usize)>,
}

impl Presented {
    /// Reads a presentation state.
    ///
    /// # Errors
    /// An object that is none, or none that can be applied.
    pub fn of(state: &DicomWeb, object: DefaultDicomObject) -> Result<Self> {
        let presentation = PresentationState::of(object).context(PixelsSnafu)?;
        let sources = Sources::new(state);
        let mut frames = Vec::new();
        for image in presentation.images() {
            let of_image = frames_of(&sources, &image)?;
            // One more than is ever sent tells that there are too many.
            let room = (sources.options.max_frames + 1).saturating_sub(frames.len());
            frames
                .extend(of_image.into_iter().take(room).map(|frame| (image.sop_instance_uid.clone(), frame)));
        }
        Ok(Self { sources, presentation, frames })
    }

    /// How many frames it shows.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// One frame, counted from 1, of those that it shows.
    pub fn raster(&mut self, number: usize, window: Option<Window>) -> Result<Raster> {
        let place = number.checked_sub(1).and_then(|index| self.frames.get(index));
        let Some((sop_instance_uid, frame)) = place else {
            return NotFoundSnafu { what: "an image that the presentation state is for" }.fail();
        };
        let limits = self.sources.options.decoding();
        let Some(image) = self.sources.open(sop_instance_uid)? else {
            return NotFoundSnafu { what: format!("instance {sop_instance_uid}") }.fail();
        };
        self.presentation.raster(image, *frame, window, limits).context(PixelsSnafu)
    }

    /// Which of its frames is that frame of an image.
    pub fn number_of(&self, sop_instance_uid: &str, frame: usize) -> Option<usize> {
        let is_it = |shown: &(String, usize)| shown.0 == sop_instance_uid && shown.1 == frame;
        self.frames.iter().position(is_it).map(|index| index + 1)
    }
}

/// How many frames an instance has to show: a presentation state those that it is for.
pub fn frames(state: &DicomWeb, entry: &InstanceEntry) -> Result<u32> {
    if !PresentationState::is_class(&entry.sop_class_uid) {
        return Ok(entry.frames);
    }
    let frames = Presented::of(state, object::open(entry, &state.options)?)?.frames();
    Ok(u32::try_from(frames).unwrap_or(u32::MAX))
}

/// The frames of an image that the state is for and the archive has.
fn frames_of(sources: &Sources, image: &ReferencedImage) -> Result<Vec<usize>> {
    let Some(entry) = sources.find(&image.sop_instance_uid)? else { return Ok(Vec::new()) };
    let count = entry.frames.max(1) as usize;
    Ok(match image.frames.is_empty() {
        true => (1..=count.min(sources.options.max_frames + 1)).collect(),
        false => image.frames.iter().copied().filter(|frame| (1..=count).contains(frame)).collect(),
    })
}
