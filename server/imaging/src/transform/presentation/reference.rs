//! Which images a state, or one of its items, is for (PS3.3 C.11.11, and ReferencedImageSequence of its items).

use crate::attributes::text;
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, InMemDicomObject};

/// An image that a presentation state is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferencedImage {
    /// ReferencedSOPInstanceUID.
    pub sop_instance_uid: String,
    /// ReferencedFrameNumber, counted from 1; empty for all frames.
    pub frames: Vec<usize>,
}

/// The frame that is being shown.
pub(super) struct Place {
    pub(super) sop_instance_uid: String,
    /// Counted from 1.
    pub(super) frame: usize,
}

impl Place {
    pub(super) fn of(image: &DefaultDicomObject, frame: usize) -> Self {
        Place { sop_instance_uid: text(image, tags::SOP_INSTANCE_UID).unwrap_or_default(), frame }
    }

    /// Whether an item is for this frame: one that names no image is for all.
    fn is_of(&self, item: &InMemDicomObject) -> bool {
        let named = items(item, tags::REFERENCED_IMAGE_SEQUENCE);
        let is_this = |image: &InMemDicomObject| {
            let image = referenced(image);
            image.sop_instance_uid == self.sop_instance_uid
                && (image.frames.is_empty() || image.frames.contains(&self.frame))
        };
        named.is_empty() || named.iter().any(is_this)
    }

    /// The first item of a sequence that is for this frame.
    pub(super) fn item<'o>(
        &self,
        state: &'o InMemDicomObject,
        sequence: Tag,
    ) -> Option<&'o InMemDicomObject> {
        self.items(state, sequence).next()
    }

    /// The items of a sequence that are for this frame.
    pub(super) fn items<'o>(
        &self,
        state: &'o InMemDicomObject,
        sequence: Tag,
    ) -> impl Iterator<Item = &'o InMemDicomObject> {
        items(state, sequence).iter().filter(|item| self.is_of(item))
    }
}

/// The items of a sequence; none where it is absent.
pub(super) fn items(object: &InMemDicomObject, sequence: Tag) -> &[InMemDicomObject] {
    object.get(sequence).and_then(|element| element.items()).unwrap_or_default()
}

/// The images of ReferencedSeriesSequence.
pub(super) fn images(state: &InMemDicomObject) -> Vec<ReferencedImage> {
    let series = items(state, tags::REFERENCED_SERIES_SEQUENCE).iter();
    series.flat_map(|series| items(series, tags::REFERENCED_IMAGE_SEQUENCE)).map(referenced).collect()
}

fn referenced(item: &InMemDicomObject) -> ReferencedImage {
    let frames = item.get(tags::REFERENCED_FRAME_NUMBER).and_then(|frames| frames.to_multi_int::<u32>().ok());
    ReferencedImage {
        sop_instance_uid: text(item, tags::REFERENCED_SOP_INSTANCE_UID).unwrap_or_default(),
        frames: frames.unwrap_or_default().into_iter().map(|frame| frame as usize).collect(),
    }
}
