//! What a picture is made of: an image, a segmentation over its source, or an image as a presentation state shows it.

use dicom_dictionary_std::uids;
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use engram_archive::InstanceEntry;
use engram_imaging::{Animation, Error as ImagingError, PixelReader, PresentationState, Raster, Window};
use snafu::ResultExt;

use super::overlay::Overlay;
use super::presented::Presented;
use crate::error::{PixelsSnafu, Result};
use crate::state::DicomWeb;
use crate::wado::object;

/// An instance, open for rendering.
pub enum Subject {
    Image { object: Box<DefaultDicomObject>, frames: usize },
    Segmentation(Box<Overlay>),
    Presentation(Box<Presented>),
}

/// Whether instances of the class are shown by themselves: without what other objects hold, which may come and go.
pub fn stands_alone(sop_class_uid: &str) -> bool {
    !is_segmentation(sop_class_uid) && !PresentationState::is_class(sop_class_uid)
}

fn is_segmentation(sop_class_uid: &str) -> bool {
    [uids::SEGMENTATION_STORAGE, uids::LABEL_MAP_SEGMENTATION_STORAGE].contains(&sop_class_uid)
}

impl Subject {
    /// Reads an instance.
    pub fn open(state: &DicomWeb, entry: &InstanceEntry) -> Result<Self> {
        let object = object::open(entry, &state.options)?;
        if is_segmentation(&entry.sop_class_uid) {
            return Ok(Self::Segmentation(Box::new(Overlay::new(state, &object)?)));
        }
        if PresentationState::is_class(&entry.sop_class_uid) {
            return Presented::of(state, object).map(|presented| Self::Presentation(Box::new(presented)));
        }
        let reader = PixelReader::open(&object, state.options.decoding()).context(PixelsSnafu)?;
        let frames = reader.number_of_frames();
        drop(reader);
        Ok(Self::Image { object: Box::new(object), frames })
    }

    /// NumberOfFrames.
    pub fn frames(&self) -> usize {
        match self {
            Self::Image { frames, .. } => *frames,
            Self::Segmentation(overlay) => overlay.frames(),
            Self::Presentation(presented) => presented.frames(),
        }
    }

    /// An error where a frame, counted from 1, is not there.
    pub fn check(&self, frame: usize) -> Result<()> {
        let frames = self.frames();
        match (1..=frames).contains(&frame) {
            true => Ok(()),
            false => Err(ImagingError::NoSuchFrame { frame, frames }).context(PixelsSnafu),
        }
    }

    /// A frame, counted from 1, in full size. `window` stands above the image's own.
    pub fn raster(&mut self, state: &DicomWeb, frame: usize, window: Option<Window>) -> Result<Raster> {
        self.check(frame)?;
        match self {
            Self::Image { object, .. } => {
                Raster::of_frame(object, frame, window, state.options.decoding()).context(PixelsSnafu)
            }
            Self::Segmentation(overlay) => overlay.raster(frame, window),
            Self::Presentation(presented) => presented.raster(frame, window),
        }
    }

    /// A GIF of the frames, at the pace that the instance asks for.
    pub fn animation(&self, first: &Raster) -> Result<Animation> {
        match self {
            Self::Image { object, .. } => Animation::of_frames(object, first),
            Self::Segmentation(_) | Self::Presentation(_) => {
                Animation::of_frames(&InMemDicomObject::new_empty(), first)
            }
        }
        .context(PixelsSnafu)
    }
}
